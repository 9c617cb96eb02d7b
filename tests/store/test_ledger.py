"""The ledger: a chain to which is only added; and whatever is done to it otherwise is found and placed."""

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from msgspec.structs import replace
from sqlalchemy import Connection, Engine

from gateway.store.journal import Batch, Journal
from gateway.store.ledger import (
    GENESIS,
    Head,
    Key,
    Record,
    Stored,
    check,
    decode_record,
    on_record,
    read_head,
    reply_in,
    rows_in_order,
)
from gateway.wire.tokens import Signer
from tests.store.databases import AT, Databases, chain, decision, make_template, other, whole_chain

LENGTH = 9
COLUMNS = ("at", "kind", "machine_id", "message_id", "operator_id", "outcome")
OTHERWISE: dict[str, Any] = {
    "at": 1,
    "kind": "gateway",
    "machine_id": "HJ-7777",
    "message_id": "another-message",
    "operator_id": "P000777",
    "outcome": "allow",
    "record": b'{"forged":true}',
    "hash": bytes(32),
}


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Stored], Head]:
    """Nine records and the head."""
    folder = tmp_path_factory.mktemp("ledger")
    databases = Databases(make_template(folder / "template.db"), folder)
    engine = databases.engine()
    chain(engine, Signer(ECKey.generate_key("P-256", auto_kid=True)), LENGTH)
    rows, head = whole_chain(engine)
    databases.close()
    assert head is not None
    return rows, head


# --- the chain --------------------------------------------------------------------------------------------------


def test_records_are_numbered_from_one_without_gaps_and_each_holds_the_hash_of_the_one_before(
    ledger: tuple[list[Stored], Head],
) -> None:
    rows, head = ledger
    before = GENESIS
    for number, row in enumerate(rows, 1):
        content = json.loads(row.record)
        assert row.seq == content["seq"] == number
        assert content["prev"] == before.hex()
        assert row.hash == hashlib.sha256(row.record).digest()
        before = row.hash
    assert (head.seq, head.hash) == (LENGTH, before)


def test_every_record_is_rfc_8785_to_the_last_byte(ledger: tuple[list[Stored], Head]) -> None:
    for row in ledger[0]:
        assert row.record == rfc8785.dumps(json.loads(row.record))


def test_the_columns_repeat_what_the_record_says(ledger: tuple[list[Stored], Head]) -> None:
    for row in ledger[0]:
        content = json.loads(row.record)
        for name in ("seq", *COLUMNS):
            assert content[name] == getattr(row, name)


def test_a_chain_that_nobody_touched_is_intact(ledger: tuple[list[Stored], Head]) -> None:
    assert list(check(*ledger)) == []
    assert list(check([], None)) == []


def test_the_answer_returned_is_the_one_on_record_to_the_byte(connection: Connection, journal: Journal) -> None:
    drafts = [decision("request-0001", outcome="allow"), other("event", "message-0001"), decision("request-0002")]
    head, replies, _ = journal.commit(connection, Batch(drafts))
    assert head.seq == 3
    assert [reply is None for reply in replies] == [False, True, False]
    found = on_record(connection, [("HJ-0001", "decision", "request-0001"), ("HJ-0001", "decision", "request-0002")])
    assert [reply_in(record) for record in found.values()] == [replies[0], replies[2]]
    assert json.loads(replies[0] or b"")["outcome"] == "allow"
    event = on_record(connection, [("HJ-0001", "event", "message-0001")])
    assert [reply_in(record) for record in event.values()] == [None]


def test_nothing_that_was_not_recorded_is_found(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch([decision("request-0001")]))
    missing: list[Key] = [
        ("HJ-0002", "decision", "request-0001"),
        ("HJ-0001", "event", "request-0001"),
        ("HJ-0001", "decision", "request-0002"),
    ]
    assert on_record(connection, missing) == {}


