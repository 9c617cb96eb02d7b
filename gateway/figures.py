"""Keeps the figures that pages show: folds what is new in the ledger and in usage, beside the gate and after it.

The gate comes first: a step is small, nothing is folded while messages wait, and after each step everybody else may
write for at least as long as it took.
"""

import asyncio
from collections.abc import Callable

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import now_ms
from gateway.observe.events import FiguresFolded, Observer, Recovered, Trouble
from gateway.store.figures.folding import Done, Folder

LOOK_EVERY_S = 1.0
"""How often to look for something new: a page is that old at most, and usage reports come every 10 s."""
LOST_PAUSE_S = 5.0
"""How long to leave it to another gateway that was faster."""
HELD_AIM_S = 0.004
"""How long a step may hold the write lock: the next is smaller after one that took longer, larger after a short one."""
FEWEST, MOST = 16, 400
BEGIN_WITH = 32
PAUSE_S = 0.01
PAUSES = 9
"""A pause after a step takes so many times as long as it held the lock: a tenth of the time at most is taken."""


class Keeper:
    """``busy`` tells whether the gate has better things to do."""

    def __init__(self, engine: Engine, busy: Callable[[], bool], observe: Observer) -> None:
        self._engine = engine
        self._busy = busy
        self._observe = observe
        self._size = BEGIN_WITH
        self._failing = False
        self._failures = (SQLAlchemyError, engine.dialect.loaded_dbapi.Error)

    async def run(self) -> None:
        """Until cancelled. Trouble with the database only delays what pages show."""
        folder = Folder(self._engine)
        while True:
            pause_s = LOOK_EVERY_S if self._busy() else await self._step(folder)
            await asyncio.sleep(pause_s)

    async def _step(self, folder: Folder) -> float:
        """How long to wait until the next step."""
        try:
            done = await asyncio.to_thread(folder.step, self._size, now_ms())
        except self._failures as error:
            self._fails(str(getattr(error, "orig", error)))
            return LOST_PAUSE_S
        self._works(done)
        if done.lost:
            return LOST_PAUSE_S
        self._size = fitting(self._size, done)
        return max(PAUSE_S, PAUSES * done.held_s) if done.full else LOOK_EVERY_S

    def _fails(self, problem: str) -> None:
        if not self._failing:
            self._failing = True
            self._observe(Trouble("figures", problem))

    def _works(self, done: Done) -> None:
        if self._failing:
            self._failing = False
            self._observe(Recovered("figures", f"{done.behind} records behind"))
        if done.unreadable:
            unreadable = f"{done.unreadable} records cannot be read and count nowhere; see weldgate audit verify"
            self._observe(Trouble("figures", unreadable))
        if not done.lost:
            self._observe(FiguresFolded(done.records, done.sessions, done.behind, done.held_s or None))


def fitting(size: int, done: Done) -> int:
    """The size of the next step, by how long one of this size held the lock."""
    if done.held_s > HELD_AIM_S:
        return max(FEWEST, size // 2)
    if done.full and done.held_s < HELD_AIM_S / 2:
        return min(MOST, size + size // 4)
    return size
