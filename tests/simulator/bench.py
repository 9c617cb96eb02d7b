"""A chip on a test bench: a clock, a gateway's key and shorthand for what can happen to a chip."""

from collections import deque
from random import Random
from typing import Any, TypeVar

import msgspec
from joserfc.jwk import ECKey

from gateway.core.credential import offline_digest
from gateway.core.model import Event as ChipEvent
from gateway.core.model import Request, Status, Usage
from gateway.wire import topics
from gateway.wire.codec import encode, wire_reasons
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Signer, Verifier
from simulator.chip import Chip, ChipConfig
from simulator.signals import (
    Action,
    CloseRelay,
    Connected,
    Delivered,
    Disconnected,
    Event,
    MessageArrived,
    Moment,
    PowerOff,
    PowerOn,
    Publish,
    Scanned,
    Tick,
)

MACHINE = "HJ-0001"
START_WALL_MS = 1_800_000_000_000
KEY = ECKey.generate_key("P-256")
OTHER_KEY = ECKey.generate_key("P-256")
VERIFY = Verifier({"keys": [{**KEY.as_dict(private=False), "kid": KEY.thumbprint()}]}).claims

T = TypeVar("T")


class Bench:
    """``did`` is everything that the chip did so far, in order. With ``acks`` the broker acknowledges at once.

    The chip's wall clock shows ``mono_ms + wall_off_ms``, the gateway's ``right_ms``.
    """

    def __init__(self, seed: int = 1, *, clock: bool = True, acks: bool = True, **config: Any) -> None:
        self.chip = Chip(ChipConfig(MACHINE, "CHIP-1", **config), VERIFY, Random(seed))
        self.clock = clock
        self.acks = acks
        self.mono_ms = 0
        self.wall_off_ms = self.right_off_ms = START_WALL_MS
        self.did: list[Action] = []
        self.give(PowerOn())
        self.give(Connected())

    def give(self, event: Event) -> list[Action]:
        wall_ms = self.mono_ms + self.wall_off_ms if self.clock else None
        actions = self.chip.step(event, Moment(self.mono_ms, wall_ms))
        self.did += actions
        unacknowledged = deque(actions if self.acks else ())
        while unacknowledged:
            action = unacknowledged.popleft()
            if isinstance(action, Publish) and action.key is not None:
                more = self.chip.step(Delivered(action.key), Moment(self.mono_ms, wall_ms))
                self.did += more
                unacknowledged += more
        return actions

    def wait(self, seconds: float, step: Event | None = None) -> list[Action]:
        """Let time pass; the chip gets its Tick whenever it wants one."""
        before, until = len(self.did), self.mono_ms + round(seconds * 1000)
        while self.chip.wake_ms is not None and self.chip.wake_ms <= until:
            self.mono_ms = max(self.mono_ms, self.chip.wake_ms)
            self.give(Tick())
        self.mono_ms = until
        if step is not None:
            self.give(step)
        return self.did[before:]

    def power_cycle(self) -> None:
        """The mains fail and return; the chip's monotonic clock begins anew."""
        self.give(PowerOff())
        self.wall_off_ms += self.mono_ms
        self.right_off_ms += self.mono_ms
        self.mono_ms = 0
        self.give(PowerOn())

    @property
    def right_ms(self) -> int:
        return self.mono_ms + self.right_off_ms

    # --- what the chip said -------------------------------------------------------------------------------------

    @property
    def events(self) -> list[ChipEvent]:
        return self._said("event", ChipEvent)

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def usage(self) -> list[Usage]:
        return self._said("usage", Usage)

    @property
    def requests(self) -> list[Request]:
        return self._said("request", Request)

    @property
    def status(self) -> Status:
        return self._said("status", Status)[-1]

    @property
    def closed(self) -> int:
        """How often the relay was closed."""
        return sum(isinstance(action, CloseRelay) for action in self.did)

    def is_closed(self) -> bool:
        """Whether the machine may start."""
        return self.chip.relay == "closed"

    def _said(self, kind: topics.ChipTopic, struct: type[T]) -> list[T]:
        topic = topics.to_gateway(MACHINE, kind)
        return [
            msgspec.json.decode(action.payload, type=struct)
            for action in self.did
            if isinstance(action, Publish) and action.topic == topic
        ]

    # --- what the gateway says ----------------------------------------------------------------------------------

    def claims(self, **changes: Any) -> dict[str, Any]:
        """A grant's claims that fit the chip as it is now, apart from the changes."""
        now_s = self.right_ms // 1000
        fit = {
            "iss": "weldgate",
            "aud": MACHINE,
            "jti": self.requests[-1].request_id if self.requests else "by-phone-1",
            "sid": f"session-{len(self.did)}",
            "cha": self.chip.challenge,
            "iat": now_s,
            "exp": now_s + 30,
            "lease_s": 900,
            "n": 0,
        }
        return fit | changes

    def allow(self, claims: dict[str, Any], *, key: ECKey = KEY, retained: bool = False) -> list[Action]:
        return self.give(self.allowed(claims, key=key, retained=retained))

    def allowed(self, claims: dict[str, Any], *, key: ECKey = KEY, retained: bool = False) -> MessageArrived:
        token = Signer(key).sign(claims)
        message = DecisionMessage(START_WALL_MS, token, "allow", (), claims["jti"], claims["sid"])
        return MessageArrived(topics.decision(MACHINE), encode(message), retained)

    def deny(self, *codes: str) -> list[Action]:
        request_id = self.requests[-1].request_id
        message = DecisionMessage(START_WALL_MS, None, "deny", wire_reasons(codes), request_id, None)
        return self.give(MessageArrived(topics.decision(MACHINE), encode(message)))

    def command(self, cmd: str, n: int, /, *, key: ECKey = KEY, retained: bool = False, **changes: Any) -> list[Action]:
        """A signed command, by default for the running session; a claim that is None is left out."""
        now_s = self.right_ms // 1000
        session = self.chip.session
        claims: dict[str, Any] = {
            "iss": "weldgate",
            "aud": MACHINE,
            "jti": f"command-{n:04d}",
            "sid": session.session_id if session else "none-at-all",
            "iat": now_s,
            "exp": now_s + 30,
            "cmd": cmd,
            "n": n,
        } | changes
        said = {name: value for name, value in claims.items() if value is not None}
        message = CommandMessage(Signer(key).sign(said), said["jti"])
        return self.give(MessageArrived(topics.command(MACHINE), encode(message), retained))

    def address(self, cmd: str, /, **changes: Any) -> list[Action]:
        """A signed command for the chip's present challenge, with an id of its own."""
        return self.command(
            cmd, 0, **{"jti": f"{cmd}-{len(self.did):05d}", "sid": None, "cha": self.chip.challenge, **changes}
        )

    def offer(self, version: int, people: dict[str, int], **changes: Any) -> list[Action]:
        """An offline list; ``people`` may use it for so many seconds from now."""
        now_s = self.right_ms // 1000
        entries = [[offline_digest(MACHINE, person), now_s + seconds] for person, seconds in people.items()]
        claims = {"list_version": version, "entries": entries, "offline_for_s": 3600, "lease_s": 900}
        return self.address("offline_list", **(claims | changes))

    def lets_in(self, operator: str = "P1") -> bool:
        """Scan; whether the relay closed for it."""
        before = self.closed
        self.give(Scanned(operator))
        return self.closed > before

    def unlock(self, operator: str = "P1", **changes: Any) -> dict[str, Any]:
        """Scan and be let in; the grant's claims."""
        self.give(Scanned(operator))
        claims = self.claims(**changes)
        self.allow(claims)
        return claims


def offline(people: dict[str, int] | None = None, *, after_s: float = 60, **claims: Any) -> Bench:
    """A chip with a list that has had no connection for so long. ``claims`` are those of the list."""
    bench = Bench()
    bench.offer(7, {"P1": 7200} if people is None else people, **claims)
    bench.give(Disconnected())
    bench.wait(after_s)
    return bench


def told(bench: Bench) -> list[ChipEvent]:
    """What the chip tells of unlocks, once it is back on the air."""
    bench.give(Connected())
    return [event for event in bench.events if event.kind in ("offline_unlock", "unlocked")]