def test_each_commit_goes_on_where_the_last_one_ended_whoever_made_it(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    for number in range(4):
        engine = databases.engine(path)
        with engine.connect() as connection:
            Journal(engine.dialect, signer).commit(connection, Batch([decision(f"request-{number:04}")]))
    rows, head = whole_chain(databases.engine(path))
    assert len(rows) == 4
    assert list(check(rows, head)) == []


def test_a_message_is_on_record_once_and_nothing_beside_it_is_written(connection: Connection, journal: Journal) -> None:
    journal.commit(connection, Batch([decision("request-0001")]))
    before = list(rows_in_order(connection))
    connection.rollback()
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(connection, Batch([decision("request-0002"), decision("request-0001", outcome="allow")]))
    assert list(rows_in_order(connection)) == before
    assert read_head(connection) == Head(1, before[0].hash, AT)


def test_the_head_knows_the_latest_time_which_need_not_be_the_last_record_s(
    connection: Connection, journal: Journal
) -> None:
    for number, at in enumerate((AT, AT + 5000, AT + 2000, AT - 9000)):
        head, _, _ = journal.commit(connection, Batch([decision(f"request-{number:04}", at=at)]))
    assert head.latest_at == AT + 5000
    assert read_head(connection) == head


def test_messages_without_an_id_are_recorded_as_often_as_they_come(connection: Connection, journal: Journal) -> None:
    head, _, _ = journal.commit(connection, Batch([other("rejected", None, None), other("rejected", None, None)]))
    assert head.seq == 2


# --- what is done to it -----------------------------------------------------------------------------------------

Chain = tuple[list[Stored], Head | None]


def found(chain: Chain) -> list[int]:
    """Where something is wrong."""
    findings = list(check(*chain))
    assert all(finding.problem for finding in findings)
    return [finding.seq for finding in findings]


def changed(chain: tuple[list[Stored], Head], seq: int, **columns: Any) -> Chain:
    rows, head = chain
    return [replace(row, **columns) if row.seq == seq else row for row in rows], head


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
@pytest.mark.parametrize("column", OTHERWISE)
def test_a_changed_column_is_found_and_its_record_named(
    ledger: tuple[list[Stored], Head], seq: int, column: str
) -> None:
    value = OTHERWISE[column] if getattr(ledger[0][seq - 1], column) != OTHERWISE[column] else "deny"
    assert seq in found(changed(ledger, seq, **{column: value}))


@pytest.mark.parametrize("column", ["machine_id", "message_id", "operator_id", "outcome"])
def test_a_column_that_was_emptied_is_found(ledger: tuple[list[Stored], Head], column: str) -> None:
    assert 1 in found(changed(ledger, 1, **{column: None}))


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_a_record_changed_with_its_hash_shows_at_the_next_one_or_at_the_end(
    ledger: tuple[list[Stored], Head], seq: int
) -> None:
    record = ledger[0][seq - 1].record.replace(str(AT).encode(), str(AT + 1).encode(), 1)
    forged = changed(ledger, seq, record=record, hash=hashlib.sha256(record).digest(), at=AT + 1)
    assert min(seq + 1, LENGTH) in found(forged)


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_a_removed_record_is_found_at_the_one_after_it(ledger: tuple[list[Stored], Head], seq: int) -> None:
    rows, head = ledger
    problems = list(check([row for row in rows if row.seq != seq], head))
    if seq < LENGTH:
        assert (problems[0].seq, problems[0].problem) == (seq + 1, f"record {seq} before it is missing")
    else:
        assert problems[0].seq == LENGTH - 1
        assert "the end was cut off" in problems[0].problem


def test_several_removed_records_are_named_from_and_to(ledger: tuple[list[Stored], Head]) -> None:
    rows, head = ledger
    [finding] = check(rows[:2] + rows[5:], head)
    assert (finding.seq, finding.problem) == (6, "record 3 to 5 before it is missing")


def test_a_removed_record_whose_followers_were_renumbered_is_found(ledger: tuple[list[Stored], Head]) -> None:
    rows, head = ledger
    renumbered = [row if row.seq < 4 else replace(row, seq=row.seq - 1) for row in rows if row.seq != 4]
    assert 4 in found((renumbered, head))


@pytest.mark.parametrize(("one", "other_one"), [(1, 2), (3, 4), (2, 8), (8, 9), (1, 9)])
def test_two_records_that_changed_places_are_found(ledger: tuple[list[Stored], Head], one: int, other_one: int) -> None:
    rows, head = list(ledger[0]), ledger[1]
    first, second = rows[one - 1], rows[other_one - 1]
    rows[one - 1], rows[other_one - 1] = replace(second, seq=one), replace(first, seq=other_one)
    assert {one, other_one} <= set(found((rows, head)))


@pytest.mark.parametrize("seq", range(1, LENGTH + 1))
def test_a_record_put_in_between_is_found(ledger: tuple[list[Stored], Head], seq: int) -> None:
    rows, head = ledger
    before = rows[seq - 2].hash if seq > 1 else GENESIS
    forged = _forged(rows[0], seq, before)
    later = [replace(row, seq=row.seq + 1) for row in rows[seq - 1 :]]
    assert seq + 1 in found(([*rows[: seq - 1], forged, *later], head))


def test_a_record_put_behind_the_end_is_found(ledger: tuple[list[Stored], Head]) -> None:
    rows, head = ledger
    assert found(([*rows, _forged(rows[0], LENGTH + 1, head.hash)], head)) == [LENGTH + 1]


def _forged(like: Stored, seq: int, before: bytes) -> Stored:
    record = rfc8785.dumps(json.loads(like.record) | {"seq": seq, "prev": before.hex()})
    return replace(like, seq=seq, record=record, hash=hashlib.sha256(record).digest())


@pytest.mark.parametrize(
    "head",
    [None, Head(LENGTH, bytes(32)), Head(LENGTH - 1, bytes(32)), Head(LENGTH + 1, bytes(32)), Head()],
    ids=["removed", "other hash", "lower", "higher", "empty"],
)
def test_a_replaced_head_is_found(ledger: tuple[list[Stored], Head], head: Head | None) -> None:
    assert found((ledger[0], head)) == [LENGTH]


def test_a_chain_made_anew_from_the_changed_record_on_shows_at_the_head(ledger: tuple[list[Stored], Head]) -> None:
    rows, head = ledger
    anew: list[Stored] = []
    for row in rows:
        content = json.loads(row.record) | {"prev": anew[-1].hash.hex() if anew else GENESIS.hex()}
        content["at"] = AT + 5 if row.seq == 4 else content["at"]
        record = rfc8785.dumps(content)
        anew.append(replace(row, at=content["at"], record=record, hash=hashlib.sha256(record).digest()))
    assert found((anew, head)) == [LENGTH]


def test_an_emptied_ledger_shows_at_the_head(ledger: tuple[list[Stored], Head]) -> None:
    assert found(([], ledger[1])) == [0]


TAMPERINGS = ("change", "remove", "duplicate", "exchange", "cut", "flip a bit")


@settings(max_examples=300)
@given(st.data())
def test_no_tampering_goes_unseen(ledger: tuple[list[Stored], Head], data: st.DataObject) -> None:
    rows, head = list(ledger[0]), ledger[1]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(rows) - 1)) if rows else None
        if place is not None:
            _tamper(rows, place, data)
    rows.sort(key=lambda row: row.seq)
    if rows != ledger[0]:
        assert found((rows, head)) != []


