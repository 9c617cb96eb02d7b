"""The gateway's health: broker, database, queues, registries, clock, process, audit."""

from deploy.grafana.board import (
    ALERTS,
    ANY_IS_BAD,
    INSTANCE,
    RED,
    YELLOW,
    ZERO_IS_BAD,
    Board,
    Row,
    lines,
    number,
    spans,
    stacked,
)

AGE = ((0.8, YELLOW), (1, RED))
GIB = 1024**3


def _commit(share: float) -> str:
    buckets = f"sum by (le) (rate(weldgate_commit_seconds_bucket{{{INSTANCE}}}[$__rate_interval]))"
    return f"histogram_quantile({share}, {buckets})"


NOW = Row(
    "现在 Now",
    (
        number(
            "网关 Gateway",
            "1 是 Prometheus 读得到它。 1 while Prometheus can read it.",
            "none",
            (f'max by (instance) (up{{job="weldgate",{INSTANCE}}})', "{{instance}}"),
            ZERO_IS_BAD,
        ),
        number(
            "消息服务 Broker",
            "1 是已连接。 1 while connected.",
            "none",
            (f"max by (instance) (weldgate_broker_connected{{{INSTANCE}}})", "{{instance}}"),
            ZERO_IS_BAD,
        ),
        number(
            "数据库 Database",
            "1 是能写入。 1 while it takes writes.",
            "none",
            (f"max by (instance) (weldgate_database_writable{{{INSTANCE}}})", "{{instance}}"),
            ZERO_IS_BAD,
        ),
        number(
            "登记数据 Registries",
            (
                "确认时间占策略上限的比例，满了就拒绝所有人。 "
                "Their age as a share of what the policy allows; from 100 % on everybody is refused."
            ),
            "percentunit",
            (
                f"max by (instance) (weldgate_registry_age_seconds{{{INSTANCE}}}"
                f" / weldgate_registry_max_age_seconds{{{INSTANCE}}})",
                "{{instance}}",
            ),
            AGE,
        ),
        number(
            "时钟倒退 Clock behind",
            "时钟比账本最后一条记录慢多少。 How far the clock stands behind the latest record.",
            "s",
            (f"max by (instance) (weldgate_clock_behind_seconds{{{INSTANCE}}})", "{{instance}}"),
            ((5, RED),),
        ),
        number(
            "账本核对 Ledger verified",
            (
                "上次 weldgate audit verify 到现在；要用 --textfile 写给 node_exporter。 "
                "Since the last audit; it has to write a --textfile."
            ),
            "s",
            ("time() - max(weldgate_audit_timestamp_seconds)", "多久以前 ago"),
            ((86400, YELLOW), (172800, RED)),
        ),
        spans(
            "正在告警 Firing alerts",
            (
                "所选时间内每个告警从何时到何时；怎么办见 docs/runbook.md。 "
                "From when until when each alert fired; what to do: docs/runbook.md."
            ),
            (f"max by (alertname, severity) ({ALERTS})", "{{alertname}} {{severity}}"),
            ANY_IS_BAD,
        ),
    ),
)
BROKER = Row(
    "消息服务与队列 Broker and queues",
    (
        lines(
            "排队的消息 Messages waiting",
            (
                "inbox 已收到待处理，scribe 正在提交，unacknowledged 已发出待确认。五分钟不低于 256 会告警。 "
                "Taken off the broker; being committed; sent and not acknowledged."
            ),
            "short",
            ((f"sum by (queue) (weldgate_queue_messages{{{INSTANCE}}})", "{{queue}}"),),
            ((256, YELLOW), (4096, RED)),
        ),
        lines(
            "消息服务丢弃的消息 Messages dropped by the broker",
            (
                "消息服务启动以来的数目，应当一直是 0；没有线是它不告诉。 "
                "Since the broker's start; has to stay 0. No line: it does not tell."
            ),
            "short",
            ((f"max by (instance) (weldgate_broker_dropped_messages{{{INSTANCE}}})", "{{instance}}"),),
            ANY_IS_BAD,
        ),
        stacked(
            "故障 Trouble",
            (
                "一刻钟内的故障，按所在；日志里有 trouble 一行。 "
                "Failures within 15 minutes, by where; the log has a line trouble for each."
            ),
            "short",
            ((f"sum by (where) (increase(weldgate_trouble_total{{{INSTANCE}}}[15m]))", "{{where}}"),),
        ),
        lines(
            "连接 Connections",
            "1 是正常。 1 while it works.",
            "none",
            (
                (f"min(weldgate_broker_connected{{{INSTANCE}}})", "消息服务 broker"),
                (f"min(weldgate_database_writable{{{INSTANCE}}})", "数据库 database"),
            ),
        ),
    ),
)
DATABASE = Row(
    "数据库与账本 Database and ledger",
    (
        lines(
            "提交时间 Commit time",
            (
                "一批消息写到磁盘的时间，经过 scribe 进程签名和提交。p99 超过半秒会告警。 "
                "One batch, signed and committed by the scribe; p99 above half a second raises an alert."
            ),
            "s",
            ((_commit(0.5), "p50"), (_commit(0.99), "p99")),
            ((0.1, YELLOW), (0.5, RED)),
        ),
        lines(
            "每批消息 Messages in one commit",
            "平均每次提交的消息数，256 是上限。 Mean number of messages in one commit; 256 is the most.",
            "short",
            (
                (
                    f"sum(rate(weldgate_batch_messages_sum{{{INSTANCE}}}[$__rate_interval]))"
                    f" / (sum(rate(weldgate_batch_messages_count{{{INSTANCE}}}[$__rate_interval])) > 0)",
                    "平均 mean",
                ),
            ),
        ),
        lines(
            "账本记录 Ledger records",
            (
                "最后一条记录的序号，只增不减；减少就是换了数据库。 "
                "The last record's number; it never falls, unless the database was replaced."
            ),
            "short",
            (
                (f"max by (instance) (weldgate_ledger_records{{{INSTANCE}}})", "{{instance}}"),
                ("max(weldgate_audit_records)", "上次核对 last verified"),
            ),
        ),
        lines(
            "统计未计入的记录 Records not counted yet",
            (
                "页面上的统计还没有算进去的账本记录；半小时不低于一千会告警。 "
                "What pages do not show yet; a thousand for half an hour raises an alert."
            ),
            "short",
            ((f"max by (instance) (weldgate_figures_behind_records{{{INSTANCE}}})", "{{instance}}"),),
            ((1000, YELLOW),),
        ),
        lines(
            "统计占用数据库 Counting holds the database",
            (
                "每次统计占住写锁的时间，平均；这段时间提交要等。 "
                "Mean time for which counting held the write lock; commits wait for that."
            ),
            "s",
            (
                (
                    f"sum(rate(weldgate_figures_transaction_seconds_sum{{{INSTANCE}}}[5m]))"
                    f" / (sum(rate(weldgate_figures_transaction_seconds_count{{{INSTANCE}}}[5m])) > 0)",
                    "平均 mean",
                ),
            ),
            ((0.1, YELLOW),),
        ),
        lines(
            "磁盘 Disk",
            (
                "数据库文件连同日志的大小，和它所在磁盘的余量；余量低于 2 GiB 会告警。 "
                "The database with its log, and what its disk has left; less than 2 GiB raises an alert."
            ),
            "bytes",
            (
                (f"max by (instance) (weldgate_database_bytes{{{INSTANCE}}})", "数据库 database {{instance}}"),
                (f"min by (instance) (weldgate_database_free_bytes{{{INSTANCE}}})", "余量 free {{instance}}"),
            ),
        ),
    ),
)
REGISTRIES = Row(
    "登记数据与时钟 Registries and clock",
    (
        lines(
            "登记数据的确认时间 Age of the registries",
            "多久没有确认，和策略的上限。 Since they were last confirmed, and what the policy allows.",
            "s",
            (
                (f"max by (instance) (weldgate_registry_age_seconds{{{INSTANCE}}})", "{{instance}}"),
                (f"min by (instance) (weldgate_registry_max_age_seconds{{{INSTANCE}}})", "上限 limit {{instance}}"),
            ),
        ),
        lines(
            "各登记源 Sources",
            (
                "每个必须新鲜的登记源，占它的上限的比例；没有配置就没有线。 "
                "Each source that has to be fresh, as a share of what the policy allows it."
            ),
            "percentunit",
            (
                (
                    f"max by (source) (weldgate_registry_source_age_seconds{{{INSTANCE}}}"
                    f" / weldgate_registry_source_max_age_seconds{{{INSTANCE}}})",
                    "{{source}}",
                ),
            ),
            AGE,
        ),
        lines(
            "登记版本 Registry version",
            "各网关应当相同。 Has to be the same for all gateways.",
            "none",
            ((f"max by (instance) (weldgate_registry_version{{{INSTANCE}}})", "{{instance}}"),),
        ),
        lines(
            "时钟与更新 Clock and upkeep",
            (
                "时钟倒退的秒数；登记数据读不到、策略文件用不了时为 1。 "
                "Seconds that the clock is behind; 1 while registries cannot be read or the policy file cannot be "
                "used."
            ),
            "none",
            (
                (f"max(weldgate_clock_behind_seconds{{{INSTANCE}}})", "时钟倒退 clock behind, s"),
                (f"max by (what) (weldgate_upkeep_failing{{{INSTANCE}}})", "读不到 failing {{what}}"),
            ),
            ((5, RED),),
        ),
    ),
)
PROCESS = Row(
    "进程 Process",
    (
        lines(
            "内存 Memory",
            (
                "网关进程占用的内存，不含 scribe；全省的登记数据不到 1 GiB，超过 2 GiB 会告警。 "
                "The gateway's process without its scribe; above 2 GiB raises an alert."
            ),
            "bytes",
            ((f'max by (instance) (process_resident_memory_bytes{{job="weldgate",{INSTANCE}}})', "{{instance}}"),),
            ((2 * GIB, RED),),
        ),
        lines(
            "处理器 CPU",
            (
                "占用几个核；主循环只用一个，长期接近 1 就是满了。 "
                "Cores in use; the main loop has one, so near 1 for long is full."
            ),
            "short",
            (
                (
                    "sum by (instance) (rate("
                    f'process_cpu_seconds_total{{job="weldgate",{INSTANCE}}}[$__rate_interval]))',
                    "{{instance}}",
                ),
            ),
            ((0.8, YELLOW), (0.95, RED)),
        ),
        lines(
            "垃圾回收 Garbage collections",
            (
                "每分钟的回收，按代；第 2 代应当很少。 "
                "Collections a minute, by generation; those of generation 2 have to be rare."
            ),
            "cpm",
            (
                (
                    "60 * sum by (generation) (rate("
                    f'python_gc_collections_total{{job="weldgate",{INSTANCE}}}[$__rate_interval]))',
                    "{{generation}}",
                ),
            ),
        ),
        lines(
            "文件和连接 Files and connections",
            "打开的文件句柄占上限的比例。 File descriptors in use, as a share of the most.",
            "percentunit",
            (
                (
                    f'max by (instance) (process_open_fds{{job="weldgate",{INSTANCE}}}'
                    f' / process_max_fds{{job="weldgate",{INSTANCE}}})',
                    "{{instance}}",
                ),
            ),
            ((0.8, RED),),
        ),
        lines(
            "启动以来 Since the start",
            "运行了多久，带版本；掉下来就是重启过。 How long it has run, with its version; a fall is a restart.",
            "s",
            (
                (
                    f'(time() - process_start_time_seconds{{job="weldgate",{INSTANCE}}})'
                    f" * on (instance) group_left (version) weldgate_build_info{{{INSTANCE}}}",
                    "{{instance}} {{version}}",
                ),
            ),
        ),
        lines(
            "观察程序与接口 Observers and callers",
            (
                "观察程序出错的次数，和一刻钟内被拒的接口访问。 "
                "Failures of observers since the start, and callers turned away within 15 minutes."
            ),
            "short",
            (
                (f"sum(weldgate_observer_failures{{{INSTANCE}}})", "观察程序出错 observer failures"),
                (f"sum by (kind) (increase(weldgate_api_denied_total{{{INSTANCE}}}[15m]))", "被拒 denied {{kind}}"),
            ),
        ),
    ),
)
BOARD = Board(
    "weldgate-gateway",
    "WeldGate 网关健康 Gateway health",
    (
        "消息服务、数据库、队列、提交、登记数据、时钟、进程、账本核对。 "
        "Broker, database, queues, commits, registries, clock, process, audit."
    ),
    (NOW, BROKER, DATABASE, REGISTRIES, PROCESS),
)
