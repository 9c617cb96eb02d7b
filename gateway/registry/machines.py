"""Which machines there are, by the registry file or by the database: those that may get a certificate."""

from pathlib import Path

from sqlalchemy import Engine

from gateway.registry.files import RegistryFileError, open_sheet, registry_files
from gateway.registry.reading import Collected, recognise
from gateway.registry.snapshot import Snapshot, read_delta
from gateway.registry.values import Unreadable
from gateway.store.engine import reading
from gateway.store.entries import MachineEntry


def machines_in_files(path: Path) -> list[str]:
    """Ids of the machines in a file, or in a folder's files of machines. Raises RegistryFileError for any bad row."""
    files = [file for file in registry_files(path) if _holds_machines(file)] if path.is_dir() else [path]
    collected = Collected()
    for file in files:
        collected.read(file, named=True)
    if collected.bad.lines:
        first = collected.bad.kept[0]
        raise RegistryFileError(f"{first}; and {collected.bad.lines - 1} more bad rows: correct them first")
    entries = collected.entries().get("machines", [])
    return [entry.machine_id for entry in entries if isinstance(entry, MachineEntry) and _is_used(entry.status)]


def machines_in_database(engine: Engine) -> list[str]:
    """Ids of the machines that were imported."""
    snapshot = Snapshot()
    snapshot.apply(read_delta(reading(engine), snapshot.version))
    return [machine.machine_id for machine in snapshot.machines.values() if _is_used(machine.status)]


def _holds_machines(path: Path) -> bool:
    with open_sheet(path) as sheet:
        try:
            return recognise(sheet.headers).kind.name == "machines"
        except Unreadable:
            return False


def _is_used(status: str) -> bool:
    return status != "decommissioned"
