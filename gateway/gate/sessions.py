"""The open sessions in memory, as the database holds them, plus what the current batch changes."""

from collections.abc import Iterable

from msgspec import Struct

from gateway.core.model import Millis, OpenSession
from gateway.core.session import TABLE, State, Step, end_reason
from gateway.store.prepared import Row


class Session(Struct):
    """One row of the sessions table. ``stored`` = the database has it, or gets it before the next change."""

    session_id: str
    machine_id: str
    operator_id: str | None
    request_id: str
    division: str | None
    granted_at: Millis
    unlocked_at: Millis | None
    open_until: Millis
    ended_at: Millis | None = None
    end_reason: str | None = None
    stored: bool = False

    @property
    def state(self) -> State:
        if self.ended_at is not None:
            return "ended"
        return "granted" if self.unlocked_at is None else "unlocked"

    def row(self) -> Row:
        """The values of ``SESSION_COLUMNS``."""
        return (
            self.session_id,
            self.machine_id,
            self.operator_id,
            self.request_id,
            self.division,
            self.granted_at,
            self.unlocked_at,
            self.open_until,
            self.ended_at,
            self.end_reason,
        )

    def as_fact(self) -> OpenSession:
        return OpenSession(self.session_id, self.machine_id, self.operator_id, self.open_until)


class Sessions:
    """At most one open session per machine and per operator; the database has the last word on both."""

    def __init__(self) -> None:
        self._by_machine: dict[str, Session] = {}
        self._by_operator: dict[str, Session] = {}
        self._touched: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._by_machine)

    def load(self, rows: Iterable[Row]) -> None:
        """Forget everything and take over what the database holds."""
        self._by_machine.clear()
        self._by_operator.clear()
        self._touched.clear()
        for row in rows:
            session = Session(*row)
            session.stored = True
            self._keep(session)

    def at_machine(self, machine_id: str) -> Session | None:
        return self._by_machine.get(machine_id)

    def of_operator(self, operator_id: str | None) -> Session | None:
        return None if operator_id is None else self._by_operator.get(operator_id)

    def due(self, now: Millis) -> list[Session]:
        """Sessions whose longest relay time has passed."""
        return [session for session in self._by_machine.values() if session.open_until < now]

    def open(self, session: Session) -> None:
        self._keep(session)
        self._touched[session.session_id] = session

    def step(self, session: Session, step: Step, now: Millis, reason: str) -> bool:
        """Take one step of the table; True if the session ended by it."""
        state = TABLE[session.state, step]
        if state == session.state:
            return False
        if state == "unlocked":
            session.unlocked_at = now
        else:
            session.ended_at, session.end_reason = now, reason[:64]
            self._drop(session)
        self._touched[session.session_id] = session
        return state == "ended"

    def replace(self, machine_id: str, operator_id: str | None, now: Millis) -> list[Session]:
        """End whatever stands in the way of a new session for this machine and operator. Returns the ended."""
        in_the_way = (self.at_machine(machine_id), self.of_operator(operator_id))
        return [session for session in in_the_way if session is not None and self._make_way(session, now)]

    def _make_way(self, session: Session, now: Millis) -> bool:
        step: Step = "replaced" if session.open_until >= now else "lease_over"
        return self.step(session, step, now, end_reason(step, None))

    def take_changes(self) -> tuple[list[Row], list[Row]]:
        """Rows to change and rows to insert for what was touched since the last call."""
        changed: list[Row] = []
        opened: list[Row] = []
        for session in self._touched.values():
            if session.stored:
                changed.append((session.session_id, session.unlocked_at, session.ended_at, session.end_reason))
            else:
                opened.append(session.row())
                session.stored = True
        self._touched.clear()
        return changed, opened

    def _keep(self, session: Session) -> None:
        self._by_machine[session.machine_id] = session
        if session.operator_id is not None:
            self._by_operator[session.operator_id] = session

    def _drop(self, session: Session) -> None:
        if self._by_machine.get(session.machine_id) is session:
            del self._by_machine[session.machine_id]
        if session.operator_id is not None and self._by_operator.get(session.operator_id) is session:
            del self._by_operator[session.operator_id]
