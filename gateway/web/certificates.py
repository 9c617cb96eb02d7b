"""Is a certificate that somebody shows the one on record?"""

import asyncio
from datetime import date
from typing import Annotated

from msgspec import Meta, Struct, structs

from gateway.core.genuine import GROUNDS, Check, Difference, Ground, Verdict
from gateway.core.model import CertificateStatus
from gateway.registry.checks import check_certificate
from gateway.registry.claims import LONGEST_CLAIM, ClaimError, make_claim
from gateway.store.controls import ControlError
from gateway.web.call import Call, Services
from gateway.web.problems import ApiError

Text = Annotated[str, Meta(max_length=LONGEST_CLAIM)] | None


class Shown(Struct, frozen=True, forbid_unknown_fields=True):
    """What the certificate says, as texts like in registry files; ``number`` or ``id_number`` is needed. What is empty
    or null was not said."""

    number: Text = None
    name: Text = None
    id_number: Text = None
    item: Text = None
    issued_on: Text = None
    valid_from: Text = None
    valid_until: Text = None
    review_due: Text = None


class CheckView(Struct, frozen=True):
    """What came out, why, and what to do. ``differences`` are fields that are not as on record, both sides masked;
    ``unknown`` names what was said and is not on record. ``certificate`` is the ``ref`` of the one that it was compared
    with, ``status`` and ``valid_until`` the registry's: a genuine one may have been revoked. ``check_id`` names the
    record of the check."""

    check_id: str
    verdict: Verdict
    ground: Ground
    message_zh: str
    remedy_zh: str
    message_en: str
    remedy_en: str
    differences: tuple[Difference, ...]
    unknown: tuple[str, ...]
    certificate: str | None
    operator_id: str | None
    status: CertificateStatus | None
    valid_until: date | None


async def check(services: Services, call: Call) -> CheckView:
    try:
        claim = make_claim((name, said) for name, said in structs.asdict(call.body).items() if said)
    except ClaimError as error:
        raise ApiError("invalid", str(error)) from None
    now = services.state.wall_ms()
    try:
        found = await asyncio.to_thread(check_certificate, services.engine, services.vault, claim, call.by, now)
    except (ClaimError, ControlError) as error:
        raise ApiError("conflict", str(error)) from None
    return _view(found)


def _view(found: Check) -> CheckView:
    text = GROUNDS[found.ground]
    said = (text.message_zh, text.remedy_zh, text.message_en, text.remedy_en)
    about = (found.certificate, found.operator_id, found.status, found.valid_until)
    return CheckView(found.check_id or "", found.verdict, found.ground, *said, found.differences, found.unknown, *about)
