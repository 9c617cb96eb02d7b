"""A county at work through a restart of its broker and a kill -9 of its gateway: one real Mosquitto, one real gateway,
1,603 chips that weld for minutes on leases of half a minute."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import uvloop
from msgspec import Struct

from gateway.keys import open_keys
from simulator.fleet import Fleet, FleetOptions, Progress
from simulator.link import parse_broker
from simulator.registry import load
from simulator.report import Report
from tests.soak import staff
from tests.support.brokers import Limits, Mosquitto
from tests.support.gateway import Gateway, weldgate
from tests.support.waiting import eventually

POLICY = 'version = "soak"\n[lease]\nlease_s = 30\ndrain_deadline_s = 10\n'
SETTLED_WITHIN_S = 90.0
"""Longer than start-by, lease and drain deadline together: by then every session has ended one way or the other."""


class Shift(Struct, frozen=True):
    """What came of it. ``ended``: how many sessions for which reason; ``outage_s``: from kill -9 to ready again."""

    report: Report
    ended: dict[str, int]
    renewals: int
    outage_s: float
    still_open: int
    records: int


@contextmanager
def stand(folder: Path, machines: int) -> Iterator[tuple[Mosquitto, Gateway]]:
    """A persistent Mosquitto and a gateway with a registry in order; both end with the block."""
    keys, database, policy = folder / "keys", folder / "gate.db", folder / "policy.toml"
    where = ("--database", f"sqlite:///{database}", "--keys", str(keys))
    assert weldgate("registry", "import", str(staff.write(folder / "county", machines)), *where).returncode == 0
    policy.write_text(POLICY)
    broker = Mosquitto(Limits(persistence=True)).start()
    gateway = Gateway(broker.url, database, keys, policy=policy).start().until_ready()
    try:
        yield broker, gateway
    finally:
        gateway.close()
        broker.close()


def work(for_s: float, machines: int = staff.MACHINES, on_progress: Callable[[Progress], None] | None = None) -> Shift:
    """Weld for a while; after a third of it the broker restarts, after two thirds the gateway is killed."""
    with TemporaryDirectory(prefix="weldgate-soak-") as name, stand(Path(name), machines) as (broker, gateway):
        options = FleetOptions(
            broker=parse_broker(broker.url),
            registry=load(Path(name) / "county"),
            jwks=msgspec.json.decode(open_keys(gateway.keys).public()),
            machines=machines,
            for_s=for_s,
            scenario="long-shift",
            rate=machines / 100,
            usage_every_s=5,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report, outage_s, renewals = runner.run(_through_trouble(options, broker, gateway, on_progress))
        return _look(gateway, report, outage_s, renewals)


async def _through_trouble(
    options: FleetOptions, broker: Mosquitto, gateway: Gateway, on_progress: Callable[[Progress], None] | None
) -> tuple[Report, float, int]:
    async with asyncio.TaskGroup() as group:
        fleet = group.create_task(Fleet(options, on_progress).run(), name="fleet")
        trouble = group.create_task(_trouble(options.for_s, broker, gateway), name="trouble")
    return fleet.result(), *trouble.result()


async def _trouble(for_s: float, broker: Mosquitto, gateway: Gateway) -> tuple[float, int]:
    await asyncio.sleep(for_s / 3)
    await asyncio.to_thread(broker.restart)
    await asyncio.sleep(for_s / 3)
    renewals = await asyncio.to_thread(gateway.metric, "weldgate_renewals_total")
    began = time.monotonic()
    gateway.kill()
    gateway.start()
    await asyncio.to_thread(gateway.until_ready)
    return time.monotonic() - began, int(renewals)


def _look(gateway: Gateway, report: Report, outage_s: float, renewals: int) -> Shift:
    """What the database holds once everything that was under way has ended."""
    eventually(lambda: not _open(gateway), SETTLED_WITHIN_S, "every session has ended")
    renewals += int(gateway.metric("weldgate_renewals_total"))
    ended = gateway.rows("SELECT end_reason, count(*) AS n FROM sessions WHERE ended_at IS NOT NULL GROUP BY 1")
    assert gateway.drain() == 0, gateway.log
    gateway.intact()
    records = gateway.rows("SELECT count(*) AS n FROM ledger")[0]["n"]
    return Shift(report, {row["end_reason"]: row["n"] for row in ended}, renewals, outage_s, _open(gateway), records)


def _open(gateway: Gateway) -> int:
    return int(gateway.rows("SELECT count(*) AS n FROM sessions WHERE ended_at IS NULL")[0]["n"])
