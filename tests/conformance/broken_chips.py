"""The reference chip with one thing wrong: a variant for each case of the chip kit, which has to notice it."""

import asyncio
from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET
from msgspec.structs import replace
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode

from gateway.core.model import Event as ChipEvent
from gateway.wire import topics
from gateway.wire.tokens import Command, Grant, TokenError
from simulator.arms import Cue, Lock, Question
from simulator.chip import GIVE_UP_MS, NOTHING, Chip, ChipConfig, Why
from simulator.conformance.driver import Answer
from simulator.conformance.reference import Reference, Setup
from simulator.link import Link
from simulator.offline import OfflineRight, Right
from simulator.outbox import Kept, Outbox
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
    Publish,
    Scanned,
    Show,
    Tampered,
)

Make = Callable[[Setup], Reference]
BROKEN: dict[str, Make] = {}
ALSO: dict[str, tuple[str, ...]] = {}
"""Cases that rest on the broken duty, too, by the case that the variant is made for."""
C = TypeVar("C", bound=type)


def breaks(case_id: str, *also: str) -> Callable[[C], C]:
    """Class decorator: this chip (or process around a chip) breaks the case, and ``also`` what rests on it."""

    def add(kind: C) -> C:
        assert case_id not in BROKEN, f"{case_id} has two broken variants"
        made: Any = kind
        BROKEN[case_id] = made if issubclass(made, Reference) else lambda setup: Reference(setup, made)
        ALSO[case_id] = also
        return kind

    return add


def configured(case_id: str, *also: str, **config: Any) -> None:
    """A variant that is only configured wrongly."""
    BROKEN[case_id] = lambda setup: Reference(replace(setup, config=replace(setup.config, **config)))
    ALSO[case_id] = also


# --- CHIP-0: ground rules -----------------------------------------------------------------------------------------


class Bent(Reference):
    """Another connection than the reference's."""

    link_class: type[Link] = Link

    def make_link(self, *parts: Any) -> Link:
        return self.link_class(*parts)


@breaks("CHIP-0.1")
class NoWill(Bent):
    class link_class(Link):  # noqa: N801
        def _new_client(self) -> Client:
            client = super()._new_client()
            client.will_clear()
            return client


@breaks("CHIP-0.2")
class SubscribesAtQos0(Bent):
    class link_class(Link):  # noqa: N801
        def _on_connect(self, client: Client, *parts: Any) -> None:
            really: Any = client.subscribe
            client.subscribe = lambda names, *_: really([(name, 0) for name, _ in names])  # type: ignore[method-assign]
            super()._on_connect(client, *parts)


@breaks("CHIP-0.3")
class UsageAtQos0(Bent):
    class link_class(Link):  # noqa: N801
        def publish(self, message: Publish) -> None:
            if message.topic.endswith("/usage") and message.key is not None and self._client is not None:
                self._client.publish(message.topic, message.payload, 0)
                asyncio.get_running_loop().call_soon(self._feed, Delivered(message.key))
            else:
                super().publish(message)


@breaks("CHIP-0.4")
class RetainsEvents(Bent):
    class link_class(Link):  # noqa: N801
        def publish(self, message: Publish) -> None:
            super().publish(replace(message, retain=message.retain or message.topic.endswith("/event")))


@breaks("CHIP-0.5")
class PublishesElsewhere(Bent):
    class link_class(Link):  # noqa: N801
        def publish(self, message: Publish) -> None:
            super().publish(message)
            if message.topic.endswith("/usage"):
                super().publish(replace(message, topic=f"{topics.ROOT}/HJ-ANOTHER-1/usage", key=None))


configured("CHIP-0.6", serial=None)


@breaks("CHIP-0.7")
class ShortensBadges(Chip):
    def _on_scanned(self, event: Scanned) -> None:
        super()._on_scanned(replace(event, credential=event.credential.replace("CONFORMANCE", "CONFORM")))


configured("CHIP-0.8", usage_every_s=25)


@breaks("CHIP-0.9")
class TwoLastReports(Chip):
    def _keep_usage(self, *, final: bool) -> None:
        super()._keep_usage(final=final)
        if final:
            super()._keep_usage(final=True)


