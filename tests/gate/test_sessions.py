"""Sessions in memory against the database that has the last word: whatever happens in whatever order, they agree."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from joserfc.jwk import ECKey
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.session import TABLE, State, Step, end_reason
from gateway.gate.sessions import Session, Sessions
from gateway.store.engine import open_engine
from gateway.store.journal import SESSION_COLUMNS, Batch, Journal, open_sessions
from gateway.store.prepared import Row
from gateway.wire.tokens import Signer
from tests.gate.gates import MACHINES, NOW, WELDERS, decision_of, make_gate

LEASE_MS = 930_000
_database: list[tuple[Connection, Journal]] = []
"""One migrated database in memory for all runs: made at the first one, emptied at each."""


@pytest.fixture(scope="module", autouse=True)
def database() -> Iterator[None]:
    engine = open_engine("sqlite://")
    signer = Signer(ECKey.generate_key("P-256"))
    with engine.connect() as connection:
        _database.append((connection, Journal(engine.dialect, signer)))
        yield
        _database.clear()
    engine.dispose()


class Known(Struct):
    """What the test itself knows of one session."""

    session_id: str
    machine_id: str
    operator_id: str | None
    state: State = "granted"
    reason: str | None = None


class SessionsAgainstTheDatabase(RuleBasedStateMachine):
    """Allows and steps in any order, written at any time, read back at any time, lost at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.connection, self.journal = _database[0]
        with self.connection.begin():
            self.connection.exec_driver_sql("DELETE FROM sessions")
        self.sessions = Sessions()
        self.held: dict[str, Session] = {}
        self.known: dict[str, Known] = {}
        self.stored: dict[str, Known] = {}
        self.now = NOW
        self.numbers = count(1)

    # --- what happens ---

    @rule(machine=st.sampled_from(MACHINES), operator=st.sampled_from([*WELDERS, None]))
    def allow(self, machine: str, operator: str | None) -> None:
        """An allow: what stands in the way is replaced, then one session opens."""
        session_id = f"session-{next(self.numbers)}"
        in_the_way = {
            one.session_id
            for one in self.known.values()
            if one.state != "ended" and (one.machine_id == machine or (operator and one.operator_id == operator))
        }
        replaced = [one.session_id for one in self.sessions.replace(machine, operator, self.now)]
        assert set(replaced) == in_the_way
        assert len(replaced) == len(in_the_way)
        for one in in_the_way:
            over = self.held[one].open_until < self.now
            self.known[one].state, self.known[one].reason = "ended", "lease_over" if over else "replaced"
        session = Session(
            session_id, machine, operator, f"request-{session_id}", None, self.now, None, self.now + LEASE_MS
        )
        self.sessions.open(session)
        self.held[session_id] = session
        self.known[session_id] = Known(session_id, machine, operator)

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(), step=st.sampled_from(get_args(Step)), says=st.sampled_from([None, "idle", "operator", "x" * 90])
    )
    def step(self, data: st.DataObject, step: Step, says: str | None) -> None:
        """Any session that ever was takes any step."""
        session = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        known = self.known[session.session_id]
        after = TABLE[known.state, step]
        reason = end_reason(step, says)
        assert self.sessions.step(session, step, self.now, reason) == (after == "ended" and known.state != "ended")
        if after == "ended" and known.state != "ended":
            known.reason = reason[:64]
        known.state = after

    @rule(minutes=st.integers(1, 20))
    def time_passes(self, minutes: int) -> None:
        """Sessions whose longest relay time is over end."""
        self.now += minutes * 60_000
        due = self.sessions.due(self.now)
        over = {
            one.session_id for one in self.held.values() if one.open_until < self.now and self._open(one.session_id)
        }
        assert {one.session_id for one in due} == over
        for session in due:
            assert self.sessions.step(session, "lease_over", self.now, "lease_over")
            self.known[session.session_id].state = "ended"
            self.known[session.session_id].reason = "lease_over"

    def _open(self, session_id: str) -> bool:
        return self.known[session_id].state != "ended"

    @rule()
    def write(self) -> None:
        """What was touched becomes durable in one commit."""
        changed, opened = self.sessions.take_changes()
        self.journal.commit(self.connection, Batch(changed=changed, opened=opened))
        assert self.sessions.take_changes() == ([], [])
        self.stored = {name: _copy(one) for name, one in self.known.items()}

    @rule()
    def read_back(self) -> None:
        """As after a restart or a failed commit: what was not written never happened."""
        self.sessions.load(open_sessions(self.connection))
        self.known = {name: _copy(one) for name, one in self.stored.items()}
        self.held = {}
        for machine in MACHINES:
            session = self.sessions.at_machine(machine)
            if session is not None:
                self.held[session.session_id] = session
        assert self.sessions.take_changes() == ([], [])

    # --- what holds at every moment ---

    @invariant()
    def at_most_one_is_open_per_machine_and_per_operator_and_memory_knows_which(self) -> None:
        open_ones = [one for one in self.known.values() if one.state != "ended"]
        assert len({one.machine_id for one in open_ones}) == len(open_ones) == len(self.sessions)
        operators = [one.operator_id for one in open_ones if one.operator_id]
        assert len(set(operators)) == len(operators)
        for machine in MACHINES:
            expected = [one.session_id for one in open_ones if one.machine_id == machine]
            found = self.sessions.at_machine(machine)
            assert ([found.session_id] if found else []) == expected
        for operator in WELDERS:
            expected = [one.session_id for one in open_ones if one.operator_id == operator]
            found = self.sessions.of_operator(operator)
            assert ([found.session_id] if found else []) == expected
        assert self.sessions.of_operator(None) is None

    @invariant()
    def what_has_ended_stays_ended_for_its_first_reason(self) -> None:
        for name, session in self.held.items():
            assert session.state == self.known[name].state
            assert session.end_reason == self.known[name].reason

    @invariant()
    def the_database_holds_what_was_written(self) -> None:
        rows = {row[0]: row for row in open_sessions(self.connection)}
        expected = {name for name, one in self.stored.items() if one.state != "ended"}
        assert set(rows) == expected
        for name in expected:
            unlocked = rows[name][SESSION_COLUMNS.index("unlocked_at")] is not None
            assert unlocked == (self.stored[name].state == "unlocked")


