"""Deliveries that a sender pushes: who signed them, and what their events say. Pure.

Signed as Standard Webhooks has it (https://www.standardwebhooks.com, version 1): HMAC-SHA256 over
``{webhook-id}.{webhook-timestamp}.{body}``.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct, field

from gateway.core.model import Millis
from gateway.errors import WeldGateError
from gateway.registry.columns import CERTIFICATES, EMPLOYMENTS, ENTERPRISES, OPERATORS, Kind
from gateway.registry.values import Unreadable, personal_identifier, shown, without_numbers
from gateway.store.push_events import Barred, Certified, Employed, Event, EventKind, Halted, Outcome, Restated, Said
from gateway.store.vault import mask

TOLERANCE_S = 300
"""How far a delivery's and an event's time may stand from the gateway's clock: what was caught on the way is of no use
later, and an event from the future would make all others outdated."""
SECRET_PREFIX = "whsec_"  # noqa: S105  (what a secret begins with)
SECRET_BYTES = range(24, 65)
"""By the specification."""
SIGNATURES_AT_MOST = 16
"""Signatures in one header: a sender that rotates its secret sends two."""
EVENTS_AT_MOST = 1000
"""Events in one delivery: what one short transaction takes in."""

Senders = Mapping[str, Sequence[bytes]]
"""Secrets by sender; several while one is being rotated."""


# --- the signature ----------------------------------------------------------------------------------------------


class SecretError(WeldGateError):
    """A secret cannot be used; the message does not repeat it."""


class NotSigned(Exception):
    """Nobody known signed the delivery, or not now; the message says what is wrong with which header."""


def parse_secret(text: str) -> bytes:
    """The bytes of ``whsec_`` and base64. Raises SecretError."""
    try:
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if not secret or not text.startswith(SECRET_PREFIX):
        raise SecretError(f"is no secret: {SECRET_PREFIX} and base64, as the sender shows it")
    if len(secret) not in SECRET_BYTES:
        least, most = SECRET_BYTES.start, SECRET_BYTES.stop - 1
        raise SecretError(f"holds {len(secret)} bytes; use {least} to {most}, for example of: openssl rand -base64 32")
    return secret


def sign(secret: bytes, delivery_id: str, timestamp: str, body: bytes) -> str:
    """The signature of a delivery, as one word of the header ``webhook-signature``."""
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def sender_of(senders: Senders, headers: Mapping[str, str], body: bytes, now: Millis) -> str:
    """Who signed the delivery. Raises NotSigned."""
    delivery_id, timestamp, signatures = (_header(headers, f"webhook-{name}") for name in _SIGNED)
    _check_time(timestamp, now)
    given = [word.encode() for word in signatures.split(" ")[:SIGNATURES_AT_MOST]]
    for sender, secrets in senders.items():
        for secret in secrets:
            wanted = sign(secret, delivery_id, timestamp, body).encode()
            if any(hmac.compare_digest(word, wanted) for word in given):
                return sender
    raise NotSigned(
        "header webhook-signature: no sender's secret makes it; sign webhook-id, webhook-timestamp and the exact bytes "
        "of the body, joined by dots, with the secret that this gateway's registry.toml has"
    )


_SIGNED = ("id", "timestamp", "signature")


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name, "")
    if not value or not value.isascii():
        raise NotSigned(f"header {name}: is missing or no ASCII text; sign deliveries as Standard Webhooks has it")
    return value


def _check_time(timestamp: str, now: Millis) -> None:
    if not timestamp.isdigit() or len(timestamp) > len(str(now)):
        raise NotSigned("header webhook-timestamp: is no time; send whole seconds since 1970")
    off_s = int(timestamp) - now // 1000
    if abs(off_s) > TOLERANCE_S:
        which = "ahead of" if off_s > 0 else "behind"
        raise NotSigned(
            f"header webhook-timestamp: stands {abs(off_s)} s {which} this gateway's clock, {TOLERANCE_S} s are "
            "allowed; set the clock by NTP, and sign each attempt anew"
        )


# --- what events are on the wire --------------------------------------------------------------------------------

Cell = Annotated[str, Meta(max_length=256)]
EventId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}(?!\n)$")]


def _columns(name: str, kind: Kind, doc: str, *, without: Sequence[str] = ()) -> type[Struct]:
    """An object of a registry file's columns: their texts; what is left out or null is an unknown fact."""
    columns = [column for column in kind.columns if column.name not in without]
    needed: list[Any] = [(column.name, Cell) for column in columns if column.required]
    others: list[Any] = [(column.name, Cell | None, None) for column in columns if not column.required]
    return msgspec.defstruct(
        name, needed + others, namespace={"__doc__": doc}, frozen=True, forbid_unknown_fields=True, module=__name__
    )


