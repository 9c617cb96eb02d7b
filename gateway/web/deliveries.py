"""Deliveries of pushed events: checked, taken into the registries, and looked at by the gateway at once."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct
from sqlalchemy import Engine

from gateway.core.model import Millis
from gateway.registry.push import NotSigned, Senders, read_delivery, sender_of
from gateway.registry.values import without_numbers
from gateway.store.push_events import Event, Outcome
from gateway.store.pushed import Push, take_events
from gateway.store.vault import Vault
from gateway.store.writing import PLAINLY, How
from gateway.web.problems import ApiError, wait_and_see

WAITING_AT_MOST = 16
"""Deliveries that wait for the one that is written: more than senders have, less than would wait for long."""
RETRY_S = 1


class Taken(Struct, frozen=True):
    """A delivery that was taken: who sent it, and what became of each event, in their order."""

    sender: str
    outcomes: tuple[Outcome, ...]


class Trust(Struct, frozen=True):
    """Who may push, and whose word counts where several sources speak of the same."""

    senders: Senders = {}
    how: How = PLAINLY


class Deliveries:
    """Takes deliveries, one after the other. ``changed`` is called when the registries may have changed."""

    def __init__(
        self, engine: Engine, vault: Vault, trust: Trust, now_ms: Callable[[], Millis], changed: Callable[[], None]
    ) -> None:
        self._engine, self._vault, self._trust = engine, vault, trust
        self._now_ms, self._changed = now_ms, changed
        self._one_writes = asyncio.Lock()
        self._waiting = 0

    async def take(self, headers: Mapping[str, str], body: bytes) -> Taken:
        """Returns when everything is durable. Raises ApiError, DatabaseUnavailable."""
        now = self._now_ms()
        sender, read = await asyncio.to_thread(_read, self._trust.senders, headers, body, now)
        events = [one for one in read if isinstance(one, Event)]
        if not events:
            bad = tuple(one for one in read if isinstance(one, Outcome))
            raise ApiError("invalid", f"events: none of the {len(bad)} can be read; see outcomes", outcomes=bad)
        outcomes = iter(await self._write(sender, events, now))
        return Taken(sender, tuple(one if isinstance(one, Outcome) else next(outcomes) for one in read))

    async def _write(self, sender: str, events: list[Event], now: Millis) -> list[Outcome]:
        if self._waiting >= WAITING_AT_MOST:
            raise wait_and_see("unavailable", f"{self._waiting} deliveries wait already; send this one again", RETRY_S)
        self._waiting += 1
        try:
            async with self._one_writes:
                push = Push(sender, now, self._trust.how)
                outcomes = await asyncio.to_thread(take_events, self._engine, self._vault, push, events)
        finally:
            self._waiting -= 1
            self._changed()
        return outcomes


def _read(senders: Senders, headers: Mapping[str, str], body: bytes, now: Millis) -> tuple[str, list[Event | Outcome]]:
    """Who sent it, and its events."""
    try:
        return sender_of(senders, headers, body, now), read_delivery(body, now)
    except NotSigned as error:
        raise ApiError("unauthorized", str(error)) from None
    except msgspec.ValidationError as error:
        raise ApiError("invalid", f"the body: {without_numbers(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError("malformed", "the body: is no JSON that can be read; send UTF-8 JSON") from None
