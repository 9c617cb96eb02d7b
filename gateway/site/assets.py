"""Files that browsers keep: style, scripts and pictures, named with a digest of what they hold, so that they never go
stale and may be kept for ever."""

import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from aiohttp import hdrs, web
from msgspec import Struct

FOLDER = Path(__file__).with_name("static")
ROOT = "/static"
DIGEST_CHARACTERS = 12
FOR_EVER = "public, max-age=31536000, immutable"
COMPRESSED_HERE = 16_384
"""Bytes of a file that the event loop compresses itself, in half a millisecond; larger ones go to a thread."""
_TYPES = {".webmanifest": "application/manifest+json", ".wasm": "application/wasm", ".js": "text/javascript"}


class Asset(Struct, frozen=True):
    """One file, read once."""

    url: str
    body: bytes
    content_type: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file by its name below ``static``."""
    return {path.relative_to(FOLDER).as_posix(): _read(path) for path in FOLDER.rglob("*") if path.is_file()}


def _read(path: Path) -> Asset:
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()[:DIGEST_CHARACTERS]
    name = path.relative_to(FOLDER).as_posix()
    kind = _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(f"{ROOT}/{digest}/{name}", body, kind)


def url(name: str) -> str:
    """Where a file is served. Raises KeyError for one that is not there."""
    return assets()[name].url


async def serve(request: web.Request) -> web.Response:
    """``GET /static/{digest}/{name}``."""
    asset = assets().get(request.match_info["name"])
    if asset is None or asset.url != request.path:
        raise web.HTTPNotFound
    headers = {hdrs.CACHE_CONTROL: FOR_EVER, hdrs.X_CONTENT_TYPE_OPTIONS: "nosniff"}
    response = web.Response(
        body=asset.body, content_type=asset.content_type, headers=headers, zlib_executor_size=COMPRESSED_HERE
    )
    response.enable_compression()
    return response
