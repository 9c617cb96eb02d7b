"""The real gateway with one thing wrong, by a line in between: a variant for each case of the gateway kit."""

import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from simulator.conformance import mqtt
from simulator.conformance.mqtt import Publish
from tests.conformance.bent import (
    Bent,
    Fields,
    Line,
    claims_of,
    codes,
    decision_message,
    deny,
    place,
    read,
    with_payload,
)

BROKEN: dict[str, type[Bent]] = {}
ALSO: dict[str, tuple[str, ...]] = {}
"""Cases that rest on the broken duty, too, by the case that the variant is made for."""
B = TypeVar("B", bound=type[Bent])
Change = Callable[[Bent, str, Fields], Fields | None]


def breaks(case_id: str, *also: str) -> Callable[[B], B]:
    """Class decorator: this line breaks the case, and ``also`` what rests on it."""

    def add(kind: B) -> B:
        assert case_id not in BROKEN, f"{case_id} has two broken variants"
        BROKEN[case_id] = kind
        ALSO[case_id] = also
        return kind

    return add


def decides(case_id: str, change: Change, *also: str) -> None:
    """A variant whose decisions come out otherwise."""

    class Deciding(Bent):
        def decision(self, machine_id: str, fields: Fields) -> Fields | None:
            return change(self, machine_id, fields)

    breaks(case_id, *also)(Deciding)


def regranted(bent: Bent, fields: Fields, **claims: object) -> Fields:
    """The decision with another grant."""
    if not fields["grant"]:
        return fields
    return fields | {"grant": bent.sign(claims_of(fields["grant"]) | claims)}


def without(code: str) -> Change:
    """A gateway that does not know this reason."""
    return lambda _bent, _machine, fields: (
        fields | {"reasons": [reason for reason in fields["reasons"] if reason["code"] != code]}
    )


def lets_in(text: str) -> Change:
    """A gateway that lets this credential in."""
    return lambda bent, machine_id, fields: (
        bent.to_allow(machine_id, fields) if bent.badge_of(fields) == text else fields
    )


SIGNED_ANEW = ("GW-2.1", "GW-2.8")
"""No two signatures are the same, so a line that signs each copy again sends different bytes."""


# --- GW-1: decisions ----------------------------------------------------------------------------------------------

decides("GW-1.1", lambda _bent, _machine, fields: fields | {"session_id": None}, "GW-1.2", "GW-2.10", "GW-3.5")
decides(
    "GW-1.2",
    lambda bent, _machine, fields: (
        regranted(bent, fields, exp=claims_of(fields["grant"])["iat"] + 300) if fields["grant"] else fields
    ),
    *SIGNED_ANEW,
)
decides(
    "GW-1.3",
    lambda bent, _machine, fields: (
        fields | {"grant": bent.sign(claims_of(fields["grant"]), alg="ES256")} if fields["grant"] else fields
    ),
    *SIGNED_ANEW,
)
decides(
    "GW-1.4",
    lambda _bent, _machine, fields: fields | {"session_id": fields["session_id"] or "a-session-all-the-same"},
    "OTHERS-01",
)
decides("GW-1.5", lambda _bent, _machine, fields: fields | {"reasons": fields["reasons"][:1]}, "GW-1.19")
decides(
    "GW-1.6",
    lambda _bent, _machine, fields: (
        fields | {"reasons": fields["reasons"] * 2} if codes(fields) == ["machine_unknown"] else fields
    ),
)
decides("GW-1.7", without("chip_mismatch"))
decides("GW-1.8", without("request_stale"))
decides("GW-1.11", without("request_malformed"))
decides(
    "GW-1.19",
    lambda _bent, _machine, fields: (
        fields | {"reasons": [reason | {"remedy": "Ask somebody."} for reason in fields["reasons"]]}
    ),
)


@breaks("GW-1.9", "OTHERS-13")
class NeedsAClock(Bent):
    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        return None if fields.get("at", 0) is None else fields


@breaks("GW-1.10")
class KnowsNoFuture(Bent):
    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        return None if "from_the_future" in fields else fields


@breaks("GW-1.12")
class AnswersJunk(Bent):
    def up(self, message: Publish, line: Line) -> Publish | None:
        if message.payload == b"null":
            line.back(decision_message(place(message.topic), {"outcome": "deny", "request_id": None}))
        return super().up(message, line)


@breaks("GW-1.13")
class AllowsOversize(Bent):
    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        if "padding" in fields:
            line.back(decision_message(machine_id, self.allow(machine_id, fields["request_id"])))
        return fields


@breaks("GW-1.14")
class Talkative(Bent):
    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        return with_payload(message, message.payload + b" " * 4096)


