"""Asked by phone with a real broker, a real database and the reference chip: the relay closes, or stays open."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

from joserfc.jwk import ECKey
from msgspec import Struct, field

from gateway.core.model import PhoneAsk
from gateway.mqtt.link import Hooks
from gateway.mqtt.link import Link as GatewayLink
from gateway.mqtt.url import Tls, parse_broker_url
from gateway.pipeline import Pipeline
from gateway.store.scribe import Scribe
from gateway.wire import topics
from gateway.wire.answer import read_answer
from gateway.wire.inbound import Outbound
from gateway.wire.tokens import Signer, Verifier
from simulator.chip import Chip, ChipConfig
from simulator.link import Link, parse_broker
from simulator.signals import Event, Moment, PowerOn, Publish
from tests.gate.gates import Gate, make_gate
from tests.store.databases import Databases, writer_on
from tests.support.brokers import Mosquitto

WITHIN_S = 20.0


class Lock(Struct):
    """The reference chip on its own connection, with the gate's clock on its wall. ``held``: what reaches it waits."""

    chip: Chip
    gate: Gate
    link: Link | None = None
    held: bool = False
    waiting: list[Event] = field(default_factory=list)

    def feed(self, event: Event) -> None:
        self.waiting.append(event)
        while self.waiting and not self.held:
            moment = Moment(time.monotonic_ns() // 1_000_000, self.gate.clock.now)
            for action in self.chip.step(self.waiting.pop(0), moment):
                if isinstance(action, Publish) and self.link is not None:
                    self.link.publish(action)

    def let_go(self) -> None:
        self.held = False
        first, self.waiting = self.waiting, []
        for event in first:
            self.feed(event)


class Scene(Struct):
    gate: Gate
    lock: Lock
    pipeline: Pipeline

    async def tap(self, request_id: str) -> list[str]:
        """The codes of a refusal, none for an allow."""
        reply = await self.pipeline.ask(PhoneAsk("HJ-0001", "P000123", request_id, "account-1"))
        return [reason.code for reason in read_answer(reply).reasons]


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not what():  # noqa: ASYNC110 - broker, chip and pipeline are three loops of their own
            await asyncio.sleep(0.01)


@asynccontextmanager
async def playing(databases: Databases, signer: Signer, key: ECKey, broker: Mosquitto) -> AsyncIterator[Scene]:
    gate, path = make_gate(), databases.file()
    async with writer_on(Scribe(databases.engine(path), signer)) as writer:
        hooks = Hooks(lambda inbound: pipeline.deliver(inbound), lambda *_: None, lambda: None, lambda _: None)
        will = Outbound(topics.gateway_status("test"), b"{}", retained=True)
        link = GatewayLink(parse_broker_url(broker.url), "weldgate-test", topics.CHIP_FILTERS, will, hooks, Tls())
        pipeline = Pipeline(gate.state, writer, link, lambda _: None)
        verify = Verifier({"keys": [key.as_dict(private=False)]}).claims
        lock = Lock(Chip(ChipConfig("HJ-0001", "CHIP-0001"), verify, Random(1)), gate)
        lock.link = Link(parse_broker(broker.url), "HJ-0001", lock.feed, asyncio.Semaphore(1), Random(1))
        lock.feed(PowerOn())
        tasks = [asyncio.create_task(one) for one in (pipeline.run(), link.run())]
        await until(lambda: link.connected)
        tasks.append(asyncio.create_task(lock.link.run()))
        await until(lambda: gate.state.chips["HJ-0001"].challenge == lock.chip.challenge)
        yield Scene(gate, lock, pipeline)
        pipeline.drain()
        await tasks[0]
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        await link.close(1.0)


async def test_a_tap_closes_the_relay_and_another_tap_finds_it_closed(
    databases: Databases, signer: Signer, key: ECKey, mosquitto: Mosquitto
) -> None:
    async with playing(databases, signer, key, mosquitto) as scene:
        assert await scene.tap("by-phone-0001") == []
        await until(lambda: scene.lock.chip.relay == "closed")
        await until(lambda: scene.gate.session().state == "unlocked")
        assert scene.gate.session().request_id == "by-phone-0001"
        await until(lambda: scene.gate.state.chips["HJ-0001"].challenge == scene.lock.chip.challenge)
        assert await scene.tap("by-phone-0002") == ["machine_unlocked"]
        assert await scene.tap("by-phone-0001") == []
        assert scene.lock.chip.session is not None
        assert scene.lock.chip.session.request_id == "by-phone-0001"


async def test_invariant_a_grant_that_waited_on_its_way_closes_no_relay(
    databases: Databases, signer: Signer, key: ECKey, mosquitto: Mosquitto
) -> None:
    async with playing(databases, signer, key, mosquitto) as scene:
        scene.lock.held = True
        assert await scene.tap("by-phone-0001") == []
        await until(lambda: bool(scene.lock.waiting))
        scene.gate.clock.pass_s(31)
        scene.lock.let_go()
        await until(lambda: scene.gate.session().live.grant_refused)
        assert scene.lock.chip.relay == "open"


async def test_a_lock_that_is_gone_is_offline_at_once_and_back_when_it_is(
    databases: Databases, signer: Signer, key: ECKey, mosquitto: Mosquitto
) -> None:
    async with playing(databases, signer, key, mosquitto) as scene:
        assert scene.lock.link is not None
        scene.lock.link.cut(0.2)
        await until(lambda: not scene.gate.state.chips["HJ-0001"].online)
        assert await scene.tap("by-phone-0001") == ["machine_offline"]
        await until(lambda: scene.gate.state.chips["HJ-0001"].online)
        assert await scene.tap("by-phone-0002") == []
        await until(lambda: scene.lock.chip.relay == "closed")
