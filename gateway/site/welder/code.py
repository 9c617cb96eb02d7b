"""The welder's own rolling code, for locks with a scanner: a picture and its text, new every 30 seconds."""

import segno
from aiohttp import web
from markupsafe import Markup

from gateway.site.visit import Visit
from gateway.web.codes import operator_code


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /w/code``."""
    return _shown(visit, "welder/code.html")


async def part(visit: Visit) -> web.StreamResponse:
    """``GET /w/code/now``: the piece of the page that changes."""
    return _shown(visit, "welder/parts/code.html")


def _shown(visit: Visit, template: str) -> web.StreamResponse:
    """Never kept by browsers: every page of the site says so."""
    operator_id, now = visit.reach.operator_id or "", visit.now()
    if operator_id not in visit.parts.state.snapshot.operators:
        return visit.page(template, code=None, picture="", left_s=0)
    code = operator_code(visit.parts.code_keys[0], operator_id, now)
    left_s = max(1, -(-(code.valid_until - now) // 1000))
    return visit.page(template, code=code.code, picture=picture_of(code.code), left_s=left_s)


def picture_of(text: str) -> Markup:
    """An inline SVG, dark on light with four modules around it whatever the page looks like (ISO/IEC 18004)."""
    made = segno.make(text, error="m")
    drawn = made.svg_inline(border=4, dark="#000", light="#fff", svgclass="qr", lineclass=None, omitsize=True)
    return Markup(drawn)  # noqa: S704  (paths alone: the text is not in it)
