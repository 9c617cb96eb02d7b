"""From arrival to answer over a real database: durable first, once, the same bytes again, and one of those who race."""

import asyncio
import json
import sqlite3
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct, field

from gateway.clock import monotonic_ns
from gateway.core.credential import make_code, step_at
from gateway.observe.events import Observed, Recovered, SessionEnded, Trouble
from gateway.pipeline import Pipeline
from gateway.store.ledger import check
from gateway.store.scribe import Scribe
from gateway.wire import topics
from gateway.wire.inbound import Inbound, Outbound
from gateway.wire.tokens import Signer
from tests.gate.gates import CODE_KEY, NOW, Gate, make_gate
from tests.store.databases import IMPATIENT, Databases, locked, whole_chain, writer_on

WITHIN_S = 20.0


class Link:
    """The broker's side: keeps what it was told, with what the database held at that moment."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._changed = asyncio.Condition()
        self.acknowledged: list[int] = []
        self.published: list[Outbound] = []
        self.told: list[str] = []
        self.on_record: list[int] = []
        self.broken = False

    def acknowledge(self, receipts: Iterable[tuple[int, int]]) -> None:
        numbers = [number for _, number in receipts]
        self.acknowledged += numbers
        self._note("acknowledge", numbers)

    def publish(self, messages: Iterable[Outbound]) -> None:
        outgoing = list(messages)
        if self.broken:
            raise OSError("the broker's side is broken")
        self.published += outgoing
        self._note("publish", outgoing)

    def hold_back(self, held: bool) -> None:
        """Nothing is ever too much here."""

    async def room(self) -> None:
        """There always is."""

    def _note(self, what: str, content: Sequence[object]) -> None:
        if not content:
            return
        with closing(sqlite3.connect(self._database)) as connection:
            self.on_record.append(connection.execute("SELECT count(*) FROM ledger").fetchone()[0])
        self.told.append(what)
        self._waker = asyncio.ensure_future(self._wake())

    async def _wake(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def until_acknowledged(self, count: int) -> None:
        async with asyncio.timeout(WITHIN_S), self._changed:
            await self._changed.wait_for(lambda: len(self.acknowledged) >= count)

    async def until_published(self, topic: str) -> None:
        async with asyncio.timeout(WITHIN_S), self._changed:
            await self._changed.wait_for(lambda: any(one.topic == topic for one in self.published))

    def answers(self, machine_id: str = "HJ-0001") -> list[bytes]:
        return [one.payload for one in self.published if one.topic == topics.decision(machine_id)]


class Running(Struct):
    """One gateway without broker and HTTP."""

    gate: Gate
    link: Link
    pipeline: Pipeline
    observed: list[Observed] = field(default_factory=list)
    numbers: int = 0

    def send(self, kind: Any, machine_id: str = "HJ-0001", /, **fields: Any) -> None:
        self.numbers += 1
        payload = json.dumps(fields).encode()
        topic = topics.to_gateway(machine_id, kind)
        self.pipeline.deliver(Inbound(topic, payload, False, monotonic_ns(), (1, self.numbers)))

    def ask(self, request_id: str, welder: str = "P000123", machine_id: str = "HJ-0001") -> None:
        self.send("request", machine_id, request_id=request_id, credential=welder, challenge="c-1", method="scan")


@asynccontextmanager
async def running(databases: Databases, path: Path, signer: Signer) -> AsyncIterator[Running]:
    async with writer_on(Scribe(databases.engine(path, IMPATIENT), signer)) as writer:
        gate, link = make_gate(), Link(path)
        observed: list[Observed] = []
        pipeline = Pipeline(gate.state, writer, link, observed.append)
        task = asyncio.create_task(pipeline.run(), name="pipeline")
        yield Running(gate, link, pipeline, observed)
        pipeline.drain()
        async with asyncio.timeout(WITHIN_S):
            await task


async def test_invariant_nothing_is_acknowledged_or_answered_before_its_record_is_durable(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        for number in range(1, 6):
            gateway.ask(f"request-{number:04}")
            await gateway.link.until_acknowledged(number)
    assert gateway.link.told == ["acknowledge", "publish"] * 5
    assert gateway.link.on_record == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert len(gateway.link.answers()) == 5


async def test_messages_are_acknowledged_in_the_order_of_their_arrival(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        for number in range(1, 701):
            gateway.ask(f"request-{number:04}", machine_id=f"HJ-{number % 3 + 1:04}")
        await gateway.link.until_acknowledged(700)
    assert gateway.link.acknowledged == list(range(1, 701))
    rows, head = whole_chain(databases.engine(path))
    assert len(rows) == 700
    assert list(check(rows, head)) == []


async def test_invariant_a_repeat_gets_the_same_bytes_now_and_after_a_restart(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        for _ in range(3):
            gateway.ask("request-again")
        await gateway.link.until_acknowledged(3)
    async with running(databases, path, signer) as restarted:
        restarted.ask("request-again", welder="P000456")
        await restarted.link.until_acknowledged(1)
    answers = {*gateway.link.answers(), *restarted.link.answers()}
    assert len(gateway.link.answers() + restarted.link.answers()) == 4
    assert len(answers) == 1
    assert json.loads(answers.pop())["outcome"] == "allow"
    assert len(whole_chain(databases.engine(path))[0]) == 1


async def test_invariant_of_two_gateways_that_let_in_at_the_same_machine_one_is_right(
    databases: Databases, signer: Signer
) -> None:
    """Neither knows of the other's session until the database refuses the second one."""
    path = databases.file()
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        one.ask("request-0001", "P000123")
        await one.link.until_acknowledged(1)
        other.ask("request-0002", "P000456")
        await other.link.until_acknowledged(1)
    [first], [second] = one.link.answers(), other.link.answers()
    assert json.loads(first)["outcome"] == "allow"
    assert json.loads(second)["outcome"] == "deny"
    assert [reason["code"] for reason in json.loads(second)["reasons"]] == ["machine_in_session"]


