"""What every page of the console begins with: who may come, what lies within an account's reach, and where one is.

INVARIANT: what lies outside an account's reach is not there: the answer is the one for what does not exist.
"""

from collections.abc import Mapping, Sequence

from aiohttp import web
from msgspec import Struct

from gateway.core.accounts import Role
from gateway.core.model import Machine
from gateway.core.rules import employed_on
from gateway.registry.snapshot import Snapshot
from gateway.site import divisions
from gateway.site.visit import Visit
from gateway.store.figures.reading import WHOLE, Part

READERS: tuple[Role, ...] = ("regulator", "auditor")
ACTORS: tuple[Role, ...] = ("regulator",)


class Crumb(Struct, frozen=True):
    """One step of the way to a page; ``label`` as it is shown."""

    path: str
    label: str


def snapshot_of(visit: Visit) -> Snapshot:
    return visit.parts.state.snapshot


def machine_named(visit: Visit, machine_id: str) -> Machine:
    """Raises HTTPNotFound."""
    machine = snapshot_of(visit).machines.get(machine_id)
    if machine is None or not visit.reach.holds_machine(machine):
        raise web.HTTPNotFound
    return machine


def holds_person(visit: Visit, operator_id: str) -> bool:
    """Whether somebody of this number is registered, and a firm within reach employs them today."""
    snapshot, today = snapshot_of(visit), visit.today()
    if operator_id not in snapshot.operators:
        return False
    works = snapshot.employments.get(operator_id, ())
    firms = ((snapshot.enterprises.get(work.uscc), work.uscc) for work in works if employed_on(work, today))
    return visit.reach.holds_person(operator_id, [(firm.division if firm else None, uscc) for firm, uscc in firms])


def division_named(visit: Visit, code: str) -> str:
    """A division's code within reach. Raises HTTPNotFound."""
    within = code.startswith(visit.reach.division or "") and visit.reach.division is not None
    if not within or not code.isascii() or not (code.isdigit() and len(code) in divisions.LEVELS):
        raise web.HTTPNotFound
    return code


def crumbs_to(visit: Visit, division: str | None, *more: Crumb) -> Sequence[Crumb]:
    """From what the account sees down to the division, and on to what is in it."""
    reach = visit.reach.division or ""
    codes = [code for code in divisions.lineage(division or "") if len(code) >= max(len(reach), 2)]
    everywhere = [] if reach else [Crumb("/r/divisions", visit.text("全部区划"))]
    places = [Crumb(f"/r/divisions/{code}", divisions.name_of(code)) for code in codes]
    return [*everywhere, *places, *more]


def part_named(visit: Visit, fields: Mapping[str, str]) -> Part:
    """The division that an address or a form asks for, else all that the account sees. Raises HTTPNotFound."""
    code = fields.get("division", "").strip()
    return Part(division_named(visit, code)) if code else WHOLE
