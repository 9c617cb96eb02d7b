"""The registry's side of a certificate check, and the check's record in the ledger."""

from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.genuine import Ground, Hidden, Registered, Verdict
from gateway.core.model import Millis
from gateway.store.ledger import Draft, append_to
from gateway.store.readers import reference
from gateway.store.tables import CertificateRow, OperatorRow, metadata
from gateway.wire.codec import encode

_certificates = metadata.tables[CertificateRow.__tablename__]
_operators = metadata.tables[OperatorRow.__tablename__]
ID_NUMBER_MASKED = "*" * 18
"""Of the ID number on record nothing is shown to who claims another one."""


class CheckBody(Struct, frozen=True, omit_defaults=True):
    """The record of a check: who checked what, and what came out. Numbers masked; the name is not kept.

    ``claimed`` names the fields that were compared, ``differs`` those that are not as registered.
    """

    by: str
    registry: int
    verdict: Verdict
    ground: Ground
    claimed: tuple[str, ...]
    differs: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    number: str | None = None
    id_number: str | None = None
    certificate: str | None = None


def registered(connection: Connection, number_index: str | None, id_number_index: str | None) -> list[Registered]:
    """The rows of a certificate's number or, where none is given, those of the person with the ID number."""
    names = ("item", "valid_until", "status", "verification", "issued_on", "valid_from", "review_due")
    columns = (*(_certificates.c[name] for name in names), _operators.c.name, _operators.c.id_number_index)
    joined = _certificates.outerjoin(_operators, _operators.c.operator_id == _certificates.c.operator_id)
    key = (_certificates.c.number_index, _certificates.c.number_masked, _certificates.c.operator_id)
    wanted = (
        _certificates.c.number_index == number_index
        if number_index is not None
        else _operators.c.id_number_index == id_number_index
    )
    query = sa.select(*key, *columns).select_from(joined).where(wanted)
    return [_registered(row) for row in connection.execute(query.order_by(*key[:1], _certificates.c.item))]


def _registered(row: Any) -> Registered:
    return Registered(
        ref=reference(row.number_index, row.item),
        operator_id=row.operator_id,
        number=Hidden(row.number_index, row.number_masked),
        item=row.item,
        valid_until=row.valid_until,
        status=row.status,
        verification=row.verification,
        name=row.name,
        id_number=Hidden(row.id_number_index, ID_NUMBER_MASKED) if row.id_number_index else None,
        issued_on=row.issued_on,
        valid_from=row.valid_from,
        review_due=row.review_due,
    )


def record_check(connection: Connection, check_id: str, at: Millis, body: CheckBody, operator_id: str | None) -> None:
    """Append the record inside the caller's transaction; ``operator_id`` is whose certificate it was compared with."""
    append_to(connection, Draft("check", at, encode(body), None, check_id, operator_id))
