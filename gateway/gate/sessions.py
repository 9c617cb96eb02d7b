"""The open sessions in memory, as the database holds them, plus what the current batch changes."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from gateway.core.lease import Renewal, over_at
from gateway.core.model import Millis, OpenSession, Usage
from gateway.core.session import CHIP_GIVES_UP_S, TABLE, DrainReason, EndReason, State, Step, time_up_reason
from gateway.store.journal import CHANGED_COLUMNS, SESSION_COLUMNS
from gateway.store.prepared import Row

REMEMBERED_ENDS = 4096


class Told(Struct, frozen=True):
    """The word of a chip that ended a session: when it came, and when it was by the chip's clock."""

    heard_at: Millis
    chip_at: Millis | None


class Live(Struct):
    """What is known of a session in memory alone. Times are Unix milliseconds; None = not since the start.

    ``stands_until``: when what it rests on ends. ``asked_with``: the challenge of renewals that the chip has not shown
    to have taken; the longest of them lasts ``asked_s``, and without them the lease lasts until ``held_until``.
    ``grant_refused``: the chip refused it for now. ``replaced``: the session whose place it took at its machine.
    ``asked_at``: when it was asked for by the chip's clock. ``answers``: the challenge that its grant is for.
    ``denied``: an unlock without a connection that was not right when it happened.
    """

    activity: State = "unlocked"
    heard_at: Millis | None = None
    usage: Usage | None = None
    idle_since: Millis | None = None
    stands_until: Millis | None = None
    asked_with: str | None = None
    asked_s: int = 0
    held_until: Millis = 0
    grant_refused: bool = False
    replaced: str | None = None
    asked_at: Millis | None = None
    answers: str | None = None
    denied: bool = False
    lock_sent_at: Millis = 0
    overdue: bool = False

    def shift(self, by_ms: int) -> None:
        """The wall clock was set. What the calendar ends stays where it is."""
        self.heard_at = None if self.heard_at is None else self.heard_at + by_ms
        self.idle_since = None if self.idle_since is None else self.idle_since + by_ms
        self.held_until += by_ms
        self.lock_sent_at += by_ms


class Session(Struct):
    """One row of the sessions table, in the order of its columns, and what is known beside it.

    ``stored`` = the database has it, or gets it before the next change.
    """

    session_id: str
    machine_id: str
    operator_id: str | None
    request_id: str
    division: str | None
    granted_at: Millis
    unlocked_at: Millis | None
    open_until: Millis
    ended_at: Millis | None = None
    end_reason: EndReason | None = None
    has_clock: bool = True
    offline: bool = False
    lease_s: int = 0
    leased_at: Millis = 0
    lease_until: Millis = 0
    n: int = 0
    drained_at: Millis | None = None
    drain_reason: DrainReason | None = None
    lock_id: str | None = None
    lock_now: bool | None = None
    rev: int = 0
    stored: bool = False
    live: Live = field(default_factory=Live)

    @property
    def state(self) -> State:
        if self.ended_at is not None:
            return "ended"
        if self.drained_at is not None:
            return "draining"
        return "granted" if self.unlocked_at is None else self.live.activity

    def row(self) -> Row:
        """The values of ``SESSION_COLUMNS``."""
        return tuple([getattr(self, name) for name in SESSION_COLUMNS])

    def change(self) -> Row:
        """The values of ``CHANGED_COLUMNS``; they hold if nobody has changed the row since ``rev``."""
        seen, self.rev = self.rev, self.rev + 1
        return (self.session_id, seen, *[getattr(self, name) for name in CHANGED_COLUMNS[2:]])

    def as_fact(self) -> OpenSession:
        return OpenSession(self.session_id, self.machine_id, self.operator_id, self.open_until)

    def holds(self, running: str | None, challenge: str | None, now: Millis) -> bool:
        """Whether its chip, which runs ``running`` and shows ``challenge``, runs it or may yet take its grant.

        For which challenge another gateway has granted it is not known here: it may be this one.
        """
        if self.state == "draining" or self.open_until < now:
            return False
        on_its_way = not self.live.grant_refused and now - self.granted_at < CHIP_GIVES_UP_S * 1000
        fits = challenge is not None and self.live.answers in (None, challenge)
        return self.session_id == running or (on_its_way and fits)

    def last_heard(self) -> Millis:
        """When the chip last spoke of it, as far as is known: a lease is renewed on its word alone."""
        return max(self.live.heard_at or 0, self.leased_at, self.unlocked_at or 0)


