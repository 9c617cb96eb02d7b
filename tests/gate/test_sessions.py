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

from gateway.core.lease import Renewal
from gateway.core.session import TABLE, DrainReason, EndReason, State, Step, time_up_reason
from gateway.gate.sessions import REMEMBERED_ENDS, Session, Sessions, Told
from gateway.store.engine import open_engine
from gateway.store.journal import CHANGED_COLUMNS, SESSION_COLUMNS, Batch, Journal
from gateway.store.prepared import Row
from gateway.wire.tokens import Signer
from tests.gate.gates import MACHINES, NOW, WELDERS, decision_of, make_gate
from tests.store.databases import book

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


def session(number: int, machine_id: str, operator_id: str | None, now: int = NOW) -> Session:
    return Session(
        session_id=f"session-{number}",
        machine_id=machine_id,
        operator_id=operator_id,
        request_id=f"request-{number}",
        division="330521",
        granted_at=now,
        unlocked_at=None,
        open_until=now + LEASE_MS,
        lease_s=900,
        leased_at=now,
        lease_until=now + LEASE_MS,
    )


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
        self.rows: dict[str, Row] = {}
        self.now = NOW
        self.numbers = count(1)

    # --- what happens ---

    @rule(machine=st.sampled_from(MACHINES), operator=st.sampled_from([*WELDERS, None]))
    def allow(self, machine: str, operator: str | None) -> None:
        """An allow: what stands in the way is replaced, then one session opens."""
        in_the_way = {
            one.session_id
            for one in self.known.values()
            if one.state != "ended" and (one.machine_id == machine or (operator and one.operator_id == operator))
        }
        reasons = {one: self._reason_to_make_way(self.held[one]) for one in in_the_way}
        replaced = [one.session_id for one in self.sessions.replace(machine, operator, self.now)]
        assert set(replaced) == in_the_way
        assert len(replaced) == len(in_the_way)
        for one in in_the_way:
            self.known[one].state, self.known[one].reason = "ended", reasons[one]
        opened = session(next(self.numbers), machine, operator, self.now)
        self.sessions.open(opened)
        self.held[opened.session_id] = opened
        self.known[opened.session_id] = Known(opened.session_id, machine, operator)

    def _reason_to_make_way(self, held: Session) -> EndReason:
        if held.open_until >= self.now:
            return "replaced"
        silent_s = (self.now - held.last_heard()) / 1000
        return time_up_reason(held.state, silent_s, held.lease_s, held.drain_reason)

    def _any(self, data: st.DataObject) -> Session:
        return self.held[data.draw(st.sampled_from(sorted(self.held)))]

    def _any_open(self, data: st.DataObject) -> Session | None:
        found = self._any(data)
        return found if self._open(found.session_id) else None

    @precondition(lambda self: self.held)
    @rule(
        data=st.data(),
        step=st.sampled_from(sorted(set(get_args(Step)) - {"drain"})),
        why=st.sampled_from(get_args(EndReason)),
    )
    def step(self, data: st.DataObject, step: Step, why: EndReason) -> None:
        """Any session that ever was takes any step."""
        taken = self._any(data)
        known = self.known[taken.session_id]
        after = TABLE.get((known.state, step), (known.state, ""))[0]
        ends = after == "ended" and known.state != "ended"
        assert self.sessions.step(taken, step, self.now, why) == ends
        if ends:
            known.reason = why
            assert self.sessions.knows(taken.machine_id, taken.session_id)
        known.state = after

    @precondition(lambda self: self.held)
    @rule(data=st.data(), why=st.sampled_from(get_args(DrainReason)), at_once=st.booleans())
    def lock(self, data: st.DataObject, why: DrainReason, at_once: bool) -> None:
        """A lock is sent; of several the first says why."""
        locked = self._any_open(data)
        if locked is None:
            return
        first = locked.drain_reason or why
        before = locked.n
        number = self.sessions.number(locked)
        self.sessions.drain(locked, why, self.now, f"lock-{number}", at_once=at_once)
        assert (locked.n, locked.drain_reason, locked.lock_id) == (before + 1, first, f"lock-{number}")
        self.known[locked.session_id].state = "draining"

    @precondition(lambda self: self.held)
    @rule(data=st.data(), lease_s=st.integers(1, 1800))
    def renew(self, data: st.DataObject, lease_s: int) -> None:
        """A renewal is sent."""
        renewed = self._any_open(data)
        if renewed is not None:
            lease = Renewal(lease_s, self.now + lease_s * 1000)
            self.sessions.lease(renewed, lease, self.now, 120)
            assert renewed.open_until > renewed.lease_until == lease.lease_until

    @rule(minutes=st.integers(1, 20))
    def time_passes(self, minutes: int) -> None:
        """Sessions whose longest relay time is over end."""
        self.now += minutes * 60_000
        for over in [one for one in self.sessions if one.open_until < self.now]:
            assert self.sessions.step(over, "time_up", self.now, "lease_over")
            self.known[over.session_id].state = "ended"
            self.known[over.session_id].reason = "lease_over"

    def _open(self, session_id: str) -> bool:
        return self.known[session_id].state != "ended"

    @rule()
    def write(self) -> None:
        """What was touched becomes durable in one commit."""
        changed, opened = self.sessions.take_changes()
        self.journal.commit(self.connection, Batch(changed=changed, opened=opened))
        assert self.sessions.take_changes() == ([], [])
        self.stored = {name: _copy(one) for name, one in self.known.items()}
        self.rows = {name: one.row() for name, one in self.held.items() if self._open(name)}

    @rule()
    def read_back(self) -> None:
        """As after a restart or a failed commit: what was not written never happened."""
        welds = {one.session_id: one.live.activity for one in self.sessions}
        self.sessions.load(book(self.connection).sessions)
        self.known = {name: _copy(one) for name, one in self.stored.items()}
        for one in self.known.values():
            if one.state in ("unlocked", "welding", "idle"):
                one.state = welds.get(one.session_id, "unlocked")
        self.held = {one.session_id: one for one in self.sessions}
        assert self.sessions.take_changes() == ([], [])

    @rule(machine=st.sampled_from(MACHINES))
    def look_up(self, machine: str) -> None:
        """One machine is looked up, where nothing of ours is under way."""
        self.write()
        before = {one.session_id: one for one in self.sessions}
        rows = [row for row in book(self.connection).sessions if row[1] == machine]
        assert self.sessions.refresh([machine], rows) == []
        assert {one.session_id: one for one in self.sessions} == before

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
        for name, held in self.held.items():
            assert held.state == self.known[name].state
            assert held.end_reason == self.known[name].reason

    @invariant()
    def the_database_holds_every_open_session_as_it_was_written(self) -> None:
        assert {row[0]: row for row in book(self.connection).sessions} == self.rows


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
    yield book(connection).sessions


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


