"""``/api/v1`` as a part of the gateway's web application: lets callers in, reads what they send, answers."""

import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct
from sqlalchemy.exc import SQLAlchemyError

from gateway.errors import WeldGateError
from gateway.observe.events import Denied, Observer, Trouble
from gateway.registry.values import without_numbers
from gateway.store.api_tokens import ApiToken, read_tokens, token_of
from gateway.web import openapi
from gateway.web.access import Failures, Tokens
from gateway.web.call import Call, Route, Services
from gateway.web.problems import CONTENT_TYPE, ApiError, wait_and_see
from gateway.web.routes import ROOT, ROUTES

MAX_BODY_BYTES = 2**20
RETRY_S = 1
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """Serves a table of routes; ``observe`` hears of failed attempts and of what went wrong in here."""

    def __init__(self, services: Services, observe: Observer, routes: tuple[Route, ...] = ROUTES) -> None:
        self._services = services
        self._observe = observe
        self._routes = routes
        self._tokens = Tokens(lambda: read_tokens(services.engine))
        self._failures = Failures()
        self._document = msgspec.json.encode(openapi.document(routes))

    def add_to(self, app: web.Application) -> None:
        """Serve below ROOT. Errors are problems there, whatever they come from."""
        api = web.Application(middlewares=[self._as_problems])
        for route in self._routes:
            api.router.add_route(route.method, route.path, self._handler(route))
        api.router.add_route(hdrs.METH_GET, "/openapi.json", self._openapi)
        app.add_subapp(ROOT, api)

    async def _openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._document, content_type=openapi.JSON)

    def _handler(self, route: Route) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = await self._call(route, request)
            return _json(200, await route.handler(self._services, call))

        return handle

    async def _call(self, route: Route, request: web.Request) -> Call:
        """Everything about the request that the handler may know. Raises ApiError."""
        by = "" if route.access == "signature" else (await self._admitted(request, route.access)).token_id
        raw = await _body(request) if route.body else b""
        body = None if route.access == "signature" else _decoded(route, raw)
        return Call(request.match_info, _query(route, request), body, raw, request.headers, by)

    async def _admitted(self, request: web.Request, scope: str) -> ApiToken:
        kind, _, text = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        known = await self._tokens.known()
        token = token_of(known, text, self._services.state.wall_ms()) if kind.lower() == "bearer" else None
        if token is None:
            raise ApiError(
                "unauthorized",
                "header Authorization: send 'Bearer' and a token that holds; `weldgate token add` makes one",
                {hdrs.WWW_AUTHENTICATE: "Bearer"},
            )
        if scope not in token.scopes:
            has = ", ".join(token.scopes)
            raise ApiError("forbidden", f"the token's scopes are {has}; this takes {scope}: use another token")
        return token

    # --- errors ---

    @property
    def _as_problems(self) -> Any:
        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                return await handler(request)
            except ApiError as error:
                return _problem(self._limited(error, request.remote or ""))
            except web.HTTPException as error:
                return _problem(_of_aiohttp(error))
            except (WeldGateError, SQLAlchemyError) as error:
                self._observe(Trouble("api", str(getattr(error, "orig", error))))
                return _problem(wait_and_see("unavailable", "the database cannot be used now; try again", RETRY_S))
            except Exception as error:  # noqa: BLE001  (a bug in one handler must not end the gateway)
                self._observe(Trouble("api", _where(error)))
                return _problem(
                    ApiError("internal", "the gateway failed at this request; report it with the log's line")
                )

        return answer

    def _limited(self, error: ApiError, address: str) -> ApiError:
        """Counts an attempt that failed; whoever fails too often learns no more than that."""
        if error.kind not in ("unauthorized", "forbidden"):
            return error
        wait_s = self._failures.too_many(address)
        self._observe(Denied(error.kind, address, limited=wait_s is not None))
        if wait_s is None:
            return error
        return wait_and_see("too-many-requests", f"too many attempts from this address failed; wait {wait_s} s", wait_s)


def _where(error: Exception) -> str:
    """A bug by its place; its message might hold what a caller sent."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def _of_aiohttp(error: web.HTTPException) -> ApiError:
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return ApiError("method-not-allowed", f"method {error.method}: use {allowed}", {hdrs.ALLOW: allowed})
        case web.HTTPRequestEntityTooLarge():
            return ApiError("too-large", f"the body: is larger than {MAX_BODY_BYTES} bytes; send it in parts")
        case web.HTTPNotFound():
            return ApiError("not-found", f"the path: there is none such; {ROOT}/openapi.json lists all")
        case _:
            return ApiError("malformed", f"the request: {error.reason}")


# --- reading ----------------------------------------------------------------------------------------------------


async def _body(request: web.Request) -> bytes:
    if request.content_type != openapi.JSON:
        raise ApiError("unsupported-media-type", f"header Content-Type: send {openapi.JSON}")
    return await request.read()


def _decoded(route: Route, raw: bytes) -> Any:
    if route.body is None:
        return None
    try:
        return msgspec.json.decode(raw, type=route.body)
    except msgspec.ValidationError as error:
        raise ApiError("invalid", f"the body: {without_numbers(str(error))}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ApiError("malformed", "the body: is no JSON that can be read; send UTF-8 JSON") from None


def _query(route: Route, request: web.Request) -> Any:
    given: Mapping[str, str] = request.query
    if len(set(given)) != len(given):
        raise ApiError("malformed", "the query: names a parameter twice; give each once")
    try:
        return msgspec.convert(dict(given), route.query or _Nothing, strict=False)
    except msgspec.ValidationError as error:
        raise ApiError("malformed", f"the query: {without_numbers(str(error))}") from None


class _Nothing(Struct, forbid_unknown_fields=True):
    """No parameters."""


# --- answering --------------------------------------------------------------------------------------------------


def _json(status: int, body: Struct, content_type: str = openapi.JSON, **headers: str) -> web.Response:
    kept = {hdrs.CACHE_CONTROL: "no-store", **headers}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=content_type, headers=kept)


def _problem(error: ApiError) -> web.Response:
    problem = error.problem
    return _json(problem.status, problem, CONTENT_TYPE, **error.headers)
