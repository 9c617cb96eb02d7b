"""Each record counts once and all of a session's usage does, whenever it comes and whoever folds."""

import sqlite3
import threading
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from gateway.core.days import day_of, hour_of
from gateway.store.figures import tables
from gateway.store.figures.folding import Done, Folder, prepare, read_state, snapshot
from gateway.store.journal import Batch, Journal
from gateway.store.ledger import Draft
from gateway.store.prepared import transaction
from gateway.wire.tokens import Signer
from tests.figures.ground import COUNTY, DAY_MS, FIRM, HOUR_MS, OTHER_FIRM, Shift, machine
from tests.store.databases import AT, Databases, other

DAY = day_of(AT)
MACHINE, ELSEWHERE = machine("HJ-0001"), machine("HJ-0002", OTHER_FIRM)


@pytest.fixture
def shift(engine: Engine, signer: Signer) -> Shift:
    return Shift(engine, signer)


def fold(engine: Engine, most: int = 100) -> list[Done]:
    """Until nothing is left."""
    folder = Folder(engine)
    done: list[Done] = []
    while not done or done[-1].full:
        done.append(folder.step(most, AT))
    return done


def rows(engine: Engine, table: sa.Table) -> list[tuple[Any, ...]]:
    with engine.connect() as connection, connection.begin():
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key.columns))]


def test_a_decision_is_indexed_with_what_it_is_found_by(engine: Engine, shift: Shift) -> None:
    request_id = shift.refuse(AT, MACHINE, "P1", ("certificate_expired", "operator_not_employed"))
    fold(engine)
    (row,) = rows(engine, tables.DECISIONS)
    placed = (COUNTY, FIRM, "HJ-0001", "P1")
    reasons = "certificate_expired operator_not_employed"
    assert row == (1, AT, "request", *placed, "deny", "scan", request_id, None, reasons, "", "")
    assert [row[0] for row in rows(engine, tables.REASONS)] == ["certificate_expired", "operator_not_employed"]


def test_decisions_are_counted_by_hour_and_day_and_by_each_code(engine: Engine, shift: Shift) -> None:
    for at in (AT, AT + 1, AT + HOUR_MS, AT + DAY_MS):
        shift.refuse(at, MACHINE, reasons=("certificate_expired", "operator_blocked"))
    shift.allow(AT, MACHINE, warnings=("certificate_unverified",))
    fold(engine)
    counted = {(row[0] - DAY, *row[3:]) for row in rows(engine, tables.DAYS)}
    assert counted == {
        *((0, "deny", code, 3) for code in ("", "certificate_expired", "operator_blocked")),
        *((1, "deny", code, 1) for code in ("", "certificate_expired", "operator_blocked")),
        *((0, "allow", code, 1) for code in ("", "certificate_unverified")),
    }
    by_hour = [(row[0] - hour_of(AT), row[5]) for row in rows(engine, tables.HOURS) if row[3:5] == ("deny", "")]
    assert by_hour == [(0, 2), (1, 1), (24, 1)]


def test_a_machine_that_is_not_registered_counts_nowhere_in_particular(engine: Engine, shift: Shift) -> None:
    shift.refuse(AT, None, None, ("machine_unknown",), machine_id="HJ-9999")
    fold(engine)
    (row,) = rows(engine, tables.DECISIONS)
    assert row[3:7] == ("", "", "HJ-9999", None)


def test_an_unlock_without_a_connection_is_a_decision_of_the_person_on_record(engine: Engine, shift: Shift) -> None:
    session_id = shift.offline(AT, MACHINE, "P7", ("operator_blocked",))
    fold(engine)
    (row,) = rows(engine, tables.DECISIONS)
    assert (row[2], row[6], row[7], row[10]) == ("offline", "P7", "deny", session_id)
    assert [row[:3] for row in rows(engine, tables.PAIRS)] == [("HJ-0001", "P7", 1)]


