"""What every request and answer of the site has to pass: where it comes from, and what a browser may do with it."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from msgspec import Struct

from gateway.errors import WeldGateError

Network = IPv4Network | IPv6Network
UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
"""Content Security Policy, level 3: nothing from elsewhere, nothing inline."""
HEADERS: Mapping[str, str] = {
    hdrs.X_CONTENT_TYPE_OPTIONS: "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    hdrs.SERVER: "WeldGate",
}


class RefusedOriginError(WeldGateError):
    """A form that was not sent from our own page."""


class Origin(Struct, frozen=True):
    """Where a request comes from, as far as proxies that we trust tell it. ``address`` is the browser's."""

    scheme: str
    host: str
    address: str

    @property
    def secure(self) -> bool:
        return self.scheme == "https"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"


def origin_of(request: web.BaseRequest, proxies: Iterable[Network]) -> Origin:
    """``X-Forwarded-*`` counts only where a configured proxy has set it; of several addresses the last that is none of
    ours is the browser's."""
    peer, trusted = request.remote or "", tuple(proxies)
    if not _is_in(peer, trusted):
        return Origin(request.scheme, request.host, peer)
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",") if hop.strip()]
    address = next((hop for hop in reversed(hops) if not _is_in(hop, trusted)), peer)
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    host = request.headers.get("X-Forwarded-Host", request.host)
    return Origin(scheme if scheme in ("http", "https") else request.scheme, host, address)


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    try:
        known = ip_address(address)
    except ValueError:
        return False
    return any(known in network for network in networks)


def refuse_foreign(request: web.BaseRequest, origin: Origin) -> None:
    """INVARIANT: nothing is changed by a request that another site made (OWASP, CSRF: verify the origin). Raises
    RefusedOriginError."""
    said = request.headers.get(hdrs.ORIGIN)
    if said is not None:
        if urlsplit(said).netloc != origin.host:
            raise RefusedOriginError("header Origin: is another site's")
    elif request.headers.get("Sec-Fetch-Site") != "same-origin":
        raise RefusedOriginError("header Origin: is missing")


def cookie_name(origin: Origin) -> str:
    """Over TLS a name that binds the cookie to this very host (RFC 6265bis, 4.1.3.2)."""
    return "__Host-weldgate" if origin.secure else "weldgate"


def form_token(cookie: str) -> str:
    """What a form of a signed-in page holds: only who has the cookie can make it."""
    return hmac.digest(cookie.encode(), b"weldgate/form/1", hashlib.sha256).hex()


def protect(response: web.StreamResponse, *, secure: bool, scripts: str = "") -> None:
    """Set what a browser has to keep to. ``scripts`` allows more of them on one page."""
    response.headers.update(HEADERS)
    response.headers["Content-Security-Policy"] = POLICY.format(scripts=scripts and f" {scripts}")
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
    if secure:
        response.headers[hdrs.STRICT_TRANSPORT_SECURITY] = "max-age=31536000; includeSubDomains"
