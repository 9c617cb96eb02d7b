"""Asked by phone over a real database: on record, then published to the lock, then handed to whoever asked."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from gateway.core.model import PhoneAsk
from gateway.errors import Unanswered
from gateway.observe.events import NotAnswered
from gateway.store.ledger import check, decode_record, reply_in
from gateway.wire import topics
from gateway.wire.tokens import Signer
from tests.gate.gates import NOW
from tests.gate.test_pipeline import WITHIN_S, Running, running
from tests.store.databases import Databases, locked, whole_chain


def an_ask(
    request_id: str = "by-phone-0001", welder: str = "P000123", machine_id: str = "HJ-0001", account: str = "account-1"
) -> PhoneAsk:
    return PhoneAsk(machine_id, welder, request_id, account)


async def shown(gateway: Running, challenge: str = "shown-1") -> None:
    """The lock has shown its challenge."""
    gateway.send("status", "HJ-0001", online=True, challenge=challenge, chip="CHIP-0001", at=NOW)
    await gateway.link.until_acknowledged(gateway.numbers)


async def until(what: Callable[[], bool], turn: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not what():
            await turn()


async def test_invariant_an_answer_is_on_record_before_it_is_published_or_handed_over(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        reply = await gateway.pipeline.ask(an_ask())
        assert gateway.link.answers() == [reply]
    [row] = whole_chain(databases.engine(path))[0]
    assert reply_in(decode_record(row.record)) == reply
    assert gateway.link.on_record[-1] == 1
    assert gateway.link.acknowledged == [1], "no broker knows of it"
    assert json.loads(reply)["request_id"] == "by-phone-0001"
    assert json.loads(reply)["outcome"] == "allow"
    [sent] = [one for one in gateway.link.published if one.topic == topics.decision("HJ-0001")]
    assert (sent.retained, sent.expires_s) == (False, 30)


async def test_a_refusal_goes_to_whoever_asked_and_to_no_lock(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        reply = await gateway.pipeline.ask(an_ask(welder="nobody"))
    assert [reason["code"] for reason in json.loads(reply)["reasons"]] == ["credential_unknown"]
    assert gateway.link.answers() == []
    assert [one.topic for one in gateway.link.published] == [topics.feed("330521", "decision")]
    assert len(whole_chain(databases.engine(path))[0]) == 1


async def test_invariant_the_same_ask_gets_the_same_bytes_at_once_later_and_after_a_restart(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        at_once = await asyncio.gather(gateway.pipeline.ask(an_ask()), gateway.pipeline.ask(an_ask()))
        later = await gateway.pipeline.ask(an_ask(welder="P000456"))
    async with running(databases, path, signer) as restarted:
        after = await restarted.pipeline.ask(an_ask())
        restarted.gate.clock.pass_s(30)
        long_after = await restarted.pipeline.ask(an_ask())
    assert len({*at_once, later, after, long_after}) == 1
    assert restarted.link.answers() == [after], "sent again as long as its lock may take it"
    assert [row.kind for row in whole_chain(databases.engine(path))[0]] == ["decision"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


async def test_invariant_of_two_people_who_ask_two_gateways_at_once_one_gets_in(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        await shown(one)
        replies = await asyncio.gather(
            one.pipeline.ask(an_ask("by-phone-0001", "P000123")), other.pipeline.ask(an_ask("by-phone-0002", "P000456"))
        )
    outcomes = [json.loads(reply)["outcome"] for reply in replies]
    assert sorted(outcomes) == ["allow", "deny"]
    [refused] = [json.loads(reply) for reply in replies if json.loads(reply)["outcome"] == "deny"]
    assert [reason["code"] for reason in refused["reasons"]] == ["machine_in_session"]
    rows, head = whole_chain(databases.engine(path))
    assert list(check(rows, head)) == []


async def test_a_gateway_knows_what_a_lock_showed_to_another_one(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        await shown(other, "shown-before")
        await shown(one, "shown-since")
        await other.pipeline.ask(an_ask())
    [row] = whole_chain(databases.engine(path))[0]
    assert json.loads(row.record)["body"]["asked"]["challenge"] == "shown-since"


async def test_a_lock_that_lost_its_clock_is_on_record_without_one(databases: Databases, signer: Signer) -> None:
    """Also where it told the time before; what a last will does not say stays."""
    path = databases.file()
    async with running(databases, path, signer) as one:
        await shown(one)
        one.send("status", online=True, challenge="shown-2", at=None)
        one.send("status", online=False)
        await one.link.until_acknowledged(3)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT online, challenge, at FROM chips").fetchall() == [(0, "shown-2", None)]


async def test_whoever_waits_no_longer_finds_the_answer_by_asking_again(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        with locked(path), pytest.raises(Unanswered, match="no answer yet") as late:
            await gateway.pipeline.ask(an_ask(), 0.05)
        assert late.value.why == "late"
        await gateway.link.until_published(topics.decision("HJ-0001"))
        again = await gateway.pipeline.ask(an_ask())
    assert gateway.link.answers() == [again, again]
    assert json.loads(again)["outcome"] == "allow"
    assert NotAnswered("HJ-0001", "by-phone-0001", "late") in gateway.observed


async def test_while_a_gateway_stops_what_it_has_taken_is_answered_and_nothing_more_is_taken(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        asking = asyncio.ensure_future(gateway.pipeline.ask(an_ask()))
        await asyncio.sleep(0)
        gateway.pipeline.drain()
        with pytest.raises(Unanswered, match="being stopped"):
            await gateway.pipeline.ask(an_ask("by-phone-0002"))
    assert json.loads(await asking)["outcome"] == "allow"
    assert len(whole_chain(databases.engine(path))[0]) == 1


async def test_whoever_still_waits_when_the_gateway_ends_is_sent_away(databases: Databases, signer: Signer) -> None:
    """A look-up that never comes back."""
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        gateway.gate.state.lookups.offered = True
        asking = asyncio.ensure_future(gateway.pipeline.ask(an_ask(welder="P-NEW")))
        await until(lambda: gateway.pipeline.waiting == 1, gateway.pipeline.probe_database)
    with pytest.raises(Unanswered, match="being stopped"):
        await asking


async def test_a_broker_that_comes_back_makes_nobody_on_the_phone_wait_for_ever(
    databases: Databases, signer: Signer
) -> None:
    """It sends again what chips had asked; what was asked by phone it never had."""
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        gateway.gate.state.lookups.offered = True
        asking = asyncio.ensure_future(gateway.pipeline.ask(an_ask(welder="P-NEW")))
        gateway.ask("request-0001", "P-NEW")
        await until(lambda: gateway.pipeline.waiting == 2, gateway.pipeline.probe_database)
        gateway.pipeline.forget_waiting()
        assert gateway.pipeline.waiting == 1
        gateway.pipeline.resume("P-NEW")
        assert json.loads(await asking)["outcome"] == "deny"
    assert len(whole_chain(databases.engine(path))[0]) == 1


async def test_where_too_much_waits_nobody_on_the_phone_is_added(
    databases: Databases, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(databases, databases.file(), signer) as gateway:
        monkeypatch.setattr("gateway.pipeline.INBOX_LIMIT", 0)
        with pytest.raises(Unanswered, match="too many messages"):
            await gateway.pipeline.ask(an_ask())
    assert [event.why for event in gateway.observed if isinstance(event, NotAnswered)] == ["busy"]


def refuse_decisions(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON ledger WHEN NEW.kind = 'decision' "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )


async def test_who_asked_what_the_database_will_not_take_is_told(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    refuse_decisions(path)
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        with pytest.raises(Unanswered, match="the database refused"):
            await gateway.pipeline.ask(an_ask())
    assert gateway.link.answers() == []
    assert [row.kind for row in whole_chain(databases.engine(path))[0]] == ["rejected"]


async def test_whoever_hangs_up_disturbs_nobody(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        await shown(gateway)
        asking = [asyncio.ensure_future(gateway.pipeline.ask(an_ask())) for _ in range(2)]
        await asyncio.sleep(0)
        asking[0].cancel()
        assert json.loads(await asking[1])["outcome"] == "allow"
    assert asking[0].cancelled()
