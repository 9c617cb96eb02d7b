"""The reference chip with one thing wrong: a variant for each case of the chip kit, which has to notice it."""

from base64 import urlsafe_b64decode
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode

from gateway.core.model import Event as ChipEvent
from gateway.wire import topics
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Command, Grant
from simulator.arms import Cue, Lock, Question
from simulator.chip import GIVE_UP_MS, Chip, Session, Why
from simulator.conformance.driver import Answer
from simulator.conformance.reference import Reference, Setup
from simulator.link import Link
from simulator.outbox import Outbox
from simulator.signals import (
    Action,
    CloseRelay,
    Connected,
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
        BROKEN[case_id] = kind if issubclass(kind, Reference) else lambda setup: Reference(setup, kind)
        ALSO[case_id] = also
        return kind

    return add


def configured(case_id: str, *also: str, **config: Any) -> None:
    """A variant that is only configured wrongly."""
    BROKEN[case_id] = lambda setup: Reference(replace(setup, config=replace(setup.config, **config)))
    ALSO[case_id] = also


# --- CHIP-0: ground rules -----------------------------------------------------------------------------------------


class BentLink(Link):
    """A link that can be bent a little more easily."""


class Bent(Reference):
    link_class: type[Link] = BentLink

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
            really = client.subscribe
            client.subscribe = lambda names: really([(name, 0) for name, _ in names])  # type: ignore[assignment,method-assign]
            super()._on_connect(client, *parts)


@breaks("CHIP-0.3")
class UsageAtQos0(Bent):
    class link_class(Link):  # noqa: N801
        def publish(self, message: Publish) -> None:
            if message.topic.endswith("/usage") and self._client is not None:
                self._client.publish(message.topic, message.payload, 0)
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
class NoFieldsOfTheFuture(Chip):
    def _on_decision(self, payload: bytes) -> None:
        if b"from_the_future" not in payload:
            super()._on_decision(payload)


@breaks("CHIP-0.13")
class HangsUpOnJunk(Reference):
    def feed(self, event: Event) -> None:
        super().feed(event)
        if isinstance(event, MessageArrived) and event.payload == b"null" and self._link is not None:
            self._link.cut()


@breaks("CHIP-0.14")
class SecondCopyStartsTheLeaseAnew(Chip):
    def _begin(self, why: Why) -> None:
        super()._begin(why)
        self._lease_s = why.grant.lease_s if why.grant else 0

    def _on_decision(self, payload: bytes) -> None:
        decision = msgspec.json.decode(payload, type=DecisionMessage)
        if self.session is not None and self.session.request_id == decision.request_id:
            self._set(Cue.LEASE_OVER, self._lease_s)
        super()._on_decision(payload)


@breaks("CHIP-0.15")
class SameIdAfterARefusal(Chip):
    def _on_decision(self, payload: bytes) -> None:
        super()._on_decision(payload)
        if msgspec.json.decode(payload, type=DecisionMessage).outcome == "deny":
            self._asked -= 1


@breaks("CHIP-0.16", "CHIP-3.8", "CHIP-6.1", "CHIP-6.4", "CHIP-6.5", "CHIP-6.6")
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


@breaks("CHIP-1.2")
class SameChallengeAfterAGrant(Chip):
    def _begin(self, why: Why) -> None:
        before = self.challenge
        super()._begin(why)
        self.challenge = before
        self._used = why.grant.jti if why.grant else ""

    def _on_allow(self, decision: DecisionMessage) -> None:
        if decision.request_id != getattr(self, "_used", ""):
            super()._on_allow(decision)
        else:
            self._report("grant_rejected")


@breaks("CHIP-1.3")
class SameChallengeAfterACommand(Chip):
    def _obey(self, command: Command) -> None:
        before = self.challenge
        super()._obey(command)
        self.challenge = before


configured("CHIP-1.4", repeat_every_s=1000)


@breaks("CHIP-1.5")
class GivesUpEarly(Chip):
    def _ask(self, why: Why) -> None:
        super()._ask(why)
        self._timers[Cue.GIVE_UP] -= GIVE_UP_MS // 2


class Gullible(Chip):
    """Believes grants and commands that ``forgives`` says yes to, whatever is wrong with them."""

    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        raise NotImplementedError

    def _on_allow(self, decision: DecisionMessage) -> None:
        claims, header = read(decision.grant or "")
        if claims and "cmd" not in claims and self.forgives(claims, header, decision.request_id):
            self._cue(Cue.GRANT, Why(grant=msgspec.convert(claims, Grant)))
        else:
            super()._on_allow(decision)


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Claims and header, believed unseen; empty for what is no token."""
    try:
        header, claims, _ = (urlsafe_b64decode(part + "==") for part in token.split("."))
        return msgspec.json.decode(claims), msgspec.json.decode(header)
    except (ValueError, msgspec.MsgspecError):
        return {}, {}


@breaks("CHIP-1.6")
class TakesLateGrants(Gullible):
    given_up = ("", "")

    def _give_up(self, why: Why) -> None:
        self.given_up = (self._request.request_id if self._request else "", self.challenge)
        super()._give_up(why)

    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return (claims["jti"], claims["cha"]) == self.given_up


@breaks("CHIP-1.7")
class TakesUnknownChallenges(Gullible):
    """It only remembers which ones were used up."""

    def __init__(self, *parts: Any) -> None:
        self.seen: set[str] = set()
        super().__init__(*parts)

    def _fresh_challenge(self) -> None:
        super()._fresh_challenge()
        self.seen.add(self.challenge)

    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return claims["cha"] not in self.seen


@breaks("CHIP-1.8")
class TakesGrantsOfOthers(Gullible):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return bool(claims["aud"] != self.config.machine_id)


class Unhurried(Gullible):
    def is_late(self, claims: dict[str, Any]) -> bool:
        return bool(self._now.wall_ms and self._now.wall_ms > claims["exp"] * 1000)


@breaks("CHIP-1.9")
class TakesLateAnswers(Unhurried):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return self.is_late(claims) and self._request is not None


@breaks("CHIP-1.10")
class TakesUnknownKeys(Gullible):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return "kid" in header and not self.trusts(header)

    def trusts(self, header: dict[str, Any]) -> bool:
        return header["kid"] == self.trusted_kid

    trusted_kid = ""


@breaks("CHIP-1.11")
class DoesNotCheckSignatures(Gullible):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return bool(claims["lease_s"] == 86_400 and header["alg"] == "ES256")


@breaks("CHIP-1.12")
class TakesAnyAlgorithm(Gullible):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return bool(header["alg"] == "HS256")


@breaks("CHIP-1.13")
class TakesRetainedGrants(Chip):
    def _on_message(self, event: MessageArrived) -> None:
        decision = event.topic.endswith("/decision")
        again = getattr(self, "asked_again", False)
        super()._on_message(replace(event, retained=event.retained and not (decision and not again)))

    def _on_connected(self, event: Connected) -> None:
        self.asked_again = self.question is Question.ASKING
        super()._on_connected(event)


@breaks("OTHERS-04-CHIP")
class TakesRetainedGrantsAfterSubscribing(Chip):
    def _on_message(self, event: MessageArrived) -> None:
        again = getattr(self, "asked_again", False)
        super()._on_message(replace(event, retained=event.retained and not again))

    def _on_connected(self, event: Connected) -> None:
        self.asked_again = self.question is Question.ASKING
        super()._on_connected(event)


@breaks("CHIP-1.14")
class TakesOtherRequests(Gullible):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return bool(claims["jti"] != message_id)


@breaks("CHIP-1.15")
class TakesGrantsTwice(Gullible):
    used = ""

    def _begin(self, why: Why) -> None:
        super()._begin(why)
        self.used = why.grant.sid if why.grant else ""

    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return bool(claims["sid"] == self.used)


@breaks("CHIP-1.16")
class RemembersItsQuestionOverABoot(Gullible):
    before = ""

    def _forget(self, why: Why) -> None:
        if self._request is not None and self.lock is Lock.OFF:
            self.before = self._request.request_id
        super()._forget(why)

    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return bool(claims["jti"] == self.before)


@breaks("CHIP-1.17")
class NoUnlockByPhone(Chip):
    def _on_allow(self, decision: DecisionMessage) -> None:
        if self._request is not None:
            super()._on_allow(decision)
        else:
            self._report("grant_rejected", "not_asked")


@breaks("CHIP-1.18")
class PhoneIsNeverLate(Unhurried):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], message_id: str) -> bool:
        return self.is_late(claims) and self._request is None


class Obedient(Chip):
    """Carries out commands that ``forgives`` says yes to, whatever is wrong with them."""

    def forgives(self, claims: dict[str, Any], header: dict[str, Any], command_id: str) -> bool:
        raise NotImplementedError

    def _on_command(self, payload: bytes) -> None:
        message = msgspec.json.decode(payload, type=CommandMessage)
        claims, header = read(message.command)
        if claims and self.forgives(claims, header, message.command_id):
            self._report("grant_rejected", "yet obeyed")
            self._cue(Cue.RENEW, Why(seconds=claims["lease_s"]))
        else:
            super()._on_command(payload)


@breaks("CHIP-1.19")
class ObeysUnknownKeys(Obedient):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], command_id: str) -> bool:
        return bool(header["kid"] != self.trusted_kid)

    trusted_kid = ""


@breaks("CHIP-1.20")
class ObeysCommandsForOthers(Obedient):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], command_id: str) -> bool:
        return bool(claims["aud"] != self.config.machine_id)


@breaks("CHIP-1.21")
class ObeysRetainedCommands(Chip):
    def _on_message(self, event: MessageArrived) -> None:
        super()._on_message(replace(event, retained=event.retained and not event.topic.endswith("/command")))


@breaks("CHIP-1.22")
class ObeysLateCommands(Obedient):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], command_id: str) -> bool:
        return bool(self._now.wall_ms and self._now.wall_ms > claims["exp"] * 1000)


@breaks("CHIP-1.23")
class ObeysCommandsForOtherSessions(Obedient):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], command_id: str) -> bool:
        return bool(claims.get("sid") == "another-session-1")


# --- CHIP-2, CHIP-3: leases and locks -----------------------------------------------------------------------------


@breaks("CHIP-2.1", "*")
class NeverCloses(Reference):
    def _perform(self, action: Action) -> None:
        if not isinstance(action, CloseRelay):
            super()._perform(action)


@breaks("CHIP-2.2", "*")
class HalfALease(Chip):
    def _begin(self, why: Why) -> None:
        assert why.grant is not None
        super()._begin(Why(grant=replace(why.grant, lease_s=why.grant.lease_s // 2)))


@breaks("CHIP-2.3")
class LeaseByWallClock(Chip):
    off_ms = 0

    def step(self, event: Event, now: Moment) -> list[Action]:
        off_ms = (now.wall_ms or 0) - now.mono_ms
        if Cue.LEASE_OVER in self._timers and abs(off_ms - self.off_ms) > 60_000:
            self._timers[Cue.LEASE_OVER] -= off_ms - self.off_ms
        self.off_ms = off_ms
        return super().step(event, now)


@breaks("CHIP-2.4")
class RenewsNothing(Chip):
    def _cue(self, cue: Cue, why: Why = Why()) -> None:  # noqa: B008
        if cue is not Cue.RENEW:
            super()._cue(cue, why)


@breaks("CHIP-2.5")
class RenewsByOldNumbers(Obedient):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], command_id: str) -> bool:
        session = self.session
        return bool(session and claims.get("sid") == session.session_id and claims["n"] <= session.last_n)

    def _on_command(self, payload: bytes) -> None:
        if msgspec.json.decode(payload, type=CommandMessage).command_id not in self._commands:
            super()._on_command(payload)


@breaks("CHIP-2.6")
class RenewsTwice(Obedient):
    def forgives(self, claims: dict[str, Any], header: dict[str, Any], command_id: str) -> bool:
        return command_id in self._commands and claims["cmd"] == "renew"


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

    def _cue(self, cue: Cue, why: Why = Why()) -> None:  # noqa: B008
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


@breaks("CHIP-3.7", "CHIP-6.4")
class LocksWithoutNetwork(Chip):
    def _on_disconnected(self, event: Disconnected) -> None:
        super()._on_disconnected(event)
        self._cue(Cue.LOCK_NOW, Why("offline"))


@breaks("CHIP-3.8", "CHIP-6.4", "CHIP-6.5")
class StaysOpenToWorkWithoutNetwork(Chip):
    def _on_tick(self, event: Any) -> None:
        if not self.online and Cue.LEASE_OVER in self._timers:
            self._timers[Cue.LEASE_OVER] = max(self._timers[Cue.LEASE_OVER], self._now.mono_ms + 1000)
        super()._on_tick(event)


@breaks("CHIP-3.9")
class NoEndOfWork(Swaps):
    state, heard, taken = Lock.READY, Cue.FINISH, Cue.GIVE_UP


# --- CHIP-4, CHIP-5: mains and alarms -----------------------------------------------------------------------------


@breaks("CHIP-4.1")
class UnlockedAfterPowerUp(Reference):
    async def power_on(self) -> Answer:
        before = self.chip.session
        answer = await super().power_on()
        if isinstance(before, Session):
            self.relay = "closed"
        return answer


configured("CHIP-4.2", idle_lock_s=100_000)


@breaks("CHIP-4.3")
class WeldingIsIdling(Chip):
    def _strike(self, why: Why) -> None:
        idle = self._timers.get(Cue.IDLE_OVER)
        super()._strike(why)
        if idle is not None:
            self._timers[Cue.IDLE_OVER] = idle

    def _rest(self, why: Why) -> None:
        idle = self._timers.get(Cue.IDLE_OVER)
        super()._rest(why)
        if idle is not None:
            self._timers[Cue.IDLE_OVER] = idle


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


@breaks("CHIP-6.3")
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


# --- where others fail --------------------------------------------------------------------------------------------


@breaks("OTHERS-06-CHIP")
class ForgetsWhatTheMainsEnded(Chip):
    def _boot(self, why: Why) -> None:
        self.session = None
        super()._boot(why)


@breaks("OTHERS-07-CHIP")
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
