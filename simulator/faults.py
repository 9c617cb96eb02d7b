"""Junk that a broken or hostile chip sends: every sort of payload that the protocol does not allow. Seeded."""

from random import Random

import msgspec
from msgspec import Struct

from gateway.wire import topics
from simulator.signals import Publish

OVERSIZE_BYTES = 5_000
HUGE_BYTES = 200_000
DEEP_LEVELS = 1_500


class Malformed(Struct, frozen=True):
    """A request that the protocol does not allow, whose ``request_id`` can still be read."""

    request_id: str
    payload: bytes


def malformed_request(request_id: str, credential: str, challenge: str, random: Random) -> Malformed:
    """One wrong field in an otherwise sound request."""
    sound = {"request_id": request_id, "credential": credential, "challenge": challenge, "method": "scan", "at": None}
    wrong = random.choice(
        (
            {"credential": 4711},
            {"credential": None},
            {"method": "telepathy"},
            {"challenge": ""},
            {"challenge": ["a"]},
            {"at": "yesterday"},
            {"at": -1},
            {"at": 1.5},
        )
    )
    return Malformed(request_id, msgspec.json.encode(sound | wrong))


def junk(machine_id: str, random: Random) -> Publish:
    """A publication that nobody can answer."""
    payload = random.choice(_PAYLOADS)
    topic = random.choice(
        (
            topics.to_gateway(machine_id, "request"),
            topics.to_gateway(machine_id, "usage"),
            topics.to_gateway(machine_id, "event"),
            f"{topics.ROOT}/{machine_id}/telemetry",
            f"{topics.ROOT}/{machine_id.lower()}/request",
            f"{topics.ROOT}/{machine_id}/request/again",
        )
    )
    return Publish(topic, payload)


_PAYLOADS = (
    b"",
    b"\xff\xfe\x00\xff",  # not UTF-8
    b'{"request_id": "\xc3\x28-not-utf8"}',
    b"hello",
    b"null",
    b"[]",
    b"42",
    b'"a string"',
    b"{",
    b'{"request_id": 7}',
    b'{"request_id": "short"}',
    b'{"request_id": "with space and more"}',
    b'{"session_id": null, "seq": "x"}',
    b'{"event_id": "12345678", "seq": -1, "kind": "party"}',
    b'{"request_id": "' + b"A" * OVERSIZE_BYTES + b'"}',
    b" " * HUGE_BYTES,
    b"[" * DEEP_LEVELS,
    b"\x00" * 64,
)
