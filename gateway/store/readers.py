"""Registry rows as the structs of the core, in batches, for the in-memory snapshot that decisions read."""

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import (
    Certificate,
    Control,
    Employment,
    Enterprise,
    Machine,
    Millis,
    Operator,
    Permit,
    WorkHours,
)
from gateway.store import history
from gateway.store.changes import read_state
from gateway.store.controls import CONTROL_COLUMNS, CONTROLS, control_of
from gateway.store.entries import UNKNOWN_DAY, WITHDRAWN
from gateway.store.tables import metadata

PERMITS_KEPT_MS = 8 * 86_400_000
"""Permits that were over for longer than this when the registries were last confirmed are no longer of concern: a chip
tells of an unlock by its list within a week, and after one a permit is missing rather than expired."""

Known = (
    Enterprise
    | Operator
    | Machine
    | Permit
    | WorkHours
    | Control
    | tuple[str, str, Certificate]
    | tuple[str, Employment]
)
"""A certificate comes as (number index, operator_id, certificate): number index and item are its key, by which one
that has moved to another person is found. An employment comes as (operator_id, employment); its key is operator_id,
uscc and since."""


class Gone(Struct, frozen=True):
    """A row that is there no more, as it last was."""

    row: Known


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


def rows_between(connection: Connection, since: int, until: int) -> Iterator[tuple[str, list[Known | Gone]]]:
    """Table names with batches of the rows that hold at version ``until`` and did not at ``since``; 0 reads everything.
    Before them, for each table, the rows that are gone.

    For one consistent view call it in the transaction that ``until`` was read in, on PostgreSQL with REPEATABLE READ.
    """
    texts, days, state = _Texts(), _Days(), read_state(connection)
    if state is None:
        return
    long_over = state.confirmed_at - PERMITS_KEPT_MS if since == 0 else 0
    for name, (columns, build) in _READERS.items():
        table = metadata.tables[name]
        ended = history.gone(connection, table, since, until) if since else []
        if ended:
            yield name, [Gone(build([row[column] for column in columns], texts, days)) for row in ended]
        for rows in history.states(connection, table, columns, since, until):
            yield name, _of_concern([build(row, texts, days) for row in rows], long_over)
    if since == 0 or until == state.version:
        controls = sa.select(*(CONTROLS.c[column] for column in CONTROL_COLUMNS)).where(CONTROLS.c.version > since)
        acts = [control_of(row) for row in connection.execute(controls.order_by(CONTROLS.c.version, CONTROLS.c.at))]
        if acts:
            yield CONTROLS.name, list(acts)


def _of_concern(rows: list[Known], long_over: Millis) -> list[Known | Gone]:
    return [row for row in rows if not isinstance(row, Permit) or row.ends_at > long_over]


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


def _permit(row: Any, texts: _Texts, _: _Days) -> Permit:
    permit_id, uscc, operator_id, machine_id, level, guardian, starts_at, ends_at, status = row
    return Permit(
        permit_id,
        texts[uscc],
        operator_id or None,
        machine_id or None,
        texts[level],
        guardian,
        starts_at,
        ends_at,
        texts[status],
    )


def _work_hours(row: Any, texts: _Texts, _: _Days) -> WorkHours:
    uscc, machine_id, days, starts, ends = row
    return WorkHours(texts[uscc], machine_id or None, texts[days], texts[starts], texts[ends or WITHDRAWN])


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
    "permits": (
        (
            "permit_id",
            "uscc",
            "operator_id",
            "machine_id",
            "level",
            "guardian",
            "starts_at",
            "ends_at",
            "status",
        ),
        _permit,
    ),
    "work_hours": (("uscc", "machine_id", "days", "starts", "ends"), _work_hours),
}
