"""Retention: what goes and what stays; the chain stays whole wherever it is cut and whenever that breaks off."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rfc8785
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Engine

from gateway.core.model import OperatorStatus
from gateway.core.policy import Policy, Requests, Retention
from gateway.errors import DatabaseUnavailable
from gateway.store.beside import Pace
from gateway.store.changes import Origin
from gateway.store.entries import Entry, OperatorEntry
from gateway.store.history import PurgedError, kept_since
from gateway.store.journal import USAGE_COLUMNS, Batch, Journal
from gateway.store.ledger import Anchor, Draft, Finding, Stored, check, read_anchor
from gateway.store.purge import DAY_MS, Ordered, PurgeError, due, purge
from gateway.store.registry import apply_entries
from gateway.store.rollback import roll_back
from gateway.store.tables import RegistryChange, RegistryEvent, RegistryHistory, metadata
from gateway.store.vault import Vault, open_vault
from gateway.wire.tokens import Signer
from tests.store.databases import AT, IMPATIENT, Databases, chain, decision, locked, session, whole_chain

QUICK = Pace(rows=2, pause_s=0)
KEPT_FOR_EVER = Retention(0, 0, 0, 0, 0, 0, 0)
LEDGER = Policy(retention=replace(KEPT_FOR_EVER, ledger_days=10))


def kept(**days: int) -> Policy:
    return Policy(retention=replace(KEPT_FOR_EVER, **{f"{kind}_days": number for kind, number in days.items()}))


def ordered(at: int) -> Ordered:
    return Ordered("Wang An", "保存期满", at)


def findings(engine: Engine) -> list[Finding]:
    rows, head = whole_chain(engine)
    with engine.connect() as connection:
        return list(check(rows, head, read_anchor(connection)))


def anchor(engine: Engine) -> Anchor:
    with engine.connect() as connection:
        return read_anchor(connection)


def seqs(engine: Engine) -> list[int]:
    return [row.seq for row in whole_chain(engine)[0]]


def days_of_work(engine: Engine, signer: Signer, days: int, *, since: int = 0, a_day: int = 2) -> None:
    """Two refusals a day at noon, from AT on."""
    journal = Journal(engine.dialect, signer)
    with engine.connect() as connection:
        for day in range(since, since + days):
            drafts = [decision(f"request-{day:04}-{n}", at=AT + day * DAY_MS + n) for n in range(a_day)]
            journal.commit(connection, Batch(drafts))


def stopped_after(commits: int) -> Any:
    """A progress that breaks a purge off at its so-manieth batch of records."""

    def stop(what: str, done: int, _of: int) -> None:
        if what == "purge ledger" and done >= commits * QUICK.rows:
            raise InterruptedError

    return stop


# --- the ledger -------------------------------------------------------------------------------------------------


def test_records_past_their_retention_go_and_the_rest_is_whole(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 30)
    found = purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    assert found.cut
    assert (found.cut.seq, found.cut.count) == (38, 38)
    assert seqs(engine) == list(range(39, 62))
    assert findings(engine) == []
    assert anchor(engine) == Anchor(38, bytes.fromhex(found.cut.hash))
    last = whole_chain(engine)[0][-1]
    body = {"seq": 38, "hash": found.cut.hash, "count": 38}
    assert last.kind == "purge"
    assert json.loads(last.record)["body"] == {
        "by": "Wang An",
        "ledger": body,
        "reason": "保存期满",
        "rows": {},
    }


def test_the_record_of_a_purge_is_rfc_8785(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 30)
    purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    record = whole_chain(engine)[0][-1].record
    assert record == rfc8785.dumps(json.loads(record))


def test_kept_for_ever_is_the_default_for_the_ledger(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 3)
    found = purge(engine, Policy(), ordered(AT + 40_000 * DAY_MS), pace=QUICK)
    assert not found.anything
    assert seqs(engine) == [1, 2, 3, 4, 5, 6]


def test_without_anything_due_there_is_no_record_of_it(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 5)
    assert not purge(engine, LEDGER, ordered(AT + 5 * DAY_MS), pace=QUICK).anything
    assert len(seqs(engine)) == 10
    assert anchor(engine) == Anchor()


def test_a_second_purge_goes_on_from_the_first_and_takes_its_record_too(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 30)
    purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    days_of_work(engine, signer, 30, since=30)
    found = purge(engine, LEDGER, ordered(AT + 59 * DAY_MS), pace=QUICK)
    assert found.cut
    assert found.cut.count == 61
    assert min(seqs(engine)) == 100
    assert findings(engine) == []


@pytest.mark.parametrize("days", [1, 9, 20])
def test_what_an_open_session_was_opened_by_stays_and_all_after_it(engine: Engine, signer: Signer, days: int) -> None:
    days_of_work(engine, signer, 30)
    with engine.connect() as connection:
        opened = [session("open", granted_at=AT + days * DAY_MS)]
        Journal(engine.dialect, signer).commit(connection, Batch(opened=opened))
    purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    assert min(seqs(engine)) == min(2 * days + 1, 39)
    assert findings(engine) == []


@pytest.mark.parametrize(("max_age_s", "first"), [(60, 57), (5 * 86_400, 49)])
def test_the_last_day_stays_and_whatever_a_request_that_comes_again_may_ask_for(
    engine: Engine, signer: Signer, max_age_s: int, first: int
) -> None:
    days_of_work(engine, signer, 30)
    policy = Policy(retention=replace(KEPT_FOR_EVER, ledger_days=1), requests=Requests(max_age_s=max_age_s))
    purge(engine, policy, ordered(AT + 29 * DAY_MS), pace=QUICK)
    assert min(seqs(engine)) == first


def test_records_behind_one_that_stays_stay_however_old_they_look(engine: Engine, signer: Signer) -> None:
    """The clock was set back after the third record."""
    journal = Journal(engine.dialect, signer)
    with engine.connect() as connection:
        for number, day in enumerate((0, 1, 30, 2, 3, 31)):
            journal.commit(connection, Batch([decision(f"request-{number}", at=AT + day * DAY_MS)]))
    purge(engine, LEDGER, ordered(AT + 31 * DAY_MS), pace=QUICK)
    assert min(seqs(engine)) == 3
    assert findings(engine) == []


def test_a_clock_that_was_vouched_for_may_lie_in_what_is_purged(engine: Engine, signer: Signer) -> None:
    journal = Journal(engine.dialect, signer)
    with engine.connect() as connection:
        journal.commit(connection, Batch([decision("request-0", at=AT + 9 * DAY_MS)]))
        journal.accept_clock(connection, Draft("gateway", AT, b'{"what":"clock_accepted"}'))
    days_of_work(engine, signer, 30)
    purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    assert min(seqs(engine)) > 2
    assert findings(engine) == []


def test_invariant_a_clock_that_runs_ahead_makes_nothing_older(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 12)
    for _ in range(2):
        purge(engine, LEDGER, ordered(AT + 4000 * DAY_MS), pace=QUICK)
        assert min(seqs(engine)) == 4
    assert findings(engine) == []


def test_a_ledger_that_was_changed_is_not_purged_of_what_shows_it(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    engine = databases.engine(path)
    days_of_work(engine, signer, 30)
    with closing(sqlite3.connect(path)) as tool, tool:
        tool.execute("UPDATE ledger SET operator_id = 'P000999' WHERE seq = 3")
    with pytest.raises(PurgeError, match="not intact"):
        purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    assert len(seqs(engine)) == 60
    assert anchor(engine) == Anchor()


def test_a_database_that_takes_no_writes_loses_nothing(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    days_of_work(databases.engine(path), signer, 30)
    engine = databases.engine(path, IMPATIENT)
    with locked(path), pytest.raises(DatabaseUnavailable, match="broken off"):
        purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    assert (len(seqs(engine)), findings(engine)) == (60, [])


# --- INVARIANT: the chain is whole at any cut, and whenever a purge is broken off --------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_invariant_wherever_it_is_cut_and_whenever_broken_off_the_chain_is_whole(
    databases: Databases, signer: Signer, data: st.DataObject
) -> None:
    engine = databases.engine()
    days = 0
    for _ in range(data.draw(st.integers(1, 3), label="purges")):
        more = data.draw(st.integers(1, 12), label="days of work")
        days_of_work(engine, signer, more, since=days)
        days += more
        policy = kept(ledger=data.draw(st.integers(1, 8), label="days kept"))
        commits = data.draw(st.integers(0, 9), label="broken off after")
        try:
            purge(engine, policy, ordered(AT + days * DAY_MS), stopped_after(commits), QUICK)
        except InterruptedError:
            assert anchor(engine).seq > 0
        assert findings(engine) == []
    purge(engine, LEDGER, ordered(AT + days * DAY_MS), pace=QUICK)
    assert findings(engine) == []
    assert min(seqs(engine)) > anchor(engine).seq


def test_records_that_a_broken_off_purge_left_are_still_checked(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    engine = databases.engine(path)
    days_of_work(engine, signer, 30)
    with pytest.raises(InterruptedError):
        purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), stopped_after(3), QUICK)
    assert (min(seqs(engine)), anchor(engine).seq, findings(engine)) == (7, 38, [])
    assert due(engine, LEDGER, AT + 29 * DAY_MS).left == 32
    with closing(sqlite3.connect(path)) as tool, tool:
        tool.execute("DELETE FROM ledger WHERE seq = 12")
    assert [finding.seq for finding in findings(engine)] == [13]


# --- what is done to an anchor ----------------------------------------------------------------------------------


@pytest.fixture
def purged(databases: Databases, signer: Signer) -> tuple[Path, Engine]:
    path = databases.file()
    engine = databases.engine(path)
    days_of_work(engine, signer, 30)
    purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    return path, engine


IN_SQL = {
    "the anchor gone": "DELETE FROM ledger_anchor",
    "the anchor back": "UPDATE ledger_anchor SET seq = 37",
    "the anchor on": "UPDATE ledger_anchor SET seq = 39",
    "the anchor on, with that record's hash": (
        "UPDATE ledger_anchor SET seq = 39, hash = (SELECT hash FROM ledger WHERE seq = 39)"
    ),
    "the anchor's hash": "UPDATE ledger_anchor SET hash = zeroblob(32)",
    "the anchor's hash, now text": "UPDATE ledger_anchor SET hash = hex(hash)",
    "a record more gone": "DELETE FROM ledger WHERE seq = 39",
    "the purge's record gone": "DELETE FROM ledger WHERE kind = 'purge'",
    "the purge's record another": (
        "UPDATE ledger SET record = CAST(replace(record, '\"seq\":38', '\"seq\":37') AS BLOB) WHERE kind = 'purge'"
    ),
}


@pytest.mark.parametrize("what", IN_SQL)
def test_what_a_database_tool_does_to_the_beginning_is_found(purged: tuple[Path, Engine], what: str) -> None:
    path, engine = purged
    assert findings(engine) == []
    with closing(sqlite3.connect(path)) as tool, tool:
        assert tool.execute(IN_SQL[what]).rowcount == 1
    assert findings(engine) != []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 58), st.booleans())
def test_a_beginning_that_was_cut_off_with_an_anchor_to_fit_is_found(
    purged: tuple[Path, Engine], more: int, moved: bool
) -> None:
    """Also where a purge is on record, but a smaller one."""
    rows, head = whole_chain(purged[1])
    begins = anchor(purged[1])
    cut = rows[: min(more, len(rows) - 1)]
    forged = Anchor(cut[-1].seq, cut[-1].hash) if moved else begins
    assert list(check(rows[len(cut) :], head, forged)) != []


def test_a_beginning_cut_off_without_any_purge_on_record_is_named(engine: Engine, signer: Signer) -> None:
    chain(engine, signer, 9)
    rows, head = whole_chain(engine)
    [finding] = check(rows[3:], head, Anchor(3, rows[2].hash))
    assert (finding.seq, "no purge on record" in finding.problem) == (3, True)


def test_a_purge_s_record_that_was_forged_into_the_middle_is_found(engine: Engine, signer: Signer) -> None:
    """The anchor and a record that names it alone do not do: the record has to fit into the chain."""
    chain(engine, signer, 9)
    rows, head = whole_chain(engine)
    body = {"by": "nobody", "ledger": {"count": 3, "hash": rows[2].hash.hex(), "seq": 3}, "reason": "", "rows": {}}
    content = json.loads(rows[5].record) | {"kind": "purge", "body": body, "machine_id": None, "message_id": None}
    record = rfc8785.dumps(content | {"operator_id": None, "outcome": None})
    forged = Stored(6, rows[5].at, "purge", None, None, None, None, record, hashlib.sha256(record).digest())
    found = check([*rows[3:5], forged, *rows[6:]], head, Anchor(3, rows[2].hash))
    assert [finding.seq for finding in found] == [7]


# --- everything else --------------------------------------------------------------------------------------------


def usage(session_id: str, received_at: int) -> tuple[Any, ...]:
    values = dict.fromkeys(USAGE_COLUMNS, 0) | {"session_id": session_id, "machine_id": "HJ-0001", "relay": "open"}
    return tuple((values | {"received_at": received_at})[name] for name in USAGE_COLUMNS)


@pytest.fixture
def used(engine: Engine, signer: Signer) -> Engine:
    """Of each kind something of day 0 and something of day 20, and a record of day 20."""
    ended = {"unlocked_at": AT, "end_reason": "locked"}
    batch = Batch(
        drafts=[decision("request-0001", at=AT + 20 * DAY_MS)],
        opened=[
            session("open", "HJ-0001", "P000001"),
            session("old", "HJ-0002", "P000002", ended_at=AT, **ended),
            session("new", "HJ-0003", "P000003", ended_at=AT + 20 * DAY_MS, **ended),
        ],
        usage=[usage("open", AT), usage("old", AT), usage("new", AT + 20 * DAY_MS)],
        lost=[("HJ-0001", AT, 1, 2), ("HJ-0001", AT + 20 * DAY_MS, 5, None)],
        lists=[
            (machine, version, AT, 0, 0, b"[]") for machine, version in (("HJ-0001", 1), ("HJ-0001", 2), ("HJ-0002", 1))
        ],
    )
    with engine.connect() as connection:
        Journal(engine.dialect, signer).commit(connection, batch)
    with engine.begin() as connection:
        _registries(connection)
    return engine


def _registries(connection: sa.Connection) -> None:
    changes, history, events = (
        metadata.tables[row.__tablename__] for row in (RegistryChange, RegistryHistory, RegistryEvent)
    )
    counts = {"source": "files", "note": "", "added": 1, "changed": 1, "removed": 0}
    for change, at in ((1, AT - DAY_MS), (2, AT), (3, AT + 20 * DAY_MS), (4, None)):
        version = change if at is not None else None
        connection.execute(sa.insert(changes).values(change=change, version=version, began_at=AT, at=at, **counts))
    for to_change in (2, 3, 4):
        past = {"kind": "operators", "key": f"to {to_change}", "row": b"{}", "gone": False}
        connection.execute(sa.insert(history).values(from_change=1, to_change=to_change, **past))
    for event_id, subject, at in (("1", "P1", 1), ("2", "P1", 2), ("3", "P2", 1)):
        told = {"source": "office", "kind": "revoke", "outcome": "applied", "received_at": AT}
        connection.execute(sa.insert(events).values(event_id=event_id, subject=subject, at=at, **told))


LEFT = {
    "usage": ("SELECT session_id FROM usage ORDER BY 1", ["new", "open"]),
    "sessions": ("SELECT session_id FROM sessions ORDER BY 1", ["new", "open"]),
    "lost_evidence": ("SELECT first FROM lost_evidence", [5]),
    "offline_lists": ("SELECT machine_id || list_version FROM offline_lists ORDER BY 1", ["HJ-00012", "HJ-00021"]),
    "history": ("SELECT key FROM registry_history WHERE kind = 'operators' ORDER BY 1", ["to 3", "to 4"]),
    "events": ("SELECT event_id FROM registry_events ORDER BY 1", ["2", "3"]),
}


def held(engine: Engine, kind: str) -> list[Any]:
    with engine.connect() as connection:
        return [row[0] for row in connection.exec_driver_sql(LEFT[kind][0])]


@pytest.mark.parametrize("kind", LEFT)
def test_what_is_past_its_retention_goes_and_all_else_stays(used: Engine, kind: str) -> None:
    before = {other: held(used, other) for other in LEFT if other != kind}
    found = purge(used, kept(**{kind: 10}), ordered(AT + 20 * DAY_MS), pace=QUICK)
    assert held(used, kind) == LEFT[kind][1]
    assert {other: held(used, other) for other in before} == before
    assert found.rows == {kind: 1}
    record = json.loads(whole_chain(used)[0][-1].record)
    assert (record["kind"], record["body"]["rows"], record["body"]["ledger"]) == ("purge", {kind: 1}, None)
    assert findings(used) == []


@pytest.mark.parametrize("days", [20, 30])
def test_what_is_not_past_its_retention_stays(used: Engine, days: int) -> None:
    before = {kind: held(used, kind) for kind in LEFT}
    found = purge(used, kept(**dict.fromkeys(LEFT, days)), ordered(AT + 20 * DAY_MS), pace=QUICK)
    assert {kind: held(used, kind) for kind in LEFT} == before
    assert not found.anything


def test_what_is_due_is_told_and_nothing_is_deleted(used: Engine) -> None:
    found = due(used, kept(**dict.fromkeys(LEFT, 10)), AT + 20 * DAY_MS)
    assert found.rows == dict.fromkeys(LEFT, 1)
    assert found.before == dict.fromkeys(LEFT, AT + 10 * DAY_MS)
    assert found.anything
    assert len(whole_chain(used)[0]) == 1


def test_every_kind_of_the_policy_is_purged_and_no_other() -> None:
    assert set(Retention.__struct_fields__) == {f"{kind}_days" for kind in (*LEFT, "ledger")}


def test_nothing_of_what_was_purged_stays_in_the_file(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    engine = databases.engine(path)
    days_of_work(engine, signer, 30)
    assert any(name.encode() in path.with_name(f"{path.name}-wal").read_bytes() for name in ("request-0003-1",))
    purge(engine, LEDGER, ordered(AT + 29 * DAY_MS), pace=QUICK)
    engine.dispose()
    content = path.read_bytes()
    assert b"request-0003-1" not in content
    assert b"request-0029-1" in content


# --- what the registries held then ------------------------------------------------------------------------------


@pytest.fixture
def registered(engine: Engine, tmp_path: Path) -> tuple[Engine, Vault]:
    """A person who is blocked on day 10, another who comes on day 20, a last word on day 30."""
    vault = open_vault(tmp_path / "keys")
    told: tuple[tuple[int, str, OperatorStatus], ...] = (
        (0, "P1", "active"),
        (10, "P1", "blocked"),
        (20, "P2", "active"),
        (30, "P1", "active"),
    )
    for day, operator_id, status in told:
        at = AT + day * DAY_MS
        entries: dict[str, list[Entry]] = {"operators": [OperatorEntry(operator_id, status)]}
        apply_entries(engine, vault, entries, Origin("files", "", at), at)
    return engine, vault


def roll_back_to(registered: tuple[Engine, Vault], version: int) -> list[tuple[Any, ...]]:
    now = AT + 31 * DAY_MS
    engine, vault = registered
    roll_back(engine, vault, version, Origin("rollback", "", now), now)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT operator_id, status FROM operators ORDER BY 1")
        return [tuple(row) for row in rows]


def test_invariant_what_was_purged_does_not_count_as_what_never_was(registered: tuple[Engine, Vault]) -> None:
    """Or going back before it would remove people who were there."""
    engine = registered[0]
    assert purge(engine, kept(history=15), ordered(AT + 30 * DAY_MS), pace=QUICK).rows == {"history": 1}
    with pytest.raises(PurgedError, match="before version 2 are past their retention"):
        roll_back_to(registered, 1)
    with engine.connect() as connection:
        assert kept_since(connection) == 2
        assert [row[0] for row in connection.exec_driver_sql("SELECT status FROM operators")] == ["active", "active"]


@pytest.mark.parametrize(("version", "held"), [(2, [("P1", "blocked")]), (3, [("P1", "blocked"), ("P2", "active")])])
def test_a_version_that_is_kept_can_be_gone_back_to(
    registered: tuple[Engine, Vault], version: int, held: list[tuple[Any, ...]]
) -> None:
    purge(registered[0], kept(history=15), ordered(AT + 30 * DAY_MS), pace=QUICK)
    assert roll_back_to(registered, version) == held


def test_a_purge_that_takes_nothing_of_the_history_bars_nothing(registered: tuple[Engine, Vault]) -> None:
    purge(registered[0], kept(history=25), ordered(AT + 30 * DAY_MS), pace=QUICK)
    with registered[0].connect() as connection:
        assert kept_since(connection) == 0
    assert roll_back_to(registered, 1) == [("P1", "active")]