def _tamper(rows: list[Stored], place: int, data: st.DataObject) -> None:
    how, row = data.draw(st.sampled_from(TAMPERINGS)), rows[place]
    if how == "change":
        column = data.draw(st.sampled_from(sorted(OTHERWISE)))
        rows[place] = replace(row, **{column: OTHERWISE[column]})
    elif how == "remove":
        del rows[place]
    elif how == "duplicate":
        rows.append(replace(row, seq=max(one.seq for one in rows) + 1))
    elif how == "exchange":
        partner = data.draw(st.integers(0, len(rows) - 1))
        rows[place], rows[partner] = replace(rows[partner], seq=row.seq), replace(row, seq=rows[partner].seq)
    elif how == "cut":
        del rows[place:]
    else:
        record = bytearray(row.record)
        bit = data.draw(st.integers(0, len(record) * 8 - 1))
        record[bit // 8] ^= 1 << bit % 8
        rows[place] = replace(row, record=bytes(record))


# --- the same in a real file, as somebody with a database tool would do it --------------------------------------

IN_SQL = {
    "a record": ("UPDATE ledger SET record = replace(record, 'HJ-0004', 'HJ-0005') WHERE seq = 5", 5),
    "a record, now text": ("UPDATE ledger SET record = CAST(record AS TEXT) WHERE seq = 5", 5),
    "a record, now a number": ("UPDATE ledger SET record = 5 WHERE seq = 5", 5),
    "a hash, now text": ("UPDATE ledger SET hash = hex(hash) WHERE seq = 9", 9),
    "a time, now text": ("UPDATE ledger SET at = 'yesterday' WHERE seq = 3", 3),
    "a head, now text": ("UPDATE ledger_head SET hash = hex(hash)", 9),
    "an outcome": ("UPDATE ledger SET outcome = 'deny' WHERE seq = 2", 2),
    "a time": ("UPDATE ledger SET at = at + 1 WHERE seq = 3", 3),
    "a person": ("UPDATE ledger SET operator_id = 'P000999' WHERE seq = 2", 2),
    "a hash": ("UPDATE ledger SET hash = zeroblob(32) WHERE seq = 7", 7),
    "a row gone": ("DELETE FROM ledger WHERE seq = 6", 7),
    "the end gone": ("DELETE FROM ledger WHERE seq = 9", 8),
    "the head back": ("UPDATE ledger_head SET seq = 8", 9),
    "the head gone": ("DELETE FROM ledger_head", 9),
}


@pytest.mark.parametrize("what", IN_SQL)
def test_what_a_database_tool_does_to_the_file_is_found(databases: Databases, signer: Signer, what: str) -> None:
    statement, seq = IN_SQL[what]
    path = databases.file()
    chain(databases.engine(path), signer, LENGTH)
    with closing(sqlite3.connect(path)) as tool:
        assert tool.execute(statement).rowcount == 1
        tool.commit()
    assert seq in found(whole_chain(databases.engine(path)))


def test_the_database_itself_takes_no_second_record_of_a_message(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    chain(databases.engine(path), signer, 2)
    columns = "at, kind, machine_id, message_id, operator_id, outcome, record, hash"
    copied = f"INSERT INTO ledger SELECT 99, {columns} FROM ledger WHERE seq = 1"
    with closing(sqlite3.connect(path)) as tool, pytest.raises(sqlite3.IntegrityError):
        tool.execute(copied)


def test_the_database_itself_takes_no_outcome_that_is_none(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    chain(databases.engine(path), signer, 1)
    with closing(sqlite3.connect(path)) as tool, pytest.raises(sqlite3.IntegrityError):
        tool.execute("UPDATE ledger SET outcome = 'maybe'")


def test_no_code_changes_a_record_and_only_a_purge_removes_any() -> None:
    """The ledger's own statements are an insert, and the move of the head; whoever else names its tables only reads,
    but for the purge, which has one statement that deletes."""
    gateway = Path(__file__).parents[2] / "gateway"
    naming = {path.name for path in gateway.rglob("*.py") if "LedgerRow" in path.read_text(encoding="utf-8")}
    writing = {"ledger.py", "tables.py", "purge.py"}
    assert naming == {*writing, "overview.py", "following.py", "folding.py", "decisions.py", "proof.py"}
    source = (gateway / "store" / "ledger.py").read_text(encoding="utf-8")
    assert "delete(" not in source
    assert "update(_ledger" not in source
    purges = (gateway / "store" / "purge.py").read_text(encoding="utf-8")
    assert purges.count("delete(_ledger)") == 1
    assert "update(_ledger" not in purges
    reads = (gateway / "store" / "overview.py").read_text(encoding="utf-8")
    assert not any(writing in reads for writing in ("insert(", "update(", "delete("))


def test_a_record_reads_back_as_it_was_written(ledger: tuple[list[Stored], Head]) -> None:
    assert [decode_record(row.record).seq for row in ledger[0]] == list(range(1, LENGTH + 1))
    assert tuple(sorted(Record.__struct_fields__)) == Record.__struct_fields__


def test_the_latest_time_beside_the_chain_is_checked_too(
    engine: Engine, connection: Connection, journal: Journal
) -> None:
    """The clock is compared with it: lowered by a tool, it would let the clock be set back."""
    journal.commit(connection, Batch([decision("request-0001")]))
    rows, head = whole_chain(engine)
    assert head is not None
    assert list(check(rows, head)) == []
    [finding] = check(rows, replace(head, latest_at=head.latest_at - 1))
    assert "latest time" in finding.problem
