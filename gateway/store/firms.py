"""What a firm sees of itself, by its reach: its people and its machines. Only reads."""

from datetime import date
from typing import Any

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.store.account_tables import AccountRow
from gateway.store.entries import UNKNOWN_DAY
from gateway.store.reach import within
from gateway.store.tables import ChipRow, EmploymentRow, MachineRow, OperatorRow, metadata


def _table(row: Any) -> sa.Table:
    return metadata.tables[row.__tablename__]


_operators, _employments, _accounts = _table(OperatorRow), _table(EmploymentRow), _table(AccountRow)
_machines, _chips = _table(MachineRow), _table(ChipRow)


# --- people -----------------------------------------------------------------------------------------------------


class Member(Struct, frozen=True):
    """One employment of somebody at the firm. ``signs_in``: whether their account is in use, None where they have none;
    ``signed_in`` whether they ever did."""

    operator_id: str
    name: str | None
    has_phone: bool
    since: date | None
    until: date | None
    signs_in: bool | None = None
    signed_in: bool = False


def members(connection: Connection, reach: Reach) -> list[Member]:
    """Every employment at the firm, those that are over too, by name."""
    joined = _employments.outerjoin(_operators, _operators.c.operator_id == _employments.c.operator_id)
    theirs = (_accounts.c.operator_id == _employments.c.operator_id) & (_accounts.c.role == "welder")
    columns = (
        *(_employments.c.operator_id, _operators.c.name, _operators.c.phone_sealed.is_not(None)),
        *(_employments.c.since, _employments.c.until),
        *(_accounts.c.account_id, _accounts.c.disabled_at, _accounts.c.secret),
    )
    query = sa.select(*columns).select_from(joined.outerjoin(_accounts, theirs)).where(within(reach, _employments))
    rows = connection.execute(query.order_by(_operators.c.name, _employments.c.operator_id, _employments.c.since))
    return [
        Member(
            *(operator_id, name, bool(has_phone)),
            *(None if since == UNKNOWN_DAY else since, until),
            None if account_id is None else disabled_at is None,
            secret is not None,
        )
        for operator_id, name, has_phone, since, until, account_id, disabled_at, secret in rows
    ]


def names_of(connection: Connection, reach: Reach) -> dict[str, str | None]:
    """Names of everybody who is, was or will be employed by the firm."""
    return {member.operator_id: member.name for member in members(connection, reach)}


# --- machines ---------------------------------------------------------------------------------------------------


class OwnMachine(Struct, frozen=True):
    """A machine of the firm, and what its lock last told: ``online`` None where it never did."""

    machine_id: str
    process: str
    status: str
    location: str | None
    online: bool | None
    received_at: Millis | None


def machines(connection: Connection, reach: Reach) -> list[OwnMachine]:
    """All of the firm's, by number."""
    names = ("machine_id", "process", "status", "location")
    columns = (*(_machines.c[name] for name in names), _chips.c.online, _chips.c.received_at)
    joined = _machines.outerjoin(_chips, _chips.c.machine_id == _machines.c.machine_id)
    query = sa.select(*columns).select_from(joined).where(within(reach, _machines))
    return [OwnMachine(*row) for row in connection.execute(query.order_by(_machines.c.machine_id))]
