"""Acts of authorised people: each is a row, a record of the ledger and a new registry version in one transaction, so
that every running gateway takes it over within a second."""

import secrets
from base64 import urlsafe_b64encode
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Engine

from gateway.core.model import Control, Millis
from gateway.errors import WeldGateError
from gateway.store.engine import reading
from gateway.store.ledger import Draft, append_to
from gateway.store.registry import current_state
from gateway.store.tables import ControlRow, RegistryState, RegistryVersion, metadata
from gateway.wire.codec import encode

CONTROLS = metadata.tables[ControlRow.__tablename__]
CONTROL_COLUMNS = Control.__struct_fields__
_state = metadata.tables[RegistryState.__tablename__]
_versions = metadata.tables[RegistryVersion.__tablename__]
_ID_BYTES = 9


class ControlError(WeldGateError):
    """An act that cannot be carried out; the message names the field, the value and the remedy."""


def new_control_id() -> str:
    return urlsafe_b64encode(secrets.token_bytes(_ID_BYTES)).decode()


def control_of(row: Any) -> Control:
    """An act from its row, whose columns are ``CONTROL_COLUMNS``."""
    values = dict(zip(CONTROL_COLUMNS, row, strict=True))
    values["codes"] = tuple(msgspec.json.decode(values["codes"], type=list[str]))
    return Control(**values)


def enact(engine: Engine, control: Control) -> int:
    """Carry out an act; returns the registry version by which gateways see it. Raises ControlError.

    INVARIANT: nobody's order takes effect that is not in the ledger.
    """
    with engine.connect() as connection, connection.begin():
        state = current_state(connection, lock=True)
        if state is None:
            raise ControlError("there are no registries yet: import them first (weldgate registry import)")
        version = state[0] + 1
        append_to(connection, Draft("control", control.at, encode(control), *_about(control)))
        connection.execute(sa.insert(CONTROLS).values(version=version, **_values(control)))
        named = {"version": version, "at": control.at, "source": f"control {control.act}", "added": 1, "changed": 0}
        connection.execute(sa.insert(_versions).values(**named))
        connection.execute(sa.update(_state).where(_state.c.id == 1).values(version=version))
    return version


def _about(control: Control) -> tuple[str | None, str, str | None]:
    return control.machine_id, control.control_id, control.operator_id


def _values(control: Control) -> dict[str, Any]:
    values = {name: getattr(control, name) for name in CONTROL_COLUMNS}
    return values | {"codes": msgspec.json.encode(control.codes).decode()}


def acts(engine: Engine, *where: sa.ColumnElement[bool]) -> list[Control]:
    """Acts that fit, the latest first."""
    query = sa.select(*(CONTROLS.c[name] for name in CONTROL_COLUMNS)).where(*where)
    with reading(engine).connect() as connection:
        return [control_of(row) for row in connection.execute(query.order_by(CONTROLS.c.at.desc()))]


def about_machine(machine_id: str) -> sa.ColumnElement[bool]:
    return CONTROLS.c.machine_id == machine_id


def about_override(override_id: str) -> sa.ColumnElement[bool]:
    return CONTROLS.c.override_id == override_id


def about_overrides_since(at: Millis) -> sa.ColumnElement[bool]:
    return CONTROLS.c.override_id.is_not(None) & (CONTROLS.c.at >= at)
