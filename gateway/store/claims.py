"""What several sources say of the same row: whose word counts for which field, and where they contradict each other.

A row that one source alone has spoken of has no claims. From the moment at which a second one says something else, what
each of them says is kept, and the row is made of these claims.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection, Table

from gateway.core.model import Millis
from gateway.store.history import Row, RowKey, key_columns, key_text, pack, unpack
from gateway.store.tables import RegistryClaim, metadata

CLAIMS = metadata.tables[RegistryClaim.__tablename__]
STRICTER: dict[str, tuple[str, ...]] = {
    "enterprises.status": ("active", "production_suspended", "licence_suspended", "closed"),
    "operators.status": ("active", "blocked"),
    "certificates.status": ("valid", "suspended", "revoked"),
    "certificates.verification": ("verified", "unverified", "counterfeit"),
    "machines.status": ("active", "suspended", "decommissioned"),
    "permits.status": ("approved", "withdrawn"),
}
"""Values from the least to the most strict: among sources of equal rank the strictest word counts."""
TOGETHER: dict[str, tuple[str, ...]] = {
    "operators.id_number_index": ("id_number_sealed", "born_on"),
    "operators.phone_index": ("phone_sealed",),
    "certificates.number_index": ("number_sealed", "number_masked"),
}
"""Columns that go with another one: they are of the same number."""
_FOLLOWERS = {f"{name.partition('.')[0]}.{other}" for name, others in TOGETHER.items() for other in others}


class Precedence(Struct, frozen=True):
    """Sources in the order in which their word counts, for a registry (``certificates``) or for one of its fields
    (``certificates.status``). Sources that are not named stand behind those that are, all alike."""

    orders: Mapping[str, tuple[str, ...]] = {}

    def rank(self, kind: str, field: str, source: str) -> int:
        order = self.orders.get(f"{kind}.{field}") or self.orders.get(kind, ())
        return order.index(source) if source in order else len(order)


class Claim(Struct, frozen=True):
    """What a source says of a row, and when it last said something new; columns that it does not speak of are left
    out."""

    source: str
    at: Millis
    row: Row


class Conflict(Struct, frozen=True):
    """Sources that contradict each other about one field; ``holds`` is the value that counts."""

    kind: str
    key: str
    field: str
    values: tuple[tuple[str, Any], ...]
    holds: Any


def spoken(row: Mapping[str, Any]) -> Row:
    """A row without what nobody knows and without its stamp."""
    return {name: value for name, value in row.items() if value is not None and name not in ("change", "source")}


def merged(table: Table, old: Row, claims: Iterable[Claim], precedence: Precedence) -> Row:
    """The row that the claims make; a field that nobody speaks of stays as it is. ``source`` is whose word the status
    is, or else the first one's."""
    everybody = list(claims)
    row = dict(old)
    for column in table.columns:
        name = f"{table.name}.{column.name}"
        if column.name in key_columns(table) or column.name in ("change", "source") or name in _FOLLOWERS:
            continue
        winner = _winner(table.name, column.name, everybody, precedence)
        if winner is not None:
            row[column.name] = winner.row[column.name]
            row.update({other: winner.row.get(other) for other in TOGETHER.get(name, ())})
    chief = _winner(table.name, "status", everybody, precedence) or everybody[0]
    return row | {"source": chief.source}


def _winner(kind: str, field: str, claims: list[Claim], precedence: Precedence) -> Claim | None:
    """Whose word counts for a field: the first in rank; of equals the strictest, then the latest."""
    strict = STRICTER.get(f"{kind}.{field}", ())

    def weight(claim: Claim) -> tuple[int, int, Millis]:
        value = claim.row[field]
        return -precedence.rank(kind, field, claim.source), strict.index(value) if value in strict else 0, claim.at

    return max((claim for claim in claims if field in claim.row), key=weight, default=None)


# --- in the database --------------------------------------------------------------------------------------------


def claims_on(connection: Connection, table: Table, rows: Iterable[Row]) -> dict[RowKey, list[Claim]]:
    """What is kept about these rows, by key."""
    keys = {key_text(table, row): tuple(row[name] for name in key_columns(table)) for row in rows}
    query = sa.select(CLAIMS).where(CLAIMS.c.kind == table.name, CLAIMS.c.key.in_(sorted(keys)))
    found: dict[RowKey, list[Claim]] = {}
    for one in connection.execute(query):
        found.setdefault(keys[one.key], []).append(Claim(one.source, one.at, unpack(table, one.row)))
    return found


def keep(connection: Connection, table: Table, claims: Iterable[tuple[Row, Claim]]) -> None:
    """Write claims, each in the place of what the same source said before."""
    rows = [
        {"kind": table.name, "key": key_text(table, row), "source": one.source, "at": one.at, "row": pack(one.row)}
        for row, one in claims
    ]
    if rows:
        whose = [{f"its_{name}": row[name] for name in ("kind", "key", "source")} for row in rows]
        its = [CLAIMS.c[name] == sa.bindparam(f"its_{name}") for name in ("kind", "key", "source")]
        connection.execute(sa.delete(CLAIMS).where(*its), whose)
        connection.execute(sa.insert(CLAIMS), rows)


def conflicts(connection: Connection, tables: Mapping[str, Table], most: int) -> list[Conflict]:
    """Fields about which sources contradict each other now, at most so many."""
    found: list[Conflict] = []
    query = sa.select(CLAIMS).order_by(CLAIMS.c.kind, CLAIMS.c.key, CLAIMS.c.source)
    gathered: dict[tuple[str, str], list[Claim]] = {}
    for one in connection.execute(query):
        table = tables[one.kind]
        gathered.setdefault((one.kind, one.key), []).append(Claim(one.source, one.at, unpack(table, one.row)))
    for (kind, key), claims in gathered.items():
        found += _contradictions(connection, tables[kind], key, claims)
        if len(found) >= most:
            break
    return found[:most]


def _contradictions(connection: Connection, table: Table, key: str, claims: list[Claim]) -> Iterable[Conflict]:
    where = [table.c[name] == claims[0].row[name] for name in key_columns(table)]
    live = connection.execute(sa.select(table).where(*where)).mappings().first()
    for field in sorted({name for claim in claims for name in claim.row} - set(key_columns(table))):
        if f"{table.name}.{field}" in _FOLLOWERS:
            continue
        values = tuple((claim.source, claim.row[field]) for claim in claims if field in claim.row)
        if len({value for _, value in values}) > 1:
            yield Conflict(str(table.name), key, field, values, live[field] if live else None)
