"""Whether a certificate that somebody shows is the one on record. Pure.

Personal numbers come here hidden: as the keyed index under which the registry finds them, and masked.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from datetime import date
from typing import Literal

from msgspec import Struct

from gateway.core.model import CertificateStatus, Process, Verification

Verdict = Literal["verified", "unverified", "counterfeit"]
Ground = Literal["agrees", "not_on_record", "differs", "counterfeit_on_record", "unverified_on_record", "not_known"]

MIDDLE_DOTS = frozenset("·•‧∙⋅・")
"""What stands between the parts of a name, as it is typed."""
FIELDS = ("number", "name", "id_number", "item", "issued_on", "valid_from", "valid_until", "review_due")


class Hidden(Struct, frozen=True):
    """A personal number: ``index`` to compare it by, ``masked`` to show."""

    index: str
    masked: str


class Claim(Struct, frozen=True):
    """What a certificate says that somebody shows; None where it was not said."""

    number: Hidden | None = None
    name: str | None = None
    id_number: Hidden | None = None
    item: Process | None = None
    issued_on: date | None = None
    valid_from: date | None = None
    valid_until: date | None = None
    review_due: date | None = None

    @property
    def said(self) -> tuple[str, ...]:
        """The fields that are said."""
        return tuple(name for name in FIELDS if getattr(self, name) is not None)


class Registered(Struct, frozen=True):
    """A certificate's row with its holder, who may not be registered; None where the registry does not know."""

    ref: str
    operator_id: str
    number: Hidden
    item: Process
    valid_until: date
    status: CertificateStatus
    verification: Verification
    name: str | None = None
    id_number: Hidden | None = None
    issued_on: date | None = None
    valid_from: date | None = None
    review_due: date | None = None


class Difference(Struct, frozen=True):
    """One field that is not as the registry has it; both sides safe to show."""

    field: str
    claimed: str
    registered: str


class Check(Struct, frozen=True):
    """What became of a claim. ``ground`` says why; ``unknown`` names what is claimed and the registry does not know.

    ``certificate`` is the ``ref`` of the row that was compared. A genuine certificate may have been revoked:
    ``status`` and ``valid_until`` are the registry's. ``check_id`` names the record of the ledger.
    """

    verdict: Verdict
    ground: Ground
    differences: tuple[Difference, ...] = ()
    unknown: tuple[str, ...] = ()
    certificate: str | None = None
    operator_id: str | None = None
    status: CertificateStatus | None = None
    valid_until: date | None = None
    check_id: str | None = None


class GroundText(Struct, frozen=True):
    """What a ground says, and what to do."""

    message_zh: str
    remedy_zh: str
    message_en: str
    remedy_en: str


GROUNDS: dict[Ground, GroundText] = {
    "agrees": GroundText(
        "与登记一致。",
        "无需处理；能否作业还要看登记的状态和有效期。",
        "It agrees with the registry.",
        "Nothing; whether it lets anybody work is a matter of its status and validity.",
    ),
    "not_on_record": GroundText(
        "登记中查不到这本操作证。",
        "请核对证号；外地签发的，请到签发机关核验。",
        "There is no such certificate on record.",
        "Compare the number; have one from elsewhere verified by the authority that issued it.",
    ),
    "differs": GroundText(
        "所示内容与登记不一致。",
        "请核对是否录错；确实不符的，暂扣证件并报告监管部门。",
        "What is shown differs from the registry.",
        "Look for a slip in what was typed; if there is none, keep the certificate and report it to the regulator.",
    ),
    "counterfeit_on_record": GroundText(
        "这本操作证已登记为假证。",
        "请暂扣证件并报告监管部门。",
        "The registry has this certificate as forged.",
        "Keep the certificate and report it to the regulator.",
    ),
    "unverified_on_record": GroundText(
        "内容与登记一致，但登记本身还没有核验。",
        "请监管部门向签发机关核验后更新登记。",
        "It agrees with the registry, which itself has not verified it yet.",
        "The regulator has to verify it with the authority that issued it.",
    ),
    "not_known": GroundText(
        "没有不一致，但所示内容有一部分没有登记。",
        "请补全登记，或只核对已登记的内容。",
        "Nothing differs, but the registry does not know all that is shown.",
        "Complete the registry, or leave out what it does not know.",
    ),
}


def compare(claim: Claim, registered: Sequence[Registered]) -> Check:
    """The verdict on a claim by the rows of its number, or of its holder where no number is claimed.

    Of several rows the one that agrees best counts: one number carries a row for each item. Without a number only rows
    for the claimed item are the certificate that is meant.
    """
    if claim.number is None and claim.item is not None:
        registered = [row for row in registered if row.item == claim.item]
    if not registered:
        return Check("unverified", "not_on_record")
    checks = [_compare(claim, row) for row in registered]
    return min(checks, key=lambda check: (len(check.differences), _VERDICTS.index(check.verdict)))


_VERDICTS: tuple[Verdict, ...] = ("verified", "unverified", "counterfeit")


def _compare(claim: Claim, row: Registered) -> Check:
    differences, unknown = tuple(_differences(claim, row)), tuple(_unknown(claim, row))
    verdict, ground = _verdict(differences, unknown, row.verification)
    return Check(verdict, ground, differences, unknown, row.ref, row.operator_id, row.status, row.valid_until)


def _verdict(
    differences: Sequence[Difference], unknown: Sequence[str], verification: Verification
) -> tuple[Verdict, Ground]:
    """INVARIANT: verified is only what agrees in every field with a row that is verified itself."""
    if differences:
        return "counterfeit", "differs"
    if verification == "counterfeit":
        return "counterfeit", "counterfeit_on_record"
    if verification != "verified":
        return "unverified", "unverified_on_record"
    return ("unverified", "not_known") if unknown else ("verified", "agrees")


def _differences(claim: Claim, row: Registered) -> Iterator[Difference]:
    for field in claim.said:
        claimed, held = getattr(claim, field), getattr(row, field)
        if held is not None and _comparable(claimed) != _comparable(held):
            yield Difference(field, _shown(field, claimed), _shown(field, held))


def _unknown(claim: Claim, row: Registered) -> Iterator[str]:
    return (field for field in claim.said if getattr(row, field) is None)


def _comparable(value: Hidden | date | str) -> date | str:
    match value:
        case Hidden():
            return value.index
        case str():
            return same_name(value)
        case _:
            return value


def same_name(name: str) -> str:
    """A name as it is compared: half-width, without white space and middle dots.

    >>> same_name("样例·甲 ") == same_name("样例 • 甲")
    True
    """
    folded = unicodedata.normalize("NFKC", name)
    kept = "".join(character for character in folded if not character.isspace() and character not in MIDDLE_DOTS)
    return unicodedata.normalize("NFKC", kept)


def _shown(field: str, value: Hidden | date | str) -> str:
    match value:
        case Hidden():
            return value.masked
        case str() if field == "name":
            return masked_name(value)
        case _:
            return str(value)


def masked_name(name: str | None) -> str:
    """The family name; enough to tell whether a paper belongs to the person who stands there.

    >>> masked_name("样例甲")
    '样**'
    """
    return name[:1] + "*" * (len(name) - 1) if name else "—"
