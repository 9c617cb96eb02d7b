"""What a certificate says that somebody shows: read from a scanned text, or typed in. Personal numbers stand here in
clear, on the way to being hidden."""

import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from gateway.core.genuine import FIELDS
from gateway.core.model import Process
from gateway.errors import WeldGateError
from gateway.registry.columns import CERTIFICATES, OPERATORS, Column
from gateway.registry.values import Unreadable, shown

LONGEST_CLAIM = 16_384
"""Characters of a scanned text; a certificate's code holds some hundred."""

_COLUMNS = {column.name: column for kind in (CERTIFICATES, OPERATORS) for column in kind.columns}
_LABELS = {label: _COLUMNS[name] for name in FIELDS for label in (name, _COLUMNS[name].chinese)}
_PART_ENDS = re.compile(r"[;；\r\n]+")
_LABEL_ENDS = re.compile("[:：]")


def labelled(field: str) -> str:
    """A field's name in both languages.

    >>> labelled("item")
    '准操项目 item'
    """
    return f"{_COLUMNS[field].chinese} {field}"


_KNOWN = ", ".join(map(labelled, FIELDS))


class ClaimError(WeldGateError):
    """A claim that cannot be checked; the message names the field, what is wrong and the remedy."""


class PlainClaim(Struct, frozen=True):
    """What is claimed, numbers in clear; ``passed_over`` holds labels that are no field, safe to show."""

    number: str | None = None
    name: str | None = None
    id_number: str | None = None
    item: Process | None = None
    issued_on: date | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    review_due: date | None = None
    passed_over: tuple[str, ...] = ()


def read_claim(text: str) -> PlainClaim:
    """A claim from a JSON object, or from ``label: value`` in lines or between semicolons, Chinese or English.

    What is empty was not said. Raises ClaimError.

    >>> read_claim("证号：t-0001；有效期止：2026/1/5").valid_until
    datetime.date(2026, 1, 5)
    """
    if len(text) > LONGEST_CLAIM:
        raise ClaimError(f"claim: {len(text)} characters, at most {LONGEST_CLAIM} are read; give the certificate alone")
    bare = text.strip().removeprefix("\ufeff").strip()
    return make_claim(_in_json(bare) if bare.startswith("{") else _in_lines(bare))


def make_claim(said: Iterable[tuple[str, str]]) -> PlainClaim:
    """A claim from labels and what stands behind them. Raises ClaimError."""
    values: dict[str, Any] = {}
    passed_over = []
    for label, raw in said:
        column = _LABELS.get(unicodedata.normalize("NFKC", label).strip().casefold())
        if column is None:
            passed_over.append(shown(label.strip(), personal=False))
        elif column.name in values:
            raise ClaimError(f"claim, {labelled(column.name)}: stands there twice; keep one")
        elif raw.strip():
            values[column.name] = _read(column, raw.strip())
    claim = PlainClaim(**values, passed_over=tuple(passed_over))
    if claim.number is None and claim.id_number is None:
        raise ClaimError(f"claim: neither 证号 number nor 身份证号 id_number is given; add one. Known are: {_KNOWN}")
    return claim


def _read(column: Column, raw: str) -> Any:
    try:
        return column.read(raw)
    except Unreadable as problem:
        value = shown(raw, personal=column.personal)
        raise ClaimError(f"claim, {labelled(column.name)} = {value!r}: {problem}; correct it or leave it out") from None


def _in_json(text: str) -> Sequence[tuple[str, str]]:
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise ClaimError("claim: begins like a JSON object, but is none; correct it, or give label: value") from None
    for label, value in pairs:
        if not isinstance(value, str | None):
            raise ClaimError(f"claim, {shown(label, personal=False)}: is no text; put the value in quotes")
    return [(label, value or "") for label, value in pairs]


def _in_lines(text: str) -> Sequence[tuple[str, str]]:
    said = []
    for number, part in enumerate(filter(str.strip, _PART_ENDS.split(text)), 1):
        label, *rest = _LABEL_ENDS.split(part, maxsplit=1)
        if not rest:
            raise ClaimError(f"claim, part {number}: has no label; write label: value. Known are: {_KNOWN}")
        said.append((label, rest[0]))
    return said
