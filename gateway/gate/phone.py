"""Unlocks asked for by phone: into the same inbox as what chips ask, and back to whoever waits for the answer.

What is asked by phone has no receipt: no broker keeps it, so who asked has to ask again where it gets lost.
"""

import asyncio
import re

from gateway.core.model import CHIP_MADE_ID, Millis, PhoneAsk
from gateway.errors import Unanswered
from gateway.store.ledger import Key
from gateway.wire import topics
from gateway.wire.answer import START_BY_LIMIT_S, read_answer
from gateway.wire.inbound import Inbound

ANSWERED_WITHIN_S = 12.0
"""By then the default policy has let in or refused as overloaded, a look-up and a commit included."""
NO_RECEIPT = (0, 0)
WORDS = {
    "stopping": "this gateway is being stopped; ask again",
    "busy": "too many messages wait; ask again in a moment",
    "late": "no answer yet; ask again by the same request id",
    "database": "the database refused what the request leads to; the gateway's log says more",
}
"""Why there is no answer, and what to do."""
_request_id = re.compile(CHIP_MADE_ID).match


def by_phone(ask: PhoneAsk, arrived_ns: int) -> Inbound:
    """The ask as it goes into the inbox. Raises ValueError for what cannot stand in a topic or an answer."""
    topic = topics.to_gateway(ask.machine_id, "request")
    if topics.chip_topic(topic) is None:
        raise ValueError("machine_id: not one of the protocol's")
    if not _request_id(ask.request_id):
        raise ValueError("request_id: not one of the protocol's")
    return Inbound(topic, b"", False, arrived_ns, NO_RECEIPT, phone=ask)


def key_of(ask: PhoneAsk) -> Key:
    return (ask.machine_id, "decision", ask.request_id)


def is_for_the_chip(inbound: Inbound, reply: bytes, now: Millis) -> bool:
    """Whether a chip can do anything with an answer. It has not asked itself, so a refusal tells it nothing; and an old
    grant, asked for again, would only fill the place where it keeps its evidence."""
    if inbound.phone is None:
        return True
    answer = read_answer(reply)
    return answer.outcome == "allow" and now - answer.at < START_BY_LIMIT_S * 1000


class Callers:
    """Who waits for answers, by what was asked; several may have asked the same."""

    def __init__(self) -> None:
        self._waiting: dict[Key, list[asyncio.Future[bytes]]] = {}

    async def wait(self, key: Key, within_s: float) -> bytes:
        """The answer's exact bytes once they are durable and published. Raises Unanswered."""
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(waiting)
        try:
            async with asyncio.timeout(within_s):
                return await waiting
        except TimeoutError:
            raise unanswered("late") from None
        finally:
            self._leave(key, waiting)

    def _leave(self, key: Key, waiting: "asyncio.Future[bytes]") -> None:
        others = [one for one in self._waiting.pop(key, []) if one is not waiting]
        if others:
            self._waiting[key] = others

    def answer(self, ask: PhoneAsk, reply: bytes | None) -> None:
        """Hand over a durable answer; None where the database would not take what it was to be."""
        for waiting in self._waiting.pop(key_of(ask), []):
            if waiting.done():
                continue
            if reply is None:
                waiting.set_exception(unanswered("database"))
            else:
                waiting.set_result(reply)

    def send_away(self) -> None:
        """Nobody answers here any more."""
        for waiting in [one for all_of_one in self._waiting.values() for one in all_of_one]:
            if not waiting.done():
                waiting.set_exception(unanswered("stopping"))


def unanswered(why: str) -> Unanswered:
    return Unanswered(why, WORDS[why])
