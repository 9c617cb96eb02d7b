"""What a broken gateway's line can do to messages: the base of every variant, with the words that they need."""

import time
from typing import Any

import msgspec
from joserfc import jws
from joserfc.jwk import ECKey

from gateway.wire import topics
from simulator.conformance.mqtt import Publish

Fields = dict[str, Any]


class Line:
    """One connection of the kit, as a variant sees it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.version = 4
        self.client_id = ""

    def back(self, message: Publish) -> None:
        """Say something to the kit that the gateway never said."""
        raise NotImplementedError


class Bent:
    """Changes nothing. ``up`` is from the kit, ``down`` from the gateway; None loses the message.

    ``key`` is the gateway's own, so that what is bent is signed as well as before.
    """

    def __init__(self, key: ECKey) -> None:
        self.key = key
        self.asked: dict[str, Fields] = {}
        self.is_down = self.is_broken = False
        self.restarts = 0

    # --- the wires; variants override these or what they call ---

    def connected(self, line: Line) -> None:
        """A chip connects."""

    def subscribed(self, name: str, line: Line) -> None:
        """A chip subscribes."""

    def up(self, message: Publish, line: Line) -> Publish | None:
        machine_id, kind, fields = place(message.topic), message.topic.rpartition("/")[2], read(message.payload)
        if kind == "request" and fields:
            bent = self.request(machine_id, dict(fields), line)
            self.asked[str(fields.get("request_id"))] = fields | {"machine_id": machine_id}
            return with_fields(message, bent, fields)
        if kind == "event" and "kind" in fields:
            return with_fields(message, self.event(machine_id, dict(fields)), fields)
        return message

    def down(self, message: Publish, line: Line) -> Publish | None:
        fields = read(message.payload)
        if "/feed/" in message.topic:
            return with_fields(message, self.feed(message.topic.rpartition("/")[2], dict(fields)), fields)
        if message.topic.endswith("/decision") and fields:
            return self.decided(message, fields, line)
        if message.topic.endswith("/command") and fields:
            return self.commanded(message, fields, line)
        return message

    def decided(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        return with_fields(message, self.decision(place(message.topic), dict(fields)), fields)

    def commanded(self, message: Publish, fields: Fields, line: Line) -> Publish | None:
        claims = self.command(place(message.topic), claims_of(fields["command"]))
        if claims is None:
            return None
        return with_fields(message, fields | {"command": self.sign(claims)}, fields)

    # --- the messages ---

    def request(self, machine_id: str, fields: Fields, line: Line) -> Fields | None:
        return fields

    def event(self, machine_id: str, fields: Fields) -> Fields | None:
        return fields

    def decision(self, machine_id: str, fields: Fields) -> Fields | None:
        return fields

    def command(self, machine_id: str, claims: Fields) -> Fields | None:
        return claims

    def feed(self, kind: str, fields: Fields) -> Fields | None:
        return fields

    # --- words ---

    def sign(self, claims: Fields, **header: Any) -> str:
        protected = header or {"alg": "ES256", "kid": self.key.thumbprint()}
        return jws.serialize_compact(protected, msgspec.json.encode(claims), self.key)

    def allow(self, machine_id: str, request_id: str, challenge: str = "", at: int = 0) -> Fields:
        """An allow that the gateway never made."""
        now_s, sid = int(time.time()), f"made-up-{request_id}"
        claims = {"iss": "weldgate", "aud": machine_id, "jti": request_id, "sid": sid, "cha": challenge}
        claims |= {"iat": now_s, "exp": now_s + 3, "lease_s": 6, "n": 0}  # type: ignore[dict-item]
        fields: Fields = {"at": at or now_s * 1000, "grant": self.sign(claims), "outcome": "allow", "reasons": []}
        return fields | {"request_id": request_id, "session_id": sid}

    def to_allow(self, machine_id: str, fields: Fields) -> Fields:
        """This decision, had it been an allow."""
        request_id = str(fields["request_id"])
        return self.allow(machine_id, request_id, str(self.asked.get(request_id, {}).get("challenge", "")))

    def badge_of(self, fields: Fields) -> str:
        """Whose request a decision answers."""
        return str(self.asked.get(str(fields["request_id"]), {}).get("credential", ""))


def place(topic: str) -> str:
    """The machine of a topic."""
    return topic.split("/")[2]


def read(payload: bytes) -> Fields:
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return {}


def claims_of(token: str) -> Fields:
    return read(jws.extract_compact(token.encode()).payload)


def with_fields(message: Publish, fields: Fields | None, before: Fields) -> Publish | None:
    """The message with these fields; untouched where nothing changed, to the byte."""
    if fields is None:
        return None
    if fields == before:
        return message
    return with_payload(message, msgspec.json.encode(fields))


def with_payload(message: Publish, payload: bytes) -> Publish:
    return Publish(
        message.topic, payload, message.qos, message.retain, message.dup, message.packet_id, message.properties
    )


def decision_message(machine_id: str, fields: Fields, *, retain: bool = False) -> Publish:
    return Publish(topics.decision(machine_id), msgspec.json.encode(fields), 1, retain)


def deny(fields: Fields, code: str) -> Fields:
    """This decision, had it been a deny for one reason."""
    reason = {"code": code, "message": "样例 sample", "remedy": "样例 sample", "resolver": "operator"}
    return fields | {"outcome": "deny", "grant": None, "session_id": None, "reasons": [reason]}


def codes(fields: Fields) -> list[str]:
    return [reason["code"] for reason in fields["reasons"]]
