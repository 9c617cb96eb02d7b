"""Tells a gateway of changes at once: signed POSTs by the Standard Webhooks scheme, repeated until they are taken.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from random import Random

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from msgspec import Struct

from simulator.registry_service.news import Event

PREFIX = "whsec_"
EVENTS_AT_ONCE = 100
TIMEOUT_S = 5.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 30.0


class SecretError(Exception):
    """The secret of the signatures cannot be used; the message names the remedy."""


class Counts(Struct):
    """Events that were ``taken`` (a 2xx answer), that a gateway ``refused`` for good, and that still ``wait``."""

    taken: int = 0
    refused: int = 0
    waiting: int = 0


def read_secret(path: Path) -> bytes:
    """The key in a file: base64, with or without ``whsec_`` before it. Raises SecretError."""
    try:
        key = base64.b64decode(path.read_text(encoding="ascii").strip().removeprefix(PREFIX), validate=True)
    except (OSError, ValueError, binascii.Error) as error:
        raise SecretError(f"{path}: {error}; write {PREFIX} and the base64 of 24 to 64 random bytes") from None
    if not 24 <= len(key) <= 64:
        raise SecretError(f"{path}: holds {len(key)} bytes; write {PREFIX} and the base64 of 24 to 64 random bytes")
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``.

    >>> key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  # the example of the scheme's libraries
    >>> signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


class Pusher:
    """Sends events in order, at least once; each POST keeps its id however often it is repeated."""

    def __init__(self, url: str, key: bytes, chance: Random) -> None:
        self._url, self._key, self._chance = url, key, chance
        self._waiting: asyncio.Queue[Event] = asyncio.Queue()
        self.counts = Counts()

    def put(self, events: Sequence[Event]) -> None:
        for event in events:
            self._waiting.put_nowait(event)
        self.counts.waiting += len(events)

    async def settled(self) -> None:
        """Return when no event waits."""
        await self._waiting.join()

    async def run(self) -> None:
        async with ClientSession(timeout=ClientTimeout(total=TIMEOUT_S)) as session:
            while True:
                batch = [await self._waiting.get()]
                while len(batch) < EVENTS_AT_ONCE and not self._waiting.empty():
                    batch.append(self._waiting.get_nowait())
                taken = await self._deliver(session, batch)
                self.counts.waiting -= len(batch)
                if taken:
                    self.counts.taken += len(batch)
                else:
                    self.counts.refused += len(batch)
                for _ in batch:
                    self._waiting.task_done()

    async def _deliver(self, session: ClientSession, batch: Sequence[Event]) -> bool:
        """Whether the gateway took it; it is repeated for as long as it does not say."""
        body = msgspec.json.encode({"events": batch})
        message_id, wait_s = f"msg_{batch[0]['event_id']}", FIRST_WAIT_S
        while True:
            status = await self._post(session, message_id, body)
            if status // 100 == 2:
                return True
            if status // 100 == 4 and status not in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS):
                return False
            await asyncio.sleep(wait_s * self._chance.uniform(0.5, 1))
            wait_s = min(LONGEST_WAIT_S, wait_s * 2)

    async def _post(self, session: ClientSession, message_id: str, body: bytes) -> int:
        """The answer's status; 0 for none."""
        timestamp = int(time.time())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(self._key, message_id, timestamp, body),
        }
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                return response.status
        except (ClientError, TimeoutError):
            return 0
