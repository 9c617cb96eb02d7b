"""Checks whether a certificate that somebody shows is genuine, and records each check."""

from collections.abc import Iterator

import msgspec
from msgspec import structs
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from gateway.core.genuine import FIELDS, GROUNDS, Check, Claim, Ground, Hidden, Verdict, compare
from gateway.core.model import Millis
from gateway.errors import DatabaseUnavailable
from gateway.registry.acts import named, when
from gateway.registry.claims import ClaimError, PlainClaim, labelled
from gateway.store.changes import check_vault, current_version
from gateway.store.checks import CheckBody, record_check, registered
from gateway.store.controls import new_control_id
from gateway.store.engine import reading
from gateway.store.ledger import Record
from gateway.store.vault import Vault, mask

VERDICTS: dict[Verdict, str] = {
    "verified": "已核验 verified",
    "unverified": "未核验 unverified",
    "counterfeit": "假证 counterfeit",
}
_decode_body = msgspec.json.Decoder(CheckBody).decode


def check_certificate(engine: Engine, vault: Vault, claim: PlainClaim, by: str, now: Millis) -> Check:
    """Compare a claim with the registry, by the person of this name. Raises ClaimError, ControlError for ``by``,
    VaultError and DatabaseUnavailable.

    INVARIANT: no verdict is told that is not on record.
    """
    author, hidden = named(by), hide(claim, vault)
    try:
        with reading(engine).connect() as connection, connection.begin():
            version = current_version(connection)
            if not version:
                raise ClaimError("there are no registries yet: import them first (weldgate registry import)")
            check_vault(connection, vault)
            rows = registered(connection, _index(hidden.number), _index(hidden.id_number))
        check = structs.replace(compare(hidden, rows), check_id=new_control_id())
        with engine.connect() as connection, connection.begin():
            body = _body(check, hidden, author, version)
            record_check(connection, check.check_id or "", now, body, check.operator_id)
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]  # further lines repeat the row
        raise DatabaseUnavailable(f"the check was not recorded, so it tells nothing: {reason}; check again") from error
    return check


def hide(claim: PlainClaim, vault: Vault) -> Claim:
    """The claim without its numbers."""
    if claim.number is None and claim.id_number is None:
        raise ClaimError("claim: neither number nor id_number is given; add one")
    said = {name: getattr(claim, name) for name in FIELDS}
    return Claim(**said | {name: _hidden(said[name], vault) for name in ("number", "id_number")})


def _hidden(number: str | None, vault: Vault) -> Hidden | None:
    return None if number is None else Hidden(vault.index(number), mask(number))


def _index(number: Hidden | None) -> str | None:
    return None if number is None else number.index


def _body(check: Check, claim: Claim, by: str, registry: int) -> CheckBody:
    return CheckBody(
        by=by,
        registry=registry,
        verdict=check.verdict,
        ground=check.ground,
        claimed=claim.said,
        differs=tuple(difference.field for difference in check.differences),
        unknown=check.unknown,
        number=claim.number.masked if claim.number else None,
        id_number=claim.id_number.masked if claim.id_number else None,
        certificate=check.certificate,
    )


# --- in words ---------------------------------------------------------------------------------------------------


def in_words(check: Check) -> Iterator[str]:
    """Lines that tell a person what came out, why, and what to do, Chinese with English beside it."""
    yield f"结果 verdict     {VERDICTS[check.verdict]}  [{check.check_id}]"
    yield from _ground(check.ground)
    for one in check.differences:
        yield f"✗ {labelled(one.field)}: 所示 shown {one.claimed}, 登记 on record {one.registered}"
    for field in check.unknown:
        yield f"? {labelled(field)}: 没有登记 not on record"
    if check.status is not None:
        yield f"登记 on record   {check.certificate}  {check.status}  有效期止 valid until {check.valid_until}"


def recorded_in_words(record: Record) -> Iterator[str]:
    """The same of a check on record."""
    body = _decode_body(record.body)
    yield f"{when(record.at)} (Asia/Shanghai)  证书核验 certificate check  {VERDICTS[body.verdict]}"
    yield f"核验人 by       {body.by}"
    yield f"所示 shown      {' '.join(body.claimed)}  {' '.join(filter(None, (body.number, body.id_number)))}"
    yield from _ground(body.ground)
    if body.differs:
        yield f"不一致 differs  {' '.join(body.differs)}"
    if body.unknown:
        yield f"没有登记 not on record  {' '.join(body.unknown)}"
    yield f"依据 rests on   registry version {body.registry}, certificate {body.certificate or '—'}"


def _ground(ground: Ground) -> Iterator[str]:
    text = GROUNDS[ground]
    yield f"说明 because     {ground}: {text.message_zh} {text.message_en}"
    yield f"办法 remedy      {text.remedy_zh} {text.remedy_en}"
