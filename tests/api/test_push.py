"""What senders push: who signed it, and what each event says."""

import base64
import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec
import pytest

from gateway.registry.push import (
    EVENT_TYPES,
    EVENTS_AT_MOST,
    NotSigned,
    SecretError,
    parse_secret,
    read_delivery,
    sender_of,
    sign,
)
from gateway.store.entries import CertificateEntry, OperatorEntry
from gateway.store.push_events import Barred, Certified, Employed, Event, Halted, Outcome, Restated
from tests.api.served import OLD_SECRET, OTHERS_SECRET, SECRET, SENDERS
from tests.gate.gates import NOW
from tests.registry.people import ANNA, FIRM, PHONE

NOW_S = NOW // 1000
BODY = b'{"events":[]}'
NUMBER = f"T{ANNA}"


def headers(secret: bytes = SECRET, at_s: int = NOW_S, body: bytes = BODY, **other: str) -> Mapping[str, str]:
    given = {
        "webhook-id": "msg-1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": sign(secret, "msg-1", str(at_s), body),
    }
    return given | {name.replace("_", "-"): value for name, value in other.items()}


# --- signatures -------------------------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_specification() -> None:
    """The example of https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md, which
    every library of it has among its tests."""
    secret = parse_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize(
    ("secret", "sender"), [(SECRET, "exam-centre"), (OLD_SECRET, "exam-centre"), (OTHERS_SECRET, "city")]
)
def test_a_delivery_is_of_whose_secret_signed_it_also_while_that_is_rotated(secret: bytes, sender: str) -> None:
    assert sender_of(SENDERS, headers(secret), BODY, NOW) == sender


def test_one_good_signature_among_several_is_enough() -> None:
    good = sign(SECRET, "msg-1", str(NOW_S), BODY)
    for words in (f"v1,AAAA {good}", f"v1a,AAAA {good} v1,BBBB"):
        assert sender_of(SENDERS, headers(webhook_signature=words), BODY, NOW) == "exam-centre"


@pytest.mark.parametrize("off_s", [-300, -299, 0, 299, 300])
def test_a_clock_that_is_a_little_off_does_not_matter(off_s: int) -> None:
    assert sender_of(SENDERS, headers(at_s=NOW_S + off_s), BODY, NOW) == "exam-centre"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (headers(at_s=NOW_S - 301), "301 s behind"),
        (headers(at_s=NOW_S + 301), "301 s ahead of"),
        (headers(b"?" * 32), "webhook-signature"),
        (headers(body=BODY + b" "), "webhook-signature"),
        (headers(webhook_id="msg-2"), "webhook-signature"),
        (headers(webhook_timestamp=str(NOW_S + 1)), "webhook-signature"),
        (headers(webhook_timestamp="now"), "webhook-timestamp"),
        (headers(webhook_timestamp="1" * 4000), "webhook-timestamp"),
        (headers(webhook_timestamp="²"), "webhook-timestamp"),
        (headers(webhook_signature=sign(SECRET, "msg-1", str(NOW_S), BODY).replace("v1,", "v2,")), "signature"),
        (headers(webhook_signature="v1,令"), "webhook-signature"),
        ({}, "webhook-id"),
    ],
)
def test_whatever_is_not_signed_by_a_sender_now_is_refused(given: Mapping[str, str], says: str) -> None:
    with pytest.raises(NotSigned, match=says):
        sender_of(SENDERS, given, BODY, NOW)


@pytest.mark.parametrize("text", ["", "whsec_!", "hush", base64.b64encode(SECRET).decode(), "whsec_AAAA"])
def test_a_secret_that_is_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SecretError) as error:
        parse_secret(text)
    assert not text or text not in str(error.value)


# --- events -----------------------------------------------------------------------------------------------------

CERTIFICATE = {
    "number": NUMBER,
    "operator_id": "P-1",
    "item": "熔化焊接与热切割",
    "valid_until": "2030/1/5",
    "issued_on": "2024-01-06",
    "status": "有效",
    "verification": "verified",
}


def event(kind: str, **said: Any) -> dict[str, Any]:
    return {"event_id": "e-1", "at": NOW, "kind": kind, **said}


def read(*events: Any) -> list[Event | Outcome]:
    return read_delivery(json.dumps({"events": events}).encode(), NOW)


def said(kind: str, **fields: Any) -> Any:
    (found,) = read(event(kind, **fields))
    assert isinstance(found, Event), found
    assert (found.event_id, found.at, found.kind) == ("e-1", NOW, kind)
    return found.said


def problem(event: Any) -> str:
    (found,) = read(event)
    assert isinstance(found, Outcome), found
    assert found.outcome == "invalid"
    return found.problem or ""


@pytest.mark.parametrize("kind", ["issue", "renew"])
def test_a_certificate_is_read_like_a_line_of_a_file_and_stands_whole(kind: str) -> None:
    whole = CertificateEntry(
        NUMBER, "P-1", "fusion", date(2030, 1, 5), "valid", "verified", None, date(2024, 1, 6), date(2024, 1, 6),
        None, None, None,
    )  # fmt: skip
    assert said(kind, certificate=CERTIFICATE) == Certified(whole)


