"""What it costs to keep the figures: how fast a backlog is counted, how long the write lock is held, what the gate
feels of it."""

import asyncio
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy import Engine

from gateway.figures import Keeper, fitting
from gateway.observe.events import FiguresFolded, Observed
from gateway.store.engine import open_engine
from gateway.store.figures import tables
from gateway.store.figures.folding import Folder
from tests.bench.counting.synthetic import NOW
from tests.bench.load import Load, measure
from tests.bench.stage import gateway

FOLDED_FOR_S = 20.0
BEGIN_WITH = 64
ROUNDS, WINDOW_S, WARM_UP_S = 5, 4.0, 1.0
WITHOUT = (
    "import asyncio, gateway.figures as f\n"
    "async def rest(self): await asyncio.Event().wait()\n"
    "f.Keeper.run = rest\n"
    "from gateway.cli import app; app()"
)
"""A gateway that counts nothing."""


class Folding(NamedTuple):
    """A backlog counted: records and sessions a second, and how long each step held the write lock, milliseconds."""

    name: str
    records_s: float
    sessions_s: float
    held_p50: float
    held_p95: float
    held_max: float


def counted_bare(path: Path, seconds: float = FOLDED_FOR_S) -> Folding:
    """Step after step, as large as the task would have them, without a pause."""
    with _backlog(path) as engine:
        folder, size, held = Folder(engine), BEGIN_WITH, list[float]()
        records = sessions = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            done = folder.step(size, NOW)
            size = fitting(size, done)
            records, sessions = records + done.records, sessions + done.sessions
            held.append(done.held_s)
            if not done.full:
                break
        return _folding("steps without a pause", records, sessions, held, time.perf_counter() - began)


def counted_by_the_task(path: Path, seconds: float = FOLDED_FOR_S) -> Folding:
    """As a gateway at rest does."""
    seen: list[Observed] = []

    async def keep(engine: Engine) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(Keeper(engine, lambda: False, seen.append).run(), seconds)

    with _backlog(path) as engine:
        asyncio.run(keep(engine))
    folded = [event for event in seen if isinstance(event, FiguresFolded)]
    held = [event.held_s for event in folded if event.held_s is not None]
    records, sessions = sum(event.records for event in folded), sum(event.sessions for event in folded)
    return _folding("the gateway's task", records, sessions, held, seconds)


def _folding(name: str, records: int, sessions: int, held: list[float], seconds: float) -> Folding:
    held_ms = sorted(1000 * one for one in held)
    p95 = held_ms[len(held_ms) * 95 // 100 - 1]
    return Folding(name, records / seconds, sessions / seconds, median(held_ms), p95, held_ms[-1])


@contextmanager
def _backlog(path: Path) -> Iterator[Engine]:
    """A copy of the database in which the second half of the ledger is not counted, and all usage is reported anew."""
    copy = path.with_suffix(".backlog")
    shutil.copyfile(path, copy)
    engine = open_engine(f"sqlite:///{copy}", migrate=False, durable=False)
    try:
        with engine.begin() as connection:
            half = connection.execute(sa.select(sa.func.max(tables.DECISIONS.c.seq) // 2)).scalar_one()
            connection.execute(sa.delete(tables.DECISIONS).where(tables.DECISIONS.c.seq > half))
            connection.execute(sa.delete(tables.REASONS).where(tables.REASONS.c.seq > half))
            connection.execute(sa.update(tables.STATE).values(seq=half))
            connection.exec_driver_sql(
                "INSERT INTO uncounted_usage SELECT session_id, machine_id, seq FROM usage ORDER BY 1 DESC LIMIT 100000"
            )
            marked = "SELECT session_id FROM uncounted_usage"
            connection.exec_driver_sql(f"UPDATE session_index SET arc_s = 0 WHERE session_id IN ({marked})")
        yield engine
    finally:
        engine.dispose()
        for suffix in ("", "-wal", "-shm"):
            copy.with_name(copy.name + suffix).unlink(missing_ok=True)


class Beside(NamedTuple):
    """Requests a second and milliseconds, medians of the rounds."""

    name: str
    devices: int
    rate: float
    p50: float
    p95: float
    p99: float


def beside_the_gate(folder: Path, devices: tuple[int, ...] = (1, 64), rounds: int = ROUNDS) -> list[Beside]:
    """The gate with and without the task, rounds interleaved; both count what they decided themselves."""
    windows: dict[tuple[str, int], list[tuple[float, ...]]] = {}
    (folder / "with").mkdir()
    (folder / "without").mkdir()
    with (
        gateway("county", folder / "with", max(devices)) as counting,
        gateway("county", folder / "without", max(devices), WITHOUT) as plain,
    ):
        for number in range(rounds):
            for count in devices:
                for name, one in (("counting", counting), ("without", plain)):
                    load = Load(one.devices[:count], one.broker.port, one.check, f"r{number}d{count}")
                    result = measure(load, WARM_UP_S, WINDOW_S, {})
                    if result.wrong or result.unanswered:
                        sys.exit(f"{name}: {result.wrong} wrong, {result.unanswered} unanswered: {result.first_wrong}")
                    times = tuple(result.quantile_ms(share) for share in (0.5, 0.95, 0.99))
                    windows.setdefault((name, count), []).append((result.rate, *times))
    return [
        Beside(name, count, *(median(column) for column in zip(*rounds_of, strict=True)))
        for (name, count), rounds_of in sorted(windows.items(), key=lambda item: item[0][::-1])
    ]
