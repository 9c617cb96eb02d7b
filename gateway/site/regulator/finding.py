"""Finding a machine, person, firm or record by what somebody types. Sent as a form: what is typed may be anybody's
number, and an address is kept by browsers and proxies."""

from urllib.parse import quote

from aiohttp import web

from gateway.registry.values import half_width, personal_identifier
from gateway.site import divisions
from gateway.site.regulator.ground import holds_person, snapshot_of
from gateway.site.visit import Visit
from gateway.store.names import firms_called

AT_MOST = 50
LONGEST = 64


async def found(visit: Visit) -> web.StreamResponse:
    """``POST /r/find``: to the page of a number that is known within reach, else firms of that name."""
    typed = (await visit.form()).get("what", "")[:LONGEST]
    exact = _exact(visit, half_width(typed), half_width(typed, upper=False))
    if exact:
        return visit.go(exact)
    problem, firms = "", []
    if personal_identifier(typed):
        problem = visit.text("请不要输入身份证号或手机号；请用人员编号查找。")
    elif len(typed) < 2:
        problem = visit.text("请至少输入两个字。")
    else:
        firms = list(await visit.parts.read(firms_called, visit.reach, typed, AT_MOST))
    return visit.page(
        "regulator/found.html", 422 if problem else 200, problem=problem, firms=firms, typed=typed, names=divisions
    )


def _exact(visit: Visit, number: str, as_typed: str) -> str:
    """The page of a machine, firm, division or person; "" where none within reach has this number."""
    snapshot, reach = snapshot_of(visit), visit.reach
    machine, firm = snapshot.machines.get(number), snapshot.enterprises.get(number)
    if machine is not None and reach.holds_machine(machine):
        return f"/r/machines/{number}"
    if firm is not None and reach.holds_firm(firm.division, firm.uscc):
        return f"/r/firms/{number}"
    if number in divisions.names() and number.startswith(reach.division or ""):
        return f"/r/divisions/{number}"
    if holds_person(visit, as_typed):
        return f"/r/people/{quote(as_typed, safe='')}"
    return ""
