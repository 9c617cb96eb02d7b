"""Phones in people's hands: they ask whichever gateway runs, and wait no longer than a person does."""

from collections.abc import Callable
from random import Random
from typing import Protocol

from gateway.core.model import PhoneAsk
from gateway.wire.answer import read_answer
from gateway.wire.messages import DecisionMessage
from tests.simulation.gateway_host import GatewayHost
from tests.simulation.timeline import Timeline

PATIENCE_MS = 15_000
"""By then who asked takes it that no answer comes."""
ON_ITS_WAY_MS = 50

Told = Callable[[DecisionMessage | None], None]


class Witness(Protocol):
    """Who watches what is asked and answered, and judges."""

    def phone_asked(self, ask: PhoneAsk) -> None: ...
    def phone_answered(self, ask: PhoneAsk, reply: bytes) -> None: ...


class Phones:
    """``gateways`` are those that a phone can reach."""

    def __init__(self, timeline: Timeline, witness: Witness, random: Random) -> None:
        self.gateways: list[GatewayHost] = []
        self._timeline = timeline
        self._witness = witness
        self._random = random

    def ask(self, ask: PhoneAsk, told: Told) -> None:
        """``told`` hears the answer once, or None where none comes."""
        asking = _Asking(ask, self._witness, lambda answer: self._timeline.after(ON_ITS_WAY_MS, told, answer))
        self._timeline.after(PATIENCE_MS, asking.gives_up)
        running = [gateway for gateway in self.gateways if gateway.running]
        if running:
            self._witness.phone_asked(ask)
            self._random.choice(running).ask(ask, asking.answered)


class _Asking:
    def __init__(self, ask: PhoneAsk, witness: Witness, told: Callable[[DecisionMessage | None], object]) -> None:
        self._ask = ask
        self._witness = witness
        self._told: Callable[[DecisionMessage | None], object] | None = told

    def answered(self, reply: bytes | None) -> None:
        if reply is not None:
            self._witness.phone_answered(self._ask, reply)
        self._tell(read_answer(reply) if reply is not None else None)

    def gives_up(self) -> None:
        self._tell(None)

    def _tell(self, answer: DecisionMessage | None) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(answer)
