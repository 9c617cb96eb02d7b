"""The scribe and the gate's side of it: what cannot be written now is told from what cannot be written ever."""

import asyncio
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.errors import DatabaseUnavailable
from gateway.store import orders
from gateway.store.journal import Batch, Book
from gateway.store.ledger import Draft, Head, Key, check
from gateway.store.orders import Commit, Committed, Probe, Recall, Recalled, Refused, Unavailable, Writable
from gateway.store.scribe import Scribe
from gateway.store.writer import Conflict, ScribeLost, Writer, checked
from gateway.wire.tokens import Signer
from tests.store.databases import AT, IMPATIENT, Databases, decision, locked, session, whole_chain, writer_on

REQUEST_1: Key = ("HJ-0001", "decision", "request-0001")


def one(number: int = 1) -> Commit:
    return Commit(Batch([decision(f"request-{number:04}", outcome="allow")], opened=[session(f"session-{number}")]))


def ready(engine: Engine, signer: Signer) -> Scribe:
    """A scribe from which the gate has read back."""
    scribe = Scribe(engine, signer)
    assert isinstance(scribe.carry_out(Recall([])), Recalled)
    return scribe


# --- content that is refused, and what follows ------------------------------------------------------------------


def test_a_message_that_is_on_record_already_is_refused_and_nothing_written(engine: Engine, signer: Signer) -> None:
    scribe = ready(engine, signer)
    assert isinstance(scribe.carry_out(one()), Committed)
    assert isinstance(scribe.carry_out(one()), Refused)
    assert len(whole_chain(engine)[0]) == 1


def test_before_the_gate_has_read_back_nothing_is_committed(engine: Engine, signer: Signer) -> None:
    scribe = Scribe(engine, signer)
    assert scribe.carry_out(one()) == Refused("an earlier batch failed; read back first")
    assert whole_chain(engine)[0] == []
    assert isinstance(scribe.carry_out(Recall([])), Recalled)
    assert isinstance(scribe.carry_out(one()), Committed)


def test_what_was_sent_behind_a_failed_commit_is_refused_until_the_gate_has_read_back(
    engine: Engine, signer: Signer
) -> None:
    """It was decided on a state that never came to be."""
    scribe = ready(engine, signer)
    scribe.carry_out(one(1))
    assert isinstance(scribe.carry_out(one(1)), Refused)
    innocent = Commit(Batch([decision("request-0002", "HJ-0002")]))
    assert isinstance(scribe.carry_out(innocent), Refused)
    assert isinstance(scribe.carry_out(Recall([])), Recalled)
    assert isinstance(scribe.carry_out(innocent), Committed)


def test_reading_back_gives_answers_sessions_chips_and_the_latest_time(engine: Engine, signer: Signer) -> None:
    scribe = ready(engine, signer)
    chip = ("HJ-0001", AT, True, "CHIP-0001", None, None, None, AT)
    batch = one().batch
    batch.chips = [chip]
    committed = scribe.carry_out(Commit(batch))
    assert isinstance(committed, Committed)
    recalled = scribe.carry_out(Recall([REQUEST_1, ("HJ-0001", "decision", "unknown-0001")]))
    assert isinstance(recalled, Recalled)
    assert recalled.answers == [(REQUEST_1, committed.replies[0])]
    assert recalled.book.sessions == [session("session-1")]
    assert recalled.book.chips == [chip]
    assert recalled.book.latest == AT


def test_that_the_clock_is_right_is_put_on_record_and_held_from_there_on(engine: Engine, signer: Signer) -> None:
    scribe = ready(engine, signer)
    ahead = 3_600_000
    assert isinstance(scribe.carry_out(Commit(Batch([decision("request-0001", at=AT + ahead)]))), Committed)
    recalled = scribe.carry_out(Recall([]))
    assert isinstance(recalled, Recalled)
    assert recalled.book.latest == AT + ahead
    recalled = scribe.carry_out(Recall([], accept_clock=Draft("gateway", AT, b'{"what":"clock_accepted"}')))
    assert isinstance(recalled, Recalled)
    assert recalled.book.latest == AT
    rows, head = whole_chain(engine)
    assert [row.kind for row in rows] == ["decision", "gateway"]
    assert list(check(rows, head)) == []


