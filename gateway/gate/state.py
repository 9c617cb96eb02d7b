"""Everything that decisions rest on, in memory: registries, open sessions, chips and policy."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from gateway.core.model import CodeUse, Facts, Machine, Millis, Permit, Presence
from gateway.core.permits import of_concern
from gateway.core.policy import Rulebook
from gateway.gate.agenda import Agenda
from gateway.gate.chips import Chips, Codes
from gateway.gate.lists import OfflineLists
from gateway.gate.lookups import Lookups
from gateway.gate.sessions import Session, Sessions
from gateway.gate.settings import ChipSettings
from gateway.registry.snapshot import Changed, Snapshot
from gateway.store.journal import AboutMachines, Book

CLOCK_STEP_MS = 1000
"""A smaller difference between two looks at both clocks is slewing."""


class Stray(Struct, frozen=True):
    """A relay that was reported closed for a session that is not open."""

    session_id: str
    at: Millis
    chip_at: Millis | None
    locked: bool = False


class GateState:
    """Changed only by the pipeline and the registry watcher, both on the event loop.

    ``skew`` is the wall clock less the monotonic one, milliseconds, ``stored_skew`` the one by which the database's
    times were written.

    ``in_doubt``: the database may hold other sessions than memory does; read back before going on.
    """

    def __init__(
        self, snapshot: Snapshot, rulebook: Rulebook, wall_ms: Callable[[], Millis], code_keys: Iterable[bytes] = ()
    ) -> None:
        self.snapshot = snapshot
        self.rulebook = rulebook
        self.wall_ms = wall_ms
        self.sessions = Sessions()
        self.chips = Chips()
        self.codes = Codes(code_keys)
        self.agenda = Agenda()
        self.offline = OfflineLists()
        self.lookups = Lookups()
        self.settings = ChipSettings()
        self.strays: dict[str, Stray] = {}
        self.in_doubt = True
        self.latest: Millis = 0
        self.longest_drain_s = 0
        self.skew: int | None = None
        self.stored_skew: int | None = None

    def load(self, book: Book, *, whole: bool) -> None:
        """Take over what the database holds."""
        self.in_doubt = False
        self.sessions.load(book.sessions)
        self.codes.load(book.codes)
        self.chips.load_seqs(book.seqs)
        self.offline.take_back(book.lists)
        self.settings.take_back()
        if whole:
            self.chips.load(book.chips)
            self.offline.load((), book.recent)
        self.latest = max(self.latest, book.latest)
        self.longest_drain_s = max(self.longest_drain_s, book.longest_drain_s)
        self.sessions.shift(self._not_stored_ms())
        self.sessions.drains_within(self.drain_s)
        self.agenda.restart(self.sessions)

    def refresh(self, machine_ids: list[str], about: AboutMachines) -> None:
        """Take over what the database holds of some machines, where nothing of ours is under way."""
        news = self.sessions.refresh(machine_ids, about.sessions)
        self.chips.refresh_seqs(machine_ids, about.seqs, about.gaps)
        self.chips.refresh(about.chips)
        self.sessions.shift(self._not_stored_ms(), news)
        self.sessions.drains_within(self.drain_s)
        for session in news:
            self.agenda.forget(session.session_id)
        self.agenda.review(news)

    def _not_stored_ms(self) -> int:
        """By how much the clock was set since the times of sessions were stored, milliseconds."""
        if self.skew is None or self.stored_skew is None or abs(self.skew - self.stored_skew) < CLOCK_STEP_MS:
            return 0
        return self.skew - self.stored_skew

    @property
    def drain_s(self) -> int:
        """How long an arc may outlast its lease at any chip, whichever policy it goes by (docs/adr/0018)."""
        lease = self.rulebook.policy.lease
        return max(lease.drain_deadline_s, lease.chip_drain_s, self.longest_drain_s)

    def keep_time(self, monotonic_ns: int) -> int:
        """Compare the wall clock with the monotonic one; returns by how many milliseconds it was set since the last
        time, 0 for less than a second.

        INVARIANT: no session is over before its chip's lease can be: times of running sessions are set along.
        """
        skew = self.wall_ms() - monotonic_ns // 1_000_000
        before, self.skew = self.skew, skew
        if before is None or abs(skew - before) < CLOCK_STEP_MS:
            return 0
        self.sessions.shift(skew - before)
        self.chips.shift(skew - before)
        self.offline.shift(skew - before)
        self.settings.shift(skew - before)
        return skew - before

    def concern(self, changed: Changed) -> None:
        """Registries changed: look again at the sessions and offline lists that it may concern."""
        self.agenda.review(session for session in self.sessions if self._concerns(changed, session))
        firms, machines = changed.enterprises, changed.machines
        if firms:
            machines |= {one.machine_id for one in self.snapshot.machines.values() if one.uscc in firms}
        self.offline.concern(machines, changed.operators, self.wall_ms())

    def _concerns(self, changed: Changed, session: Session) -> bool:
        machine = self.snapshot.machines.get(session.machine_id)
        return (
            session.operator_id in changed.operators
            or session.machine_id in changed.machines
            or session.session_id in changed.sessions
            or (machine is not None and machine.uscc in changed.enterprises)
        )

    def adopt(self, rulebook: Rulebook) -> None:
        """Go by another policy from now on: look at everybody again."""
        self.longest_drain_s = max(self.longest_drain_s, self.rulebook.policy.lease.drain_deadline_s)
        self.rulebook = rulebook
        self.sessions.drains_within(self.drain_s)
        self.settings.tell_everybody(self.wall_ms())
        self.agenda.review(self.sessions)
        self.offline.concern(self.offline.sent, set(), self.wall_ms())

    def clock_behind_s(self, now: Millis) -> int:
        """How far ``now`` stands behind the latest record, whole seconds."""
        return max(0, self.latest - now) // 1000

    def facts(self, machine_id: str, named: str | None, *, waited_ms: int = 0, code: CodeUse | None = None) -> Facts:
        """What is known about the machine, its firm and the person whom the credential names, now.

        Also what no rule of the present policy asks for: another policy can be tried on the record.
        """
        snapshot, now = self.snapshot, self.wall_ms()
        machine = snapshot.machines.get(machine_id)
        operator_id = named if named is not None and snapshot.knows_operator(named) else None
        at_machine = self.sessions.at_machine(machine_id)
        of_operator = self.sessions.of_operator(operator_id)
        return Facts(
            now=now,
            waited_ms=waited_ms,
            clock_behind_s=self.clock_behind_s(now),
            machine=machine,
            chip_reported=self.chips[machine_id].serial,
            enterprise=snapshot.enterprises.get(machine.uscc) if machine else None,
            operator_id=operator_id,
            operator=snapshot.operators.get(operator_id) if operator_id else None,
            employments=snapshot.employments_at(operator_id, machine.uscc) if operator_id and machine else (),
            certificates=snapshot.certificates.get(operator_id, ()) if operator_id else (),
            machine_session=at_machine.as_fact() if at_machine and at_machine.open_until >= now else None,
            operator_session=of_operator.as_fact() if of_operator and of_operator.open_until >= now else None,
            registry_age_s=snapshot.age_s(now),
            hold=snapshot.controls.hold(machine_id),
            override=snapshot.controls.override(machine_id, operator_id, now),
            code=code,
            source_ages=snapshot.source_ages(now),
            permits=self.permits(machine, operator_id, now),
            hours=snapshot.hours_at(machine.uscc, machine_id) if machine else (),
        )

    def presence(self, machine_id: str, now: Millis) -> Presence:
        """What is known of a machine's lock, for whoever asks by phone."""
        chip, session = self.chips[machine_id], self.sessions.at_machine(machine_id)
        unlocked = session is not None and session.holds(chip.session_id, chip.challenge, now)
        return Presence(chip.online, chip.clock_off_ms, unlocked)

    def permits(self, machine: Machine | None, operator_id: str | None, at: Millis) -> tuple[Permit, ...]:
        """The permits that a decision about this person at this machine has to know at that moment."""
        if machine is None or operator_id is None:
            return ()
        return of_concern(self.snapshot.permits_for(machine.uscc, operator_id, machine.machine_id), operator_id, at)
