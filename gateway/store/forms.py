"""How each registry table keeps an entry: its columns, its key, and its personal numbers as index and seal."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from msgspec import UNSET, Struct, UnsetType

from gateway.store.entries import (
    CertificateEntry,
    EmploymentEntry,
    EnterpriseEntry,
    Entry,
    MachineEntry,
    OperatorEntry,
    OptionalText,
)
from gateway.store.tables import CertificateRow, EmploymentRow, EnterpriseRow, MachineRow, OperatorRow
from gateway.store.vault import Number, Vault, mask

Content = tuple[Any, ...]
STAMP = ("change", "source")
"""Columns that tell of which change a row is, and who said so."""


class Form(Struct, frozen=True):
    """One table. ``columns`` are what is compared, the ``key`` leading ones being the key; ``content`` gives their
    values in that order, and ``seals`` what is written beside them (sealing differs at each call). ``sealed`` names
    what the source may leave out of these, ``unknown`` what stands in a new row for a value that is not known."""

    table: sa.Table
    key: int
    columns: tuple[str, ...]
    content: Callable[[Any, Vault], Content]
    seals: Callable[[Any, Vault], dict[str, Any]] = lambda _entry, _vault: {}
    sealed: tuple[str, ...] = ()
    unknown: dict[str, str] = {}

    def selected(self) -> list[sa.Column[Any]]:
        return [self.table.c[name] for name in self.columns]

    def row(self, entry: Entry, content: Content, vault: Vault, stamp: dict[str, Any]) -> dict[str, Any]:
        """A new row, complete; what the source does not say is unknown."""
        row: dict[str, Any] = dict.fromkeys(self.sealed)
        row.update(zip(self.columns, content, strict=True))
        if UNSET in content:
            row = {name: self.unknown.get(name) if value is UNSET else value for name, value in row.items()}
        row.update(self.seals(entry, vault), **stamp)
        return row

    def updates(
        self, changed: Sequence[tuple[Entry, Content]], vault: Vault, stamp: dict[str, Any]
    ) -> Iterator[tuple[sa.Update, list[dict[str, Any]]]]:
        """Statements with their rows: one for each set of sealed columns that the source speaks of."""
        by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for entry, content in changed:
            seals = self.seals(entry, vault)
            key = {f"key_{name}": value for name, value in zip(self.columns[: self.key], content, strict=False)}
            values = dict(zip(self.columns[self.key :], content[self.key :], strict=True))
            by_columns.setdefault(tuple(seals), []).append(key | values | seals | stamp)
        for sealed, rows in by_columns.items():
            yield self._update(sealed), rows

    def _update(self, sealed: tuple[str, ...]) -> sa.Update:
        names = (*self.columns[self.key :], *sealed, *STAMP)
        statement = sa.update(self.table).values({name: sa.bindparam(name) for name in names})
        for name in self.columns[: self.key]:
            statement = statement.where(self.table.c[name] == sa.bindparam(f"key_{name}"))
        return statement


# --- the five tables --------------------------------------------------------------------------------------------


def _enterprise(entry: EnterpriseEntry, _: Vault) -> Content:
    return entry.uscc, entry.name, entry.division, entry.status


def _operator(entry: OperatorEntry, vault: Vault) -> Content:
    id_index = _index(entry.id_number, vault)
    return entry.operator_id, entry.name, born_on(entry.id_number), id_index, _index(entry.phone, vault), entry.status


def _operator_seals(entry: OperatorEntry, vault: Vault) -> dict[str, Any]:
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


def _certificate_seals(entry: CertificateEntry, vault: Vault) -> dict[str, Any]:
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

FORMS: dict[str, Form] = {
    "enterprises": Form(_table(EnterpriseRow), 1, ("uscc", "name", "division", "status"), _enterprise),
    "operators": Form(
        _table(OperatorRow),
        1,
        ("operator_id", "name", "born_on", "id_number_index", "phone_index", "status"),
        _operator,
        _operator_seals,
        ("id_number_sealed", "phone_sealed"),
    ),
    "certificates": Form(
        _table(CertificateRow),
        2,
        _CERTIFICATE_COLUMNS,
        _certificate,
        _certificate_seals,
        unknown={"verification": "unverified"},
    ),
    "employments": Form(_table(EmploymentRow), 3, ("operator_id", "uscc", "since", "until"), _employment),
    "machines": Form(
        _table(MachineRow), 1, ("machine_id", "chip", "uscc", "process", "division", "location", "status"), _machine
    ),
}
