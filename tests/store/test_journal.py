"""One commit: everything or nothing; one open session per machine and per operator, whoever writes."""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from gateway.store.journal import (
    CHIP_COLUMNS,
    SESSION_COLUMNS,
    USAGE_COLUMNS,
    Batch,
    Journal,
    keep_policy,
    policy_document,
    probe,
)
from gateway.store.ledger import check
from gateway.store.prepared import Row
from gateway.wire.tokens import Signer
from tests.store.databases import (
    AT,
    Databases,
    book,
    changed,
    decision,
    ended,
    everything,
    open_ids,
    session,
    whole_chain,
)

USAGE: Row = ("session-1", "HJ-0001", 5, AT, AT, "closed", 60, 30, 10, 3, 12.5, 120.0, 24.0, False)
CHIP: Row = ("HJ-0001", AT, True, "CHIP-0001", "1.0", "open", "c-1", AT)


def usage(**different: object) -> Row:
    return tuple(different.get(name, value) for name, value in zip(USAGE_COLUMNS, USAGE, strict=True))


def chip(**different: object) -> Row:
    return tuple(different.get(name, value) for name, value in zip(CHIP_COLUMNS, CHIP, strict=True))


# --- INVARIANT: a decision's record and its session are durable together or not at all ---------------------------

SPOILERS: dict[str, Callable[[], Batch]] = {
    "a message that is on record already": lambda: Batch([decision("request-0000")]),
    "the same message twice": lambda: Batch([decision("request-0002"), decision("request-0002")]),
    "a session at a machine that has one": lambda: Batch(opened=[session("session-2", operator_id="P000999")]),
    "a session of somebody who has one": lambda: Batch(opened=[session("session-2", machine_id="HJ-0002")]),
    "a session id that exists": lambda: Batch(opened=[session("session-0", "HJ-0003", "P000333")]),
    "a session that ends without a reason": lambda: Batch(changed=[changed("session-0", ended_at=AT)]),
    "a reason without an end": lambda: Batch(changed=[changed("session-0", end_reason="locked")]),
    "a lock without a reason": lambda: Batch(changed=[changed("session-0", drained_at=AT)]),
    "a reason for a lock without one": lambda: Batch(changed=[changed("session-0", drain_reason="idle")]),
    "usage without a relay": lambda: Batch(usage=[usage(relay=None)]),
    "a chip without a time": lambda: Batch(chips=[chip(received_at=None)]),
}


@pytest.mark.parametrize("spoiler", SPOILERS)
def test_invariant_with_one_part_refused_nothing_of_a_commit_is_written(
    connection: Connection, journal: Journal, spoiler: str
) -> None:
    journal.commit(connection, Batch([decision("request-0000", outcome="allow")], opened=[session("session-0")]))
    before = everything(connection)
    bad = SPOILERS[spoiler]()
    batch = Batch(
        [decision("request-0001", machine_id="HJ-0009"), *bad.drafts],
        changed=bad.changed,
        opened=[session("session-9", "HJ-0009", "P000999"), *bad.opened],
        usage=[usage(session_id="session-9"), *bad.usage],
        chips=[chip(machine_id="HJ-0009"), *bad.chips],
    )
    if spoiler == "a session at a machine that has one":
        batch.opened = batch.opened[1:]
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(connection, batch)
    assert everything(connection) == before


