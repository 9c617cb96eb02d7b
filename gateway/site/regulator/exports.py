"""Files of what the console shows: each is on record as an act of the account before its first byte."""

from collections.abc import Mapping
from contextlib import aclosing, suppress
from datetime import date

from aiohttp import hdrs, web
from sqlalchemy import Connection

from gateway.registry.values import personal_identifier
from gateway.site.exporting import EXPORTS, TYPES, ExportError
from gateway.site.guard import HEADERS
from gateway.site.regulator import colours, ranking
from gateway.site.regulator.filters import FIELDS, filter_of
from gateway.site.regulator.ground import part_named
from gateway.site.regulator.lists import wanted_of
from gateway.site.regulator.months import month_named
from gateway.site.sheets import (
    DECISION_HEADER,
    MACHINE_HEADER,
    MOST_XLSX_ROWS,
    USAGE_HEADER,
    Decisions,
    Format,
    Job,
    Machines,
    Source,
    UsageByDay,
)
from gateway.site.visit import Visit
from gateway.store.accounts import AccountBody, record

Form = Mapping[str, str]
RECORDED = (*FIELDS, "state", "colour", "month", "by", "of")
"""Fields of forms that say what a file holds."""


async def made(visit: Visit) -> web.StreamResponse:
    """``POST /r/export/{what}``: the fields of the page's filter, and ``format``.

    INVARIANT: what leaves the gateway as a file is on record first.
    """
    form, what = await visit.form(), visit.named("what")
    kind: Format = "xlsx" if form.get("format") == "xlsx" else "csv"
    if problem := filter_of(visit, form).problem:
        return visit.problem(422, problem, visit.text("请返回上一页再试。"))
    job = await _job(visit, what, kind, form)
    await visit.parts.write(_on_record, visit, what, kind, form)
    async with aclosing(visit.request.app[EXPORTS].file(job)) as pieces:
        try:
            first = await anext(pieces, b"")
        except ExportError as error:
            return visit.problem(503, visit.pick(error.chinese, str(error)), visit.text("请返回上一页再试。"))
        answer = web.StreamResponse(headers=_headers(what, kind, visit.today()))
        with suppress(ConnectionError):  # the browser has gone, or its owner has enough
            await answer.prepare(visit.request)
            await answer.write(first)
            async for piece in pieces:
                await answer.write(piece)
            await answer.write_eof()
    return answer


def _on_record(connection: Connection, visit: Visit, what: str, kind: Format, form: Form) -> None:
    named = {name: form[name][:64] for name in RECORDED if form.get(name) and not personal_identifier(form[name])}
    detail = {"what": "export", "table": what, "format": kind, **named}
    record(connection, AccountBody(visit.account.account_id, "did", visit.by, detail), visit.now())


def _headers(what: str, kind: Format, today: date) -> dict[str, str]:
    return {
        **HEADERS,
        hdrs.CONTENT_TYPE: TYPES[kind],
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="weldgate-{what}-{today}.{kind}"',
        hdrs.CACHE_CONTROL: "no-store",
    }


async def _job(visit: Visit, what: str, kind: Format, form: Form) -> Job:
    """Raises HTTPNotFound for what is no table."""
    match what:
        case "decisions":
            return _of(visit, kind, DECISION_HEADER, Decisions(filter_of(visit, form).wanted))
        case "machines":
            return _of(visit, kind, MACHINE_HEADER, Machines(wanted_of(visit, form)))
        case "usage":
            month = month_named(visit, form.get("month", ""))
            return _of(visit, kind, USAGE_HEADER, UsageByDay(month, part_named(visit, form)))
        case "people":
            header, rows = await colours.table(visit, form)
        case "ranking":
            header, rows = await ranking.table(visit, form)
        case _:
            raise web.HTTPNotFound
    return Job(kind, [visit.text(name) for name in header], rows)


def _of(visit: Visit, kind: Format, header: tuple[str, ...], what: Decisions | Machines | UsageByDay) -> Job:
    url = visit.parts.engine.url.render_as_string(hide_password=False)
    too_many = visit.text("还有更多：一张表最多 %(n)s 行，请改用 CSV。", n=MOST_XLSX_ROWS)
    return Job(kind, [visit.text(name) for name in header], [], Source(url, visit.reach, what), too_many)