def test_a_session_counts_once_it_is_unlocked_and_with_all_its_usage(engine: Engine, shift: Shift) -> None:
    session_id = shift.allow(AT, MACHINE)
    fold(engine)
    assert rows(engine, tables.USAGE_DAYS) == []
    shift.unlock(session_id, AT + 1000)
    shift.report(session_id, 60)
    fold(engine)
    key = (DAY, "HJ-0001", "P1", COUNTY, FIRM)
    assert rows(engine, tables.USAGE_DAYS) == [(*key, 1, 120, 60, 60, 1, 6000)]
    shift.report(session_id, 90)
    shift.lock(session_id, AT + 61_000)
    fold(engine)
    assert rows(engine, tables.USAGE_DAYS) == [(*key, 1, 180, 90, 90, 1, 9000)]
    assert rows(engine, tables.FIRM_DAYS) == [(DAY, COUNTY, FIRM, 1, 180, 90, 90, 1, 9000)]
    assert rows(engine, tables.PAIRS) == [("HJ-0001", "P1", 1, AT + 1000, AT + 1000)]


def test_a_session_that_was_never_unlocked_counts_as_none(engine: Engine, shift: Shift) -> None:
    session_id = shift.allow(AT, MACHINE)
    shift.time_up(session_id, AT + DAY_MS)
    fold(engine)
    assert rows(engine, tables.USAGE_DAYS) == rows(engine, tables.PAIRS) == []
    assert [row[6] for row in rows(engine, tables.SESSIONS)] == [None]


def test_usage_that_comes_days_later_counts_on_the_day_of_its_session(engine: Engine, shift: Shift) -> None:
    session_id = shift.allow(AT, MACHINE)
    shift.lock(session_id, AT + 600_000)
    shift.report(session_id, 60)
    fold(engine)
    shift.report(session_id, 100, AT + 3 * DAY_MS)
    fold(engine)
    assert [(row[0], row[7]) for row in rows(engine, tables.USAGE_DAYS)] == [(DAY, 100)]


def test_a_firm_that_sells_its_machine_keeps_what_was_welded_for_it(engine: Engine, shift: Shift) -> None:
    session_id = shift.allow(AT, MACHINE)
    shift.lock(session_id, AT + 600_000)
    fold(engine)
    shift.allow(AT + DAY_MS, machine("HJ-0001", OTHER_FIRM), "P2")
    shift.report(session_id, 60)
    fold(engine)
    assert [(row[4], row[7]) for row in rows(engine, tables.USAGE_DAYS)] == [(FIRM, 60)]


def test_an_older_report_changes_nothing(engine: Engine, shift: Shift) -> None:
    session_id = shift.allow(AT, MACHINE)
    shift.report(session_id, 60, seq=9)
    fold(engine)
    shift.report(session_id, 30, seq=5)
    fold(engine)
    assert [row[7] for row in rows(engine, tables.USAGE_DAYS)] == [60]


def test_usage_of_nobodys_session_is_looked_at_once_and_left_alone(engine: Engine, shift: Shift) -> None:
    shift.report("nobody-session", 60)
    fold(engine)
    assert rows(engine, tables.UNCOUNTED) == rows(engine, tables.USAGE_DAYS) == []


def test_a_session_whose_news_come_before_its_decision_is_counted_with_it(engine: Engine, shift: Shift) -> None:
    """A backlog: the usage is new, its decision far down the ledger."""
    for _ in range(5):
        shift.refuse()
    session_id = shift.allow(AT, MACHINE)
    shift.report(session_id, 60)
    folder = Folder(engine)
    folder.step(3, AT)
    assert rows(engine, tables.SESSIONS) == []
    fold(engine)
    assert [row[7] for row in rows(engine, tables.USAGE_DAYS)] == [60]


def test_steps_of_any_size_come_to_the_same(engine: Engine, shift: Shift, databases: Databases) -> None:
    for number in range(12):
        session_id = shift.allow(AT + number * HOUR_MS, MACHINE, f"P{number % 3}")
        shift.report(session_id, 10 * number)
        shift.lock(session_id, AT + number * HOUR_MS + 600_000)
        shift.refuse(AT + number * HOUR_MS, ELSEWHERE)
    path = databases.file()
    with closing(sqlite3.connect(engine.url.database or "")) as source, closing(sqlite3.connect(path)) as target:
        source.backup(target)
    copy = databases.engine(path)
    fold(engine, most=1)
    fold(copy, most=1000)
    for table in tables.MADE:
        assert rows(engine, table) == rows(copy, table), table.name
        assert rows(engine, table), table.name


