"""Payload bytes to structs and back. Junk never passes: it becomes a MalformedMessage that names the field."""

import re
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct, structs

from gateway.core.model import ChipMadeId, Event, Request, Status, Usage
from gateway.core.reasons import REASONS, Reason
from gateway.wire.messages import WireReason
from gateway.wire.topics import ChipTopic

MAX_PAYLOAD_BYTES = 4096
"""Ground rule of the protocol, in both directions."""
REASONS_BUDGET_BYTES = 3600
"""What the reasons may take of a decision; the rest is ids, times and braces."""

ChipMessage = Request | Usage | Event | Status


class MalformedMessage(Exception):
    """A payload that the protocol does not allow; says which field is wrong and how. Never quotes the payload."""


class _Remains(Struct):
    """What can be read of a malformed request; with its id it still gets an answer."""

    request_id: ChipMadeId | None = None


_DECODERS: dict[ChipTopic, msgspec.json.Decoder[Any]] = {
    "request": msgspec.json.Decoder(Request),
    "usage": msgspec.json.Decoder(Usage),
    "event": msgspec.json.Decoder(Event),
    "status": msgspec.json.Decoder(Status),
}
_remains = msgspec.json.Decoder(_Remains)
_encoder = msgspec.json.Encoder(order="sorted")
_quoted_value = re.compile(r"(?<=^Invalid enum value) .*(?= - at )", re.DOTALL)
"""The one complaint of the decoder that repeats what was sent."""


def decode(kind: ChipTopic, payload: bytes) -> ChipMessage:
    """The message in ``payload``; raises MalformedMessage."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MalformedMessage(f"payload: {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} are allowed")
    try:
        payload.decode()  # the decoder passes over fields that it does not know, whatever their bytes
        message: ChipMessage = _DECODERS[kind].decode(payload)
    except msgspec.ValidationError as error:
        raise MalformedMessage(_quoted_value.sub("", str(error))) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise MalformedMessage(f"payload: not a JSON object in UTF-8 ({type(error).__name__})") from error
    return message


def request_id_of(payload: bytes) -> str | None:
    """The request id of a malformed request, if that much of it is sound."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        return None
    try:
        return _remains.decode(payload).request_id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def encode(message: Struct) -> bytes:
    """Canonical JSON: keys sorted, no white space. All that is stored holds no fractions and is RFC 8785 in full; the
    fractions of the feed keep their point (12.0, where its section 3.2.2.3 has 12)."""
    return _encoder.encode(message)


@lru_cache(maxsize=4096)
def wire_reasons(codes: tuple[str, ...]) -> tuple[WireReason, ...]:
    """The reasons as a chip shows them: Chinese with English behind it, in Chinese alone where many come together, and
    where even that is too much without the remedies of the last ones. No reason is left out."""
    both = tuple(_wire_reason(REASONS[code], english=True) for code in codes)
    if _fits(both):
        return both
    chinese = [_wire_reason(REASONS[code], english=False) for code in codes]
    for place in reversed(range(len(chinese))):
        if _fits(tuple(chinese)):
            break
        chinese[place] = structs.replace(chinese[place], remedy="")
    return tuple(chinese)


def _fits(reasons: tuple[WireReason, ...]) -> bool:
    return len(_encoder.encode(reasons)) <= REASONS_BUDGET_BYTES


def _wire_reason(reason: Reason, *, english: bool) -> WireReason:
    if english:
        message, remedy = f"{reason.message_zh} {reason.message_en}", f"{reason.remedy_zh} {reason.remedy_en}"
    else:
        message, remedy = reason.message_zh, reason.remedy_zh
    return WireReason(reason.code, message, remedy, reason.resolvers[0])