def test_a_value_that_no_column_takes_is_refused_not_called_unavailable(engine: Engine, signer: Signer) -> None:
    scribe = ready(engine, signer)
    broken = session("session-1", granted_at=None)
    assert isinstance(scribe.carry_out(Commit(Batch(opened=[broken]))), Refused)


@pytest.mark.parametrize("number", [2**63, 2**64 - 1])
def test_a_number_that_no_column_holds_is_refused_and_does_not_end_the_scribe(
    engine: Engine, signer: Signer, number: int
) -> None:
    """What a chip says may be any number; the database's end at 63 bits."""
    scribe = ready(engine, signer)
    result = scribe.carry_out(Commit(Batch(opened=[session("session-1", lease_until=number)])))
    assert isinstance(result, Refused)
    assert isinstance(scribe.carry_out(Recall([])), Recalled)
    assert isinstance(scribe.carry_out(one()), Committed)


# --- a database that is away, and comes back --------------------------------------------------------------------


def test_a_locked_database_is_unavailable_and_is_written_to_once_it_is_free(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    scribe = ready(databases.engine(path, IMPATIENT), signer)
    with locked(path):
        assert scribe.carry_out(Probe()) == Unavailable("database is locked")
        assert scribe.carry_out(one()) == Unavailable("database is locked")
        assert scribe.carry_out(Recall([])) == Unavailable("database is locked")
    assert isinstance(scribe.carry_out(Probe()), Writable)
    assert isinstance(scribe.carry_out(Recall([])), Recalled)
    assert isinstance(scribe.carry_out(one()), Committed)


def test_reading_back_from_a_locked_database_fails_and_leaves_commits_refused(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    scribe = Scribe(databases.engine(path, IMPATIENT), signer)
    with locked(path):
        assert isinstance(scribe.carry_out(Recall([])), Unavailable)
        assert isinstance(scribe.carry_out(one()), Refused | Unavailable)
    assert isinstance(scribe.carry_out(one()), Refused)


def test_a_full_disk_is_unavailable_and_nothing_is_half_written(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    with closing(sqlite3.connect(path)) as other:
        pages = other.execute("PRAGMA page_count").fetchone()[0]
    full = ready(databases.engine(path, f"max_page_count={pages}"), signer)
    batch = Commit(Batch([decision(f"request-{number:04}") for number in range(200)]))
    result = full.carry_out(batch)
    assert result == Unavailable("database or disk is full")
    assert whole_chain(databases.engine(path)) == ([], None)
    assert isinstance(full.carry_out(batch), Refused)
    assert isinstance(full.carry_out(Recall([])), Recalled)
    assert isinstance(full.carry_out(one()), Committed)
    assert list(check(*whole_chain(databases.engine(path)))) == []


def test_a_database_that_only_reads_is_unavailable(databases: Databases, signer: Signer) -> None:
    result = Scribe(databases.engine(None, "query_only=ON"), signer).carry_out(Recall([]))
    assert isinstance(result, Unavailable)
    assert "readonly" in result.problem


def test_a_folder_that_is_gone_is_unavailable_until_it_is_back(
    databases: Databases, signer: Signer, tmp_path: Path
) -> None:
    folder, aside = tmp_path / "var", tmp_path / "aside"
    folder.mkdir()
    shutil.move(databases.file(), folder / "gate.db")
    engine = databases.engine(folder / "gate.db")
    folder.rename(aside)
    scribe = Scribe(engine, signer)
    assert isinstance(scribe.carry_out(Recall([])), Unavailable)
    assert isinstance(scribe.carry_out(Probe()), Unavailable)
    aside.rename(folder)
    assert isinstance(scribe.carry_out(Recall([])), Recalled)
    assert isinstance(scribe.carry_out(one()), Committed)


# --- orders as frames -------------------------------------------------------------------------------------------

ORDERS: list[orders.Order] = [one(), Recall([REQUEST_1]), Probe()]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_an_order_reads_back_as_it_was_written(order: orders.Order) -> None:
    framed = orders.frame(order)
    assert int.from_bytes(framed[: orders.LENGTH_BYTES], "big") == len(framed) - orders.LENGTH_BYTES
    assert orders.frame(orders.decode_order(framed[orders.LENGTH_BYTES :])) == framed


RESULTS: list[orders.Result] = [
    Refused("x"),
    Unavailable("y"),
    Writable(),
    Committed(Head(3, bytes(32)), [b"{}", None], [b"{}"]),
    Recalled([(REQUEST_1, b"{}")], Book([session("session-1")], [], [(1, "P000123")], {"HJ-0001": 7}, [], [], AT)),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_a_result_reads_back_as_it_was_written(result: orders.Result) -> None:
    assert orders.decode_result(orders.frame(result)[orders.LENGTH_BYTES :]) == result


# --- the gate's side --------------------------------------------------------------------------------------------


async def test_results_come_in_the_order_of_the_orders(engine: Engine, signer: Signer) -> None:
    async with writer_on(Scribe(engine, signer)) as writer:
        await writer.recall(Recall([]))
        under_way = [writer.commit(Batch([decision(f"request-{number:04}")])) for number in range(50)]
        results = await asyncio.gather(*under_way)
    assert [result.head.seq for result in results if isinstance(result, Committed)] == list(range(1, 51))


async def test_a_batch_larger_than_any_buffer_arrives_whole(engine: Engine, signer: Signer) -> None:
    async with writer_on(Scribe(engine, signer)) as writer:
        await writer.recall(Recall([]))
        drafts = [decision(f"request-{number:05}") for number in range(1000)]
        result = await writer.commit(Batch(drafts))
    assert isinstance(result, Committed)
    assert len(result.replies) == 1000


async def test_conflict_and_unavailable_are_two_errors(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with writer_on(Scribe(databases.engine(path, IMPATIENT), signer)) as writer:
        await writer.recall(Recall([]))
        checked(await writer.commit(one().batch))
        with pytest.raises(Conflict):
            checked(await writer.commit(one().batch))
        with locked(path), pytest.raises(DatabaseUnavailable, match="locked"):
            await writer.probe()
        with locked(path), pytest.raises(DatabaseUnavailable, match="locked"):
            await writer.recall(Recall([]))
        await writer.probe()
        assert (await writer.recall(Recall([REQUEST_1]))).answers[0][0] == REQUEST_1
        checked(await writer.commit(Batch([decision("request-0002", "HJ-0002")])))


async def test_somebody_who_stops_waiting_puts_nobody_else_s_result_out_of_order(
    engine: Engine, signer: Signer
) -> None:
    async with writer_on(Scribe(engine, signer)) as writer:
        await writer.recall(Recall([]))
        first, second = (
            writer.commit(Batch([decision("request-0001")])),
            writer.commit(Batch([decision("request-0002")])),
        )
        first.cancel()
        result = await second
    assert isinstance(result, Committed)
    assert result.head.seq == 2


async def test_without_the_scribe_nothing_waits_for_ever() -> None:
    ours, theirs = socket.socketpair()
    async with Writer(ours) as writer:
        waiting = asyncio.create_task(writer.probe())
        await asyncio.to_thread(theirs.recv, 4)
        theirs.close()
        with pytest.raises(ScribeLost):
            await waiting
        with pytest.raises(ScribeLost):
            await writer.recall(Recall([]))
        with pytest.raises(ScribeLost):
            await writer.commit(one().batch)