def test_other_records_are_passed_over(engine: Engine, shift: Shift) -> None:
    for kind in ("registry", "gateway", "rejected", "purge"):
        shift.write(Batch([other(kind, None)]))
    shift.refuse()
    fold(engine)
    assert [row[0] for row in rows(engine, tables.DECISIONS)] == [5]


def test_a_record_that_cannot_be_read_stops_nothing(engine: Engine, shift: Shift) -> None:
    shift.write(Batch([Draft("decision", AT, b'{"asked":1}', "HJ-0001", "request-broken")]))
    shift.refuse()
    (done,) = fold(engine)
    assert (done.records, done.unreadable) == (2, 1)
    assert [row[0] for row in rows(engine, tables.DECISIONS)] == [2]


# --- exactly once -----------------------------------------------------------------------------------------------


def test_of_two_that_have_prepared_the_same_one_writes(engine: Engine, shift: Shift) -> None:
    shift.refuse(AT, MACHINE)
    slow, quick = Folder(engine), Folder(engine)
    with snapshot(engine) as connection:
        step = prepare(connection, connection, read_state(connection), 10)
    assert not quick.step(10, AT).lost
    with engine.connect() as connection, transaction(connection) as cursor:
        assert not slow.write(cursor, step)
    assert [row[5] for row in rows(engine, tables.DAYS) if row[4] == ""] == [1]


def test_many_that_fold_at_once_count_each_record_once(engine: Engine, shift: Shift) -> None:
    for number in range(60):
        session_id = shift.allow(AT + number, machine(f"HJ-{number:04}"), f"P{number}")
        shift.report(session_id, 10, machine_id=f"HJ-{number:04}")

    def work() -> None:
        folder = Folder(engine)
        while (done := folder.step(3, AT)).full or done.lost:
            pass

    folding = [threading.Thread(target=work) for _ in range(3)]
    for thread in folding:
        thread.start()
    for thread in folding:
        thread.join()
    assert [row[5] for row in rows(engine, tables.DAYS) if row[4] == ""] == [60]
    assert sum(row[7] for row in rows(engine, tables.USAGE_DAYS)) == 600


def test_what_fails_half_way_leaves_nothing_behind(engine: Engine, shift: Shift) -> None:
    shift.refuse(AT, MACHINE)
    with engine.begin() as connection:  # in the way of the second table
        connection.execute(
            sa.insert(tables.REASONS).values(code="certificate_expired", at=AT, seq=1, division="", uscc="")
        )
    with pytest.raises((IntegrityError, engine.dialect.loaded_dbapi.IntegrityError)):
        fold(engine)
    assert rows(engine, tables.DECISIONS) == rows(engine, tables.DAYS) == rows(engine, tables.STATE) == []
    with engine.begin() as connection:
        connection.execute(sa.delete(tables.REASONS))
    fold(engine)
    assert len(rows(engine, tables.DECISIONS)) == 1


def test_usage_that_comes_while_a_step_is_under_way_is_counted_by_the_next(
    engine: Engine, shift: Shift, journal: Journal
) -> None:
    session_id = shift.allow(AT, MACHINE)
    shift.report(session_id, 60)
    with snapshot(engine) as connection:
        step = prepare(connection, connection, read_state(connection), 10)
    shift.report(session_id, 70)
    with engine.connect() as connection, transaction(connection) as cursor:
        assert Folder(engine).write(cursor, step)
    assert len(rows(engine, tables.UNCOUNTED)) == 1
    fold(engine)
    assert [row[7] for row in rows(engine, tables.USAGE_DAYS)] == [70]
    assert rows(engine, tables.UNCOUNTED) == []


def test_who_holds_the_figures_folds_alone(engine: Engine, shift: Shift) -> None:
    shift.refuse(AT, MACHINE)
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.STATE).values(id=1, turn=0, seq=0, held_by="me", held_until=AT + 1000))
    assert Folder(engine).step(10, AT).lost
    assert rows(engine, tables.DECISIONS) == []
    assert Folder(engine).step(10, AT + 1000).records == 1
    shift.refuse(AT, MACHINE)
    assert Folder(engine, "me").step(10, AT).records == 1


def test_a_step_is_no_longer_behind_once_it_is_made(engine: Engine, shift: Shift) -> None:
    for _ in range(5):
        shift.refuse()
    folder = Folder(engine)
    assert [folder.step(2, AT).behind for _ in range(4)] == [3, 1, 0, 0]
