"""``/api/v1``: rolling codes for the page on a welder's phone."""

import hmac
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from aiohttp import web
from msgspec import Struct
from pydantic import SecretStr

from gateway.core.credential import STEP_S, make_code, step_at
from gateway.core.model import Millis
from gateway.gate.state import GateState

Handler = Callable[[web.Request], Awaitable[web.Response]]


class OperatorCode(Struct, frozen=True):
    """An operator's rolling code; it can be shown once. Times are Unix milliseconds."""

    operator_id: str
    code: str
    valid_from: Millis
    valid_until: Millis


class Problem(Struct, frozen=True):
    """What is wrong with a request (RFC 9457, section 3)."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


def operator_code(key: bytes, operator_id: str, now: Millis) -> OperatorCode:
    """The code of the present step. It is taken one step longer than ``valid_until`` says."""
    step = step_at(now)
    begins = step * STEP_S * 1000
    return OperatorCode(operator_id, make_code(key, operator_id, step), begins, begins + STEP_S * 1000)


class Api:
    """The routes; without a token there are none."""

    def __init__(self, state: GateState, code_keys: tuple[bytes, ...], token: SecretStr | None) -> None:
        self._state = state
        self._code_keys = code_keys
        self._token = token

    def routes(self) -> list[web.RouteDef]:
        if self._token is None:
            return []
        return [web.post("/api/v1/operators/{operator_id}/code", self._authorised(self._code))]

    def _authorised(self, handler: Handler) -> Handler:
        async def check(request: web.Request) -> web.Response:
            given = request.headers.get("Authorization", "")
            wanted = f"Bearer {self._token.get_secret_value()}" if self._token else ""
            if not wanted or not hmac.compare_digest(given.encode(errors="surrogateescape"), wanted.encode()):
                return _problem(HTTPStatus.UNAUTHORIZED, "header Authorization: send 'Bearer' and the API's token")
            return await handler(request)

        return check

    async def _code(self, request: web.Request) -> web.Response:
        """A fresh code for one operator."""
        operator_id = request.match_info["operator_id"]
        if operator_id not in self._state.snapshot.operators:
            return _problem(HTTPStatus.NOT_FOUND, "operator_id: nobody of this number is registered")
        return _json(HTTPStatus.OK, operator_code(self._code_keys[0], operator_id, self._state.wall_ms()))


def _json(status: HTTPStatus, body: Struct, content_type: str = "application/json") -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type=content_type, headers=headers)


def _problem(status: HTTPStatus, detail: str) -> web.Response:
    return _json(status, Problem(status.phrase, status, detail), "application/problem+json")
