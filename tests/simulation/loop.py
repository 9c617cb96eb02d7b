"""An event loop on the virtual clock, just large enough for the gateway's pipeline.

Whatever runs on it runs to the end of what is ready before time moves on, so a run is the same every time.
"""

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from tests.simulation.timeline import Timeline


class VirtualLoop:
    """One per gateway process: with the process its loop ends, and nothing of it happens any more.

    It has what futures, tasks, events and ``asyncio.sleep`` ask of a loop, and no more.

    ``wake`` is called where a timer has made something ready: it lets the process run.
    """

    def __init__(self, timeline: Timeline, wake: Callable[[], None]) -> None:
        self._timeline = timeline
        self._wake = wake
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._running = False
        self.over = False
        self.problems: list[dict[str, Any]] = []
        self._as_loop = cast(asyncio.AbstractEventLoop, self)

    def time(self) -> float:
        return self._timeline.now / 1000

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self.over

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        self._ready.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        return self.call_at(self.time() + delay, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        handle = asyncio.TimerHandle(when, callback, args, self._as_loop)
        self._timeline.at(round(when * 1000), self._fire, handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Its time will come and find it cancelled."""

    def _fire(self, handle: asyncio.TimerHandle) -> None:
        if not handle.cancelled():
            self._ready.append((handle._run, ()))
            self._wake()

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self._as_loop)

    def create_task(self, coro: Any, *, name: str | None = None) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self._as_loop, name=name)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.over:
            self.problems.append(context)

    def end(self) -> None:
        """The process is gone in the midst of whatever it did."""
        self.over = True
        self._ready.clear()

    def run_ready(self) -> None:
        """Run what is ready and what becomes ready by it."""
        if self._running or self.over:
            return
        self._running = True
        before = events._get_running_loop()
        events._set_running_loop(self._as_loop)
        try:
            ready = self._ready
            while ready:
                callback, arguments = ready.popleft()
                callback(*arguments)
        finally:
            events._set_running_loop(before)
            self._running = False
