"""The task of the gateway that keeps the figures: when it folds, how much, and what it says of trouble."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from gateway import figures
from gateway.figures import FEWEST, HELD_AIM_S, MOST, Keeper, fitting
from gateway.observe.events import FiguresFolded, Observed, Recovered, Trouble
from gateway.observe.metrics import Metrics
from gateway.store.engine import open_engine
from gateway.store.figures import tables
from gateway.store.figures.folding import Done
from gateway.wire.tokens import Signer
from tests.figures.ground import Shift
from tests.store.databases import Databases


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(figures, "LOST_PAUSE_S", 0.01)


async def keep_until(
    engine: Engine,
    done: Callable[[], bool],
    busy: Callable[[], bool] = lambda: False,
    seen: list[Observed] | None = None,
) -> list[Observed]:
    seen = [] if seen is None else seen
    task = asyncio.create_task(Keeper(engine, busy, seen.append).run(), name="figures")
    try:
        async with asyncio.timeout(20):
            while not done():
                assert not task.done()
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return seen


def counted(engine: Engine) -> int:
    with engine.connect() as connection, connection.begin():
        return connection.execute(sa.select(sa.func.count()).select_from(tables.DECISIONS)).scalar_one()


async def test_it_goes_on_until_nothing_is_behind(engine: Engine, signer: Signer) -> None:
    shift = Shift(engine, signer)
    for _ in range(150):
        shift.refuse()
    metrics = Metrics("0")
    seen: list[Observed] = []

    def nothing_is_behind() -> bool:
        return any(isinstance(event, FiguresFolded) and event.behind == 0 for event in seen) and counted(engine) == 150

    for event in await keep_until(engine, nothing_is_behind, seen=seen):
        metrics(event)
    assert metrics.registry.get_sample_value("weldgate_figures_behind_records") == 0
    steps = metrics.registry.get_sample_value("weldgate_figures_transaction_seconds_count")
    assert steps is not None
    assert steps >= 2


async def test_while_the_gate_is_busy_nothing_is_counted(engine: Engine, signer: Signer) -> None:
    Shift(engine, signer).refuse()
    looked = 0

    def busy() -> bool:
        nonlocal looked
        looked += 1
        return looked < 20

    await keep_until(engine, lambda: looked >= 15, busy)
    assert counted(engine) == 0
    await keep_until(engine, lambda: counted(engine) == 1, busy)


async def test_trouble_is_told_once_and_so_is_its_end(databases: Databases, signer: Signer) -> None:
    path: Path = databases.file()
    engine = databases.engine(path)
    Shift(engine, signer).refuse()
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE decisions RENAME TO elsewhere")
    seen: list[Observed] = []
    looked = 0

    def mended() -> bool:
        """Put right once it has failed for a while."""
        nonlocal looked
        looked += 1
        if looked == 10:
            with engine.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO decisions")
        return looked > 10 and any(isinstance(event, FiguresFolded) for event in seen)

    await keep_until(engine, mended, seen=seen)
    assert [type(event) for event in seen[:3]] == [Trouble, Recovered, FiguresFolded]
    assert isinstance(seen[0], Trouble)
    assert seen[0].where == "figures"


@pytest.mark.parametrize(
    ("held_s", "full", "size"),
    [
        (HELD_AIM_S * 2, True, 50),
        (HELD_AIM_S * 2, False, 50),
        (HELD_AIM_S / 4, True, 125),
        (HELD_AIM_S / 4, False, 100),
        (HELD_AIM_S * 0.8, True, 100),
    ],
)
def test_a_step_becomes_as_large_as_it_may_be(held_s: float, full: bool, size: int) -> None:
    assert fitting(100, Done(held_s=held_s, full=full)) == size


def test_a_step_has_bounds() -> None:
    assert fitting(FEWEST, Done(held_s=1)) == FEWEST
    assert fitting(MOST, Done(full=True)) == MOST


def test_commits_of_what_can_be_made_anew_do_not_wait_for_the_disk(tmp_path: Path) -> None:
    def synchronous(engine: Engine) -> int:
        with engine.connect() as connection:
            return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    url = f"sqlite:///{tmp_path}/gate.db"
    strict, relaxed = open_engine(url), open_engine(url, migrate=False, durable=False)
    assert (synchronous(strict), synchronous(relaxed)) == (2, 1)
    strict.dispose()
    relaxed.dispose()