@breaks("CHIP-0.10")
class MeasuresNoEnergy(Chip):
    def _keep_usage(self, *, final: bool) -> None:
        if self.session is not None:
            self.session.meter._watt_ms = 0.0
        super()._keep_usage(final=final)


@breaks("CHIP-0.11")
class AcknowledgesNoCommand(Bent):
    class link_class(Link):  # noqa: N801
        def _new_client(self) -> Client:
            client = super()._new_client()
            client.manual_ack_set(True)
            return client

        def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
            super()._on_message(client, data, message)
            if not message.topic.endswith("/command"):
                client.ack(message.mid, message.qos)


@breaks("CHIP-0.12")
class NoFieldsOfTheFuture(Reference):
    def feed(self, event: Event) -> None:
        if not (isinstance(event, MessageArrived) and b"from_the_future" in event.payload):
            super().feed(event)


@breaks("CHIP-0.13")
class HangsUpOnJunk(Reference):
    def feed(self, event: Event) -> None:
        super().feed(event)
        if isinstance(event, MessageArrived) and event.payload == b"null" and self._link is not None:
            asyncio.get_running_loop().call_soon(self._link.cut)


@breaks("CHIP-0.14")
class SecondCopyStartsTheLeaseAnew(Reference):
    def feed(self, event: Event) -> None:
        session = self.chip.session
        if isinstance(event, MessageArrived) and session is not None and message_id(event) == session.request_id:
            self.chip._timers.set(Cue.LEASE_OVER, self.moment().mono_ms + 10_000)
        super().feed(event)


@breaks("CHIP-0.15")
class SameIdAfterARefusal(Reference):
    def feed(self, event: Event) -> None:
        super().feed(event)
        if isinstance(event, MessageArrived) and b'"outcome":"deny"' in event.payload:
            self.chip._asked -= 1


def message_id(event: MessageArrived) -> str:
    """Of the decision or command; empty for junk."""
    try:
        content = msgspec.json.decode(event.payload, type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError):
        return ""
    return str(content.get("request_id") or content.get("command_id"))


@breaks("CHIP-0.16", "CHIP-3.8", "CHIP-6", "CHIP-7.1")
class NeverComesBack(Bent):
    class link_class(Link):  # noqa: N801
        async def _connect(self) -> bool:
            return False if self.refusal else await super()._connect()


# --- CHIP-1: challenges, requests, tokens -------------------------------------------------------------------------


@breaks("CHIP-1.1")
class CountsItsBoots(Chip):
    boots = 0

    def _boot(self, why: Why) -> None:
        super()._boot(why)
        self.boots += 1
        self.challenge = f"challenge-of-boot-{self.boots % 2}"


@breaks("CHIP-1.2", "CHIP-1.15")
class SameChallengeAfterAGrant(Chip):
    spares: type = Grant

    def _accepted(self, token: Grant | Command) -> None:
        before = self.challenge
        super()._accepted(token)
        if isinstance(token, self.spares):
            self.challenge = before


@breaks("CHIP-1.3", "CHIP-7")
class SameChallengeAfterACommand(SameChallengeAfterAGrant):
    spares = Command


configured("CHIP-1.4", repeat_every_s=1000)


