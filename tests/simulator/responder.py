"""A tiny scripted gateway for the fleet's own tests: answers by the registry files, or wrongly where told to.

It keeps no ledger and survives no restart; it exists to show that the fleet notices what a real gateway may do wrong.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from joserfc.jwk import ECKey
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway.core.model import Event, Request
from gateway.wire import topics
from gateway.wire.codec import MalformedMessage, decode, encode, request_id_of, wire_reasons
from gateway.wire.messages import DecisionMessage
from gateway.wire.tokens import Grant, Signer
from simulator.link import Broker
from simulator.oracle import Question, county_day, named_person, registry_codes
from simulator.registry import Registry

Vice = Literal["lets_everybody_in", "other_bytes", "silent", "foreign_key", "other_challenge", "second_session"]
LEASE_S, START_BY_S, STALE_S = 900, 30, 60


class Responder:
    """Runs in paho's own thread between ``start`` and ``stop``."""

    def __init__(self, broker: Broker, registry: Registry, vice: Vice | None = None) -> None:
        key = ECKey.generate_key("P-256")
        self.jwks: dict[str, Any] = {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]}
        signing = ECKey.generate_key("P-256") if vice == "foreign_key" else key
        self._signer = Signer(signing)
        self._broker, self._registry, self._vice = broker, registry, vice
        self._answers: dict[tuple[str, str], bytes] = {}
        self._sessions: dict[str, tuple[str, str]] = {}  # machine -> (session, person)
        self._chips: dict[str, str] = {}
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="responder")

    def start(self) -> "Responder":
        self._client.on_connect = lambda client, *_: client.subscribe([(name, 1) for name in topics.CHIP_FILTERS])
        self._client.on_message = lambda _client, _data, message: self._arrived(message)
        self._client.max_inflight_messages_set(0)
        self._client.connect(self._broker.host, self._broker.port)
        self._client.loop_start()
        return self

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _arrived(self, message: MQTTMessage) -> None:
        found = topics.chip_topic(message.topic)
        if found is None or (message.retain and found[1] != "status"):
            return
        machine_id, kind = found
        try:
            content = decode(kind, bytes(message.payload))
        except MalformedMessage:
            request_id = request_id_of(bytes(message.payload)) if kind == "request" else None
            if request_id is not None:
                self._answer(machine_id, request_id, None)
            return
        if isinstance(content, Request):
            self._answer(machine_id, content.request_id, content)
        elif isinstance(content, Event):
            self._event(machine_id, content)
        else:
            chip = getattr(content, "chip", None)
            if chip is not None:
                self._chips[machine_id] = chip

    def _event(self, machine_id: str, event: Event) -> None:
        session = self._sessions.get(machine_id)
        if session and (event.kind == "boot" or (event.kind == "locked" and event.session_id == session[0])):
            del self._sessions[machine_id]

    def _answer(self, machine_id: str, request_id: str, request: Request | None) -> None:
        if self._vice == "silent":
            return
        key = (machine_id, request_id)
        if key not in self._answers:
            self._answers[key] = self._decide(machine_id, request_id, request)
        elif self._vice == "other_bytes":
            self._answers[key] += b" "
        self._client.publish(topics.decision(machine_id), self._answers[key], qos=1)

    def _decide(self, machine_id: str, request_id: str, request: Request | None) -> bytes:
        now = time.time_ns() // 1_000_000
        codes = {"request_malformed"} if request is None else self._codes(machine_id, request, now)
        if codes and not (request and self._vice == "lets_everybody_in"):
            reasons = wire_reasons(tuple(sorted(codes)))
            return encode(DecisionMessage(now, None, "deny", reasons, request_id, None))
        assert request is not None
        session_id = f"s-{request_id}"
        self._sessions[machine_id] = (session_id, request.credential)
        challenge = "another-challenge" if self._vice == "other_challenge" else request.challenge
        grant = Grant(machine_id, challenge, now // 1000 + START_BY_S, now // 1000, request_id, LEASE_S, session_id)
        return encode(DecisionMessage(now, self._signer.sign(grant), "allow", (), request_id, session_id))

    def _codes(self, machine_id: str, request: Request, now: int) -> set[str]:
        question = Question(machine_id, request.credential, self._chips.get(machine_id))
        codes = set(registry_codes(self._registry, question, county_day(now)))
        if request.at is not None and abs(now - request.at) > STALE_S * 1000:
            codes.add("request_stale")
        if "machine_unknown" in codes or self._vice == "second_session":
            return codes
        person = named_person(self._registry, request.credential)
        return codes | set(_session_codes(self._sessions, machine_id, person))


def _session_codes(sessions: Mapping[str, tuple[str, str]], machine_id: str, person: str | None) -> list[str]:
    here = sessions.get(machine_id)
    codes = ["machine_in_session"] if here is not None and here[1] != person else []
    elsewhere = any(who == person for machine, (_, who) in sessions.items() if machine != machine_id)
    return [*codes, *(["operator_in_session"] if elsewhere else [])]


def main() -> None:
    """``python -m tests.simulator.responder PORT REGISTRY JWKS``: a gateway stand-in to look at a fleet by hand."""
    import sys
    from pathlib import Path

    from simulator.registry import load

    responder = Responder(Broker("127.0.0.1", int(sys.argv[1])), load(Path(sys.argv[2])))
    Path(sys.argv[3]).write_bytes(msgspec.json.encode(responder.jwks))
    responder.start()
    time.sleep(3600)


if __name__ == "__main__":
    main()
