"""The chip kit against a chip in the same process, its clocks running fast, on a free port."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from gateway.core.model import EventKind
from simulator.chip import ChipConfig
from simulator.conformance.cases import Result
from simulator.conformance.chip.all import CHIP
from simulator.conformance.chip.bench import Bench, Options
from simulator.conformance.chip.broker import Broker
from simulator.conformance.keys import Keys, new_keys
from simulator.conformance.packet_log import PacketLog
from simulator.conformance.reference import Reference, Setup
from simulator.conformance.runner import play

SCALE = 20.0
"""A lease of 10 s lasts half a second; giving up takes a second and a half."""
USAGE_KEPT = 4
"""Less than what is measured in the 90 s without network of CHIP-6.8."""
OPTIONS = Options(
    machine_id="HJ-CONFORM-1",
    idle_lock_s=40,
    drain_s=30,
    scale=SCALE,
    prompt_s=1.0,
    quiet_s=0.2,
    lease_real_s=0.5,
    ready_s=4.0,
)
MakeReference = Callable[[Setup], Reference]

__all__ = ["OPTIONS", "SCALE", "EventKind", "bench_of", "results"]


@asynccontextmanager
async def bench_of(make: MakeReference = Reference, options: Options = OPTIONS) -> AsyncIterator[Bench]:
    """A bench with a chip on it that is switched off."""
    keys, log = new_keys(), PacketLog()
    broker = Broker(options.machine_id, log)
    port = await broker.start("127.0.0.1", 0)
    reference = make(setup(port, keys, options))
    try:
        yield Bench(broker, reference, keys, options, log)
    finally:
        await reference.close()
        await broker.close()


def setup(port: int, keys: Keys, options: Options = OPTIONS) -> Setup:
    config = ChipConfig(
        options.machine_id,
        "CHIP-UNDER-TEST",
        idle_lock_s=options.idle_lock_s,
        drain_s=options.drain_s,
        usage_kept=USAGE_KEPT,
    )
    return Setup("127.0.0.1", port, keys.public, config, options.scale, "clock" not in options.without)


async def results(*only: str, make: MakeReference = Reference, options: Options = OPTIONS) -> dict[str, Result]:
    """Play the cases whose ids begin so; by id."""
    async with bench_of(make, options) as bench:
        return {result.about.id: result for result in await play(CHIP.chosen(only), bench)}
