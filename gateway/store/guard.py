"""The blast-radius guard: an import with a mistake in it must not take the right to weld from half a county.

Who would lose the right is found before anything is written; above a share of all people the change is held until
somebody confirms it. A confirmation holds for those people, from that source, once.
"""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Struct, field
from sqlalchemy import Connection, Engine

from gateway.core.model import Certificate, Employment, Millis
from gateway.core.right import may_weld
from gateway.errors import WeldGateError
from gateway.store.changes import Origin
from gateway.store.entries import UNKNOWN_DAY
from gateway.store.forms import FORMS
from gateway.store.history import Row, RowKey, row_key
from gateway.store.ledger import Draft, append_to
from gateway.store.tables import RegistryHold, metadata
from gateway.wire.codec import encode

PEOPLE_AT_ONCE = 500
HOLDS = metadata.tables[RegistryHold.__tablename__]

Rows = Mapping[str, Mapping[RowKey, Row | None]]
"""What a change would make of rows, by table and key; None is no row."""
HoldState = Literal["held", "confirmed", "rejected", "used"]


class Guard(Struct, frozen=True):
    """A change that takes the right to weld from more than ``share_percent`` of all people is held, if they are at
    least ``at_least`` people."""

    share_percent: float = 2.0
    at_least: int = 20

    def holds(self, losing: int, people: int) -> bool:
        return losing >= self.at_least and losing * 100 > self.share_percent * people


class Held(WeldGateError):
    """The change waits for somebody's confirmation; nothing was written."""

    def __init__(self, hold: "Hold") -> None:
        self.hold = hold
        share = hold.people * 100 / max(hold.of_people, 1)
        super().__init__(
            f"held as {hold.hold_id}: would take the right to weld from {hold.people:,} of {hold.of_people:,} people "
            f"({share:.1f} %); look at it with --dry-run, then `weldgate registry confirm {hold.hold_id}` and bring it "
            "in again, or `weldgate registry reject`"
        )


class Hold(Struct, frozen=True):
    hold_id: str
    at: Millis
    source: str
    note: str
    people: int
    of_people: int
    operators: tuple[str, ...]
    state: HoldState
    decided_at: Millis | None = None
    by: str | None = None
    reason: str | None = None


class HoldBody(Struct, frozen=True):
    """The ledger's record of what became of a held change."""

    hold_id: str
    state: HoldState
    source: str
    people: int
    by: str
    reason: str


# --- who would lose the right -----------------------------------------------------------------------------------


class Shift(Struct):
    """Whose right to weld a change takes or gives."""

    losing: set[str] = field(default_factory=set)
    gaining: set[str] = field(default_factory=set)


def shift(connection: Connection, rows: Rows, today: date) -> Shift:
    """Compare the rights of everybody whom the change concerns, before and after."""
    found = Shift()
    after = _by_person(rows)
    for operators in _in_parts(sorted(_concerned(connection, rows))):
        held = _held(connection, operators)
        firms = _firms(connection, rows, held, after, operators)
        for operator_id in operators:
            was = _may_weld(held.get(operator_id, {}), firms[0], today)
            will = _may_weld(_overlaid(held.get(operator_id, {}), after.get(operator_id, {}), rows), firms[1], today)
            if was != will:
                (found.losing if was else found.gaining).add(operator_id)
    return found


Person = dict[tuple[str, RowKey], Row]
"""The rows that make a person's right, by table and key."""
_TABLES = ("operators", "certificates", "employments")


def _by_person(rows: Rows) -> dict[str, Person]:
    people: dict[str, Person] = {}
    for name in _TABLES:
        for key, row in rows.get(name, {}).items():
            if row is not None:
                people.setdefault(row["operator_id"], {})[name, key] = row
    return people


def _concerned(connection: Connection, rows: Rows) -> set[str]:
    people = {row["operator_id"] for name in _TABLES for row in rows.get(name, {}).values() if row is not None}
    for name in _TABLES:
        people |= _holders(connection, name, list(rows.get(name, {})))
    work = FORMS["employments"].table
    for firms in _in_parts([key[0] for key in rows.get("enterprises", {})]):
        people |= set(connection.execute(sa.select(work.c.operator_id).where(work.c.uscc.in_(firms))).scalars())
    return people


def _holders(connection: Connection, name: str, keys: Sequence[RowKey]) -> set[str]:
    """Who held these rows until now."""
    form = FORMS[name]
    leading = form.table.c[form.columns[0]]
    found: set[str] = set()
    for part in _in_parts(sorted({key[0] for key in keys})):
        query = sa.select(form.table.c.operator_id).where(leading.in_(part))
        found |= set(connection.execute(query).scalars())
    return found


def _held(connection: Connection, operators: Sequence[str]) -> dict[str, Person]:
    people: dict[str, Person] = {}
    for name in _TABLES:
        form = FORMS[name]
        query = sa.select(*form.selected()).where(form.table.c.operator_id.in_(operators))
        for row in map(dict, connection.execute(query).mappings()):
            people.setdefault(row["operator_id"], {})[name, row_key(form.table, row)] = row
    return people


def _overlaid(held: Person, new: Person, rows: Rows) -> Person:
    """A person's rows after the change: what is not theirs any more is left out."""
    kept = {at: row for at, row in held.items() if at[1] not in rows.get(at[0], {})}
    return kept | new


