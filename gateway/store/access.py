"""Reading a full personal number, which goes on record; and finding a person by one."""

from typing import Literal, get_args

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gateway.core.model import Millis
from gateway.errors import DatabaseUnavailable, WeldGateError
from gateway.store.ledger import Draft, append_to
from gateway.store.tables import CertificateRow, OperatorRow, metadata
from gateway.store.vault import Number, Vault, VaultError
from gateway.wire.codec import encode

Field = Literal["id_number", "phone"]
FIELDS: tuple[Field, ...] = get_args(Field)
_operators = metadata.tables[OperatorRow.__tablename__]
_certificates = metadata.tables[CertificateRow.__tablename__]


class AccessError(WeldGateError):
    """A number that cannot be shown."""


class Access(Struct, frozen=True):
    """Who reads whose number, and why: the record's body. The number itself is not in it."""

    by: str
    field: Field
    operator_id: str
    reason: str


def reveal(engine: Engine, vault: Vault, access: Access, now: Millis) -> str:
    """The full number. Raises AccessError, VaultError, DatabaseUnavailable.

    INVARIANT: nobody is shown a full number without a durable record of who read it and why.
    """
    try:
        with engine.begin() as connection:
            number = _number(connection, vault, access)
            append_to(connection, Draft("access", now, encode(access), operator_id=access.operator_id))
    except DBAPIError as error:
        raise DatabaseUnavailable(
            f"the number is not shown, since that cannot be recorded: {error.orig}; try again"
        ) from error
    return number


def _number(connection: Connection, vault: Vault, access: Access) -> str:
    sealed, index = _operators.c[f"{access.field}_sealed"], _operators.c[f"{access.field}_index"]
    row = connection.execute(sa.select(sealed, index).where(_operators.c.operator_id == access.operator_id)).first()
    if row is None or row[0] is None:
        raise AccessError(f"{access.field} of operator {access.operator_id}: there is none on record")
    number = vault.open(row[0], access.field)
    if vault.index(number) != row[1]:
        raise VaultError(
            f"{access.field} of operator {access.operator_id}: the sealed number is another person's; the database was "
            "changed by hand: import the person anew"
        )
    return number


class Hit(Struct, frozen=True):
    """A person found by a number of theirs."""

    operator_id: str
    name: str | None
    by: Number


def find_operator(connection: Connection, vault: Vault, number: str) -> list[Hit]:
    """Whose ID number, phone number or certificate number it is: several people may share a telephone."""
    index = vault.index(number)
    person = sa.select(_operators.c.operator_id, _operators.c.name).order_by(_operators.c.operator_id)
    holders = sa.select(_certificates.c.operator_id).where(_certificates.c.number_index == index)
    searches: tuple[tuple[Number, sa.ColumnElement[bool]], ...] = (
        ("id_number", _operators.c.id_number_index == index),
        ("phone", _operators.c.phone_index == index),
        ("number", _operators.c.operator_id.in_(holders)),
    )
    return [Hit(*row, by) for by, fits in searches for row in connection.execute(person.where(fits))]
