"""The camera: reads a machine's label and goes to its page. Nothing that it sees leaves the phone."""

from aiohttp import web

from gateway.site.visit import Visit


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /w/scan``. Browsers without a reader of their own get one in WebAssembly, which this page alone allows (CSP
    level 3, ``wasm-unsafe-eval``: no text becomes a script by it)."""
    visit.scripts = "'wasm-unsafe-eval'"
    return visit.page("welder/scan.html")
