"""Decisions: allowed and refused, why, how fast; overrides and offline unlocks."""

from deploy.grafana.board import (
    ANY_IS_BAD,
    BOTH,
    INSTANCE,
    RED,
    YELLOW,
    Board,
    Row,
    heat,
    lines,
    number,
    ranked,
    stacked,
    total,
)

SHARE = ((0.3, YELLOW), (0.5, RED))
SECONDS = ((0.25, YELLOW), (1, RED))
_DENIED = f'sum(increase(weldgate_decisions_total{{{BOTH},outcome="deny"}}[$__range])) or vector(0)'


def _quantile(share: float) -> str:
    buckets = f"sum by (le) (rate(weldgate_answer_seconds_bucket{{{INSTANCE}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"


NOW = Row(
    "概况 At a glance",
    (
        total(
            "决定 Decisions",
            "所选时间内的决定。 Decisions in the time shown.",
            "short",
            (f"sum(increase(weldgate_decisions_total{{{BOTH}}}[$__range]))", "合计 total"),
        ),
        total(
            "拒绝率 Share refused",
            "所选时间内被拒绝的比例。 The share that was refused in the time shown.",
            "percentunit",
            (f"({_DENIED}) / sum(increase(weldgate_decisions_total{{{BOTH}}}[$__range]))", "拒绝 refused"),
            SHARE,
        ),
        number(
            "答复时间 p99 Answer time p99",
            "一百个请求里九十九个最多等多久，不分区划。 What 99 of 100 requests wait at most; not by division.",
            "s",
            (f"max by (instance) (instance:weldgate_answer_seconds:p99_rate5m{{{INSTANCE}}})", "{{instance}}"),
            SECONDS,
        ),
        number(
            "生效的放行 Overrides in force",
            "现在生效的放行。 Overrides in force now.",
            "short",
            (f"max by (instance) (weldgate_overrides_active{{{INSTANCE}}})", "{{instance}}"),
            ((1, YELLOW), (6, RED)),
        ),
        total(
            "离线误放 Wrong offline unlocks",
            "所选时间内事后判为不该的离线解锁。 Offline unlocks refused after the fact, in the time shown.",
            "short",
            (f'sum(increase(weldgate_offline_unlocks_total{{{INSTANCE},outcome="deny"}}[$__range]))', "合计 total"),
            ANY_IS_BAD,
        ),
        total(
            "系统原因的拒绝 Refused by fault",
            "与焊工无关的拒绝：核验出错、忙不过来、登记数据过期。 Refusals that say nothing of the welder.",
            "short",
            (f"sum(increase(weldgate_refused_by_fault_total{{{INSTANCE}}}[$__range]))", "合计 total"),
            ANY_IS_BAD,
        ),
    ),
)
OUTCOMES = Row(
    "放行与拒绝 Allowed and refused",
    (
        stacked(
            "每分钟的决定 Decisions a minute",
            "allow 放行，deny 拒绝。 By outcome.",
            "cpm",
            ((f"60 * sum by (outcome) (rate(weldgate_decisions_total{{{BOTH}}}[$__rate_interval]))", "{{outcome}}"),),
        ),
        lines(
            "各区划的拒绝率 Share refused by division",
            (
                "半小时内被拒绝的比例；超过一半会告警，比七天平均高三倍也会。 "
                "Within half an hour; more than half raises an alert, and so does three times the mean of seven days."
            ),
            "percentunit",
            (
                (
                    f"max by (division) (instance_division:weldgate_refusals:ratio_increase30m{{{BOTH}}})",
                    "{{division}}",
                ),
            ),
            SHARE,
        ),
        stacked(
            "各区划的决定 Decisions by division",
            "每分钟的决定，按区划；unknown 是不认识的焊机。 By division; unknown: the machine is not registered.",
            "cpm",
            ((f"60 * sum by (division) (rate(weldgate_decisions_total{{{BOTH}}}[$__rate_interval]))", "{{division}}"),),
        ),
        ranked(
            "各区划的拒绝 Refusals by division",
            "所选时间内的拒绝。 Refusals in the time shown.",
            "short",
            (
                f'sort_desc(sum by (division) (increase(weldgate_decisions_total{{{BOTH},outcome="deny"}}[$__range])))',
                "{{division}}",
            ),
        ),
    ),
)
REASONS = Row(
    "原因 Reasons",
    (
        stacked(
            "拒绝原因 Reasons over time",
            (
                "每分钟给出的原因；一次拒绝可以有几个。 "
                "Reasons given a minute; one refusal may have several. See docs/reasons.md."
            ),
            "cpm",
            ((f"60 * sum by (code) (rate(weldgate_reasons_total{{{BOTH}}}[$__rate_interval]))", "{{code}}"),),
        ),
        ranked(
            "最多的原因 Most frequent reasons",
            "所选时间内最多的十五个原因。 The fifteen most frequent in the time shown.",
            "short",
            (f"topk(15, sum by (code) (increase(weldgate_reasons_total{{{BOTH}}}[$__range])))", "{{code}}"),
        ),
        ranked(
            "各区划的原因 Reasons by division",
            "所选时间内各区划最多的三个原因。 The three most frequent of each division in the time shown.",
            "short",
            (
                "topk by (division) (3, "
                f"sum by (division, code) (increase(weldgate_reasons_total{{{BOTH}}}[$__range])))",
                "{{division}} {{code}}",
            ),
        ),
        stacked(
            "只提醒不拒绝 Warnings",
            "没有通过、但按策略没有拒绝的检查，每分钟。 Checks that failed and did not refuse, a minute.",
            "cpm",
            ((f"60 * sum by (code) (rate(weldgate_warnings_total{{{BOTH}}}[$__rate_interval]))", "{{code}}"),),
        ),
    ),
)
LATENCY = Row(
    "快慢 How fast",
    (
        lines(
            "答复时间 Answer time",
            (
                "从请求到达到答复发出。p99 超过一秒会告警。 "
                "From a request's arrival to the publication of its answer; p99 above a second raises an alert."
            ),
            "s",
            ((_quantile(0.5), "p50"), (_quantile(0.9), "p90"), (_quantile(0.99), "p99")),
            SECONDS,
        ),
        heat(
            "答复时间分布 Answer times",
            "每秒的答复，按用时分档。 Answers a second, by how long they took.",
            "s",
            (f"sum by (le) (rate(weldgate_answer_seconds_bucket{{{INSTANCE}}}[$__rate_interval]))", "{{le}}"),
        ),
        stacked(
            "向登记源查人 Look-ups in registries",
            (
                "等着查人的请求，每分钟，按结果；left_alone 是太多而没有查。 "
                "Look-ups of people a minute; left_alone: too many were asked about."
            ),
            "cpm",
            (
                (
                    f"60 * sum by (outcome) (rate(weldgate_registry_lookups_total{{{INSTANCE}}}[$__rate_interval]))",
                    "{{outcome}}",
                ),
            ),
        ),
        stacked(
            "系统原因的拒绝 Refused by fault",
            "一刻钟内，与焊工无关的拒绝。 Within 15 minutes: refusals that say nothing of the welder.",
            "short",
            ((f"sum by (code) (increase(weldgate_refused_by_fault_total{{{INSTANCE}}}[15m]))", "{{code}}"),),
        ),
    ),
)
EXCEPTIONS = Row(
    "放行与离线 Overrides and offline unlocks",
    (
        lines(
            "生效的放行 Overrides in force",
            "超过五个会告警。 More than five raise an alert.",
            "short",
            ((f"max by (instance) (weldgate_overrides_active{{{INSTANCE}}})", "{{instance}}"),),
            ((6, RED),),
        ),
        ranked(
            "被放行的检查 Checks let pass",
            (
                "所选时间内因放行而通过的检查，按区划。 "
                "Checks that failed and were let pass by an override, in the time shown."
            ),
            "short",
            (
                f"sort_desc(sum by (division, code) (increase(weldgate_overridden_total{{{BOTH}}}[$__range])))",
                "{{division}} {{code}}",
            ),
        ),
        lines(
            "离线解锁 Offline unlocks",
            (
                "一小时内的离线解锁，按事后核验的结果。 "
                "Unlocks without a connection within an hour, as decided afterwards."
            ),
            "short",
            ((f"sum by (outcome) (increase(weldgate_offline_unlocks_total{{{INSTANCE}}}[1h]))", "{{outcome}}"),),
        ),
        stacked(
            "重复与无法使用的消息 Repeated and unusable messages",
            "每分钟；重复的请求得到同样的答复。 A minute; a repeated request gets the same answer.",
            "cpm",
            (
                (
                    f"60 * sum by (kind) (rate(weldgate_repeats_total{{{INSTANCE}}}[$__rate_interval]))",
                    "重复 repeated {{kind}}",
                ),
                (
                    f"60 * sum by (kind) (rate(weldgate_rejected_total{{{INSTANCE}}}[$__rate_interval]))",
                    "无法使用 unusable {{kind}}",
                ),
            ),
        ),
    ),
)
BOARD = Board(
    "weldgate-decisions",
    "WeldGate 刷码与决定 Decisions",
    "放行与拒绝、原因、快慢、放行与离线解锁。 Allowed and refused, reasons, latency, overrides, offline unlocks.",
    (NOW, OUTCOMES, REASONS, LATENCY, EXCEPTIONS),
)
