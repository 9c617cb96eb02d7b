"""A town with two firms, and what happens at their machines, as the gate decides and records it."""

import csv
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import structs

from gateway.core.model import Request
from gateway.gate import requests
from gateway.gate.entry import Entry
from gateway.gate.sessions import Session
from gateway.registry.importer import Store, import_files
from gateway.registry.snapshot import read_delta
from gateway.store.journal import SESSION_COLUMNS
from gateway.store.ledger import append_to
from gateway.store.tables import ChipRow, LedgerRow, SessionRow, metadata
from tests.registry.people import FIRM, OTHER_FIRM, id_number
from tests.site.gate import until
from tests.site.served import VAULT, Town

CAROL = id_number(3)
MORE = {
    "enterprises": [["uscc", "name", "division", "status"], [OTHER_FIRM, "隔壁企业", "330521", "active"]],
    "operators": [
        ["operator_id", "name", "id_number", "phone", "status"],
        ["P-9", "样例·丙", CAROL, "12900000009", "active"],
    ],
    "certificates": [
        ["number", "operator_id", "item", "valid_until", "status", "verification"],
        [f"T{CAROL}", "P-9", "fusion", "2030-01-01", "valid", "verified"],
    ],
    "employments": [["operator_id", "uscc", "from", "until"], ["P-9", OTHER_FIRM, "2020-01-01", ""]],
    "machines": [
        ["machine_id", "chip", "uscc", "process", "division", "location", "status"],
        ["HJ-0002", "C-2", FIRM, "pressure", "330521", "二号车间", "active"],
        ["HJ-0009", "C-9", OTHER_FIRM, "fusion", "330521", "秘密车间", "active"],
    ],
}


def move_in(town: Town, folder: Path) -> None:
    """The firm next door, and a second machine of the firm."""
    add(town, folder, **MORE)


def add(town: Town, folder: Path, **files: list[list[str]]) -> None:
    """More rows of registry files, taken over at once."""
    paths = []
    for name, rows in files.items():
        path = folder / f"more-{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        paths.append(path)
    import_files(Store(town.engine, VAULT), paths, town.clock.now)
    state = town.parts.state
    state.concern(state.snapshot.apply(read_delta(town.engine, state.snapshot.version)))


def ask(town: Town, operator_id: str, machine_id: str = "HJ-0001") -> Entry:
    """Somebody scans at a machine; the decision goes on record, and so does the session of an allow."""
    state = town.parts.state
    request = Request(f"request-{_records(town):08}", operator_id, "challenge", "scan")
    entry = requests.answer(state, machine_id, request, 0)
    assert entry.draft is not None
    _, opened = state.sessions.take_changes()
    with town.engine.begin() as connection:
        append_to(connection, structs.replace(entry.draft, answer=None))
        for row in opened:
            values = dict(zip(SESSION_COLUMNS, row, strict=True))
            connection.execute(sa.insert(metadata.tables[SessionRow.__tablename__]).values(**values))
    return entry


def weld(town: Town, operator_id: str, machine_id: str = "HJ-0001") -> Session:
    """The session that somebody got."""
    ask(town, operator_id, machine_id)
    session = town.parts.state.sessions.at_machine(machine_id)
    assert session is not None
    return session


async def locked(town: Town) -> str:
    """Why the lock that the gate has sent was sent, once it is on record."""
    await until(lambda: bool(records(town, "command")))
    reason: str = msgspec.json.decode(records(town, "command")[-1].record)["body"]["reason"]
    return reason


def chip_spoke(town: Town, machine_id: str, *, online: bool) -> None:
    chips = metadata.tables[ChipRow.__tablename__]
    with town.engine.begin() as connection:
        connection.execute(
            sa.insert(chips).values(machine_id=machine_id, received_at=town.clock.now - 5 * 60_000, online=online)
        )


def records(town: Town, kind: str) -> list[Any]:
    """Rows of the ledger of one kind, the earliest first."""
    ledger = metadata.tables[LedgerRow.__tablename__]
    with town.engine.connect() as connection:
        return list(connection.execute(sa.select(ledger).where(ledger.c.kind == kind).order_by(ledger.c.seq)))


def _records(town: Town) -> int:
    ledger = metadata.tables[LedgerRow.__tablename__]
    with town.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(ledger)).scalar_one())