def test_invariant_a_whole_commit_is_there_for_whoever_opens_the_file_next(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    engine = databases.engine(path)
    with engine.connect() as connection:
        batch = Batch([decision("request-0001", outcome="allow")], [], [session("session-1")], [USAGE], [CHIP])
        Journal(engine.dialect, signer).commit(connection, batch)
    with closing(sqlite3.connect(path)) as other:
        counts = [
            other.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("ledger", "sessions", "usage", "chips")
        ]
    assert counts == [1, 1, 1, 1]


def test_an_empty_commit_writes_nothing(connection: Connection, journal: Journal) -> None:
    head, replies, commands = journal.commit(connection, Batch())
    assert (head.seq, replies, commands) == (0, [], [])
    assert not any(everything(connection).values())


# --- INVARIANT: the database allows one open session per machine and one per operator ----------------------------


def test_invariant_a_second_open_session_at_a_machine_is_refused(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch(opened=[session("session-1")]))
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(connection, Batch(opened=[session("session-2", operator_id="P000999")]))


def test_invariant_a_second_open_session_of_an_operator_is_refused(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch(opened=[session("session-1")]))
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(connection, Batch(opened=[session("session-2", machine_id="HJ-0002")]))


def test_invariant_the_indexes_hold_against_any_writer_not_only_ours(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    engine = databases.engine(path)
    with engine.connect() as connection:
        Journal(engine.dialect, signer).commit(connection, Batch(opened=[session("session-1")]))
    insert = f"INSERT INTO sessions VALUES ({', '.join('?' * len(SESSION_COLUMNS))})"
    with closing(sqlite3.connect(path)) as tool:
        for row in (session("session-2", operator_id="P000999"), session("session-3", machine_id="HJ-0002")):
            with pytest.raises(sqlite3.IntegrityError):
                tool.execute(insert, row)


def test_people_nobody_knows_may_hold_several_machines_but_one_each(connection: Connection, journal: Journal) -> None:
    """Observing, even an unknown credential unlocks; such sessions have no operator."""
    rows = [session("session-1", "HJ-0001", None), session("session-2", "HJ-0002", None)]
    journal.commit(connection, Batch(opened=rows))
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(connection, Batch(opened=[session("session-3", "HJ-0001", None)]))


def test_a_session_that_ends_in_the_same_commit_makes_room(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch(opened=[session("session-1")]))
    journal.commit(connection, Batch(changed=[ended("session-1", "replaced")], opened=[session("session-2")]))
    assert open_ids(connection) == ["session-2"]


def test_a_session_opened_and_ended_within_one_commit_makes_room_too(connection: Connection, journal: Journal) -> None:
    over = session("session-1", ended_at=AT + 1, end_reason="replaced")
    journal.commit(connection, Batch(opened=[over, session("session-2")]))
    assert open_ids(connection) == ["session-2"]


ROUNDS = 12


@pytest.mark.parametrize("about", ["machine", "operator", "both"])
def test_invariant_of_writers_that_race_for_a_session_exactly_one_wins(
    databases: Databases, signer: Signer, about: str
) -> None:
    """Each writer has its own connections to one file, as gateway processes have."""
    path, writers = databases.file(), 3
    start = threading.Barrier(writers)
    won: list[tuple[int, int]] = []
    lost: list[tuple[int, int]] = []

    def race(engine: Engine, writer: int) -> None:
        journal = Journal(engine.dialect, signer)
        with engine.connect() as connection:
            for number in range(ROUNDS):
                machine = f"HJ-{number:04}" if about != "operator" else f"HJ-{number:02}{writer:02}"
                operator = f"P{number:06}" if about != "machine" else f"P{number:03}{writer:03}"
                draft = decision(f"request-{number:02}-{writer}", machine, "allow")
                opened = session(f"session-{number}-{writer}", machine, operator)
                start.wait(30)
                try:
                    journal.commit(connection, Batch([draft], opened=[opened]))
                    won.append((number, writer))
                except sqlite3.IntegrityError:
                    lost.append((number, writer))

    threads = [threading.Thread(target=race, args=(databases.engine(path), writer)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(number for number, _ in won) == list(range(ROUNDS))
    assert len(lost) == ROUNDS * (writers - 1)
    rows, head = whole_chain(databases.engine(path))
    assert sorted(row.message_id or "" for row in rows) == sorted(f"request-{n:02}-{w}" for n, w in won)
    assert list(check(rows, head)) == []


# --- usage, chips, policies -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seq", "kept"), [(6, 99), (5, 60), (4, 60)])
def test_of_two_usage_reports_the_newer_one_stays_whichever_comes_last(
    connection: Connection, journal: Journal, seq: int, kept: int
) -> None:
    journal.commit(connection, Batch(usage=[USAGE]))
    journal.commit(connection, Batch(usage=[usage(seq=seq, enabled_s=99)]))
    [row] = everything(connection)["usage"]
    assert row[USAGE_COLUMNS.index("enabled_s")] == kept


def test_usage_of_a_session_is_kept_apart_by_the_machine_that_reports_it(
    connection: Connection, journal: Journal
) -> None:
    journal.commit(connection, Batch(usage=[USAGE, usage(machine_id="HJ-0666", seq=999, enabled_s=0)]))
    assert [row[:3] for row in everything(connection)["usage"]] == [
        ("session-1", "HJ-0001", 5),
        ("session-1", "HJ-0666", 999),
    ]


@pytest.mark.parametrize("received_at", [AT + 1, AT, AT - 1])
def test_of_two_reports_of_a_chip_the_last_to_arrive_stays_whatever_the_clock_says(
    connection: Connection, journal: Journal, received_at: int
) -> None:
    journal.commit(connection, Batch(chips=[CHIP]))
    journal.commit(connection, Batch(chips=[chip(received_at=received_at, chip="CHIP-0002")]))
    assert book(connection).chips == [chip(received_at=received_at, chip="CHIP-0002")]


def test_what_a_report_does_not_say_stays_as_it_was(connection: Connection, journal: Journal) -> None:
    """A last will says only that the chip is gone."""
    journal.commit(connection, Batch(chips=[CHIP]))
    journal.commit(connection, Batch(chips=[("HJ-0001", AT + 1, False, None, None, None, None, None)]))
    assert everything(connection)["chips"] == [("HJ-0001", AT + 1, 0, *CHIP[3:])]


def test_a_chip_that_never_said_its_number_has_none(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch(chips=[chip(chip=None)]))
    assert book(connection).chips == [chip(chip=None)]


def test_a_policy_is_kept_once_under_its_hash(connection: Connection) -> None:
    keep_policy(connection, "a" * 64, b"{}", AT)
    keep_policy(connection, "a" * 64, b"another", AT + 1)
    assert policy_document(connection, "a" * 64) == b"{}"
    assert policy_document(connection, "b" * 64) is None


def test_a_probe_writes_nothing_and_fails_where_a_commit_would(databases: Databases, tmp_path: Path) -> None:
    path = databases.file()
    with databases.engine(path, "query_only=ON").connect() as connection, pytest.raises(Exception, match="readonly"):
        probe(connection)
    with databases.engine(path).connect() as connection:
        probe(connection)
        assert not any(everything(connection).values())