def _firms(
    connection: Connection,
    rows: Rows,
    held: Mapping[str, Person],
    after: Mapping[str, Person],
    operators: Sequence[str],
) -> tuple[dict[str, str], dict[str, str]]:
    """The status of every firm that these people work for, before and after."""
    people = [one for operator in operators for one in (held.get(operator, {}), after.get(operator, {}))]
    wanted = {row["uscc"] for person in people for (name, _), row in person.items() if name == "employments"}
    table = FORMS["enterprises"].table
    before: dict[str, str] = {}
    for part in _in_parts(sorted(wanted)):
        query = sa.select(table.c.uscc, table.c.status).where(table.c.uscc.in_(part))
        before.update({row.uscc: row.status for row in connection.execute(query)})
    new = {key[0]: row["status"] for key, row in rows.get("enterprises", {}).items() if row is not None}
    return before, before | new


def _may_weld(person: Person, firms: Mapping[str, str], today: date) -> bool:
    rows = {name: [row for (table, _), row in person.items() if table == name] for name in _TABLES}
    status = rows["operators"][0]["status"] if rows["operators"] else None
    working = [_employment(row) for row in rows["employments"] if firms.get(row["uscc"]) == "active"]
    return may_weld(status, map(_certificate, rows["certificates"]), working, today)


def _certificate(row: Row) -> Certificate:
    known = ("item", "valid_from", "valid_until", "review_due", "reviewed_on", "status", "verification")
    return Certificate(ref="", number="", **{name: row[name] for name in known})


def _employment(row: Row) -> Employment:
    return Employment(row["uscc"], None if row["since"] == UNKNOWN_DAY else row["since"], row["until"])


def _in_parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), PEOPLE_AT_ONCE):
        yield values[start : start + PEOPLE_AT_ONCE]


# --- holds ------------------------------------------------------------------------------------------------------


def pass_or_hold(engine: Engine, losing: Iterable[str], origin: Origin, guard: Guard, now: Millis) -> str | None:
    """Let a change through, by the confirmation whose id is returned where it needed one; or raise Held."""
    people = tuple(sorted(losing))
    with engine.begin() as connection:
        everybody = count_people(connection)
        if not guard.holds(len(people), everybody):
            return None
        known = holds(connection, HOLDS.c.source == origin.source, HOLDS.c.state.in_(("held", "confirmed")))
        for hold in known:
            if hold.state == "confirmed" and set(people) <= set(hold.operators):
                return hold.hold_id
        same = next((hold for hold in known if hold.state == "held" and hold.operators == people), None)
        hold = same or _keep(connection, people, everybody, origin, now)
    raise Held(hold)


def count_people(connection: Connection) -> int:
    counted: int = connection.execute(sa.select(sa.func.count()).select_from(FORMS["operators"].table)).scalar_one()
    return counted


def _keep(connection: Connection, people: tuple[str, ...], everybody: int, origin: Origin, now: Millis) -> Hold:
    hold_id = secrets.token_hex(4)
    hold = Hold(hold_id, now, origin.source, origin.note, len(people), everybody, people, "held")
    row = msgspec.structs.asdict(hold) | {"operators": msgspec.json.encode(people)}
    connection.execute(sa.insert(HOLDS).values(**row))
    return hold


def holds(connection: Connection, *where: sa.ColumnElement[bool]) -> list[Hold]:
    """Held changes that fit, the latest first."""
    query = sa.select(*(HOLDS.c[name] for name in Hold.__struct_fields__)).where(*where).order_by(HOLDS.c.at.desc())
    return [_hold(row) for row in connection.execute(query)]


def _hold(row: Any) -> Hold:
    values = dict(zip(Hold.__struct_fields__, row, strict=True))
    values["operators"] = tuple(msgspec.json.decode(values["operators"], type=list[str]))
    return Hold(**values)


class HoldError(WeldGateError):
    """There is no such hold."""


class HoldDecided(HoldError):
    """It was decided already."""


def decide_hold(
    engine: Engine, hold_id: str, state: Literal["confirmed", "rejected"], who: tuple[str, str], now: Millis
) -> Hold:
    """Confirm or reject a held change; ``who`` is the name and the reason, which go on record. Raises HoldError."""
    by, reason = who
    with engine.begin() as connection:
        found = holds(connection, HOLDS.c.hold_id == hold_id)
        if not found:
            raise HoldError(f"hold = {hold_id!r}: there is none; `weldgate registry holds` shows all")
        if found[0].state != "held":
            raise HoldDecided(f"hold {hold_id}: is {found[0].state} already, by {found[0].by}; nothing was changed")
        values = {"state": state, "decided_at": now, "by": by, "reason": reason}
        connection.execute(sa.update(HOLDS).where(HOLDS.c.hold_id == hold_id).values(**values))
        body = HoldBody(hold_id, state, found[0].source, found[0].people, by, reason)
        append_to(connection, Draft("registry", now, encode(body)))
        return msgspec.structs.replace(found[0], **values)


def use_up(connection: Connection, hold_id: str) -> None:
    """A confirmation counts once."""
    connection.execute(sa.update(HOLDS).where(HOLDS.c.hold_id == hold_id).values(state="used"))
