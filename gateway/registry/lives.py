"""What the registries held about a person or a firm, state by state; personal numbers are never shown."""

from collections.abc import Iterable

from sqlalchemy import Connection

from gateway.core.genuine import masked_name
from gateway.registry.preview import HIDDEN, NUMBERS
from gateway.store import history
from gateway.store.entries import UNKNOWN_DAY
from gateway.store.forms import FORMS
from gateway.store.history import Past, Row

OPERATOR_TABLES = ("operators", "certificates", "employments", "permits")
FIRM_TABLES = ("enterprises", "machines", "employments", "permits", "work_hours")


def of_person(connection: Connection, operator_id: str) -> list[Past]:
    """States of the rows about a person, the earliest first."""
    return _in_order(
        state
        for name in OPERATOR_TABLES
        for state in history.life_of(connection, FORMS[name].table, operator_id=operator_id)
    )


def of_firm(connection: Connection, uscc: str) -> list[Past]:
    """The same about a firm."""
    return _in_order(
        state for name in FIRM_TABLES for state in history.life_of(connection, FORMS[name].table, uscc=uscc)
    )


def lived(connection: Connection, who: str) -> list[Past]:
    """The same about a person or a firm, whichever it names."""
    return _in_order([*of_person(connection, who), *of_firm(connection, who)])


def _in_order(states: Iterable[Past]) -> list[Past]:
    return sorted(states, key=lambda state: (state.from_version, state.kind, state.key))


def held_at(states: Iterable[Past], version: int) -> list[Past]:
    """The states that held at a version."""
    return [
        state
        for state in states
        if state.from_version <= version and (state.to_version is None or version < state.to_version)
    ]


def known(state: Past) -> Row:
    """What a state says: no personal number, of a person's name the family name, and nothing that is not known."""
    hidden = (*HIDDEN, *NUMBERS)
    row = {name: value for name, value in state.row.items() if name not in hidden and value not in (None, UNKNOWN_DAY)}
    if state.kind == "operators" and "name" in row:
        row["name"] = masked_name(row["name"])
    return row