@breaks("CHIP-1.5")
class GivesUpEarly(Chip):
    def _ask(self, why: Why) -> None:
        super()._ask(why)
        self._timers.set(Cue.GIVE_UP, self._now.mono_ms + GIVE_UP_MS // 2)


Claims = dict[str, Any]


class Gullible(Reference):
    """Its check of signatures lies to the chip: it hands out claims that fit where ``bend`` says so."""

    def __init__(self, *parts: Any) -> None:
        self.told = ""
        self.asked = self.given_up = self.before = ("", "")
        self.challenges: set[str] = set()
        self.used = ""
        super().__init__(*parts)

    def bend(self, claims: Claims, header: Claims) -> Claims | None:
        """What to believe of a token; None for an honest look."""
        raise NotImplementedError

    def verify(self, token: str) -> dict[str, object]:
        claims, header = read(token)
        bent = self.bend(claims, header) if claims else None
        return super().verify(token) if bent is None else claims | bent

    @property
    def now_s(self) -> float:
        return (self.moment().wall_ms or 0) / 1000

    @property
    def asking(self) -> bool:
        return self.chip.question is Question.ASKING

    def feed(self, event: Event) -> None:
        if isinstance(event, MessageArrived):
            self.told = message_id(event)
        if isinstance(event, PowerOff):
            self.before = self.asked
        super().feed(event)
        self.challenges.add(self.chip.challenge)
        self.used = self.chip.session.session_id if self.chip.session else self.used

    def _perform(self, action: Action) -> None:
        if isinstance(action, Publish) and action.topic.endswith("/request"):
            request = msgspec.json.decode(action.payload)
            self.asked = (request["request_id"], request["challenge"])
        if isinstance(action, Show) and action.outcome is None:
            self.given_up = self.asked
        super()._perform(action)


def read(token: str) -> tuple[Claims, Claims]:
    """Claims and header, believed unseen; empty for what is no token."""
    try:
        header, claims, _ = (urlsafe_b64decode(part + "==") for part in token.split("."))
        return msgspec.json.decode(claims), msgspec.json.decode(header)
    except (ValueError, msgspec.MsgspecError):
        return {}, {}


def gullible(case_id: str, bend: Callable[[Gullible, Claims, Claims], Claims | None], *also: str) -> None:
    """A variant that believes what ``bend`` makes of the claims."""

    class Bending(Gullible):
        def bend(self, claims: Claims, header: Claims) -> Claims | None:
            return bend(self, claims, header)

    breaks(case_id, *also)(Bending)


def fits(chip: Gullible, wanted: bool) -> Claims | None:
    """A challenge that fits, if wanted."""
    return {"cha": chip.chip.challenge} if wanted else None


def as_own(chip: Gullible, claims: Claims) -> Claims | None:
    """For this machine, if it is for another."""
    own = chip.setup.config.machine_id
    return {"aud": own} if claims["aud"] != own else None


def is_grant(claims: Claims) -> bool:
    return "cmd" not in claims


def is_late(chip: Gullible, claims: Claims) -> bool:
    return bool(claims["exp"] < chip.now_s)


def foreign(chip: Gullible, header: Claims) -> bool:
    """Signed with a key that is not in the device's key set."""
    return "kid" in header and header["kid"] not in [key["kid"] for key in chip.setup.jwks["keys"]]


NEVER_LATE: Claims = {"exp": 2**40}

gullible("CHIP-1.6", lambda chip, claims, _: fits(chip, (claims["jti"], claims.get("cha")) == chip.given_up))
gullible("CHIP-1.7", lambda chip, claims, _: fits(chip, is_grant(claims) and claims["cha"] not in chip.challenges))
gullible("CHIP-1.8", lambda chip, claims, _: as_own(chip, claims) if is_grant(claims) else None)
gullible("CHIP-1.9", lambda chip, claims, _: NEVER_LATE if is_late(chip, claims) and chip.asking else None)
gullible("CHIP-1.10", lambda chip, claims, header: {} if is_grant(claims) and foreign(chip, header) else None)
gullible(
    "CHIP-1.11", lambda _, claims, header: {} if (claims.get("lease_s"), header["alg"]) == (86_400, "ES256") else None
)
gullible("CHIP-1.12", lambda _chip, _claims, header: {} if header["alg"] == "HS256" else None)
gullible(
    "CHIP-1.14",
    lambda chip, claims, _: {"jti": chip.told} if is_grant(claims) and claims["jti"] != chip.told else None,
)
gullible("CHIP-1.15", lambda chip, claims, _: fits(chip, is_grant(claims) and claims.get("sid") == chip.used))
gullible("CHIP-1.16", lambda chip, claims, _: fits(chip, (claims["jti"], claims.get("cha")) == chip.before))
gullible(
    "CHIP-1.18",
    lambda chip, claims, _: NEVER_LATE if is_grant(claims) and is_late(chip, claims) and not chip.asking else None,
)
gullible("CHIP-1.19", lambda chip, claims, header: {} if not is_grant(claims) and foreign(chip, header) else None)
gullible("CHIP-1.20", lambda chip, claims, _: as_own(chip, claims) if claims.get("cmd") == "renew" else None)
gullible("CHIP-1.22", lambda chip, claims, _: NEVER_LATE if not is_grant(claims) and is_late(chip, claims) else None)
gullible("CHIP-1.23", lambda chip, claims, _: {"sid": chip.used} if claims.get("sid") == "another-session-1" else None)


@breaks("CHIP-1.13")
class TakesRetainedGrants(Reference):
    """Drops retained messages only where it has just subscribed with a question open."""

    asked_again = False

    def feed(self, event: Event) -> None:
        if isinstance(event, Connected):
            self.asked_again = self.chip.question is Question.ASKING
        super().feed(self.seen_as(event) if isinstance(event, MessageArrived) else event)

    def seen_as(self, event: MessageArrived) -> MessageArrived:
        live = event.topic.endswith("/decision") and not self.asked_again
        return replace(event, retained=event.retained and not live)


@breaks("OTHERS-04-CHIP")
class TakesRetainedGrantsAfterSubscribing(TakesRetainedGrants):
    def seen_as(self, event: MessageArrived) -> MessageArrived:
        return replace(event, retained=event.retained and not self.asked_again)


@breaks("CHIP-1.17")
class NoUnlockByPhone(Gullible):
    def verify(self, token: str) -> dict[str, object]:
        if is_grant(read(token)[0]) and not self.asking:
            raise TokenError("not asked for")
        return Reference.verify(self, token)


@breaks("CHIP-1.21")
class ObeysRetainedCommands(TakesRetainedGrants):
    def seen_as(self, event: MessageArrived) -> MessageArrived:
        return replace(event, retained=event.retained and not event.topic.endswith("/command"))


# --- CHIP-2, CHIP-3: leases and locks -----------------------------------------------------------------------------


@breaks("CHIP-2.1", "*")
class NeverCloses(Reference):
    def _perform(self, action: Action) -> None:
        if not isinstance(action, CloseRelay):
            super()._perform(action)


@breaks("CHIP-2.2", "*")
class HalfALease(Chip):
    def _begin(self, why: Why) -> None:
        assert why.opening is not None
        super()._begin(Why(opening=replace(why.opening, lease_s=why.opening.lease_s // 2)))


@breaks("CHIP-2.3")
class LeaseByWallClock(Chip):
    off_ms = 0

    def step(self, event: Event, now: Moment) -> list[Action]:
        off_ms = (now.wall_ms or 0) - now.mono_ms
        jump_ms, self.off_ms = off_ms - self.off_ms, off_ms
        if self._timers.runs(Cue.LEASE_OVER) and abs(jump_ms) > 60_000:
            self._timers._due_ms[Cue.LEASE_OVER] -= jump_ms
        return super().step(event, now)


@breaks("CHIP-2.4")
class RenewsNothing(Chip):
    def _cue(self, cue: Cue, why: Why = NOTHING) -> None:
        if cue is not Cue.RENEW:
            super()._cue(cue, why)


def _next_number(chip: Gullible, claims: Claims, _: Claims) -> Claims | None:
    session = chip.chip.session
    if session is None or is_grant(claims) or claims.get("sid") != session.session_id or claims["n"] > session.last_n:
        return None
    return {"n": session.last_n + 1}


gullible("CHIP-2.5", _next_number)


@breaks("CHIP-2.6")
class RenewsTwice(Reference):
    def feed(self, event: Event) -> None:
        if isinstance(event, MessageArrived) and message_id(event) in self.chip.inbox._carried_out:
            self.chip._timers.set(Cue.LEASE_OVER, self.moment().mono_ms + 10_000)
        super().feed(event)


@breaks("CHIP-3.1")
class CutsTheArc(Chip):
    def _drain(self, why: Why) -> None:
        super()._drain(why)
        if why.word == "lease_over":
            self.lock = Lock.LOCKED
            self._end(why)


@breaks("CHIP-3.2")
class WaitsForeverAfterTheLease(Chip):
    def _drain(self, why: Why) -> None:
        super()._drain(Why(why.word, 100_000) if why.word == "lease_over" else why)


@breaks("CHIP-3.6")
class WaitsForeverAfterALock(Chip):
    def _drain(self, why: Why) -> None:
        super()._drain(why if why.word == "lease_over" else Why(why.word, 100_000))


class Swaps(Chip):
    """Takes one cue for another in one state."""

    state, heard, taken = Lock.LOCKED, Cue.LOCK_NOW, Cue.LOCK_NOW

    def _cue(self, cue: Cue, why: Why = NOTHING) -> None:
        super()._cue(self.taken if (self.lock, cue) == (self.state, self.heard) else cue, why)


@breaks("CHIP-3.3")
class LetsTheArcEndAtNow(Swaps):
    state, heard, taken = Lock.WELDING, Cue.LOCK_NOW, Cue.LOCK_SOON


@breaks("CHIP-3.4")
class WaitsForAnArcThatIsNot(Swaps):
    state, heard, taken = Lock.READY, Cue.LOCK_SOON, Cue.GIVE_UP


@breaks("CHIP-3.5")
class CutsTheArcAtALock(Swaps):
    state, heard, taken = Lock.WELDING, Cue.LOCK_SOON, Cue.LOCK_NOW


@breaks("CHIP-3.7", "CHIP-6.4", "CHIP-6.5")
class LocksWithoutNetwork(Chip):
    def _on_disconnected(self, event: Disconnected) -> None:
        super()._on_disconnected(event)
        self._cue(Cue.LOCK_NOW, Why("offline"))


@breaks("CHIP-3.8", "CHIP-6.4", "CHIP-6.5", "CHIP-7.10")
class StaysOpenToWorkWithoutNetwork(Chip):
    def _on_tick(self, event: Any) -> None:
        if not self.online and self._timers.runs(Cue.LEASE_OVER):
            self._timers._due_ms[Cue.LEASE_OVER] += 60_000
        super()._on_tick(event)


@breaks("CHIP-3.9")
class NoEndOfWork(Swaps):
    state, heard, taken = Lock.READY, Cue.FINISH, Cue.GIVE_UP


# --- CHIP-4, CHIP-5: mains and alarms -----------------------------------------------------------------------------


@breaks("CHIP-4.1", "CHIP-7")
class UnlockedAfterPowerUp(Reference):
    async def power_on(self) -> Answer:
        before = self.chip.session
        answer = await super().power_on()
        if before is not None:
            self.relay = "closed"
        return answer


configured("CHIP-4.2", idle_lock_s=100_000)


@breaks("CHIP-4.3")
class WeldingIsIdling(Chip):
    """Arcs neither stop the idle clock nor start it anew."""

    def _strike(self, why: Why) -> None:
        self._keeping_the_idle_clock(super()._strike, why)

    def _rest(self, why: Why) -> None:
        self._keeping_the_idle_clock(super()._rest, why)

    def _keeping_the_idle_clock(self, act: Callable[[Why], None], why: Why) -> None:
        due_ms = self._timers._due_ms.get(Cue.IDLE_OVER)
        act(why)
        if due_ms is not None:
            self._timers.set(Cue.IDLE_OVER, due_ms)


class Slow(Chip):
    """Looks at what is wrong only once it has lasted for long."""

    kind = ""
    LASTS_MS = 40_000
    since: int | None = None

    def _report(self, kind: Any, *rest: Any) -> None:
        if kind == self.kind:
            self.since = self.since or self._now.mono_ms
            if self._now.mono_ms - self.since < self.LASTS_MS:
                return
        super()._report(kind, *rest)


@breaks("CHIP-5.1")
class SlowAboutArcs(Slow):
    kind = "arc_without_lease"


@breaks("CHIP-5.3", "CHIP-5.5")
class SlowAboutTheRelay(Slow):
    kind = "relay_stuck"


class Once(Chip):
    kind = ""
    told = False

    def _boot(self, why: Why) -> None:
        self.told = False
        super()._boot(why)

    def _report(self, kind: Any, *rest: Any) -> None:
        if kind == self.kind and self.told:
            return
        self.told = self.told or kind == self.kind
        super()._report(kind, *rest)


@breaks("CHIP-5.2")
class SaysOnceThatItWelds(Once):
    kind = "arc_without_lease"


@breaks("CHIP-5.4")
class SaysOnceThatItIsStuck(Once):
    kind = "relay_stuck"


@breaks("CHIP-5.5")
class NoticesAClosedContactAlone(Chip):
    def _report(self, kind: Any, reason: Any = None, *rest: Any) -> None:
        if (kind, reason) != ("relay_stuck", "open"):
            super()._report(kind, reason, *rest)


@breaks("CHIP-5.6", "CHIP-6", "OTHERS-15-CHIP")
class SilentAboutTampering(Reference):
    def feed(self, event: Event) -> None:
        if not isinstance(event, Tampered):
            super().feed(event)


@breaks("CHIP-5.7")
class SilentAboutItsClock(Chip):
    def _report(self, kind: Any, *rest: Any) -> None:
        if kind != "clock_reset":
            super()._report(kind, *rest)


# --- CHIP-6: evidence ---------------------------------------------------------------------------------------------


@breaks("CHIP-6.1")
class RoomForTwoEvents(Chip):
    def _report(self, *what: Any) -> None:
        waiting = [kept for kept in self.outbox._kept if isinstance(kept.message, ChipEvent)]
        super()._report(*what)
        if not self.online and len(waiting) >= 2:
            self.outbox._kept.pop()


@breaks("CHIP-6.2")
class SkipsNumbersAtABoot(Chip):
    def _boot(self, why: Why) -> None:
        self._seq += 10
        super()._boot(why)


class Renaming(Outbox):
    """Gives what it sends again another id."""

    def connection_lost(self) -> None:
        for kept in self._kept:
            if kept.sent and isinstance(kept.message, ChipEvent):
                kept.message = replace(kept.message, event_id=f"{kept.message.event_id}x")
        super().connection_lost()


@breaks("CHIP-6.3", "CHIP-6.2")
class RenamesWhatItSendsAgain(Chip):
    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.outbox = Renaming()


@breaks("CHIP-6.4")
class CountsNoArcsOffline(Chip):
    def _strike(self, why: Why) -> None:
        if self.online:
            super()._strike(why)


class LockedFirst(Outbox):
    def add_event(self, event: ChipEvent) -> bool:
        added = super().add_event(event)
        if event.kind == "locked":
            self._kept.insert(0, self._kept.pop())
        return added


@breaks("CHIP-6.5")
class TellsTheEndFirst(Chip):
    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.outbox = LockedFirst()


@breaks("CHIP-6.6")
class DropsSilently(Chip):
    def _report(self, *what: Any) -> None:
        if len(self.outbox) < 50:
            super()._report(*what)


@breaks("CHIP-6.7")
class NumbersTwice(Chip):
    in_a_row = 0

    def _report(self, kind: Any, *rest: Any) -> None:
        self.in_a_row = self.in_a_row + 1 if kind == "tamper" and self.online else 0
        if self.in_a_row == 3:
            self._seq -= 1
        super()._report(kind, *rest)


class NewestFirst(Outbox):
    """Merges the newest report that a later one covers: the story of the session ends with a hole."""

    def _merge_oldest(self, reports: list[Kept]) -> None:
        self._kept.remove(reports[-2])


@breaks("CHIP-6.8")
class MergesTheNewest(Chip):
    def __init__(self, config: ChipConfig, *parts: Any) -> None:
        super().__init__(config, *parts)
        self.outbox = NewestFirst(config.usage_kept)


# --- CHIP-7: the list ---------------------------------------------------------------------------------------------


@breaks("CHIP-7.1")
class TellsNoEntry(Chip):
    def _report(self, kind: Any, reason: Any = None, session_id: Any = None, detail: Any = None) -> None:
        super()._report(kind, reason, session_id, None if kind == "offline_unlock" else detail)


class OwnList(Chip):
    """Its list is not the reference's."""

    right: type[OfflineRight] = OfflineRight

    def __init__(self, config: Any, *parts: Any) -> None:
        super().__init__(config, *parts)
        self._offline = self.right(config.machine_id)


@breaks("CHIP-7.2", "CHIP-7.8")
class EverybodyIsListed(OwnList):
    class right(OfflineRight):  # noqa: N801
        def of(self, credential: str, now: Moment) -> Right | None:
            found = super().of(credential, now)
            return found or (Right("", 1, 10) if credential == "OFFLINE-3" and self._held else None)


@breaks("CHIP-7.3")
class ListWhileConnected(Chip):
    def _right(self, event: Scanned) -> Right | None:
        return self._offline.of(event.credential, self._now)


@breaks("CHIP-7.4")
class EntriesNeverEnd(OwnList):
    class right(OfflineRight):  # noqa: N801
        def take(self, command: Command) -> None:
            entries = tuple((digest, 2**40) for digest, _ in command.entries or ())
            super().take(replace(command, entries=entries))


@breaks("CHIP-7.5", "CHIP-7.6")
class ListNeverEnds(OwnList):
    class right(OfflineRight):  # noqa: N801
        def take(self, command: Command) -> None:
            super().take(replace(command, offline_for_s=10**6))


@breaks("CHIP-7.6")
class BelievesItsWallClock(OwnList):
    class right(OfflineRight):  # noqa: N801
        def clock_jumped(self) -> None:
            if self._contact is not None:
                self._contact = replace(self._contact, skew_ms=-(2**50))


@breaks("CHIP-7.7")
class RemovesNobody(OwnList):
    class right(OfflineRight):  # noqa: N801
        def take(self, command: Command) -> None:
            super().take(replace(command, gone=()))


@breaks("CHIP-7.8")
class AnyBaseWillDo(OwnList):
    class right(OfflineRight):  # noqa: N801
        def take(self, command: Command) -> None:
            based = command.base_version is not UNSET
            super().take(replace(command, base_version=self.version or 0) if based else command)


gullible("CHIP-7.9", lambda chip, claims, _: as_own(chip, claims) if claims.get("cmd") == "offline_list" else None)


@breaks("CHIP-7.10")
class LongLeasesOffline(OwnList):
    class right(OfflineRight):  # noqa: N801
        def of(self, credential: str, now: Moment) -> Right | None:
            found = super().of(credential, now)
            return replace(found, lease_s=10 * found.lease_s) if found else None


@breaks("CHIP-7.11")
class CannotBeConfigured(Chip):
    def _configure(self, *_: Any) -> None:
        """Nothing."""


# --- where others fail --------------------------------------------------------------------------------------------


@breaks("OTHERS-06-CHIP")
class ForgetsWhatTheMainsEnded(Chip):
    def _boot(self, why: Why) -> None:
        self.session = None
        super()._boot(why)


@breaks("OTHERS-07-CHIP", "CHIP-7")
class EverybodyPassesOffline(Reference):
    def feed(self, event: Event) -> None:
        super().feed(event)
        if isinstance(event, Scanned) and not self.chip.online:
            self.relay = "closed"


@breaks("OTHERS-08-CHIP")
class MasterBadge(Reference):
    def feed(self, event: Event) -> None:
        super().feed(event)
        if isinstance(event, Scanned) and event.credential == "MASTER":
            self.relay = "closed"


@breaks("OTHERS-09-CHIP")
class ShowsNothing(Reference):
    def _perform(self, action: Action) -> None:
        if not isinstance(action, Show):
            super()._perform(action)


@breaks("OTHERS-11-CHIP")
class BelievesTheWord(Reference):
    def feed(self, event: Event) -> None:
        super().feed(event)
        if isinstance(event, MessageArrived) and b'"grant":null,"outcome":"allow"' in event.payload:
            self.relay = "closed"


@breaks("OTHERS-14-CHIP")
class DiesOfGarbage(Bent):
    class link_class(Link):  # noqa: N801
        dead = False

        def _readable(self) -> None:
            if self._client is not None and self._client.loop_read() == MQTTErrorCode.MQTT_ERR_PROTOCOL:
                self.dead = True

        async def _connect(self) -> bool:
            return False if self.dead else await super()._connect()


@breaks("OTHERS-15-CHIP")
class ForgetsWhatWasNeverSent(Chip):
    def step(self, event: Event, now: Moment) -> list[Action]:
        if isinstance(event, PowerOff):
            self.outbox._kept = [kept for kept in self.outbox._kept if kept.sent]
        return super().step(event, now)


@breaks("OTHERS-16-CHIP")
class AsksNoMoreAfterAReconnect(Chip):
    def _on_connected(self, event: Connected) -> None:
        if self.question is Question.ASKING:
            self.question = Question.QUIET
            self._forget(Why())
        super()._on_connected(event)