def test_a_change_holds_every_column_that_changes_behind_the_session_s_id() -> None:
    one = session(1, "HJ-0001", "P000123")
    change = dict(zip(CHANGED_COLUMNS, one.change(), strict=True))
    row = dict(zip(SESSION_COLUMNS, one.row(), strict=True))
    assert (change.pop("session"), change.pop("seen"), change["rev"]) == ("session-1", 0, 1)
    assert change == {name: value for name, value in row.items() if name in change}
    never = {"session_id", "machine_id", "operator_id", "request_id", "division", "granted_at", "offline"}
    assert set(row) - set(change) == never


def test_what_the_chip_said_of_a_session_is_known_after_reading_back_and_not_after_a_restart() -> None:
    with stored(session(1, "HJ-0001", "P000123")) as rows:
        sessions = Sessions()
        sessions.load(rows)
        held = sessions.at_machine("HJ-0001")
        assert held is not None
        held.live.heard_at = NOW + 1
        sessions.load(rows)
        assert [one.live.heard_at for one in sessions] == [NOW + 1]
        restarted = Sessions()
        restarted.load(rows)
        assert [one.live.heard_at for one in restarted] == [None]


def test_the_latest_ends_are_remembered() -> None:
    sessions = Sessions()
    for number in range(REMEMBERED_ENDS + 1):
        one = session(number, "HJ-0001", None)
        sessions.open(one)
        sessions.step(one, "locked", NOW, "operator")
    known = [sessions.knows("HJ-0001", f"session-{number}") for number in (0, 1, REMEMBERED_ENDS)]
    assert known == [False, True, True]


def test_of_an_end_is_remembered_that_its_chip_told_it() -> None:
    sessions, one = Sessions(), session(1, "HJ-0001", None)
    sessions.open(one)
    sessions.step(one, "locked", NOW, "operator")
    assert sessions.told_end("session-1") is None
    sessions.tell_end("session-1", Told(NOW, None))
    assert sessions.told_end("session-1") == Told(NOW, None)


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
