"""``/livez``, ``/readyz`` and ``/metrics``."""

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.aiohttp import make_aiohttp_handler

from gateway.web.api import MAX_BODY_BYTES

Checks = Callable[[], Mapping[str, bool]]
"""What being ready rests on, by name."""


def make_app(registry: CollectorRegistry, checks: Checks, refresh: Callable[[], None]) -> web.Application:
    """The web application; ``refresh`` brings gauges up to date before they are read."""
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    serve_metrics = make_aiohttp_handler(registry)

    async def livez(_request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(_request: web.Request) -> web.Response:
        state = checks()
        lines = "".join(f"{name}: {'ok' if ok else 'NOT READY'}\n" for name, ok in state.items())
        return web.Response(text=lines, status=200 if all(state.values()) else 503)

    async def metrics(request: web.Request) -> web.StreamResponse:
        refresh()
        return await serve_metrics(request)

    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app
