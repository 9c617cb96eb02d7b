"""Asks remote registries about people whose requests wait for that, and takes in at once what they say.

Whatever comes of it, the request goes on within a fixed time: a registry that is slow or away delays it by that and no
more, and changes nothing that is held.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress

from msgspec import Struct
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import monotonic_ns, now_ms
from gateway.core.model import Millis
from gateway.errors import WeldGateError
from gateway.observe.events import LookedUp, LookUpOutcome, Observer, Trouble
from gateway.registry.remote import Client, Failed, Found, open_client
from gateway.registry.sources import Sources
from gateway.store.changes import Origin
from gateway.store.entries import Entry
from gateway.store.registry import write_change
from gateway.store.vault import Vault
from gateway.store.writing import How, explained

WITHIN_S = 0.75
"""From the wish to the request's going on: asking, writing and taking over together."""
MOST = 32
"""People asked about at once. More may be a flood; the next ones are decided on what is held."""
NOTE = "look-up"


class Books(Struct, frozen=True):
    """Where answers are written, and how they are taken over into memory afterwards."""

    engine: Engine
    vault: Vault
    how: How
    take_over: Callable[[], Awaitable[None]]


class Lookup:
    """Use: ``run`` as a task, ``ask`` for each person; ``resume`` is called once for each."""

    def __init__(self, sources: Sources, books: Books, resume: Callable[[str], None], observe: Observer) -> None:
        self._sources = {name: source for name, source in sources.sources.items() if source.lookup}
        self._books = books
        self._resume = resume
        self._observe = observe
        self._clients: list[Client] = []
        self._group: asyncio.TaskGroup | None = None
        self._asking: set[str] = set()

    @property
    def offered(self) -> bool:
        """Whether any source can be asked about single people."""
        return bool(self._sources)

    async def run(self) -> None:
        """Until cancelled. Raises SourcesError for a secret that cannot be read."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for name, source in self._sources.items():
                self._clients.append(await stack.enter_async_context(open_client(name, source)))
            self._group = group
            try:
                await asyncio.Event().wait()
            finally:
                self._group = None

    def ask(self, operator_id: str) -> None:
        """Begin to ask about a person; at a flood nobody is asked."""
        if self._group is None or len(self._asking) >= MOST:
            self._observe(LookedUp("left_alone", 0.0))
            self._resume(operator_id)
            return
        self._asking.add(operator_id)
        self._group.create_task(self._look_up(operator_id), name="look-up")

    async def _look_up(self, operator_id: str) -> None:
        began = monotonic_ns()
        outcome: LookUpOutcome = "failed"
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(WITHIN_S):
                    outcome = await self._ask_all(operator_id)
        except (WeldGateError, SQLAlchemyError) as error:
            self._observe(Trouble("look-up", str(getattr(error, "orig", error))))
        finally:
            self._asking.discard(operator_id)
            self._observe(LookedUp(outcome, (monotonic_ns() - began) / 1e9))
            self._resume(operator_id)

    async def _ask_all(self, operator_id: str) -> LookUpOutcome:
        """All sources at once; what each says is taken in under its own name, as of before it was asked."""
        at = now_ms()
        answers = await asyncio.gather(*(client.look_up(operator_id) for client in self._clients))
        found = {
            client.name: answer.entries
            for client, answer in zip(self._clients, answers, strict=True)
            if isinstance(answer, Found)
        }
        if found:
            await asyncio.to_thread(self._write, found, at)
            await self._books.take_over()
            return "found"
        failed = any(isinstance(answer, Failed) for answer in answers)
        return "failed" if failed else "absent"

    def _write(self, found: Mapping[str, Mapping[str, Sequence[Entry]]], at: Millis) -> None:
        books, now = self._books, now_ms()
        with explained(), books.engine.begin() as connection:
            for source, entries in found.items():
                write_change(connection, books.vault, entries, Origin(source, NOTE, at), now, books.how)
