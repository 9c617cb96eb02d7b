"""The exact bytes of every message in both directions: a change on the wire fails here and has to be meant."""

from base64 import urlsafe_b64decode
from pathlib import Path

import msgspec
import pytest

from gateway.core.reasons import REASONS
from gateway.wire.answer import Answer, finish, order, sign_order
from gateway.wire.codec import decode, encode
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Signer
from tests.wire.messages import AT, GOLDEN_COMMANDS, GOLDEN_FROM_CHIPS, GOLDEN_FROM_GATEWAY, GOLDEN_GRANT

GOLDEN = Path(__file__).with_name("golden")


def golden(name: str) -> bytes:
    """The bytes on file, without the line feed at their end."""
    return (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")


def claims(token: str) -> bytes:
    """What a token says, as it was signed."""
    return urlsafe_b64decode(token.split(".")[1] + "==")


@pytest.mark.parametrize("name", GOLDEN_FROM_CHIPS)
def test_what_a_chip_sends_is_understood(name: str) -> None:
    kind, message = GOLDEN_FROM_CHIPS[name]
    assert decode(kind, golden(name)) == message


@pytest.mark.parametrize("name", sorted(set(GOLDEN_FROM_CHIPS) - {"status_last_will"}))
def test_the_reference_chip_s_bytes_stay_as_they_are(name: str) -> None:
    assert encode(GOLDEN_FROM_CHIPS[name][1]) == golden(name)


@pytest.mark.parametrize("name", GOLDEN_FROM_GATEWAY)
def test_what_the_gateway_sends_stays_as_it_is(name: str) -> None:
    assert encode(GOLDEN_FROM_GATEWAY[name]) == golden(name)


def test_what_a_grant_says_stays_as_it_is(signer: Signer) -> None:
    answer = finish(Answer(AT, "0f2a9c4e7b1d4a60", grant=GOLDEN_GRANT), signer)
    grant = msgspec.json.decode(answer, type=DecisionMessage).grant
    assert grant is not None
    assert claims(grant) == golden("claims_grant")


@pytest.mark.parametrize("name", GOLDEN_COMMANDS)
def test_what_a_command_says_stays_as_it_is(name: str, signer: Signer) -> None:
    message = msgspec.json.decode(sign_order(order(GOLDEN_COMMANDS[name]), signer), type=CommandMessage)
    assert message.command_id == GOLDEN_COMMANDS[name].jti
    assert claims(message.command) == golden(name)


def test_a_refusal_stays_as_it_is_texts_included(signer: Signer) -> None:
    answer = Answer(AT, "0f2a9c4e7b1d4a60", ("certificate_expired", "operator_in_session"))
    assert finish(answer, signer) == golden("decision_deny")


def test_every_reason_s_texts_stay_as_they_are_on_the_wire(signer: Signer) -> None:
    """A better text is welcome; it changes what thousands of displays show, so it is changed here as well."""
    lines = [finish(Answer(AT, "0f2a9c4e7b1d4a60", (code,)), signer) for code in sorted(REASONS)]
    assert b"\n".join(lines) + b"\n" == (GOLDEN / "decision_deny_each_reason.jsonl").read_bytes()


def test_no_file_lies_here_unread() -> None:
    read = {*GOLDEN_FROM_CHIPS, *GOLDEN_FROM_GATEWAY, *GOLDEN_COMMANDS, "decision_deny", "claims_grant"}
    assert {path.name for path in GOLDEN.iterdir()} == {f"{name}.json" for name in read} | {
        "decision_deny_each_reason.jsonl"
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("outcome", "allow"),
        ("grant", "header.claims.signature"),
        ("reasons", ()),
        ("session_id", "AZ8Vq0AAmJ3kQ2xW5c7d"),
    ],
)
def test_an_allow_holds_what_the_protocol_says(field: str, value: object) -> None:
    message = msgspec.json.decode(golden("decision_allow"), type=DecisionMessage)
    assert getattr(message, field) == value


def test_a_refusal_holds_neither_grant_nor_session() -> None:
    message = msgspec.json.decode(golden("decision_deny"), type=DecisionMessage)
    assert (message.outcome, message.grant, message.session_id) == ("deny", None, None)
    assert [(reason.code, reason.resolver) for reason in message.reasons] == [
        ("certificate_expired", "training_centre"),
        ("operator_in_session", "operator"),
    ]
