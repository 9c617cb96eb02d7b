"""How each registry table keeps an entry: its columns, its key, and its personal numbers as index and seal."""

from collections.abc import Callable
from datetime import date
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET, Struct, UnsetType

from gateway.store.entries import (
    WITHDRAWN,
    CertificateEntry,
    EmploymentEntry,
    EnterpriseEntry,
    MachineEntry,
    OperatorEntry,
    OptionalText,
    PermitEntry,
    WorkHoursEntry,
)
from gateway.store.history import STAMP, Row
from gateway.store.tables import (
    CertificateRow,
    EmploymentRow,
    EnterpriseRow,
    MachineRow,
    OperatorRow,
    PermitRow,
    WorkHoursRow,
)
from gateway.store.vault import Number, Vault, mask

Content = tuple[Any, ...]


class Form(Struct, frozen=True):
    """One table. ``columns`` are what is compared, the ``key`` leading ones being the key; ``content`` gives their
    values in that order, and ``seals`` what is written beside them (sealing differs at each call). ``sealed_by`` names
    the columns that go with an index: they are written anew where it changes. ``unknown`` is what stands in a new row
    for a value that is not known."""

    table: sa.Table
    key: int
    columns: tuple[str, ...]
    content: Callable[[Any, Vault], Content]
    seals: Callable[[Any, Vault], Row] = lambda _entry, _vault: {}
    sealed_by: dict[str, tuple[str, ...]] = {}
    unknown: dict[str, str] = {}

    def selected(self) -> list[sa.Column[Any]]:
        return [self.table.c[name] for name in self.columns]

    def said(self, content: Content, seals: Row) -> Row:
        """What the source says, by column; what it does not speak of is left out."""
        row = {name: value for name, value in zip(self.columns, content, strict=True) if value is not UNSET}
        return row | seals

    def new(self, said: Row) -> Row:
        """A new row, complete but for its stamp; what the source does not say is unknown."""
        nothing: Row = {column.name: self.unknown.get(column.name) for column in self.table.columns}
        row = nothing | said
        return {name: value for name, value in row.items() if name not in STAMP}

    def over(self, old: Row, said: Row) -> Row:
        """The row with what the source says; seals of numbers that are the same stay as they are."""
        row = old | said
        for index, seals in self.sealed_by.items():
            if row[index] == old[index]:
                row.update({name: old[name] for name in seals})
        return row

    def differs(self, old: Row, row: Row) -> bool:
        return any(old[name] != row[name] for name in self.columns)


# --- the tables -----------------------------------------------------------------------------------------------


def _enterprise(entry: EnterpriseEntry, _: Vault) -> Content:
    return entry.uscc, entry.name, entry.division, entry.status


def _operator(entry: OperatorEntry, vault: Vault) -> Content:
    id_index = _index(entry.id_number, vault)
    return entry.operator_id, entry.name, born_on(entry.id_number), id_index, _index(entry.phone, vault), entry.status


def _operator_seals(entry: OperatorEntry, vault: Vault) -> Row:
    numbers: dict[Number, OptionalText] = {"id_number": entry.id_number, "phone": entry.phone}
    given = {what: number for what, number in numbers.items() if number is not UNSET}
    return {f"{what}_sealed": number and vault.seal(number, what) for what, number in given.items()}


def _certificate(entry: CertificateEntry, vault: Vault) -> Content:
    return (
        vault.index(entry.number),
        entry.item,
        entry.operator_id,
        entry.category,
        entry.issued_on,
        entry.valid_from,
        entry.valid_until,
        entry.review_due,
        entry.reviewed_on,
        entry.authority,
        entry.status,
        entry.verification,
    )


def _certificate_seals(entry: CertificateEntry, vault: Vault) -> Row:
    return {"number_sealed": vault.seal(entry.number, "number"), "number_masked": mask(entry.number)}


def _employment(entry: EmploymentEntry, _: Vault) -> Content:
    return entry.operator_id, entry.uscc, entry.since, entry.until


def _machine(entry: MachineEntry, _: Vault) -> Content:
    return (
        entry.machine_id,
        entry.chip,
        entry.uscc,
        entry.process,
        entry.division,
        entry.location,
        entry.status,
    )


def _permit(entry: PermitEntry, _: Vault) -> Content:
    return (
        entry.permit_id,
        entry.operator_id,
        entry.machine_id,
        entry.uscc,
        entry.level,
        entry.guardian,
        entry.starts_at,
        entry.ends_at,
        entry.status,
    )


def _work_hours(entry: WorkHoursEntry, _: Vault) -> Content:
    return entry.uscc, entry.machine_id, entry.days, entry.starts, "" if entry.ends == WITHDRAWN else entry.ends


def _index(number: OptionalText, vault: Vault) -> OptionalText:
    return vault.index(number) if isinstance(number, str) else number


def born_on(id_number: OptionalText) -> date | UnsetType | None:
    """The birth date in characters 7 to 14 of an ID number (GB 11643)."""
    if not isinstance(id_number, str):
        return id_number
    return date(int(id_number[6:10]), int(id_number[10:12]), int(id_number[12:14]))


def _table(row: type) -> sa.Table:
    table: sa.Table = row.__table__  # type: ignore[attr-defined]
    return table


_CERTIFICATE_COLUMNS = (
    "number_index",
    "item",
    "operator_id",
    "category",
    "issued_on",
    "valid_from",
    "valid_until",
    "review_due",
    "reviewed_on",
    "authority",
    "status",
    "verification",
)
_PERMIT_COLUMNS = (
    "permit_id",
    "operator_id",
    "machine_id",
    "uscc",
    "level",
    "guardian",
    "starts_at",
    "ends_at",
    "status",
)

FORMS: dict[str, Form] = {
    "enterprises": Form(_table(EnterpriseRow), 1, ("uscc", "name", "division", "status"), _enterprise),
    "operators": Form(
        _table(OperatorRow),
        1,
        ("operator_id", "name", "born_on", "id_number_index", "phone_index", "status"),
        _operator,
        _operator_seals,
        {"id_number_index": ("id_number_sealed",), "phone_index": ("phone_sealed",)},
    ),
    "certificates": Form(
        _table(CertificateRow),
        2,
        _CERTIFICATE_COLUMNS,
        _certificate,
        _certificate_seals,
        {"number_index": ("number_sealed", "number_masked")},
        {"verification": "unverified"},
    ),
    "employments": Form(_table(EmploymentRow), 3, ("operator_id", "uscc", "since", "until"), _employment),
    "machines": Form(
        _table(MachineRow), 1, ("machine_id", "chip", "uscc", "process", "division", "location", "status"), _machine
    ),
    "permits": Form(_table(PermitRow), 3, _PERMIT_COLUMNS, _permit),
    "work_hours": Form(_table(WorkHoursRow), 4, ("uscc", "machine_id", "days", "starts", "ends"), _work_hours),
}