@breaks("GW-1.15", "GW-1.16", "GW-1.17", "GW-1.18")
class OldMqttAlone(Bent):
    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        return fields if line.version == mqtt.V311 else None


@breaks("GW-1.16")
class NoResponseTopics(Bent):
    def up(self, message: Publish, line: Line) -> Publish | None:
        return super().up(replace(message, properties={}), line)


@breaks("GW-1.17")
class AnswersAnywhere(Bent):
    def up(self, message: Publish, line: Line) -> Publish | None:
        wanted = message.properties.get(mqtt.RESPONSE_TOPIC)
        if wanted and place(wanted.decode()) != place(message.topic):
            line.back(Publish(wanted.decode(), b"{}"))
        return super().up(message, line)


@breaks("GW-1.18")
class NoExpiry(Bent):
    def down(self, message: Publish, line: Line) -> Publish | None:
        kept = {name: value for name, value in message.properties.items() if name != mqtt.MESSAGE_EXPIRY}
        return super().down(replace(message, properties=kept), line)


# --- GW-2: delivery -----------------------------------------------------------------------------------------------


@breaks("GW-2.1")
class NewBytesForADuplicate(Bent):
    duplicate = ""
    told = 0

    def up(self, message: Publish, line: Line) -> Publish | None:
        if message.dup:
            self.duplicate = read(message.payload)["request_id"]
        return super().up(message, line)

    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        self.told += fields["request_id"] == self.duplicate
        return with_payload(message, message.payload + b" " * self.told)


@breaks("GW-2.2")
class DecidesAnew(Bent):
    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        before = self.asked.get(fields["request_id"], fields)
        if before.get("credential") != fields.get("credential"):
            return fields | {"request_id": f"{fields['request_id']}-anew"}
        return fields

    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        return fields | {"request_id": fields["request_id"].removesuffix("-anew")}


