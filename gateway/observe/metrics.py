"""Prometheus metrics. No machine, no person and no free text is ever a label."""

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, GCCollector, Histogram, ProcessCollector

from gateway.core.model import EventKind, Outcome
from gateway.core.session import END_REASONS, OPEN_STATES, DrainReason
from gateway.observe import events
from gateway.wire.topics import CHIP_TOPICS

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FAULTS = ("internal_error", "overloaded", "registry_stale")
"""Reasons that say something of the gateway and nothing of who asked."""
WATCHED = ("registry", "policy")
"""Upkeep tells when these fail and when they work again, each once."""
PRESENCES = ("online", "offline")


class Metrics:
    """Turns events into metrics; ``registry`` is what an exporter serves."""

    def __init__(self, version: str) -> None:
        self.registry = registry = CollectorRegistry()
        self.decisions = Counter(
            "weldgate_decisions", "Decisions by outcome and division.", ["outcome", "division"], registry=registry
        )
        self.methods = Counter("weldgate_asked", "Decisions by how they were asked for.", ["method"], registry=registry)
        self.unanswered = Counter(
            "weldgate_phone_unanswered", "Asked by phone and not answered.", ["why"], registry=registry
        )
        self.reasons = Counter(
            "weldgate_reasons", "Reasons given in refusals, by division.", ["code", "division"], registry=registry
        )
        self.warnings = Counter(
            "weldgate_warnings",
            "Failed checks that did not refuse, by division.",
            ["code", "division"],
            registry=registry,
        )
        self.faults = Counter(
            "weldgate_refused_by_fault",
            "Refusals that say nothing of who asked: a check failed to run, nobody had time, the registries are stale.",
            ["code"],
            registry=registry,
        )
        self.latency = Histogram(
            "weldgate_answer_seconds",
            "From a request's arrival to the publication of its answer.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.batch = Histogram(
            "weldgate_batch_messages", "Messages in one commit.", buckets=BATCH_BUCKETS, registry=registry
        )
        self.commit = Histogram(
            "weldgate_commit_seconds", "Time to make one batch durable.", buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self.ledger = Gauge(
            "weldgate_ledger_records", "Sequence number of the ledger's last record.", registry=registry
        )
        self.repeats = Counter("weldgate_repeats", "Messages that came again.", ["kind"], registry=registry)
        self.events = Counter("weldgate_chip_events", "Events that chips reported.", ["kind"], registry=registry)
        self.rejected = Counter("weldgate_rejected", "Messages that could not be used.", ["kind"], registry=registry)
        self.ended = Counter("weldgate_sessions_ended", "Sessions ended.", ["reason"], registry=registry)
        self.sessions = Gauge("weldgate_sessions_open", "Sessions that have not ended.", ["state"], registry=registry)
        self.chips = Gauge(
            "weldgate_chips",
            "Chips that have spoken at least once, by their last word.",
            ["presence"],
            registry=registry,
        )
        self.renewals = Counter("weldgate_renewals", "Renewals of leases sent.", registry=registry)
        self.locks = Counter(
            "weldgate_locks", "Locks sent; again: the same one once more.", ["reason", "again"], registry=registry
        )
        self.overdue = Gauge(
            "weldgate_locks_overdue",
            "Sessions whose lock has had no effect for longer than the drain deadline and half a minute.",
            registry=registry,
        )
        self.lost = Counter("weldgate_lost_events", "Events of chips that never arrived.", registry=registry)
        self.offline = Counter(
            "weldgate_offline_unlocks",
            "Unlocks without a connection, as decided afterwards.",
            ["outcome"],
            registry=registry,
        )
        self.strays = Counter("weldgate_stray_relays", "Relays reported closed without a session.", registry=registry)
        self.overridden = Counter(
            "weldgate_overridden",
            "Checks that failed and were let pass by an override.",
            ["code", "division"],
            registry=registry,
        )
        self.overrides = Gauge("weldgate_overrides_active", "Overrides in force.", registry=registry)
        self.usage = Counter(
            "weldgate_usage_seconds", "Machine time reported.", ["what", "division"], registry=registry
        )
        self.queue = Gauge("weldgate_queue_messages", "Messages waiting.", ["queue"], registry=registry)
        self.broker = Gauge("weldgate_broker_connected", "1 while connected to the broker.", registry=registry)
        self.dropped = Gauge(
            "weldgate_broker_dropped_messages",
            "Messages that the broker has dropped since its start for want of room; NaN where it does not tell.",
            registry=registry,
        )
        self.database = Gauge("weldgate_database_writable", "1 while the last commit worked.", registry=registry)
        self.database_size = Gauge(
            "weldgate_database_bytes",
            "Size of the database's file and its log; NaN where the database is no file.",
            registry=registry,
        )
        self.database_room = Gauge(
            "weldgate_database_free_bytes",
            "What the file system of the database's file has left; NaN where the database is no file.",
            registry=registry,
        )
        self.failing = Gauge(
            "weldgate_upkeep_failing",
            "1 while the registries cannot be read, or while the policy file cannot be used.",
            ["what"],
            registry=registry,
        )
        self.errors = Counter(
            "weldgate_trouble", "Failures of what the gateway depends on.", ["where"], registry=registry
        )
        self.pages = Histogram(
            "weldgate_page_seconds",
            "From a visitor's request to the page, by role and class of status.",
            ["role", "status"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.denied = Counter(
            "weldgate_api_denied", "Failed attempts at the HTTP API and the pages.", ["kind"], registry=registry
        )
        self.version = Gauge("weldgate_registry_version", "Registry version that decisions use.", registry=registry)
        self.confirmed = Gauge(
            "weldgate_registry_confirmed_timestamp_seconds",
            "When a source last confirmed the registries.",
            registry=registry,
        )
        self.age = Gauge(
            "weldgate_registry_age_seconds", "Time since a source confirmed the registries.", registry=registry
        )
        self.source_age = Gauge(
            "weldgate_registry_source_age_seconds",
            "Time since a source that has to be fresh confirmed its registries; +Inf where it never has.",
            ["source"],
            registry=registry,
        )
        self.max_age = Gauge(
            "weldgate_registry_max_age_seconds",
            "The age from which the policy takes the registries for stale.",
            registry=registry,
        )
        self.source_max_age = Gauge(
            "weldgate_registry_source_max_age_seconds",
            "The age from which the policy takes this source for stale.",
            ["source"],
            registry=registry,
        )
        self.lookups = Counter(
            "weldgate_registry_lookups",
            "Look-ups of people whose requests waited for that.",
            ["outcome"],
            registry=registry,
        )
        self.figures_behind = Gauge(
            "weldgate_figures_behind_records", "Records that are not counted for pages yet.", registry=registry
        )
        self.figures_held = Histogram(
            "weldgate_figures_transaction_seconds",
            "How long counting for pages held the database's write lock at a time.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.clock = Gauge(
            "weldgate_clock_behind_seconds", "How far the clock stands behind the latest record.", registry=registry
        )
        self.observers = Gauge("weldgate_observer_failures", "Events that an observer failed on.", registry=registry)
        GCCollector(registry=registry)
        ProcessCollector(registry=registry)
        Gauge("weldgate_build_info", "The running version.", ["version"], registry=registry).labels(version).set(1)
        self._begin()
        self._handlers: dict[type, Callable[[Any], None]] = {
            events.Decided: self._decided,
            events.Answered: self._answered,
            events.NotAnswered: lambda event: self.unanswered.labels(event.why).inc(),
            events.Committed: self._committed,
            events.Repeated: lambda event: self.repeats.labels(event.kind).inc(),
            events.Reported: lambda event: self.events.labels(event.kind).inc(),
            events.Rejected: lambda event: self.rejected.labels(event.kind).inc(),
            events.SessionEnded: lambda event: self.ended.labels(event.reason).inc(),
            events.Renewed: lambda _: self.renewals.inc(),
            events.Locking: lambda event: self.locks.labels(event.reason, str(event.again).lower()).inc(),
            events.EvidenceLost: lambda event: self.lost.inc(event.events or 1),
            events.JudgedAfterwards: lambda event: self.offline.labels(event.decision.outcome).inc(),
            events.StrayRelay: lambda _: self.strays.inc(),
            events.UsageFolded: self._usage_folded,
            events.Trouble: self._trouble,
            events.Recovered: lambda event: self._fails(event.where, False),
            events.RegistryLoaded: self._registry_loaded,
            events.FiguresFolded: self._figures_folded,
            events.LookedUp: lambda event: self.lookups.labels(event.outcome).inc(),
            events.PageAnswered: lambda event: self.pages.labels(event.role, f"{event.status // 100}xx").observe(
                event.seconds
            ),
            events.Denied: lambda event: self.denied.labels(event.kind).inc(),
        }

    def _begin(self) -> None:
        """Every label that is known beforehand is there from the start: the first increase of a series that appears
        with it would be seen by nobody."""
        known: tuple[tuple[Counter | Gauge, Iterable[tuple[str, ...]]], ...] = (
            (self.faults, product(FAULTS)),
            (self.events, product(get_args(EventKind))),
            (self.rejected, product((*CHIP_TOPICS, "unknown"))),
            (self.repeats, product(("decision", "event"))),
            (self.ended, product(END_REASONS)),
            (self.sessions, product(OPEN_STATES)),
            (self.chips, product(PRESENCES)),
            (self.locks, product(get_args(DrainReason), ("false", "true"))),
            (self.offline, product(get_args(Outcome))),
            (self.failing, product(WATCHED)),
            (self.errors, product(events.TROUBLES)),
            (self.lookups, product(get_args(events.LookUpOutcome))),
            (self.denied, product(events.DENIALS)),
        )
        for metric, labels in known:
            for values in labels:
                metric.labels(*values)

    def __call__(self, event: events.Observed) -> None:
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def _decided(self, event: events.Decided) -> None:
        division = event.facts.machine.division if event.facts.machine else "unknown"
        self.decisions.labels(event.decision.outcome, division).inc()
        self.methods.labels(event.asked.method or "unknown").inc()
        for code in event.decision.reasons:
            self.reasons.labels(code, division).inc()
            if code in FAULTS:
                self.faults.labels(code).inc()
        for code in event.decision.warnings:
            self.warnings.labels(code, division).inc()
        for code in event.decision.overridden:
            self.overridden.labels(code, division).inc()

    def _answered(self, event: events.Answered) -> None:
        for seconds in event.seconds:
            self.latency.observe(seconds)

    def _committed(self, event: events.Committed) -> None:
        self.batch.observe(event.messages)
        self.commit.observe(event.seconds)
        self.ledger.set(event.head_seq)

    def _trouble(self, event: events.Trouble) -> None:
        self.errors.labels(event.where).inc()
        self._fails(event.where, True)

    def _fails(self, where: str, failing: bool) -> None:
        if where in WATCHED:
            self.failing.labels(where).set(failing)

    def _usage_folded(self, event: events.UsageFolded) -> None:
        division = event.division or "unknown"
        for what, seconds in (("enabled", event.enabled_s), ("arc", event.arc_s), ("idle", event.idle_s)):
            self.usage.labels(what, division).inc(seconds)

    def _figures_folded(self, event: events.FiguresFolded) -> None:
        self.figures_behind.set(event.behind)
        if event.held_s is not None:
            self.figures_held.observe(event.held_s)

    def _registry_loaded(self, event: events.RegistryLoaded) -> None:
        self.version.set(event.version)
        self.confirmed.set(event.confirmed_at / 1000)
