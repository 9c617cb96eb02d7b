"""The machines that this browser was last used for, in a cookie: a list to choose from, and nothing that counts."""

import re
from collections.abc import Sequence

from aiohttp import web

from gateway.core.model import MACHINE_ID
from gateway.site.visit import Visit

COOKIE = "machines"
KEPT = 4
LASTS_S = 90 * 86_400
_machine_id = re.compile(MACHINE_ID)


def machines(visit: Visit) -> Sequence[str]:
    """The latest first; none of somebody else who used this browser."""
    account_id, *found = visit.request.cookies.get(COOKIE, "")[:512].split(".")
    if account_id != visit.account.account_id:
        return ()
    return [machine_id for machine_id in found if _machine_id.match(machine_id)][:KEPT]


def remember(visit: Visit, response: web.StreamResponse, machine_id: str) -> None:
    before = [other for other in machines(visit) if other != machine_id]
    value = ".".join((visit.account.account_id, *(machine_id, *before)[:KEPT]))
    response.set_cookie(
        COOKIE, value, max_age=LASTS_S, path="/w", secure=visit.origin.secure, httponly=True, samesite="Lax"
    )
