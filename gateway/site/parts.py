"""The parts of the gateway that pages use."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

from msgspec import Struct
from sqlalchemy import Connection, Engine

from gateway.core.model import PhoneAsk
from gateway.gate.state import GateState
from gateway.observe.events import Observer
from gateway.site.guard import Network
from gateway.store.engine import reading
from gateway.store.vault import Vault
from gateway.store.writing import PLAINLY, How

P = ParamSpec("P")
T = TypeVar("T")


class Parts(Struct, frozen=True):
    """``state`` is the event loop's; ``engine`` blocks: use it through ``read`` and ``write``. ``address`` is where
    people reach the site, None: whatever address they used. ``by_provider``: an identity provider vouches for people,
    too. ``hurry`` has registries and orders taken over now. ``ask`` asks the gate for an unlock and returns the exact
    answer within so many seconds, or raises Unanswered. ``how``: whose word about the registries counts."""

    state: GateState
    engine: Engine
    vault: Vault
    code_keys: tuple[bytes, ...]
    observe: Observer
    hurry: Callable[[], None]
    ask: Callable[[PhoneAsk, float], Awaitable[bytes]]
    proxies: tuple[Network, ...] = ()
    address: str | None = None
    by_provider: bool = False
    how: How = PLAINLY

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **named: P.kwargs) -> T:
        """Run a query in a thread, in one transaction that sees one state of the database."""

        def run() -> T:
            with reading(self.engine).connect() as connection, connection.begin():
                return query(connection, *args, **named)

        return await asyncio.to_thread(run)

    async def write(self, act: Callable[Concatenate[Connection, P], T], *args: P.args, **named: P.kwargs) -> T:
        """Carry something out in a thread, in one transaction. Keep it short: the scribe waits for it."""

        def run() -> T:
            with self.engine.begin() as connection:
                return act(connection, *args, **named)

        return await asyncio.to_thread(run)
