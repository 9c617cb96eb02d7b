"""The answer to a request and the order to a chip, from what was decided to the exact bytes."""

import msgspec
from msgspec import Struct

from gateway.core.model import Millis
from gateway.wire.codec import encode, wire_reasons
from gateway.wire.messages import CommandMessage, DecisionMessage
from gateway.wire.tokens import Command, Grant, Signer

START_BY_LIMIT_S = 30
"""No grant's start-by is later than this after it (the protocol's claim ``exp``)."""
_decode_answer = msgspec.json.Decoder(DecisionMessage).decode


class Answer(Struct, frozen=True, gc=False, array_like=True):
    """What an answer will say. With a ``grant`` it is an allow, without one a deny."""

    at: Millis
    request_id: str
    reasons: tuple[str, ...] = ()
    grant: Grant | None = None


def finish(answer: Answer, signer: Signer) -> bytes:
    """The answer's bytes. INVARIANT: an allow carries a signed grant, and nothing else does."""
    grant = answer.grant
    return encode(
        DecisionMessage(
            at=answer.at,
            grant=signer.sign(grant) if grant else None,
            outcome="allow" if grant else "deny",
            reasons=() if grant else wire_reasons(answer.reasons),
            request_id=answer.request_id,
            session_id=grant.sid if grant else None,
        )
    )


def read_answer(reply: bytes) -> DecisionMessage:
    """What an answer of ours says."""
    return _decode_answer(reply)


class Order(Struct, frozen=True, gc=False, array_like=True):
    """A command on its way to be signed: its id and its claims as JSON."""

    command_id: str
    claims: bytes


def order(command: Command) -> Order:
    return Order(command.jti, encode(command))


def sign_order(order: Order, signer: Signer) -> bytes:
    """The bytes of the command's message."""
    return encode(CommandMessage(signer.sign_bytes(order.claims), order.command_id))