class Sessions:
    """At most one open session per machine and per operator; the database has the last word on both."""

    def __init__(self) -> None:
        self._by_machine: dict[str, Session] = {}
        self._by_operator: dict[str, Session] = {}
        self._touched: dict[str, Session] = {}
        self._ended: OrderedDict[str, Told | None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._by_machine)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_machine.values()))

    def load(self, rows: Iterable[Row]) -> None:
        """Forget everything and take over what the database holds; what chips said of it since the start is kept."""
        known = {session.session_id: session.live for session in self._by_machine.values()}
        self._by_machine.clear()
        self._by_operator.clear()
        self._touched.clear()
        for row in rows:
            session = _stored(row)
            session.live = _as_before(known.get(session.session_id))
            self._keep(session)

    def refresh(self, machine_ids: Iterable[str], rows: Iterable[Row]) -> list[Session]:
        """Take over what the database holds of some machines; returns the sessions that are other than memory knew."""
        held = {session.machine_id: session for session in map(_stored, rows)}
        return [held[one] for one in machine_ids if self._take_over(self._by_machine.get(one), held.get(one))]

    def _take_over(self, known: Session | None, held: Session | None) -> bool:
        """One machine's session; True where the database holds another one, or a later state of it."""
        if known is not None and (held is None or (known.session_id, known.rev) != (held.session_id, held.rev)):
            self._touched.pop(known.session_id, None)
            self._drop(known)
            self._remember(known.session_id)
        elif known is not None or held is None:
            return False
        if held is None:
            return False
        if known is not None and known.session_id == held.session_id:
            held.live = known.live
        self._keep(held)
        return True

    def at_machine(self, machine_id: str) -> Session | None:
        return self._by_machine.get(machine_id)

    def of_operator(self, operator_id: str | None) -> Session | None:
        return None if operator_id is None else self._by_operator.get(operator_id)

    def open(self, session: Session) -> None:
        self._keep(session)
        self._touched[session.session_id] = session

    def step(self, session: Session, step: Step, now: Millis, reason: EndReason) -> bool:
        """Take one step of the table; True if the session ended by it."""
        before = session.state
        after = TABLE.get((before, step), (before, ""))[0]
        if after == before:
            return False
        if after == "ended":
            session.ended_at, session.end_reason = now, reason
            self._drop(session)
            self._remember(session.session_id)
        elif after != "draining":
            session.live.activity = after
            if session.unlocked_at is not None:
                return False  # whether it welds or idles is for memory alone
            session.unlocked_at = now
        self._touched[session.session_id] = session
        return after == "ended"

    def replace(self, machine_id: str, operator_id: str | None, now: Millis) -> list[Session]:
        """End whatever stands in the way of a new session for this machine and operator. Returns the ended."""
        in_the_way = (self.at_machine(machine_id), self.of_operator(operator_id))
        return [session for session in in_the_way if session is not None and self._make_way(session, now)]

    def _make_way(self, session: Session, now: Millis) -> bool:
        if session.open_until >= now:
            return self.step(session, "replaced", now, "replaced")
        silent_s = (now - session.last_heard()) / 1000
        reason = time_up_reason(session.state, silent_s, session.lease_s, session.drain_reason)
        return self.step(session, "time_up", now, reason)

    def knows(self, machine_id: str, session_id: str | None) -> bool:
        """Whether memory can tell what an event of the machine speaks of: its open session (also by None), or one that
        ended lately."""
        session = self._by_machine.get(machine_id)
        if session is not None and session_id in (None, session.session_id):
            return True
        return session_id is not None and session_id in self._ended

    def told_end(self, session_id: str) -> Told | None:
        """The chip's word that ended the session, if it was that and lately."""
        return self._ended.get(session_id)

    def tell_end(self, session_id: str, told: Told) -> None:
        """Note that it was its chip that named the session and ended it."""
        self._ended[session_id] = told

    def lease(self, session: Session, renewal: Renewal, now: Millis, drain_s: int) -> None:
        """Note a lease that is about to be sent, or that turned out to last shorter than it could have.

        ``drain_s``: how long an arc may outlast it.
        """
        session.lease_s, session.lease_until = renewal.lease_s, renewal.lease_until
        session.leased_at = now
        session.open_until = over_at(renewal.lease_until, drain_s)
        self._touched[session.session_id] = session

    def drains_within(self, drain_s: int) -> None:
        """An arc may outlast the lease by so much: no session is over before."""
        for session in self:
            over = over_at(session.lease_until, drain_s)
            if over > session.open_until:
                session.open_until = over
                self._touched[session.session_id] = session

    def shift(self, by_ms: int, sessions: Iterable[Session] | None = None) -> None:
        """The wall clock was set: what was reckoned by it is reckoned anew, of all or of some."""
        for session in (self if sessions is None else sessions) if by_ms else ():
            session.open_until += by_ms
            session.lease_until += by_ms
            session.leased_at += by_ms
            session.drained_at = None if session.drained_at is None else session.drained_at + by_ms
            session.live.shift(by_ms)
            self._touched[session.session_id] = session

    def drain(self, session: Session, reason: DrainReason, now: Millis, lock_id: str, *, at_once: bool) -> None:
        """Note a lock that is about to be sent. A session that drains already keeps its first reason."""
        session.drained_at = session.drained_at or now
        session.drain_reason = session.drain_reason or reason
        session.lock_id, session.lock_now = lock_id, at_once
        self._touched[session.session_id] = session

    def number(self, session: Session) -> int:
        """The next command number of a session."""
        session.n += 1
        self._touched[session.session_id] = session
        return session.n

    def loses_clock(self, session: Session) -> None:
        """The chip's clock can no longer be trusted to refuse what is late."""
        if session.has_clock:
            session.has_clock = False
            self._touched[session.session_id] = session

    def take_changes(self) -> tuple[list[Row], list[Row]]:
        """Rows to change and rows to insert for what was touched since the last call."""
        changed: list[Row] = []
        opened: list[Row] = []
        for session in self._touched.values():
            if session.stored:
                changed.append(session.change())
            else:
                opened.append(session.row())
                session.stored = True
        self._touched.clear()
        return changed, opened

    def _remember(self, session_id: str) -> None:
        self._ended[session_id] = None
        if len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)

    def _keep(self, session: Session) -> None:
        self._by_machine[session.machine_id] = session
        if session.operator_id is not None:
            self._by_operator[session.operator_id] = session

    def _drop(self, session: Session) -> None:
        if self._by_machine.get(session.machine_id) is session:
            del self._by_machine[session.machine_id]
        if session.operator_id is not None and self._by_operator.get(session.operator_id) is session:
            del self._by_operator[session.operator_id]


def _stored(row: Row) -> Session:
    session = Session(*row)
    session.stored = True
    return session


def _as_before(live: Live | None) -> Live:
    """What a batch that failed has noted was never sent: its messages come again, and count again."""
    if live is None:
        return Live()
    live.usage, live.overdue, live.lock_sent_at = None, False, 0
    return live