async def test_invariant_of_two_gateways_asked_at_once_for_many_machines_each_has_one_session(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        for number in range(1, 31):
            machine_id = f"HJ-{number % 3 + 1:04}"
            one.ask(f"request-{number:04}", "P000123", machine_id)
            other.ask(f"request-{number:04}-other", "P000456", machine_id)
        await asyncio.gather(one.link.until_acknowledged(30), other.link.until_acknowledged(30))
    with closing(sqlite3.connect(path)) as connection:
        for column in ("machine_id", "operator_id"):
            most = f"SELECT max(n) FROM (SELECT count(*) n FROM sessions WHERE ended_at IS NULL GROUP BY {column})"
            assert connection.execute(most).fetchone()[0] == 1
        opened = connection.execute("SELECT count(*) FROM sessions").fetchone()[0]
        allowed = connection.execute("SELECT count(*) FROM ledger WHERE outcome = 'allow'").fetchone()[0]
    assert opened == allowed
    rows, head = whole_chain(databases.engine(path))
    assert sum(row.kind == "decision" for row in rows) == 60
    assert list(check(rows, head)) == []


async def opened_elsewhere(one: Running, *others: Running) -> str:
    """A session that only one gateway has in memory."""
    for number, gateway in enumerate(others):  # they have read back, and know of no session
        gateway.ask(f"request-{number}-before", "nobody", "HJ-0003")
        await gateway.link.until_acknowledged(1)
    one.ask("request-0001")
    await one.link.until_acknowledged(1)
    return one.gate.session().session_id


async def test_invariant_a_locked_ends_its_session_whichever_gateway_opened_it(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        session_id = await opened_elsewhere(one, other)
        other.send("event", event_id="event-0001", seq=1, kind="locked", session_id=session_id, reason="operator")
        await other.link.until_acknowledged(2)
    assert _ends(path) == [session_id]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT end_reason FROM sessions").fetchall() == [("operator",)]


async def test_invariant_a_tampered_lock_is_locked_whichever_gateway_opened_the_session(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        session_id = await opened_elsewhere(one, other)
        other.send("event", event_id="event-0001", seq=1, kind="tamper")
        await other.link.until_published(topics.command("HJ-0001"))
    [sent] = [one for one in other.link.published if one.topic == topics.command("HJ-0001")]
    claims = json.loads(_claims(json.loads(sent.payload)["command"]))
    assert (claims["cmd"], claims["sid"], claims["when"]) == ("lock", session_id, "now")


async def test_numbers_that_another_gateway_has_had_are_no_lost_evidence(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        for number in range(1, 9):
            gateway = (one, other)[number % 2]
            gateway.send("event", event_id=f"event-{number:04}", seq=number, kind="relay_stuck")
            await gateway.link.until_acknowledged((number + 1) // 2)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM lost_evidence").fetchall() == []


async def test_an_event_that_another_gateway_has_on_record_changes_nothing(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        for gateway in (one, other):
            for number in (5, 2):
                gateway.send("event", event_id=f"event-{number:04}", seq=number, kind="relay_stuck")
            await gateway.link.until_acknowledged(2)
    assert [row.kind for row in whole_chain(databases.engine(path))[0]] == ["event"] * 2
    assert not [event for event in other.observed if isinstance(event, Trouble)]


def _ends(path: Path) -> list[str | None]:
    """What events on record have ended."""
    with closing(sqlite3.connect(path)) as connection:
        records = connection.execute("SELECT record FROM ledger WHERE kind = 'event'").fetchall()
    return [json.loads(record)["body"]["ends"] for (record,) in records]


async def test_an_error_where_a_batch_lands_ends_the_pipeline(databases: Databases, signer: Signer) -> None:
    """What was committed would else never be answered, and nobody would know."""
    with pytest.raises(OSError, match="the broker's side is broken"):
        await _publishes_to_a_broken_link(databases, signer)


async def _publishes_to_a_broken_link(databases: Databases, signer: Signer) -> None:
    async with running(databases, databases.file(), signer) as gateway:
        gateway.ask("request-0001")
        await gateway.link.until_acknowledged(1)
        gateway.link.broken = True
        gateway.ask("request-0002")
        await gateway.link.until_acknowledged(2)


async def test_while_the_database_is_away_nothing_is_acknowledged_and_afterwards_everything(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-0001")
        await gateway.link.until_acknowledged(1)
        with locked(path):
            gateway.ask("request-0002")
            async with asyncio.timeout(WITHIN_S):
                while not any(isinstance(event, Trouble) for event in gateway.observed):
                    await gateway.pipeline.probe_database()
            assert gateway.link.acknowledged == [1]
            assert len(gateway.link.answers()) == 1
            assert not gateway.pipeline.database_ok
        await gateway.link.until_acknowledged(2)
    assert len(gateway.link.answers()) == 2
    assert any(isinstance(event, Recovered) for event in gateway.observed)


def commands_in(path: Path) -> int:
    """How many commands are on record."""
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM ledger WHERE kind = 'command'").fetchone()[0]
        return found


async def test_invariant_a_lock_is_durable_before_it_is_sent_and_sent_once_though_the_database_was_away(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-0001")
        await gateway.link.until_acknowledged(1)
        with locked(path):
            gateway.gate.control("lock")
            gateway.pipeline.wake()
            async with asyncio.timeout(WITHIN_S):
                while not any(isinstance(event, Trouble) for event in gateway.observed):
                    await gateway.pipeline.probe_database()
            assert len(gateway.link.published) == 2  # the answer, and its copy for the feed
        await gateway.link.until_published(topics.command("HJ-0001"))
    sent = [one for one in gateway.link.published if one.topic == topics.command("HJ-0001")]
    assert (len(sent), commands_in(path)) == (1, 1)
    claims = json.loads(_claims(json.loads(sent[0].payload)["command"]))
    assert (claims["cmd"], claims["reason"], claims["n"]) == ("lock", "remote", 1)
    rows, head = whole_chain(databases.engine(path))
    assert [row.kind for row in rows] == ["decision", "command"]
    assert list(check(rows, head)) == []


def _claims(token: str) -> bytes:
    claims = token.split(".")[1]
    return urlsafe_b64decode(claims + "=" * (-len(claims) % 4))


async def test_a_lock_is_pressed_on_by_a_gateway_that_starts_later(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-0001")
        await gateway.link.until_acknowledged(1)
        gateway.gate.control("lock")
        gateway.pipeline.wake()
        await gateway.link.until_published(topics.command("HJ-0001"))
    async with running(databases, path, signer) as restarted:
        restarted.ask("request-0002", "P000456", "HJ-0002")
        await restarted.link.until_acknowledged(1)
        restarted.pipeline.tick()
        await restarted.link.until_published(topics.command("HJ-0001"))
    ids = [
        json.loads(one.payload)["command_id"]
        for one in (*gateway.link.published, *restarted.link.published)
        if one.topic == topics.command("HJ-0001")
    ]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    assert commands_in(path) == 1


async def test_a_tick_that_comes_before_the_pipeline_waits_is_not_lost(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-0001")
        await gateway.link.until_acknowledged(1)
        gateway.gate.clock.now = gateway.gate.session().open_until + 1
    async with running(databases, path, signer) as restarted:
        restarted.gate.clock.now = gateway.gate.clock.now
        restarted.pipeline.tick()
        async with asyncio.timeout(WITHIN_S):
            while not any(isinstance(event, SessionEnded) for event in restarted.observed):
                await restarted.pipeline.probe_database()
    assert [row.kind for row in whole_chain(databases.engine(path))[0]] == ["decision", "session_end"]


async def test_invariant_of_two_gateways_that_are_shown_the_same_code_one_lets_in(
    databases: Databases, signer: Signer
) -> None:
    path, text = databases.file(), make_code(CODE_KEY, "P000123", step_at(NOW))
    async with running(databases, path, signer) as one, running(databases, path, signer) as other:
        for gateway, machine_id in ((one, "HJ-0001"), (other, "HJ-0002")):
            gateway.ask(f"request-{machine_id}", text, machine_id)
        await asyncio.gather(one.link.until_acknowledged(1), other.link.until_acknowledged(1))
    answers = [json.loads(*one.link.answers("HJ-0001")), json.loads(*other.link.answers("HJ-0002"))]
    assert sorted(answer["outcome"] for answer in answers) == ["allow", "deny"]
    [refused] = [answer for answer in answers if answer["outcome"] == "deny"]
    assert "credential_replayed" in [reason["code"] for reason in refused["reasons"]]


async def test_a_session_on_record_holds_after_a_restart(databases: Databases, signer: Signer) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-0001", "P000123", "HJ-0001")
        await gateway.link.until_acknowledged(1)
    async with running(databases, path, signer) as restarted:
        restarted.ask("request-0002", "P000123", "HJ-0002")
        await restarted.link.until_acknowledged(1)
    [answer] = restarted.link.answers("HJ-0002")
    assert [reason["code"] for reason in json.loads(answer)["reasons"]] == ["operator_in_session"]


async def test_invariant_with_the_clock_set_back_nobody_passes_however_often_they_ask_and_after_a_restart(
    databases: Databases, signer: Signer
) -> None:
    """Refusals are on record too, with the wrong time: they must not become the time to compare with."""
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-right")
        await gateway.link.until_acknowledged(1)
        gateway.gate.clock.now -= 200 * 86_400_000
        for number in (2, 3):
            gateway.ask(f"request-{number:04}")
            await gateway.link.until_acknowledged(number)
    async with running(databases, path, signer) as restarted:
        restarted.gate.clock.now -= 200 * 86_400_000
        restarted.ask("request-restarted")
        await restarted.link.until_acknowledged(1)
    answers = [json.loads(answer) for answer in (*gateway.link.answers(), *restarted.link.answers())]
    assert [answer["outcome"] for answer in answers] == ["allow", "deny", "deny", "deny"]
    assert {reason["code"] for answer in answers[1:] for reason in answer["reasons"]} == {"internal_error"}


async def test_a_message_that_the_broker_will_send_again_is_not_handled_twice(
    databases: Databases, signer: Signer
) -> None:
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-0001")
        gateway.pipeline.forget_waiting()
        gateway.ask("request-0001")
        await gateway.link.until_acknowledged(1)
    assert gateway.link.acknowledged == [2]


async def test_what_another_gateway_has_changed_is_read_back_and_the_message_counts(
    databases: Databases, signer: Signer
) -> None:
    """However often: contention is no fault of the message."""
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-0001")
        await gateway.link.until_acknowledged(1)
        session_id = gateway.gate.session().session_id
        for number in range(8):
            with closing(sqlite3.connect(path)) as other, other:
                other.execute("UPDATE sessions SET rev = rev + 1")
            gateway.send("event", event_id=f"event-{number:04}", seq=number + 1, kind="clock_reset", at=NOW + number)
            gateway.gate.session().has_clock = True  # so that each event changes the session
            await gateway.link.until_acknowledged(number + 2)
        gateway.send("event", event_id="event-last", seq=9, kind="locked", at=NOW, session_id=session_id)
        await gateway.link.until_acknowledged(10)
    kinds = [row.kind for row in whole_chain(databases.engine(path))[0]]
    assert kinds == ["decision", *["event"] * 9]


async def test_a_session_that_somebody_else_goes_on_changing_is_no_bad_content(
    databases: Databases, signer: Signer
) -> None:
    """More often than a message that the database will not take is tried."""
    path = databases.file()
    async with running(databases, path, signer) as gateway:
        gateway.ask("request-0001")
        await gateway.link.until_acknowledged(1)
        stale, tries = gateway.gate.sessions.take_changes, 0

        def out_of_date() -> tuple[list[Any], list[Any]]:
            nonlocal tries
            changed, opened = stale()
            tries += bool(changed)
            return ([(row[0], -1, *row[2:]) for row in changed] if tries < 8 else changed), opened

        gateway.gate.sessions.take_changes = out_of_date  # type: ignore[method-assign]
        session_id = gateway.gate.session().session_id
        gateway.send("event", event_id="event-0001", seq=1, kind="locked", at=NOW, session_id=session_id)
        await gateway.link.until_acknowledged(2)
    assert tries == 8
    assert [row.kind for row in whole_chain(databases.engine(path))[0]] == ["decision", "event"]