def _copy(one: Known) -> Known:
    return Known(one.session_id, one.machine_id, one.operator_id, one.state, one.reason)


TestSessionsAgainstTheDatabase = SessionsAgainstTheDatabase.TestCase
TestSessionsAgainstTheDatabase.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


# --- the same by hand -------------------------------------------------------------------------------------------


@contextmanager
def stored(*sessions: Session) -> Iterator[list[Row]]:
    connection, journal = _database[0]
    with connection.begin():
        connection.exec_driver_sql("DELETE FROM sessions")
    journal.commit(connection, Batch(opened=[session.row() for session in sessions]))
    yield open_sessions(connection)


def session(number: int, machine_id: str, operator_id: str | None) -> Session:
    return Session(
        f"session-{number}", machine_id, operator_id, f"request-{number}", "330521", NOW, None, NOW + LEASE_MS
    )


def test_a_row_holds_every_column_in_order_and_reads_back_as_the_session() -> None:
    one = session(1, "HJ-0001", "P000123")
    assert len(one.row()) == len(SESSION_COLUMNS)
    with stored(one) as rows:
        sessions = Sessions()
        sessions.load(rows)
        loaded = sessions.at_machine("HJ-0001")
        assert loaded is not None
        assert loaded.row() == one.row()
        assert loaded.stored


def test_taking_over_the_database_forgets_everything_that_it_does_not_hold() -> None:
    with stored(session(1, "HJ-0001", "P000123")) as rows:
        sessions = Sessions()
        sessions.open(session(2, "HJ-0002", "P000456"))
        sessions.load(rows)
        assert len(sessions) == 1
        assert sessions.of_operator("P000456") is None
        assert sessions.take_changes() == ([], [])


def test_an_allow_may_replace_two_sessions_at_once() -> None:
    """Where the policy only warns: one here of somebody else, one of this welder elsewhere."""
    sessions = Sessions()
    sessions.open(session(1, "HJ-0001", "P000456"))
    sessions.open(session(2, "HJ-0002", "P000123"))
    replaced = sessions.replace("HJ-0001", "P000123", NOW)
    assert [one.session_id for one in replaced] == ["session-1", "session-2"]
    assert {one.end_reason for one in replaced} == {"replaced"}
    assert len(sessions) == 0


def test_a_session_is_a_fact_for_the_next_decision() -> None:
    fact = session(1, "HJ-0001", "P000123").as_fact()
    assert (fact.session_id, fact.machine_id, fact.operator_id, fact.open_until) == (
        "session-1",
        "HJ-0001",
        "P000123",
        NOW + LEASE_MS,
    )


@pytest.mark.parametrize("welder", ["nobody", "", "P000456"])
def test_a_denied_request_opens_none_and_ends_none(welder: str) -> None:
    gate = make_gate()
    gate.request("P000123")
    before = gate.sessions.at_machine("HJ-0001")
    gate.sessions.take_changes()
    assert decision_of(gate.request(welder)).outcome == "deny"
    assert gate.sessions.at_machine("HJ-0001") is before
    assert gate.sessions.take_changes() == ([], [])
