"""Acts of authorised people: each is a row, a record of the ledger and a new registry version in one transaction, so
that every running gateway takes it over within a second."""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gateway.core.model import Control, Millis
from gateway.errors import DatabaseUnavailable, ToldInBoth
from gateway.store.changes import CHANGES, STATE, Origin, begin, read_state
from gateway.store.ledger import Draft, append_to
from gateway.store.tables import ControlRow, MachineRow, metadata
from gateway.wire.codec import encode

CONTROLS = metadata.tables[ControlRow.__tablename__]
CONTROL_COLUMNS = Control.__struct_fields__
_machines = metadata.tables[MachineRow.__tablename__]
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
"""Without what looks or sounds alike: people read these ids to each other."""
_GROUPS, _GROUP_LENGTH = 3, 4


class ControlError(ToldInBoth):
    """An act that cannot be carried out; the message names the field, the value and the remedy."""


def new_control_id() -> str:
    """Three groups of four: 59 random bits.

    >>> len(new_control_id())
    14
    """
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))
    return "-".join(groups)


def control_of(row: Any) -> Control:
    """An act from its row, whose columns are ``CONTROL_COLUMNS``."""
    values = dict(zip(CONTROL_COLUMNS, row, strict=True))
    values["codes"] = tuple(msgspec.json.decode(values["codes"], type=list[str]))
    return Control(**values)


def enact(engine: Engine, control: Control) -> Control:
    """Carry out an act that depends on nothing. Raises ControlError, DatabaseUnavailable."""
    return carry_out(engine, lambda _: control)


def carry_out(engine: Engine, make: Callable[[Connection], Control]) -> Control:
    """Carry out the act that ``make`` gives; it looks at the database inside the same transaction, so that nobody
    comes in between. What it raises undoes everything. Raises ControlError, DatabaseUnavailable.

    INVARIANT: nobody's order takes effect that is not in the ledger.
    """
    try:
        with engine.connect() as connection, connection.begin():
            state = read_state(connection, lock=True)
            if state is None or not state.version:
                raise ControlError(
                    "there are no registries yet: import them first (weldgate registry import)",
                    "还没有登记数据，不能执行。请系统管理员先导入。",
                )
            control = make(connection)
            _write(connection, control, version=state.version + 1)
        return control
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]  # further lines repeat the row
        raise DatabaseUnavailable(
            f"the order was not carried out: {reason}; check --database and order again"
        ) from error


def _write(connection: Connection, control: Control, version: int) -> None:
    append_to(connection, Draft("control", control.at, encode(control), *_about(control)))
    connection.execute(sa.insert(CONTROLS).values(version=version, **_values(control)))
    change = begin(connection, Origin("control", control.act, control.at), control.at)
    held = {"version": version, "at": control.at, "added": 1}
    connection.execute(sa.update(CHANGES).where(CHANGES.c.change == change).values(**held))
    connection.execute(sa.update(STATE).values(version=version))


def _about(control: Control) -> tuple[str | None, str, str | None]:
    return control.machine_id, control.control_id, control.operator_id


def _values(control: Control) -> dict[str, Any]:
    values = {name: getattr(control, name) for name in CONTROL_COLUMNS}
    return values | {"codes": msgspec.json.encode(control.codes).decode()}


def acts(connection: Connection, *where: sa.ColumnElement[bool]) -> list[Control]:
    """Acts that fit, the latest first: by their versions, since clocks may have been set back."""
    query = sa.select(*(CONTROLS.c[name] for name in CONTROL_COLUMNS)).where(*where)
    return [control_of(row) for row in connection.execute(query.order_by(CONTROLS.c.version.desc()))]


def about_machine(machine_id: str) -> sa.ColumnElement[bool]:
    return CONTROLS.c.machine_id == machine_id


def at_machines_of(uscc: str) -> sa.ColumnElement[bool]:
    """About machines that are this firm's today."""
    return CONTROLS.c.machine_id.in_(sa.select(_machines.c.machine_id).where(_machines.c.uscc == uscc))


def about_session(session_id: str) -> sa.ColumnElement[bool]:
    return CONTROLS.c.session_id == session_id


def about_override(override_id: str) -> sa.ColumnElement[bool]:
    return CONTROLS.c.override_id == override_id


def about_overrides_for(operator_id: str) -> sa.ColumnElement[bool]:
    return (CONTROLS.c.operator_id == operator_id) & CONTROLS.c.override_id.is_not(None)


def asked_since(at: Millis) -> sa.ColumnElement[bool]:
    """Everything about overrides that were asked for since then."""
    asked = sa.select(CONTROLS.c.override_id).where(CONTROLS.c.act == "override_asked", CONTROLS.c.at >= at)
    return CONTROLS.c.override_id.in_(asked)
