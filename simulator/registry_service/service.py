"""The service: pages and people over HTTP, with the faults that are switched on; and what is switched from outside."""

import asyncio
import hmac
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from random import Random
from typing import Any

import msgspec
from aiohttp import web

from simulator.registry_service.county import ChangeError, County, Row, Slice, Table
from simulator.registry_service.document import MOST_ROWS, document
from simulator.registry_service.faults import RETRY_AFTER_S, FaultError, Faults, Mishap, draw, from_fields
from simulator.registry_service.news import Event, events
from simulator.registry_service.push import Pusher

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
WallClock = Callable[[], int]
"""Unix milliseconds."""
VERSION = "1"
"""Of what the OpenAPI document describes."""
_CONTRADICTS: dict[str, dict[str | None, str]] = {
    "status": {"valid": "revoked", "active": "blocked"},
    "until": {None: "2000-01-01"},
}
"""What a contradicting row says instead, by column."""


class BadRequest(Exception):
    """A request that cannot be answered; the message names what is wrong and the remedy."""


class Gone(Exception):
    """A cursor that is known no longer."""


class Service:
    """One county's registries. Faults may be switched while it runs; at first there are none."""

    def __init__(
        self, county: County, wall_ms: WallClock, chance: Random, token: str | None = None, pusher: Pusher | None = None
    ) -> None:
        self.county, self._wall_ms, self._token, self._pusher = county, wall_ms, token, pusher
        self._chance = chance
        self._boot = secrets.token_hex(4)
        self._frozen: tuple[County, int] | None = None
        self.faults = Faults()
        self.answers: Counter[str] = Counter()

    def switch(self, faults: Faults) -> None:
        if faults.stale and self._frozen is None:
            self._frozen = self.county.copy(), self._wall_ms()
        elif not faults.stale:
            self._frozen = None
        self.faults = faults

    def app(self) -> web.Application:
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            response = await self._let_in(request, handler)
            self.answers[str(response.status)] += 1
            return response

        app = web.Application(middlewares=[guarded])
        app.add_routes(
            [
                web.get("/openapi.json", self._openapi),
                web.get("/v1/operators/{operator_id}/file", self._file),
                web.get("/v1/{registry}", self._listing),
                web.post("/control/change", self._change),
                web.post("/control/faults", self._faults),
                web.get("/control/state", self._state),
            ]
        )
        return app

    # --- on the way to every handler ----------------------------------------------------------------------------

    async def _let_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if self._token is not None and not self._knows(request.headers.get("Authorization", "")):
            return problem(HTTPStatus.UNAUTHORIZED, "header Authorization: send 'Bearer' and the token")
        try:
            return await handler(request)
        except (BadRequest, ChangeError, FaultError) as error:
            return problem(HTTPStatus.BAD_REQUEST, str(error))
        except Gone as error:
            return problem(HTTPStatus.GONE, str(error))

    def _knows(self, given: str) -> bool:
        wanted = f"Bearer {self._token}".encode()
        return hmac.compare_digest(given.encode(errors="surrogateescape"), wanted)

    async def _befall(self) -> tuple[Mishap, web.Response | None]:
        """What befalls this request, and the answer where it is an error."""
        mishap = draw(self.faults, self._chance)
        if mishap.wait_s:
            await asyncio.sleep(mishap.wait_s)
        if mishap.status is None:
            return mishap, None
        answer = problem(HTTPStatus(mishap.status), "a fault that was switched on")
        if mishap.status == HTTPStatus.SERVICE_UNAVAILABLE:
            answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return mishap, answer

    # --- what a gateway reads -----------------------------------------------------------------------------------

    async def _listing(self, request: web.Request) -> web.StreamResponse:
        mishap, broken = await self._befall()
        if broken:
            return broken
        county, as_of = self._told()
        table = county.tables.get(request.match_info["registry"])
        if table is None:
            return problem(HTTPStatus.NOT_FOUND, f"registry: use one of {', '.join(county.tables)}")
        asked = self._question(request.query)
        found = table.slice(*asked)
        etag = f'W/"{self._boot}-{table.version}-{"-".join(str(part) for part in asked)}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={"ETag": etag})
        rows = [*found.rows, *_contradiction(table, found)] if mishap.contradictory else found.rows
        page = {
            "rows": rows,
            "count": len(rows),
            "next": f"{self._boot}.{found.last}",
            "more": found.more,
            "as_of": as_of,
        }
        return await self._sent(request, page, mishap, {"ETag": etag})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        mishap, broken = await self._befall()
        if broken:
            return broken
        county, as_of = self._told()
        person = county.person(request.match_info["operator_id"])
        if person is None:
            return problem(HTTPStatus.NOT_FOUND, "operator_id: nobody of this id is known")
        return await self._sent(request, {**person, "as_of": as_of}, mishap, {})

    def _question(self, query: Mapping[str, str]) -> tuple[int, int | None, int]:
        """Cursor, since and limit. Raises BadRequest, and Gone for a cursor of an earlier process."""
        boot, dot, number = query.get("cursor", f"{self._boot}.0").partition(".")
        limit, since = query.get("limit", str(MOST_ROWS)), query.get("updated_since")
        if not dot or not number.isdecimal():
            raise BadRequest("cursor: is none of ours; send the 'next' of an earlier page")
        if boot != self._boot:
            raise Gone("cursor: is of an earlier start of the service; begin without one")
        if not limit.isdecimal() or not 1 <= int(limit) <= MOST_ROWS:
            raise BadRequest(f"limit: send 1 to {MOST_ROWS}")
        if since is not None and not since.isdecimal():
            raise BadRequest("updated_since: send Unix milliseconds")
        return int(number), int(since) if since is not None else None, int(limit)

    def _told(self) -> tuple[County, int]:
        """What is told, and the moment that it is of."""
        return self._frozen or (self.county, self._wall_ms())

    async def _sent(
        self, request: web.Request, content: dict[str, Any], mishap: Mishap, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        if mishap.cut == "fewer rows" and content.get("rows"):
            content = {**content, "rows": content["rows"][: len(content["rows"]) // 2]}
        body = msgspec.json.encode(content)
        if mishap.cut == "half a document":
            body = body[: len(body) // 2]
        if mishap.cut == "half an answer":
            return await _broken_off(request, body, headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    async def _openapi(self, _request: web.Request) -> web.StreamResponse:
        tables = self.county.tables.values()
        return answer(document(tables, VERSION, secured=self._token is not None))

    # --- what is switched from outside --------------------------------------------------------------------------

    async def _change(self, request: web.Request) -> web.StreamResponse:
        changes = await _content(request, dict[str, list[dict[str, str | None]]])
        told = self.change(changes)
        return answer({"as_of": self._wall_ms(), "events": told})

    def change(self, changes: Mapping[str, list[dict[str, str | None]]]) -> list[Event]:
        """Change rows, and push what that means. Raises ChangeError; rows before the one at fault are changed."""
        told: list[Event] = []
        for registry, rows in changes.items():
            for given in rows:
                at = self._wall_ms()
                before, after = self.county.change(registry, given, at)
                told += events(self.county, registry, before, after, at)
        if self._pusher is not None:
            self._pusher.put(told)
        return told

    async def _faults(self, request: web.Request) -> web.StreamResponse:
        self.switch(from_fields(await _content(request, dict[str, Any])))
        return answer(msgspec.to_builtins(self.faults))

    async def _state(self, _request: web.Request) -> web.StreamResponse:
        versions = {table.name: table.version for table in self.county.tables.values()}
        pushed = msgspec.to_builtins(self._pusher.counts) if self._pusher else None
        faults = msgspec.to_builtins(self.faults)
        return answer({"versions": versions, "faults": faults, "answers": dict(self.answers), "pushed": pushed})


# --- requests and answers ---------------------------------------------------------------------------------------


def _contradiction(table: Table, found: Slice) -> list[Row]:
    """The first row that can be, once more with another word about the same."""
    for row in found.rows:
        for column, instead in _CONTRADICTS.items():
            if column in table.columns and row.get(column) in instead:
                return [{**row, column: instead[row.get(column)]}]
    return []


async def _content(request: web.Request, kind: Any) -> Any:
    try:
        return msgspec.json.decode(await request.read(), type=kind)
    except msgspec.MsgspecError as error:
        raise BadRequest(f"body: {error}") from None


async def _broken_off(request: web.Request, body: bytes, headers: Mapping[str, str]) -> web.StreamResponse:
    """Half of what the headers promise, and then nothing."""
    response = web.StreamResponse(headers={**headers, "Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


def answer(content: object, status: HTTPStatus = HTTPStatus.OK, form: str = "application/json") -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(content), content_type=form)


def problem(status: HTTPStatus, detail: str) -> web.Response:
    content = {"title": status.phrase, "status": int(status), "detail": detail}
    return answer(content, status, "application/problem+json")
