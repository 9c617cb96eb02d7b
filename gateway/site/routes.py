"""What a row of the table of pages is."""

from collections.abc import Awaitable, Callable
from typing import Literal

from aiohttp import web
from msgspec import Struct

from gateway.core.accounts import Role
from gateway.site.visit import Visit

Handler = Callable[[Visit], Awaitable[web.StreamResponse]]


class Page(Struct, frozen=True):
    """One method of one path. ``roles`` None: for everybody, signed in or not. A GET changes nothing."""

    method: Literal["GET", "POST"]
    path: str
    roles: tuple[Role, ...] | None
    handler: Handler
