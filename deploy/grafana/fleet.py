"""The fleet: chips, sessions, usage, events, what went on offline."""

from deploy.grafana.board import (
    ANY_IS_BAD,
    BOTH,
    INSTANCE,
    RED,
    YELLOW,
    Board,
    Row,
    lines,
    number,
    ranked,
    stacked,
    total,
)

NOW = Row(
    "现在 Now",
    (
        number(
            "在线锁具 Chips online",
            "最后报告在线的锁具，按网关。从未说过话的不算。 Chips that are online by their last word, by gateway.",
            "short",
            (f'max by (instance) (weldgate_chips{{{INSTANCE},presence="online"}})', "{{instance}}"),
        ),
        number(
            "离线锁具 Chips offline",
            (
                "焊机断电后锁具也离线，晚上多是正常的。 "
                "A machine that is switched off takes its chip along: many at night are normal."
            ),
            "short",
            (f'max by (instance) (weldgate_chips{{{INSTANCE},presence="offline"}})', "{{instance}}"),
        ),
        number(
            "进行中的会话 Sessions open",
            "已放行、还没有结束的会话。 Sessions that were granted and have not ended.",
            "short",
            (f"max by (instance) (sum by (instance) (weldgate_sessions_open{{{INSTANCE}}}))", "{{instance}}"),
        ),
        number(
            "该锁没锁 Locks overdue",
            (
                "该上锁而超时没有上锁的焊机，要有人去看。 "
                "Machines that should have locked and have not: somebody has to go there."
            ),
            "short",
            (f"max by (instance) (weldgate_locks_overdue{{{INSTANCE}}})", "{{instance}}"),
            ANY_IS_BAD,
        ),
        total(
            "无会话通电 Stray relays",
            "所选时间内，没有会话却报告通电的次数。 Relays reported closed without a session, in the time shown.",
            "short",
            (f"sum(increase(weldgate_stray_relays_total{{{INSTANCE}}}[$__range]))", "合计 total"),
            ANY_IS_BAD,
        ),
        total(
            "缺失的事件 Events lost",
            "所选时间内发现缺号的锁具事件。 Events of chips found missing, in the time shown.",
            "short",
            (f"sum(increase(weldgate_lost_events_total{{{INSTANCE}}}[$__range]))", "合计 total"),
            ANY_IS_BAD,
        ),
    ),
)
SESSIONS = Row(
    "锁具与会话 Chips and sessions",
    (
        stacked(
            "锁具 Chips",
            (
                "在线与离线；上班时突然少掉一半，多半是网络或消息服务的问题。 "
                "Online and offline; half of them gone at once during work is the network or the broker."
            ),
            "short",
            ((f"max by (presence) (weldgate_chips{{{INSTANCE}}})", "{{presence}}"),),
        ),
        stacked(
            "会话状态 Sessions by state",
            "granted 已放行，unlocked 已通电，welding 在焊，idle 空闲，draining 正在上锁。 Where open sessions stand.",
            "short",
            ((f"max by (state) (weldgate_sessions_open{{{INSTANCE}}})", "{{state}}"),),
        ),
        stacked(
            "会话为何结束 Why sessions ended",
            (
                "每分钟结束的会话，按原因。revoked 是登记或策略变了。 "
                "Sessions that ended a minute, by reason; revoked: the facts or the policy changed."
            ),
            "cpm",
            (
                (
                    f"60 * sum by (reason) (rate(weldgate_sessions_ended_total{{{INSTANCE}}}[$__rate_interval]))",
                    "{{reason}}",
                ),
            ),
        ),
        lines(
            "续租与上锁 Renewals and locks",
            (
                "每分钟续租、首次上锁和重发上锁。重发持续不断，说明锁具没有照做。 "
                "Renewals, locks and locks sent again a minute; ones sent again without end are not obeyed."
            ),
            "cpm",
            (
                (f"60 * sum(rate(weldgate_renewals_total{{{INSTANCE}}}[$__rate_interval]))", "续租 renewals"),
                (
                    f'60 * sum by (reason) (rate(weldgate_locks_total{{{INSTANCE},again="false"}}[$__rate_interval]))',
                    "上锁 lock {{reason}}",
                ),
                (
                    f'60 * sum by (reason) (rate(weldgate_locks_total{{{INSTANCE},again="true"}}[$__rate_interval]))',
                    "重发 again {{reason}}",
                ),
            ),
        ),
    ),
)
USAGE = Row(
    "用量 Usage",
    (
        lines(
            "平均在用焊机 Machines in use",
            (
                "enabled 通电，arc 起弧，idle 空闲；由锁具报告的秒数折算成台数。用量半分钟归总一次。 "
                "Seconds that chips report, as a mean number of machines."
            ),
            "short",
            ((f"sum by (what) (rate(weldgate_usage_seconds_total{{{BOTH}}}[5m]))", "{{what}}"),),
        ),
        lines(
            "起弧率 Share of arc time",
            "起弧时间占通电时间，按区划。 Arc time as a share of the time enabled, by division.",
            "percentunit",
            (
                (
                    f'sum by (division) (rate(weldgate_usage_seconds_total{{{BOTH},what="arc"}}[15m]))'
                    f' / sum by (division) (rate(weldgate_usage_seconds_total{{{BOTH},what="enabled"}}[15m]) > 0)',
                    "{{division}}",
                ),
            ),
        ),
        ranked(
            "各区划起弧时间 Arc time by division",
            "所选时间内的起弧总时间。 Arc time in the time shown.",
            "s",
            (
                f'sort_desc(sum by (division) (increase(weldgate_usage_seconds_total{{{BOTH},what="arc"}}[$__range])))',
                "{{division}}",
            ),
        ),
        ranked(
            "各区划通电时间 Time enabled by division",
            "所选时间内的通电总时间。 Time enabled in the time shown.",
            "s",
            (
                "sort_desc(sum by (division) (increase("
                f'weldgate_usage_seconds_total{{{BOTH},what="enabled"}}[$__range])))',
                "{{division}}",
            ),
        ),
    ),
)
EVENTS = Row(
    "事件与离线 Events, and what went on offline",
    (
        stacked(
            "锁具事件 Events of chips",
            "每分钟收到的事件，按种类。 Events a minute, by kind.",
            "epm",
            ((f"60 * sum by (kind) (rate(weldgate_chip_events_total{{{INSTANCE}}}[$__rate_interval]))", "{{kind}}"),),
        ),
        lines(
            "锁具报警 Alarms of chips",
            (
                "一刻钟内的拆动、无租约起弧、继电器粘连；有一次就要去现场。 "
                "Tampering, arcs without a lease, stuck relays within 15 minutes: each is a reason to go there."
            ),
            "short",
            (
                (
                    "sum by (kind) (increase("
                    f'weldgate_chip_events_total{{{INSTANCE},kind=~"tamper|arc_without_lease|relay_stuck"}}[15m]))',
                    "{{kind}}",
                ),
            ),
            ANY_IS_BAD,
        ),
        lines(
            "离线解锁 Offline unlocks",
            (
                "一小时内的离线解锁，按事后核验的结果；deny 是本不该放行。 "
                "Unlocks without a connection within an hour, as decided afterwards."
            ),
            "short",
            ((f"sum by (outcome) (increase(weldgate_offline_unlocks_total{{{INSTANCE}}}[1h]))", "{{outcome}}"),),
        ),
        lines(
            "证据缺失与无会话通电 Lost events and stray relays",
            (
                "一小时内缺失的事件和没有会话的通电。 "
                "Within an hour: events that never arrived, relays closed without a session."
            ),
            "short",
            (
                (f"sum(increase(weldgate_lost_events_total{{{INSTANCE}}}[1h]))", "缺失的事件 lost events"),
                (f"sum(increase(weldgate_stray_relays_total{{{INSTANCE}}}[1h]))", "无会话通电 stray relays"),
            ),
            ((1, YELLOW), (10, RED)),
        ),
    ),
)
BOARD = Board(
    "weldgate-fleet",
    "WeldGate 焊机与锁具 Fleet",
    "锁具、会话、用量、事件、离线解锁。 Chips, sessions, usage, events, what went on offline.",
    (NOW, SESSIONS, USAGE, EVENTS),
)