def test_a_holder_comes_with_the_certificate_and_is_active() -> None:
    holder = {"operator_id": "P-1", "name": "样例甲", "id_number": ANNA, "phone": PHONE}
    assert said("issue", certificate=CERTIFICATE, operator=holder).operator == OperatorEntry(
        "P-1", "active", "样例甲", ANNA, PHONE
    )


def test_the_other_kinds() -> None:
    assert said("suspend", number=NUMBER.lower()) == Restated(NUMBER)
    assert said("revoke", number=NUMBER, item="brazing") == Restated(NUMBER, "brazing")
    assert said("reinstate", number=NUMBER, item=None) == Restated(NUMBER)
    assert said("block", operator_id="P-1") == said("unblock", operator_id="P-1") == Barred("P-1")
    hired = said("hire", operator_id="P-1", uscc=FIRM, **{"from": "2026-01-05"})
    assert hired == Employed("P-1", FIRM, date(2026, 1, 5))
    assert said("leave", operator_id="P-1", uscc=FIRM, until="2026-01-05") == hired
    assert said("stop_production", uscc=FIRM) == said("resume", uscc=FIRM) == Halted(FIRM)


def test_every_kind_is_among_those_read_here() -> None:
    tried = {"issue", "renew", "suspend", "revoke", "reinstate", "block", "unblock", "hire", "leave"}
    assert set(EVENT_TYPES) == tried | {"stop_production", "resume"}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (event("dance"), "dance"),
        (event("block"), "operator_id"),
        (event("block", operator_id="P-1", why="?"), "why"),
        (event("block", operator_id=""), "operator_id"),
        (event("block", operator_id="P-1") | {"at": "now"}, "$.at"),
        (event("block", operator_id="P-1") | {"at": NOW + 301_000}, "301 s ahead"),
        (event("block", operator_id="P-1") | {"event_id": "e 1"}, "$.event_id"),
        (event("leave", operator_id="P-1", uscc=FIRM, until=""), "until"),
        (event("hire", operator_id="P-1", uscc="91", **{"from": "2026-01-05"}), "credit code"),
        (event("revoke", number=NUMBER, item="juggling"), "item"),
        (
            event("issue", certificate=CERTIFICATE | {"valid_until": "2026-02-30"}),
            "certificate.valid_until = '2026-02-30'",
        ),
        (event("issue", certificate=CERTIFICATE | {"valid_until": "2020-01-01"}), "before the first day"),
        (event("issue", certificate=CERTIFICATE | {"colour": "red"}), "colour"),
        (event("issue", certificate=CERTIFICATE, operator={"operator_id": "P-2"}), "holder"),
        (event("issue", certificate=CERTIFICATE, operator={"operator_id": "P-1", "status": "active"}), "status"),
        ("revoke everything", "object"),
        (None, "object"),
    ],
)
def test_what_cannot_be_read_is_told_with_place_and_reason(wrong: Any, says: str) -> None:
    assert says in problem(wrong)
    assert "events[0]" in problem(wrong)


def test_everything_that_is_wrong_with_a_certificate_is_told_at_once() -> None:
    told = problem(event("issue", certificate=CERTIFICATE | {"valid_until": "soon", "status": "fine"}))
    assert "valid_until" in told
    assert "status" in told


@pytest.mark.parametrize(
    "wrong",
    [
        event("revoke", number=NUMBER + "7" * 60),
        event(ANNA),
        event("block", operator_id="P-1", **{ANNA: 1}),
        event("issue", certificate=CERTIFICATE, operator={"operator_id": "P-1", "id_number": ANNA[:-1] + "A"}),
        event("issue", certificate=CERTIFICATE, operator={"operator_id": "P-1", "phone": PHONE * 9}),
    ],
)
def test_a_personal_number_stands_in_no_problem(wrong: Any) -> None:
    assert ANNA[:-1] not in problem(wrong)
    assert PHONE not in problem(wrong)


def test_a_bad_event_leaves_the_others_and_is_named_where_it_has_a_name() -> None:
    bad, nameless = event("dance"), {"kind": "dance", "event_id": 7}
    found = read(bad, event("block", operator_id="P-1"), nameless)
    assert [type(one) for one in found] == [Outcome, Event, Outcome]
    assert [one.event_id for one in found] == ["e-1", "e-1", None]


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b"\xff"])
def test_a_body_that_is_no_json(body: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, RecursionError, UnicodeDecodeError)):
        read_delivery(body, NOW)


@pytest.mark.parametrize("content", [{}, {"events": []}, {"events": {}}, {"events": [1], "more": 1}])
def test_a_body_that_is_no_delivery(content: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_delivery(json.dumps(content).encode(), NOW)


def test_a_delivery_has_its_limit() -> None:
    assert len(read(*[1] * EVENTS_AT_MOST)) == EVENTS_AT_MOST
    with pytest.raises(msgspec.ValidationError):
        read(*[1] * (EVENTS_AT_MOST + 1))


def test_an_event_id_that_could_be_somebodys_number_is_masked_for_records() -> None:
    (found,) = read(event("block", operator_id="P-1") | {"event_id": ANNA})
    assert isinstance(found, Event)
    assert (found.event_id, found.listed) == (ANNA, "*" * 14 + ANNA[-4:])
