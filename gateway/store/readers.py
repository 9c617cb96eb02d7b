"""Registry rows as the structs of the core, in batches, for the in-memory snapshot that decisions read."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from gateway.core.model import Certificate, Control, Employment, Enterprise, Machine, Operator
from gateway.store.controls import CONTROL_COLUMNS, CONTROLS, control_of
from gateway.store.entries import UNKNOWN_DAY
from gateway.store.tables import RegistryChange, metadata

_changes = metadata.tables[RegistryChange.__tablename__]

READ_AT_ONCE = 5000
"""Rows in one batch: a few megabytes."""

Known = Enterprise | Operator | Machine | Control | tuple[str, str, Certificate] | tuple[str, Employment]
"""A certificate comes as (number index, operator_id, certificate): number index and item are its key, by which one
that has moved to another person is found. An employment comes as (operator_id, employment); its key is operator_id,
uscc and since."""


class _Texts(dict[str, Any]):
    """Equal texts become one object."""

    def __missing__(self, text: str) -> str:
        self[text] = text
        return text


class _Days(dict[str | date | None, Any]):
    """The day of what a driver gives: SQLite ISO text, PostgreSQL a date. Each distinct day is one object."""

    def __missing__(self, value: str | date | None) -> date | None:
        day = date.fromisoformat(value) if isinstance(value, str) else value
        self[value] = day
        return day


def rows_since(connection: Connection, version: int) -> Iterator[tuple[str, list[Known]]]:
    """Table names with batches of the rows whose last change is later than ``version``; 0 reads everything.

    For one consistent view call it in the transaction of ``current_state``, on PostgreSQL with REPEATABLE READ.
    """
    texts, days = _Texts(), _Days()
    for name, (columns, build) in _READERS.items():
        table = metadata.tables[name]
        query = sa.select(*(_bare(table.c[column]) for column in columns)).order_by(*_IN_ORDER.get(name, ()))
        if version:
            query = query.where(_later(table, version))
        result = connection.execute(query, execution_options={"stream_results": True})
        for rows in result.partitions(READ_AT_ONCE):
            yield name, [build(row, texts, days) for row in rows]


def _later(table: sa.Table, version: int) -> sa.ColumnElement[bool]:
    if table is CONTROLS:
        return table.c.version > version
    return table.c.change.in_(sa.select(_changes.c.change).where(_changes.c.version > version))


def _bare(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Days as the driver gives them: each distinct one is parsed once, not once a row."""
    return sa.type_coerce(column, sa.String) if isinstance(column.type, sa.Date) else column


def _enterprise(row: Any, texts: _Texts, _: _Days) -> Enterprise:
    uscc, division, status = row
    return Enterprise(texts[uscc], texts[division], texts[status])


def _operator(row: Any, texts: _Texts, days: _Days) -> Operator:
    operator_id, born_on, status = row
    return Operator(texts[operator_id], days[born_on], texts[status])


def _certificate(row: Any, texts: _Texts, days: _Days) -> tuple[str, str, Certificate]:
    index, operator_id, number, item, valid_from, valid_until, review_due, reviewed_on, status, verification = row
    certificate = Certificate(
        reference(index, item),
        number,
        texts[item],
        days[valid_from],
        days[valid_until],
        days[review_due],
        days[reviewed_on],
        texts[status],
        texts[verification],
    )
    return index, texts[operator_id], certificate


def reference(number_index: str, item: str) -> str:
    """A short name of one certificate row that tells nothing about its number: 80 bits of the index and the item."""
    return f"{number_index[:20]}-{item[0]}"


def _employment(row: Any, texts: _Texts, days: _Days) -> tuple[str, Employment]:
    operator_id, uscc, since, until = row
    first = days[since]
    return texts[operator_id], Employment(texts[uscc], None if first == UNKNOWN_DAY else first, days[until])


def _machine(row: Any, texts: _Texts, _: _Days) -> Machine:
    machine_id, chip, uscc, process, division, status = row
    return Machine(machine_id, chip, texts[uscc], texts[process], texts[division], texts[status])


def _control(row: Any, _: _Texts, __: _Days) -> Control:
    return control_of(row)


_IN_ORDER = {CONTROLS.name: (CONTROLS.c.version, CONTROLS.c.at)}
"""Tables whose rows tell what happened, one after the other."""
_READERS: dict[str, tuple[tuple[str, ...], Callable[[Any, _Texts, _Days], Known]]] = {
    "enterprises": (("uscc", "division", "status"), _enterprise),
    "operators": (("operator_id", "born_on", "status"), _operator),
    "certificates": (
        (
            "number_index",
            "operator_id",
            "number_masked",
            "item",
            "valid_from",
            "valid_until",
            "review_due",
            "reviewed_on",
            "status",
            "verification",
        ),
        _certificate,
    ),
    "employments": (("operator_id", "uscc", "since", "until"), _employment),
    "machines": (("machine_id", "chip", "uscc", "process", "division", "status"), _machine),
    "controls": (CONTROL_COLUMNS, _control),
}
