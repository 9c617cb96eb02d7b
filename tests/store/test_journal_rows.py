"""What a commit keeps beside decisions and sessions: codes, event numbers, lost evidence, offline lists, commands."""

import json
import sqlite3
import threading

import msgspec
import pytest
from joserfc.jwk import ECKey
from sqlalchemy import Connection, Engine

from gateway.store.journal import CODES_KEPT_STEPS, Batch, Journal, StaleError
from gateway.store.ledger import check
from gateway.store.prepared import Row
from gateway.wire.answer import order
from gateway.wire.tokens import Command, Signer, Verifier
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

STEP = 59_382_960


def lock(command_id: str) -> Command:
    return Command(aud="HJ-0001", cmd="lock", exp=AT // 1000 + 60, iat=AT // 1000, jti=command_id, n=1, sid="session-1")


# --- rolling codes ----------------------------------------------------------------------------------------------


def test_a_used_code_is_known_to_whoever_reads_the_book_next(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch(codes=[(STEP, "P000123"), (STEP, "P000456")]))
    assert sorted(book(connection, whole=False).codes) == [(STEP, "P000123"), (STEP, "P000456")]


def test_invariant_a_code_is_used_once_whoever_writes(databases: Databases, signer: Signer) -> None:
    """Two gateways that were shown the same code: one lets in, the other one's commit is refused as a whole."""
    path = databases.file()
    one, other = databases.engine(path), databases.engine(path)
    with one.connect() as first, other.connect() as second:
        drafts = [decision(f"request-{number:04}", f"HJ-{number:04}", "allow") for number in (1, 2)]
        opened = [session(f"session-{number}", f"HJ-{number:04}", f"P00000{number}") for number in (1, 2)]
        Journal(one.dialect, signer).commit(first, Batch(drafts[:1], [], opened[:1], codes=[(STEP, "P000123")]))
        with pytest.raises(sqlite3.IntegrityError):
            Journal(other.dialect, signer).commit(second, Batch(drafts[1:], [], opened[1:], codes=[(STEP, "P000123")]))
        assert open_ids(second) == ["session-1"]
        assert book(second).codes == [(STEP, "P000123")]


def test_invariant_of_writers_that_race_for_a_code_exactly_one_wins(databases: Databases, signer: Signer) -> None:
    path, writers, rounds = databases.file(), 3, 12
    start = threading.Barrier(writers)
    won: list[int] = []

    def race(engine: Engine) -> None:
        journal = Journal(engine.dialect, signer)
        with engine.connect() as connection:
            for number in range(rounds):
                start.wait(30)
                try:
                    journal.commit(connection, Batch(codes=[(STEP, f"P{number:06}")]))
                    won.append(number)
                except sqlite3.IntegrityError:
                    pass

    threads = [threading.Thread(target=race, args=(databases.engine(path),)) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(won) == list(range(rounds))


def test_codes_are_forgotten_once_they_have_long_expired(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch(codes=[(STEP, "P000123"), (STEP + 1, "P000456")]))
    journal.commit(connection, Batch(codes=[(STEP + CODES_KEPT_STEPS + 1, "P000789")]))
    assert sorted(row[0] for row in book(connection).codes) == [STEP + 1, STEP + CODES_KEPT_STEPS + 1]


# --- event numbers and lost evidence ----------------------------------------------------------------------------


def test_from_where_each_chip_s_events_are_counted_is_what_was_written_last(
    connection: Connection, journal: Journal
) -> None:
    """It may be a lower number than before: a chip may begin anew."""
    journal.commit(
        connection, Batch(seqs=[("HJ-0001", 7, None), ("HJ-0002", 3, None), ("HJ-0001", 9, 7), ("HJ-0001", 1, 9)])
    )
    assert book(connection, whole=False).seqs == {"HJ-0001": 1, "HJ-0002": 3}


def test_invariant_a_number_that_somebody_else_has_counted_is_not_written_over(
    databases: Databases, signer: Signer
) -> None:
    """Or a chip that begins anew between two gateways would leave no trace."""
    path = databases.file()
    one, other = databases.engine(path), databases.engine(path)
    with one.connect() as first, other.connect() as second:
        Journal(one.dialect, signer).commit(first, Batch(seqs=[("HJ-0001", 2, None)]))
        Journal(one.dialect, signer).commit(first, Batch(seqs=[("HJ-0001", 4, 2)]))
        for seen in (2, None):
            with pytest.raises(StaleError):
                Journal(other.dialect, signer).commit(
                    second, Batch([decision("request-0001")], seqs=[("HJ-0001", 3, seen)])
                )
        assert book(second).seqs == {"HJ-0001": 4}
        assert whole_chain(other)[0] == []


def test_lost_evidence_is_kept_with_and_without_an_end(connection: Connection, journal: Journal) -> None:
    rows: list[Row] = [("HJ-0001", AT, 8, 9), ("HJ-0001", AT, 12, None), ("HJ-0002", AT, 8, 8)]
    journal.commit(connection, Batch(lost=rows))
    assert everything(connection)["lost_evidence"] == rows


# --- offline lists ----------------------------------------------------------------------------------------------


def entries(*welders: str) -> bytes:
    return msgspec.json.encode([(welder, AT // 1000) for welder in welders])


def test_of_each_machine_s_lists_the_latest_is_read_back_and_all_are_kept(
    connection: Connection, journal: Journal
) -> None:
    first, second = ("HJ-0001", 1, AT, 7200, 900, entries("P000123")), ("HJ-0001", 2, AT + 1, 7200, 900, entries())
    other = ("HJ-0002", 1, AT, 7200, 900, entries("P000456"))
    journal.commit(connection, Batch(lists=[first, second, other]))
    assert sorted(book(connection).lists) == [second, other]
    assert everything(connection)["offline_lists"] == [first, second, other]


def test_a_list_s_number_is_given_once(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch(lists=[("HJ-0001", 1, AT, 7200, 900, entries())]))
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(connection, Batch(lists=[("HJ-0001", 1, AT + 1, 7200, 900, entries("P000123"))]))


def test_who_was_let_in_where_is_read_back_with_the_latest_last(connection: Connection, journal: Journal) -> None:
    rows = [
        session("session-1", "HJ-0001", "P000123", granted_at=AT),
        session("session-2", "HJ-0001", "P000456", granted_at=AT - 10),
        session("session-3", "HJ-0001", "P000123", granted_at=AT - 20),
        session("session-4", "HJ-0001", "P000789", granted_at=AT - 1000),
        session("session-5", "HJ-0002", None, granted_at=AT),
    ]
    for row in rows:
        journal.commit(connection, Batch(opened=[row]))
        journal.commit(connection, Batch(changed=[ended(row[0])]))
    assert book(connection, recent_since=AT - 20).recent == [
        ("HJ-0001", "P000456", AT - 10),
        ("HJ-0001", "P000123", AT),
    ]
    assert book(connection).recent == []


# --- sessions, written only over what was read --------------------------------------------------------------------


def test_invariant_a_session_that_somebody_else_has_changed_is_not_written_over(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    one, other = databases.engine(path), databases.engine(path)
    with one.connect() as first, other.connect() as second:
        Journal(one.dialect, signer).commit(first, Batch(opened=[session("session-1")]))
        Journal(one.dialect, signer).commit(first, Batch(changed=[changed("session-1", n=1)]))
        with pytest.raises(StaleError):
            Journal(other.dialect, signer).commit(
                second, Batch([decision("request-0001")], changed=[ended("session-1")])
            )
        assert open_ids(second) == ["session-1"]
        assert whole_chain(other)[0] == []
        Journal(other.dialect, signer).commit(second, Batch(changed=[changed("session-1", n=2, seen=1, rev=2)]))
        assert [row[-1] for row in book(first).sessions] == [2]


def test_an_ended_session_may_be_named_in_a_book_no_more(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch(opened=[session("session-1")]))
    journal.commit(connection, Batch(changed=[ended("session-1")]))
    assert book(connection).sessions == []


# --- commands ---------------------------------------------------------------------------------------------------


def test_commands_are_signed_in_their_order(engine: Engine) -> None:
    key = ECKey.generate_key("P-256", auto_kid=True)
    orders = [order(lock(f"lock-000{number}")) for number in (1, 2)]
    with engine.connect() as connection:
        *_, commands = Journal(engine.dialect, Signer(key)).commit(connection, Batch(orders=orders))
    messages = [json.loads(command) for command in commands]
    assert [message["command_id"] for message in messages] == ["lock-0001", "lock-0002"]
    verifier = Verifier({"keys": [key.as_dict(private=False)]})
    claims = [verifier.claims(message["command"]) for message in messages]
    assert claims == [msgspec.json.decode(msgspec.json.encode(lock(f"lock-000{number}"))) for number in (1, 2)]


def test_invariant_where_the_commit_fails_no_command_is_signed(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch([decision("request-0001")]))
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(connection, Batch([decision("request-0001")], orders=[order(lock("lock-0001"))]))


# --- what is read back ------------------------------------------------------------------------------------------


def test_after_a_failed_commit_only_what_the_gate_changes_itself_is_read_back(
    connection: Connection, journal: Journal
) -> None:
    chip = ("HJ-0001", AT, True, "CHIP-0001", None, None, "c-1", AT)
    batch = Batch([decision("request-0001")], opened=[session("session-1")], chips=[chip], seqs=[("HJ-0001", 7, None)])
    journal.commit(connection, batch)
    again, start = book(connection, whole=False), book(connection, whole=True)
    assert (again.chips, start.chips) == ([], [chip])
    assert again.sessions == start.sessions == [session("session-1")]
    assert (again.seqs, again.latest) == (start.seqs, start.latest) == ({"HJ-0001": 7}, AT)


def test_an_empty_database_has_an_empty_book(connection: Connection) -> None:
    empty = book(connection, recent_since=0)
    assert (empty.sessions, empty.chips, empty.codes, empty.lists, empty.recent) == ([], [], [], [], [])
    assert (empty.seqs, empty.latest) == ({}, 0)
    assert list(check([], None)) == []
