"""What makes the pages an application on a phone: a manifest, icons, and a worker that keeps the style and one page for
when there is no network. Nothing else is ever answered from a phone's memory, and nothing is sent later."""

import hashlib
import json

from aiohttp import hdrs, web

from gateway.site import assets
from gateway.site.visit import Visit

KEPT = ("site.css", "mark.svg", "unlock.js", "follow.js", "code.js", "scan.js", "install.js")
"""Files that the worker keeps; their addresses change with what they hold."""
OFFLINE = "welder/offline.html"
ICONS = ((192, "any"), (512, "any"), (512, "maskable"))


async def manifest(visit: Visit) -> web.StreamResponse:
    """``GET /w/manifest.webmanifest`` (W3C Web Application Manifest). The same for everybody."""
    body = {
        "id": "/w",
        "name": visit.pick("焊机作业许可", "WeldGate: unlock a machine"),
        "short_name": visit.pick("焊机解锁", "WeldGate"),
        "lang": visit.pick("zh-CN", "en"),
        "start_url": "/w",
        "scope": "/",
        "display": "standalone",
        "orientation": "portrait",
        "background_color": "#f3f2ee",
        "theme_color": "#16191d",
        "icons": [_icon(size, purpose) for size, purpose in ICONS],
    }
    return web.Response(text=json.dumps(body, ensure_ascii=False), content_type="application/manifest+json")


def _icon(size: int, purpose: str) -> dict[str, str]:
    name = f"icons/{size}{'' if purpose == 'any' else '-maskable'}.png"
    return {"src": assets.url(name), "sizes": f"{size}x{size}", "type": "image/png", "purpose": purpose}


async def worker(visit: Visit) -> web.StreamResponse:
    """``GET /w/worker.js``, for addresses that begin with ``/w``."""
    page = hashlib.sha256(visit.rendered(OFFLINE).encode()).hexdigest()[: assets.DIGEST_CHARACTERS]
    body = visit.rendered("welder/worker.js", kept=[assets.url(name) for name in KEPT], page=page)
    headers = {"Service-Worker-Allowed": "/w", hdrs.CACHE_CONTROL: "no-cache"}
    return web.Response(text=body, content_type="text/javascript", charset="utf-8", headers=headers)


async def offline(visit: Visit) -> web.StreamResponse:
    """``GET /w/offline``: what the worker shows where there is no network; in both languages, for nobody by name."""
    return visit.page(OFFLINE)