@breaks("GW-2.3")
class OneAnswerForAll(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.first: dict[str, bytes] = {}

    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        return with_payload(message, self.first.setdefault(fields["request_id"], message.payload))


@breaks("GW-2.4", "GW-2.8")
class ManyAtOnce(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.told: Counter[str] = Counter()

    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        self.told[fields["request_id"]] += 1
        more = self.told[fields["request_id"]] > 3
        return fields | {"session_id": f"another-session-{self.told.total()}"} if more else fields


@breaks("GW-2.5")
class RetainsDecisions(Bent):
    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        return replace(message, retain=True)


@breaks("GW-2.6")
class TakesWhatWasLeftBehind(Bent):
    left: Publish | None = None

    def up(self, message: Publish, line: Line) -> Publish | None:
        if self.restarts and self.left is not None:
            line.back(self.left)
            self.left = None
        return super().up(message, line)

    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        self.left = self.left if self.restarts else message
        return message


@breaks("GW-2.7")
class NewBytesAfterARestart(Bent):
    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        return with_payload(message, message.payload + b" ") if self.restarts else message


@breaks("GW-2.8")
class KnowsEachChipOnce(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.times: Counter[str] = Counter()

    def connected(self, line: Line) -> None:
        self.times[line.client_id] += 1

    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        return fields if self.times[line.client_id] == 1 else None


@breaks("GW-2.9", "*")
class WaitsForTheFirst(Bent):
    """Until the first chip that it answered has acknowledged on every line, nobody else is answered."""

    first = ""

    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        self.first = self.first or machine_id
        return fields if machine_id == self.first else None


@breaks("GW-2.10")
class NeedsABeginning(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.begun: set[str] = set()

    def event(self, machine_id: str, fields: Fields) -> Fields | None:
        if fields["kind"] == "unlocked":
            self.begun.add(fields["session_id"])
        return None if fields["kind"] == "locked" and fields["session_id"] not in self.begun else fields


# --- GW-3: sessions -----------------------------------------------------------------------------------------------

decides("GW-3.1", without("machine_in_session"), "GW-3.7", "GW-3.8", "GW-5.2")
decides("GW-3.2", without("operator_in_session"))


def deaf_to(case_id: str, kind: str, *also: str) -> None:
    """A variant that passes over events of one kind."""

    class Deaf(Bent):
        def event(self, machine_id: str, fields: Fields) -> Fields | None:
            return None if fields["kind"] == kind else fields

    breaks(case_id, *also)(Deaf)


deaf_to("GW-3.3", "locked", "GW-2.10")
deaf_to("GW-3.4", "boot", "GW-3.14")
deaf_to("GW-3.5", "grant_rejected", "GW-3.14")


@breaks("GW-3.6", "GW-3.7", "GW-3.8")
class OnceADay(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.let_in: dict[tuple[str, str], str] = {}

    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        request_id = fields["request_id"]
        if fields["outcome"] == "deny":
            return fields
        first = self.let_in.setdefault((machine_id, self.badge_of(fields)), request_id)
        return fields if first == request_id else deny(fields, "machine_in_session")


@breaks("GW-3.7")
class AnyLockedWillDo(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.running: dict[str, str] = {}

    def event(self, machine_id: str, fields: Fields) -> Fields | None:
        if fields["kind"] == "unlocked":
            self.running[machine_id] = fields["session_id"]
        runs = self.running.get(machine_id, fields["session_id"])
        return fields | ({"session_id": runs} if fields["kind"] == "locked" else {})


@breaks("GW-3.8")
class CountsEveryCopy(AnyLockedWillDo):
    """And takes the second copy for news of the session that runs now."""

    def event(self, machine_id: str, fields: Fields) -> Fields | None:
        if fields["kind"] == "unlocked":
            self.running[machine_id] = fields["session_id"]
        if fields["event_id"] not in self.copies:
            self.copies.add(fields["event_id"])
            return fields
        runs = self.running.get(machine_id, fields["session_id"])
        return fields | {"event_id": f"{fields['event_id']}-again", "session_id": runs}

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)
        self.copies: set[str] = set()


@breaks("GW-3.9")
class TellsWho(Bent):
    def feed(self, kind: str, fields: Fields) -> Fields | None:
        return fields | {"operator": self.badge_of(fields)} if kind == "decision" else fields


def silent_on_feed(case_id: str, topic: str, /, *also: str, **named: object) -> None:
    """A variant that does not tell others of this."""

    class Silent(Bent):
        def feed(self, kind: str, fields: Fields) -> Fields | None:
            fits = kind == topic and all(fields.get(name) == value for name, value in named.items())
            return None if fits else fields

    breaks(case_id, *also)(Silent)


silent_on_feed("GW-3.10", "usage", final=True)
silent_on_feed("GW-3.11", "alert", kind="tamper")
silent_on_feed("GW-3.12", "alert", kind="arc_without_lease")
silent_on_feed("GW-3.13", "alert", kind="relay_stuck")
silent_on_feed("GW-3.14", "alert", kind="lost_evidence")


@breaks("GW-3.15")
class TellsItsStatusInPassing(Bent):
    def down(self, message: Publish, line: Line) -> Publish | None:
        return replace(message, retain=message.retain and "/gateway/" not in message.topic)


# --- GW-4: live sessions ------------------------------------------------------------------------------------------


@breaks("GW-4.1")
class RenewsLate(Bent):
    began = 0.0

    def event(self, machine_id: str, fields: Fields) -> Fields | None:
        self.began = time.monotonic()
        return fields

    def command(self, machine_id: str, claims: Fields) -> Fields | None:
        return None if claims["cmd"] == "renew" and time.monotonic() - self.began < 15.5 else claims


@breaks("GW-4.2")
class NeverCounts(Bent):
    def command(self, machine_id: str, claims: Fields) -> Fields | None:
        return claims | {"n": 1}


@breaks("GW-4.3")
class NeverLocks(Bent):
    def command(self, machine_id: str, claims: Fields) -> Fields | None:
        return None if claims["cmd"] == "lock" else claims


@breaks("GW-4.4")
class LocksAnotherSession(Bent):
    def command(self, machine_id: str, claims: Fields) -> Fields | None:
        return claims | {"sid": "another-session-1"} if claims["cmd"] == "lock" else claims


@breaks("GW-4.5")
class LocksOnce(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.locked: set[str] = set()

    def command(self, machine_id: str, claims: Fields) -> Fields | None:
        if claims["cmd"] != "lock":
            return claims
        again = machine_id in self.locked
        self.locked.add(machine_id)
        return None if again else claims


@breaks("GW-4.6")
class RenewsAllTheSame(Bent):
    def commanded(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        claims = claims_of(fields["command"])
        if claims["cmd"] == "lock":
            renewal = {name: claims[name] for name in ("iss", "aud", "sid", "iat", "exp", "n")}
            renewal |= {"cmd": "renew", "jti": "renewed-all-the-same", "lease_s": 30}
            body = {"command": self.sign(renewal), "command_id": renewal["jti"]}
            line.back(Publish(message.topic, msgspec.json.encode(body)))
        return message


@breaks("GW-4.7")
class LetsTheArcEndFirst(Bent):
    def command(self, machine_id: str, claims: Fields) -> Fields | None:
        return claims | ({"when": "between_arcs", "deadline_s": 2} if claims["cmd"] == "lock" else {})


# --- GW-5, GW-6: offline lists, rolling codes ---------------------------------------------------------------------


@breaks("GW-5.1")
class ListsNobody(Bent):
    def command(self, machine_id: str, claims: Fields) -> Fields | None:
        return claims | ({"entries": []} if claims["cmd"] == "offline_list" else {})


deaf_to("GW-5.2", "offline_unlock", "GW-5.3")
silent_on_feed("GW-5.3", "alert", kind="offline_refused")
decides(
    "GW-6.1",
    lambda bent, machine_id, fields: (
        bent.to_allow(machine_id, fields) if "credential_replayed" in codes(fields) else fields
    ),
)


# --- where others fail --------------------------------------------------------------------------------------------


@breaks("OTHERS-01", "OTHERS-11-GW")
class SessionOnDeny(Bent):
    """Whoever was refused at a machine is in nobody knows what there, and nobody else gets in."""

    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.taken: set[str] = set()

    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        if fields["outcome"] == "deny":
            self.taken.add(machine_id)
            return fields
        return deny(fields, "machine_in_session") if machine_id in self.taken else fields


decides(
    "OTHERS-02",
    lambda bent, machine_id, fields: (
        bent.to_allow(machine_id, fields) if "operator_in_session" in codes(fields) else fields
    ),
    "GW-3.2",
)


@breaks("OTHERS-03")
class TrustsRegulars(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.visits: Counter[str] = Counter()

    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        badge = self.badge_of(fields)
        self.visits[badge] += fields["outcome"] == "allow"
        return self.to_allow(machine_id, fields) if self.visits[badge] >= 5 else fields


@breaks("OTHERS-04-GW")
class LeavesAnswersBehind(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.left: dict[str, Publish] = {}

    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        self.left[message.topic] = replace(message, retain=True)
        return message

    def subscribed(self, name: str, line: Line) -> None:
        if name in self.left:
            line.back(self.left[name])


@breaks("OTHERS-05")
class TakesItForDelivered(Bent):
    def connected(self, line: Line) -> None:
        self.late = line.number if self.restarts else 0

    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        return None if self.restarts and line.number == self.late else message


@breaks("OTHERS-06-GW")
class NeverEnds(Bent):
    def __init__(self, *parts: object) -> None:
        super().__init__(*parts)  # type: ignore[arg-type]
        self.holders: dict[str, str] = {}

    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        badge = self.badge_of(fields)
        return fields if self.holders.setdefault(machine_id, badge) == badge else deny(fields, "machine_in_session")


@breaks("OTHERS-07-GW")
class EverybodyPassesMeanwhile(Bent):
    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        if self.is_down:
            line.back(decision_message(machine_id, self.allow(machine_id, fields["request_id"])))
        return fields


decides("OTHERS-08-GW", lets_in("MASTER"), "OTHERS-08-COUNT-GW")


@breaks("OTHERS-08-COUNT-GW")
class CountsNoMaintenance(Bent):
    """Refuses the maintenance card and tells nobody that it was tried."""

    def feed(self, kind: str, fields: Fields) -> Fields | None:
        tried = self.asked.get(str(fields.get("request_id")), {}).get("credential")
        return None if kind == "decision" and tried == "maintenance" else fields


silent_on_feed("OTHERS-09-GW", "decision", "OTHERS-08-COUNT-GW", outcome="deny")


@breaks("OTHERS-10")
class LogsThatItCannotRecord(Bent):
    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        if self.is_broken:
            line.back(decision_message(machine_id, self.allow(machine_id, fields["request_id"])))
        return fields


@breaks("OTHERS-11-GW")
class BelievesTheChip(Bent):
    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        claimed = self.asked.get(fields["request_id"], {}).get("verified")
        return self.to_allow(machine_id, fields) if claimed else fields


decides("OTHERS-12", lets_in("CKP-WRONG-ITEM-LASTS"))


@breaks("OTHERS-13")
class AnotherPathForKeypads(Bent):
    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        keyed = self.asked.get(fields["request_id"], {}).get("method") == "keypad"
        return deny(fields, "operator_unknown") if keyed else fields


@breaks("OTHERS-14-GW")
class LivesOnWithoutItsConnection(Bent):
    """What it does, the tap does for it: after a cut it makes no new connection."""


@breaks("OTHERS-15-GW")
class MissesWhatCameMeanwhile(Bent):
    def event(self, machine_id: str, fields: Fields) -> Fields | None:
        return None if self.is_down else fields


@breaks("OTHERS-16-GW")
class AcknowledgesFirst(Bent):
    """What it does, the tap does for it."""


decides("OTHERS-17", lets_in(""))


@breaks("OTHERS-18")
class TakesHalfAnImport(Bent):
    """What it does, the import hook does for it."""


decides("OTHERS-19", lets_in("CKP-EXPIRED-31"))


@breaks("OTHERS-20")
class LosesWhatItNeverHeard(Bent):
    """What it does, the tap does for it."""
