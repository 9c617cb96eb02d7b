"""A town with two firms, and what happens at their machines: decided, recorded and counted as a gateway does."""

from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

from gateway.clock import monotonic_ns
from gateway.core.model import Outcome
from gateway.gate.sessions import Session
from gateway.registry.importer import Store, import_files
from gateway.store.changes import current_version
from gateway.store.figures.folding import Folder
from gateway.store.tables import ChipRow, LedgerRow, metadata
from gateway.wire import topics
from gateway.wire.inbound import Inbound
from gateway.wire.messages import DecisionMessage
from tests.registry.people import FIRM, OTHER_FIRM, id_number
from tests.site.gate import until
from tests.site.served import VAULT, Town, written

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
_numbers = count(1)


async def move_in(town: Town, folder: Path) -> None:
    """The firm next door, and a second machine of the firm."""
    await add(town, folder, **MORE)


async def add(town: Town, folder: Path, **files: list[list[str]]) -> None:
    """More rows of registry files, taken over at once."""
    paths = [written(folder / f"more-{name}.csv", rows) for name, rows in files.items()]
    import_files(Store(town.engine, VAULT), paths, town.clock.now)
    await taken_over(town)


async def taken_over(town: Town) -> None:
    """The gate goes by what the registries hold now."""
    town.parts.hurry()
    with town.engine.connect() as connection:
        version = current_version(connection)
    await until(lambda: town.parts.state.snapshot.version >= version)


async def ask(town: Town, operator_id: str, machine_id: str = "HJ-0001") -> Outcome:
    """Somebody scans at a machine; the answer."""
    request_id = f"request-{next(_numbers):08}"
    fields = {"request_id": request_id, "credential": operator_id, "challenge": "challenge", "method": "scan"}
    topic, payload = topics.to_gateway(machine_id, "request"), msgspec.json.encode(fields)
    assert town.gate.pipeline is not None
    town.gate.pipeline.deliver(Inbound(topic, payload, False, monotonic_ns(), (1, 1)))
    await until(lambda: request_id in _answers(town, machine_id))
    Folder(town.engine).step(1000, town.clock.now)
    return _answers(town, machine_id)[request_id]


def _answers(town: Town, machine_id: str) -> dict[str, Outcome]:
    told = [one.payload for one in town.gate.published if one.topic == topics.decision(machine_id)]
    decoded = [msgspec.json.decode(payload, type=DecisionMessage) for payload in told]
    return {one.request_id: one.outcome for one in decoded}


async def weld(town: Town, operator_id: str, machine_id: str = "HJ-0001") -> Session:
    """The session that somebody got."""
    assert await ask(town, operator_id, machine_id) == "allow"
    session = town.parts.state.sessions.at_machine(machine_id)
    assert session is not None
    return session


async def locked(town: Town, session: Session) -> str | None:
    """Wait until the machine of a session is sent a lock; for what reason."""
    topic = topics.command(session.machine_id)
    await until(lambda: any(one.topic == topic for one in town.gate.published))
    return session.drain_reason


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
