"""Hooks of schemathesis: it signs what it pushes, as a sender does, and at times asks for what there is. Without that
nearly every request would end at the signature or at 404."""

import os
import zlib
from typing import Any

import schemathesis
from requests import PreparedRequest
from requests.auth import AuthBase

from gateway.clock import now_ms
from gateway.registry.push import sign
from tests.service import county

SECRET = os.environ["PUSH_SECRET"].encode()
TOKEN = os.environ["API_TOKEN"]


class Signed(AuthBase):
    """A delivery of this moment."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        body: Any = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        at = str(now_ms() // 1000)
        signature = sign(SECRET, "msg-1", at, body)
        request.headers.update({"webhook-id": "msg-1", "webhook-timestamp": at, "webhook-signature": signature})
        return request


class Bearer(AuthBase):
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {TOKEN}"
        return request


schemathesis.auth.set_from_requests(Signed()).apply_to(path="/registry/events")  # type: ignore[attr-defined]
schemathesis.auth.set_from_requests(Bearer()).skip_for(path="/registry/events")  # type: ignore[attr-defined]


# --- data that leads somewhere ----------------------------------------------------------------------------------

REAL: dict[str, tuple[str, ...]] = {
    "operator_id": ("P0001", "P0002", "P-NOBODY"),
    "uscc": (county.FIRM, county.STOPPED),
    "machine_id": ("HJ-0001", "HJ-SUSPENDED"),
    "number": (f"T{county.id_number(1)}", f"T{county.id_number(900)}"),
    "id_number": (county.id_number(1), county.id_number(900)),
    "reason": ("核对无误", "文件有误"),
    "item": ("fusion", "钎焊"),
    "status": ("valid", "吊销"),
    "valid_until": ("2036-01-01",),
    "from": ("2026-01-05",),
    "until": ("2026-03-01", "2036-03-01"),
}
"""Values as the small county has them, by the name of their field."""
RANDOM_ONE_IN = 4
"""How many texts are left as they are: what makes no sense has to be tried as well."""


def _real(name: str, value: Any) -> Any:
    chance = zlib.crc32(repr((name, value)).encode())
    if name not in REAL or not isinstance(value, str) or chance % RANDOM_ONE_IN == 0:
        return value
    return REAL[name][chance // RANDOM_ONE_IN % len(REAL[name])]


def _all_real(value: Any) -> Any:
    match value:
        case dict():
            return {name: _real(name, _all_real(held)) for name, held in value.items()}
        case list():
            return [_all_real(held) for held in value]
        case _:
            return value


@schemathesis.hook
def map_path_parameters(_context: Any, path_parameters: Any) -> Any:
    return _all_real(path_parameters)


@schemathesis.hook
def map_body(_context: Any, body: Any) -> Any:
    return _all_real(body)
