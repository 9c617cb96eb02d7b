"""What a registry source says of one firm, person, certificate, employment, machine, permit or span of hours: one
struct per row.

Personal numbers stand here in clear: entries live in memory, on the way into the sealed columns. A field is
UNSET where the source does not have the column at all; None where the source says that the fact is unknown.
"""

from datetime import date

from msgspec import UNSET, Struct, UnsetType

from gateway.core.model import (
    CertificateStatus,
    EnterpriseStatus,
    MachineStatus,
    Millis,
    OperatorStatus,
    PermitLevel,
    PermitStatus,
    Process,
    Verification,
)

UNKNOWN_DAY = date(1, 1, 1)
"""Stands in an employment's key for a first day that is not known."""

ANY = ""
"""Stands in a permit's and hours' key where they are for any person or machine of the firm."""
WITHDRAWN = "withdrawn"
"""Stands for the end of hours that hold no longer: no row is ever removed."""

OptionalText = str | None | UnsetType
OptionalDay = date | None | UnsetType


class EnterpriseEntry(Struct, frozen=True, gc=False):
    uscc: str
    division: str
    status: EnterpriseStatus
    name: OptionalText = UNSET


class OperatorEntry(Struct, frozen=True, gc=False):
    operator_id: str
    status: OperatorStatus
    name: OptionalText = UNSET
    id_number: OptionalText = UNSET
    phone: OptionalText = UNSET


class CertificateEntry(Struct, frozen=True, gc=False):
    number: str
    operator_id: str
    item: Process
    valid_until: date
    status: CertificateStatus
    verification: Verification | UnsetType = UNSET
    category: OptionalText = UNSET
    issued_on: OptionalDay = UNSET
    valid_from: OptionalDay = UNSET
    review_due: OptionalDay = UNSET
    reviewed_on: OptionalDay = UNSET
    authority: OptionalText = UNSET


class EmploymentEntry(Struct, frozen=True, gc=False):
    """``since`` is part of the key, and therefore never empty."""

    operator_id: str
    uscc: str
    since: date = UNKNOWN_DAY
    until: OptionalDay = UNSET


class MachineEntry(Struct, frozen=True, gc=False):
    machine_id: str
    uscc: str
    process: Process
    division: str
    status: MachineStatus
    chip: OptionalText = UNSET
    location: OptionalText = UNSET


class PermitEntry(Struct, frozen=True, gc=False):
    """An empty ``operator_id`` or ``machine_id`` means any of the firm; both are part of the key."""

    permit_id: str
    uscc: str
    level: PermitLevel
    starts_at: Millis
    ends_at: Millis
    status: PermitStatus
    operator_id: str = ANY
    machine_id: str = ANY
    guardian: OptionalText = UNSET


class WorkHoursEntry(Struct, frozen=True, gc=False):
    """All but ``ends`` is the key; WITHDRAWN as the end takes the span away."""

    uscc: str
    days: str
    starts: str
    ends: str
    machine_id: str = ANY


Entry = (
    EnterpriseEntry | OperatorEntry | CertificateEntry | EmploymentEntry | MachineEntry | PermitEntry | WorkHoursEntry
)