PushedCertificate = _columns(
    "PushedCertificate", CERTIFICATES, "A whole certificate, in the columns of registry files."
)
PushedOperator = _columns(
    "PushedOperator",
    OPERATORS,
    "A person whom the registries may not know yet, in the columns of registry files; whoever is known stays as he is.",
    without=("status",),
)


class _PushedEvent(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind"):
    event_id: EventId
    at: Millis


class _OfCertificate(_PushedEvent, frozen=True):
    certificate: PushedCertificate  # type: ignore[valid-type]
    operator: PushedOperator | None = None  # type: ignore[valid-type]


class Issue(_OfCertificate, frozen=True, tag="issue"):
    """A certificate was issued."""


class Renew(_OfCertificate, frozen=True, tag="renew"):
    """A certificate was renewed or re-reviewed: it stands as it is given here."""


class _OfNumber(_PushedEvent, frozen=True):
    number: Cell
    item: Cell | None = None


class Suspend(_OfNumber, frozen=True, tag="suspend"):
    """A certificate is suspended; all its items where none is named."""


class Reinstate(_OfNumber, frozen=True, tag="reinstate"):
    """A certificate is valid again; all its items where none is named."""


class Revoke(_OfNumber, frozen=True, tag="revoke"):
    """A certificate is revoked; all its items where none is named."""


class Block(_PushedEvent, frozen=True, tag="block"):
    """A person may not weld anywhere."""

    operator_id: Cell


class Unblock(_PushedEvent, frozen=True, tag="unblock"):
    """A person may weld again."""

    operator_id: Cell


class Hire(_PushedEvent, frozen=True, tag="hire"):
    """A person works for a firm from a day on."""

    operator_id: Cell
    uscc: Cell
    since: Cell = field(name="from")


class Leave(_PushedEvent, frozen=True, tag="leave"):
    """A person's last day at a firm: ends every employment there that has begun by then."""

    operator_id: Cell
    uscc: Cell
    until: Cell


class StopProduction(_PushedEvent, frozen=True, tag="stop_production"):
    """A firm has to stop."""

    uscc: Cell


class Resume(_PushedEvent, frozen=True, tag="resume"):
    """A firm that had to stop may go on."""

    uscc: Cell


PushedEvent = Issue | Renew | Suspend | Reinstate | Revoke | Block | Unblock | Hire | Leave | StopProduction | Resume


class Delivery(Struct, frozen=True, forbid_unknown_fields=True):
    """What a sender pushes: 1 to 1,000 events, in any order."""

    events: Annotated[list[PushedEvent], Meta(min_length=1, max_length=EVENTS_AT_MOST)]


class _Envelope(Struct, frozen=True, forbid_unknown_fields=True):
    """A delivery whose events are read one by one: a bad one does not take the others with it."""

    events: Annotated[list[Raw], Meta(min_length=1, max_length=EVENTS_AT_MOST)]


class _Named(Struct):
    event_id: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_event = msgspec.json.Decoder(PushedEvent).decode
_decode_named = msgspec.json.Decoder(_Named).decode
_is_event_id = msgspec.json.Decoder(EventId).decode


# --- reading them -----------------------------------------------------------------------------------------------


def read_delivery(body: bytes, now: Millis) -> list[Event | Outcome]:
    """Each event, or the outcome of one that cannot be read. Raises msgspec's errors for no delivery at all."""
    return [_read_event(raw, f"events[{index}]", now) for index, raw in enumerate(_decode_envelope(body).events)]


def _read_event(raw: Raw, where: str, now: Millis) -> Event | Outcome:
    try:
        pushed = _decode_event(raw)
        _refuse_future(pushed.at, where, now)
        kind, said = _KINDS[type(pushed)], _READERS[type(pushed)](pushed, where)
    except msgspec.ValidationError as error:
        return Outcome(_event_id(raw), "invalid", problem=f"{where}: {without_numbers(str(error))}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Outcome(_event_id(raw), "invalid", problem=f"{where}: is no JSON that can be read")
    except Unreadable as error:
        return Outcome(pushed.event_id, "invalid", problem=str(error))
    listed = mask(pushed.event_id) if personal_identifier(pushed.event_id) else pushed.event_id
    return Event(pushed.event_id, pushed.at, kind, said, listed)


def _refuse_future(at: Millis, where: str, now: Millis) -> None:
    if at > now + TOLERANCE_S * 1000:
        ahead_s = (at - now) // 1000
        raise Unreadable(
            f"{where}.at = {at}: stands {ahead_s} s ahead of this gateway's clock; send Unix milliseconds of when it "
            "happened"
        )


def _event_id(raw: Raw) -> str | None:
    """The id of an event that cannot be read otherwise, so that its sender knows which one."""
    try:
        return _is_event_id(msgspec.json.encode(_decode_named(raw).event_id))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _cell(kind: Kind, name: str, text: str, where: str) -> Any:
    """One column's value, read as from a file. Raises Unreadable with where it stands, the value and the reason."""
    column = next(column for column in kind.columns if column.name == name)
    try:
        return column.read(text.strip())
    except Unreadable as error:
        value = shown(text, personal=column.personal)
        raise Unreadable(f"{where}.{name} = {value!r}: {error}") from None


def _object(kind: Kind, given: Any, where: str) -> dict[str, Any]:
    """The values of a whole object; raises Unreadable with everything that is wrong."""
    values: dict[str, Any] = {}
    complaints = []
    for column in kind.columns:
        if hasattr(given, column.name):
            try:
                values[column.into] = _cell(kind, column.name, getattr(given, column.name) or "", where)
            except Unreadable as error:
                complaints.append(str(error))
    complaints += _wrong_periods(kind, values, where)
    if complaints:
        raise Unreadable("; ".join(complaints))
    return values


def _wrong_periods(kind: Kind, values: dict[str, Any], where: str) -> Iterator[str]:
    """Fills in stand-in days; a last day before the first is a mistake."""
    for day, stand_in in kind.stand_ins:
        values[day] = values.get(day) or values.get(stand_in)
    for first, last in kind.periods:
        begin, end = values.get(first), values.get(last)
        if begin and end and end < begin:
            yield f"{where}.{last} = '{end}': is before the first day {begin} ({first})"


def _read_certified(pushed: _OfCertificate, where: str) -> Said:
    certificate = CERTIFICATES.entry(**_object(CERTIFICATES, pushed.certificate, f"{where}.certificate"))
    if pushed.operator is None:
        return Certified(certificate)  # type: ignore[arg-type]
    values = _object(OPERATORS, pushed.operator, f"{where}.operator")
    operator = OPERATORS.entry(**values, status="active")
    if operator.operator_id != certificate.operator_id:
        raise Unreadable(f"{where}.operator.operator_id: is not the certificate's; name its holder, or nobody")
    return Certified(certificate, operator)


def _read_restated(pushed: _OfNumber, where: str) -> Said:
    number = _cell(CERTIFICATES, "number", pushed.number, where)
    return Restated(number, None if pushed.item is None else _cell(CERTIFICATES, "item", pushed.item, where))


def _read_barred(pushed: Block | Unblock, where: str) -> Said:
    return Barred(_cell(OPERATORS, "operator_id", pushed.operator_id, where))


def _read_employed(pushed: Hire | Leave, where: str) -> Said:
    operator_id = _cell(EMPLOYMENTS, "operator_id", pushed.operator_id, where)
    uscc = _cell(EMPLOYMENTS, "uscc", pushed.uscc, where)
    name, text = ("from", pushed.since) if isinstance(pushed, Hire) else ("until", pushed.until)
    if not text.strip():
        raise Unreadable(f"{where}.{name} = '': is empty, but required")
    day: date = _cell(EMPLOYMENTS, name, text, where)
    return Employed(operator_id, uscc, day)


def _read_halted(pushed: StopProduction | Resume, where: str) -> Said:
    return Halted(_cell(ENTERPRISES, "uscc", pushed.uscc, where))


_READERS: dict[type, Callable[[Any, str], Said]] = {
    Issue: _read_certified,
    Renew: _read_certified,
    Suspend: _read_restated,
    Reinstate: _read_restated,
    Revoke: _read_restated,
    Block: _read_barred,
    Unblock: _read_barred,
    Hire: _read_employed,
    Leave: _read_employed,
    StopProduction: _read_halted,
    Resume: _read_halted,
}
EVENT_TYPES: dict[EventKind, type] = {one.__struct_config__.tag: one for one in _READERS}  # type: ignore[attr-defined]
_KINDS: dict[type, EventKind] = {one: kind for kind, one in EVENT_TYPES.items()}
