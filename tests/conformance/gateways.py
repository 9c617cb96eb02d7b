"""The real gateway for the gateway kit, with all that the kit may ask for: stopped, started, fed, broken, tapped."""

import asyncio
import itertools
import json
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from typing import Any

from simulator.conformance import mqtt
from simulator.conformance.cases import Result
from simulator.conformance.gateway import county
from simulator.conformance.gateway.all import GATEWAY
from simulator.conformance.gateway.stand import Hooks, Options, Stand
from simulator.conformance.gateway.tap import Tap
from simulator.conformance.mqtt import Packet
from simulator.conformance.packet_log import PacketLog
from simulator.conformance.runner import play
from simulator.link import Broker
from tests.support.brokers import Mosquitto
from tests.support.gateway import Gateway

POLICY = """
[lease]
lease_s = 30
start_by_s = 3
idle_lock_s = 60
drain_deadline_s = 2
chip_drain_s = 2

[offline]
for_s = 600
"""
PAIRS = 4_000
"""Many broken gateways leave sessions open behind them: none of these is met again."""
OPTIONS = Options(answer_s=4.0, quiet_s=0.3, ready_s=30.0, longest_s=30.0, overtime_s=42.0)


def weldgate(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


class Under:
    """A gateway behind a tap, on the kit's county; ``jwks`` is what its chips believe."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self.folder = folder
        self.broker = broker
        self.pairs = itertools.cycle(range(1, PAIRS + 1))
        self.files = county.tables(date.today(), PAIRS)  # noqa: DTZ011  (no case is near midnight's edge)
        self.database, self.keys = folder / "gateway.db", folder / "keys"
        self.jwks: dict[str, Any] = {}
        self.gateway: Gateway

    def prepare(self) -> None:
        files = county.write(self.folder / "county", self.files)
        done = self.imported(files)
        assert done.returncode == 0, done.stderr
        out = self.folder / "jwks.json"
        assert weldgate("keys", "public", "--keys", str(self.keys), "--out", str(out)).returncode == 0
        self.jwks = json.loads(out.read_text())
        (self.folder / "policy.toml").write_text(POLICY)

    def imported(self, files: Path) -> subprocess.CompletedProcess[str]:
        where = ("--database", f"sqlite:///{self.database}", "--keys", str(self.keys))
        return weldgate("registry", "import", str(files), *where)

    def start(self, port: int) -> None:
        url, policy = f"mqtt://127.0.0.1:{port}", self.folder / "policy.toml"
        self.gateway = Gateway(url, self.database, self.keys, "conformance", policy).start().until_ready()

    # --- hooks ---

    async def stop(self) -> None:
        await asyncio.to_thread(self.gateway.kill)

    async def again(self) -> None:
        await asyncio.to_thread(lambda: self.gateway.start().until_ready())

    async def import_files(self, files: Path) -> bool:
        return (await asyncio.to_thread(self.imported, files)).returncode == 0

    async def make_code(self, operator_id: str) -> str:
        where = ("--database", f"sqlite:///{self.database}", "--keys", str(self.keys))
        done = await asyncio.to_thread(weldgate, "operator", "code", operator_id, *where)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[0]

    async def break_storage(self) -> None:
        """Somebody else holds the database: no commit gets through."""
        self._holder = sqlite3.connect(self.database, timeout=20, isolation_level=None)
        self._holder.execute("BEGIN IMMEDIATE")

    async def mend_storage(self) -> None:
        self._holder.execute("ROLLBACK")
        self._holder.close()

    def hooks(self, tap: Tap, **other: Any) -> Hooks:
        given: dict[str, Any] = {"stop": self.stop, "start": self.again, "import_files": self.import_files}
        given |= {"break_storage": self.break_storage, "mend_storage": self.mend_storage, "tap": tap}
        given |= {"make_code": self.make_code}
        return Hooks(**given | other)


MakeTap = Callable[[str, int, PacketLog], Tap]


@asynccontextmanager
async def under_test(folder: Path, broker: Mosquitto, make_tap: MakeTap = Tap) -> AsyncIterator[tuple[Under, Tap]]:
    """A ready gateway behind a tap."""
    under, tap = Under(folder, broker), make_tap("127.0.0.1", broker.port, PacketLog())
    await asyncio.to_thread(under.prepare)
    port = await tap.start("127.0.0.1", 0)
    try:
        await asyncio.to_thread(under.start, port)
        yield under, tap
    finally:
        if hasattr(under, "gateway"):
            under.gateway.close()
        await tap.close()


async def results(
    under: Under,
    tap: Tap,
    *only: str,
    port: int = 0,
    options: Options = OPTIONS,
    leaving_out: tuple[str, ...] = (),
    **hooks: Any,
) -> dict[str, Result]:
    """Play the cases whose ids begin so, over the broker or what stands in front of it at ``port``; by id."""
    log = PacketLog()
    broker = Broker("127.0.0.1", port or under.broker.port)
    stand = Stand(broker, under.jwks, under.files, under.hooks(tap, **hooks), options, log)
    stand.pairs = under.pairs
    cases = [case for case in GATEWAY.chosen(only) if case.about.id not in leaving_out]
    try:
        return {result.about.id: result for result in await play(cases, stand)}
    finally:
        await stand.close()


class LossyTap(Tap):
    """What a broken gateway would do at its own end of the line.

    ``forgets``: acknowledges requests and forgets them, as one that does so before the commit. ``gives_up``: once its
    connection was cut it makes no other, as one whose task for MQTT has died.
    """

    forgets = gives_up = False
    _was_cut = False

    def cut(self) -> None:
        self._was_cut = True
        super().cut()

    def be_sound(self) -> None:
        self.forgets = self.gives_up = self._was_cut = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.gives_up and self._was_cut:
            writer.transport.abort()
        else:
            await super()._serve(reader, writer)

    async def _both_ways(self, gateway: Any, broker: Any) -> None:
        self._to_broker: asyncio.StreamWriter = broker[1]
        await super()._both_ways(gateway, broker)

    def _saw(self, packet: Packet, *, from_gateway: bool) -> bool:
        passes = super()._saw(packet, from_gateway=from_gateway)
        is_request = packet.kind == mqtt.PUBLISH and not from_gateway and b"/request" in packet.body[:80]
        if not (self.forgets and is_request):
            return passes
        packet_id = mqtt.read_publish(packet, self._version).packet_id
        (acknowledged,) = mqtt.Splitter().feed(mqtt.puback(packet_id))
        self._to_broker.write(mqtt.puback(packet_id))
        self._saw(acknowledged, from_gateway=True)
        return False


class JointImport:
    """The import hook of several stands that revoke at the same time: one import for all of them."""

    def __init__(self, under: Under, parties: int) -> None:
        self._under = under
        self._together = asyncio.Barrier(parties)
        self._revoked: set[str] = set()

    async def __call__(self, files: Path) -> bool:
        place = county.COLUMNS["certificates"].index("status")
        rows = county.read(files)["certificates"]
        if await self._together.wait() == 0:
            self._revoked.clear()
        await self._together.wait()
        self._revoked |= {row[1] for row in rows if row[place] == "revoked"}
        if await self._together.wait() == 0:
            folder = self._under.folder / "joint"
            county.write(folder, county.revoked(self._under.files, *self._revoked))
            assert await self._under.import_files(folder)
        await self._together.wait()
        return True
