"""A town with a second county beside it, in which things have happened."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from joserfc.jwk import ECKey

from gateway.core.model import Machine
from gateway.registry.importer import Store, import_files
from gateway.store.figures.folding import Folder
from gateway.store.tables import LedgerRow, metadata
from gateway.wire.tokens import Signer
from tests.figures.ground import Shift
from tests.registry.people import FIRM, OTHER_FIRM, id_number
from tests.site.gate import until
from tests.site.served import NOW, VAULT, Town, Visitor, written

OURS, THEIRS = "330521", "330522"
SECRETS = ("HJ-9009", OTHER_FIRM, "秘密焊接厂", "P-9")
"""What stands for the other county: nobody of ours may read any of it."""
HERE = Machine("HJ-0001", "C-1", FIRM, "fusion", OURS, "active")
THERE = Machine("HJ-9009", "C-9", OTHER_FIRM, "fusion", THEIRS, "active")
SIGNER = Signer(ECKey.generate_key("P-256", auto_kid=True))
MINUTE_MS = 60_000
_ledger = metadata.tables[LedgerRow.__tablename__]
FIRMS = ["uscc", "name", "division", "status"]
MACHINES = ["machine_id", "chip", "uscc", "process", "division", "location", "status"]
OPERATORS = ["operator_id", "name", "id_number", "phone", "status"]
EMPLOYMENTS = ["operator_id", "uscc", "from", "until"]


async def neighbours(site: Town, folder: Path) -> Shift:
    """The other county: a firm, its machine, its welder. Returns who writes what happens."""
    tables = {
        "enterprises": [FIRMS, [OTHER_FIRM, "秘密焊接厂", THEIRS, "active"]],
        "machines": [MACHINES, ["HJ-9009", "C-9", OTHER_FIRM, "fusion", THEIRS, "秘密车间", "active"]],
        "operators": [OPERATORS, ["P-9", "秘密人", id_number(9), "", "active"]],
        "employments": [EMPLOYMENTS, ["P-9", OTHER_FIRM, "", ""]],
    }
    other = folder / "other"
    other.mkdir()
    files = [written(other / f"{name}.csv", rows) for name, rows in tables.items()]
    import_files(Store(site.engine, VAULT), files, site.clock.now)
    site.parts.hurry()
    await until(lambda: "HJ-9009" in site.parts.state.snapshot.machines)
    return Shift(site.engine, SIGNER)


def busy_morning(shift: Shift) -> None:
    """The same at both machines: an hour's session, a refusal, and one of somebody unknown at a machine unknown."""
    for machine, person in ((HERE, "P-1"), (THERE, "P-9")):
        session_id = shift.allow(NOW - 90 * MINUTE_MS, machine, person)
        shift.unlock(session_id, NOW - 90 * MINUTE_MS, machine.machine_id)
        shift.report(session_id, 1800, NOW - 30 * MINUTE_MS, machine.machine_id)
        shift.lock(session_id, NOW - 30 * MINUTE_MS, machine.machine_id)
        shift.refuse(NOW - 20 * MINUTE_MS, machine, person, ("certificate_expired", "operator_blocked"))
    shift.refuse(NOW - 10 * MINUTE_MS, None, None, ("machine_unknown",), machine_id="HJ-7777")


def fold(site: Town) -> None:
    """Count what has happened, as the gateway does beside the gate."""
    folder = Folder(site.engine)
    while folder.step(400, site.clock.now).full:
        pass


def records(site: Town, kind: str) -> list[dict[str, Any]]:
    """The bodies of the ledger's records of a kind."""
    with site.engine.connect() as connection:
        rows = connection.execute(sa.select(_ledger.c.record).where(_ledger.c.kind == kind).order_by(_ledger.c.seq))
        return [msgspec.json.decode(row[0])["body"] for row in rows]


def decision_of(site: Town, machine_id: str, outcome: str = "deny") -> int:
    """The number of the latest decision of this outcome at a machine."""
    same = (_ledger.c.kind == "decision", _ledger.c.machine_id == machine_id, _ledger.c.outcome == outcome)
    with site.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.max(_ledger.c.seq)).where(*same)).scalar_one())


async def file_of(visitor: Visitor, path: str, **fields: str) -> bytes:
    """A file as it comes down."""
    sent = {"form_token": visitor.token, **fields}
    headers = {"Origin": visitor.town.url}
    async with visitor.client.post(visitor.town.url + path, data=sent, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        assert "attachment" in answer.headers["Content-Disposition"]
        return await answer.read()


async def table_of(visitor: Visitor, what: str, **fields: str) -> Sequence[Sequence[str]]:
    """An exported table, from CSV."""
    made = await file_of(visitor, f"/r/export/{what}", format="csv", **fields)
    assert made.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(made.decode("utf-8-sig"))))
