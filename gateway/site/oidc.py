"""Signing in by an authority's own identity provider (OpenID Connect Core 1.0, code flow with PKCE).

Who they are comes from there; what they may do is our account, which has to be there already.
"""

import secrets
from functools import partial
from typing import Any

import httpx2
import msgspec
from aiohttp import web
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from msgspec import Struct

from gateway.core.accounts import STAFF, Provider
from gateway.errors import WeldGateError
from gateway.observe.events import Denied, Trouble
from gateway.site.account import enter
from gateway.site.routes import Page
from gateway.site.visit import Visit, local_path
from gateway.store import accounts

DISCOVERY = "/.well-known/openid-configuration"
RETURN_PATH = "/sign-in/oidc/back"
COOKIE = "oidc"
LASTS_S = 600
ANSWER_WITHIN_S = 10.0
ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
LEEWAY_S = 60


class _Found(Struct, frozen=True):
    """What the provider tells of itself (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class _Begun(Struct, frozen=True):
    """What the browser keeps while the person is away."""

    state: str
    nonce: str
    verifier: str
    to: str


class NotVouchedForError(WeldGateError):
    """The provider's answer proves nothing."""


async def begin(provider: Provider, visit: Visit) -> web.StreamResponse:
    """Send the person to the provider."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    begun = _Begun(state, nonce, verifier, local_path(visit.request.query.get("to", "/")))
    try:
        async with _client(provider, visit) as client:
            found = await _discover(client, provider)
            url, _ = client.create_authorization_url(
                found.authorization_endpoint, state=state, nonce=nonce, code_verifier=verifier
            )
    except (httpx2.HTTPError, OSError, ValueError, NotVouchedForError) as error:
        return _away(provider, visit, error)
    response = visit.go(url)
    kept = msgspec.json.encode(begun).hex()
    response.set_cookie(
        COOKIE, kept, max_age=LASTS_S, path="/sign-in/oidc", secure=visit.origin.secure, httponly=True, samesite="Lax"
    )
    return response


async def back(provider: Provider, visit: Visit) -> web.StreamResponse:
    """The person comes back with a code. INVARIANT: only what the provider signed for us, now and for this very
    beginning, says who it is."""
    try:
        begun = msgspec.json.decode(bytes.fromhex(visit.request.cookies.get(COOKIE, "")), type=_Begun)
        login = await _who(provider, visit, begun)
    except (ValueError, NotVouchedForError, AuthlibBaseError, JoseError) as error:
        return _refused(visit, type(error).__name__)
    except (httpx2.HTTPError, OSError) as error:
        return _away(provider, visit, error)
    account = await visit.parts.read(accounts.by_login, login.lower())
    if account is None or account.disabled_at is not None or account.role not in STAFF:
        return _refused(visit, "no account")
    response = await enter(visit, account, begun.to)
    response.del_cookie(COOKIE, path="/sign-in/oidc")
    return response


async def _who(provider: Provider, visit: Visit, begun: _Begun) -> str:
    if not secrets.compare_digest(visit.request.query.get("state", ""), begun.state):
        raise NotVouchedForError("state: is not the one that was sent")
    async with _client(provider, visit) as client:
        found = await _discover(client, provider)
        token = await client.fetch_token(
            found.token_endpoint, code=visit.request.query.get("code", ""), code_verifier=begun.verifier
        )
        keys = KeySet.import_key_set(
            (await client.request("GET", found.jwks_uri, withhold_token=True)).raise_for_status().json()
        )
    claims = _claims(provider, token, keys, begun.nonce)
    login = claims.get(provider.claim)
    if not isinstance(login, str) or not login:
        raise NotVouchedForError(f"claim {provider.claim}: is missing")
    return login


def _claims(provider: Provider, token: dict[str, Any], keys: KeySet, nonce: str) -> dict[str, Any]:
    """OpenID Connect Core 1.0, section 3.1.3.7. Raises JoseError."""
    read = jwt.decode(str(token.get("id_token", "")), keys, algorithms=ALGORITHMS)
    expected = jwt.JWTClaimsRegistry(
        leeway=LEEWAY_S,
        iss={"essential": True, "value": provider.issuer},
        aud={"essential": True, "value": provider.client_id},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True, "value": nonce},
    )
    expected.validate(read.claims)
    return read.claims


async def _discover(client: AsyncOAuth2Client, provider: Provider) -> _Found:
    answer = await client.request("GET", provider.issuer.rstrip("/") + DISCOVERY, withhold_token=True)
    found = msgspec.json.decode(answer.raise_for_status().content, type=_Found)
    if found.issuer != provider.issuer:
        raise NotVouchedForError("issuer: is another one than configured")
    return found


def _client(provider: Provider, visit: Visit) -> AsyncOAuth2Client:
    return AsyncOAuth2Client(
        provider.client_id,
        provider.client_secret,
        scope="openid profile email",
        redirect_uri=f"{visit.parts.address or visit.origin}{RETURN_PATH}",
        code_challenge_method="S256",
        timeout=ANSWER_WITHIN_S,
    )


def _away(provider: Provider, visit: Visit, error: Exception) -> web.StreamResponse:
    visit.parts.observe(Trouble("oidc", f"{provider.issuer}: {type(error).__name__}"))
    remedy = visit.text("请稍后再试，或用用户名和密码登录。")
    return visit.problem(502, visit.text("统一身份认证暂时不能使用。"), remedy)


def _refused(visit: Visit, why: str) -> web.StreamResponse:
    visit.parts.observe(Denied("sign_in", visit.origin.address, limited=False))
    visit.parts.observe(Trouble("oidc", why))
    remedy = visit.text("请重新登录；账号还没有开通时，请联系网关管理员。")
    return visit.problem(403, visit.text("统一身份认证没有通过。"), remedy)


def pages(provider: Provider | None) -> tuple[Page, ...]:
    """None of them without a provider."""
    if provider is None:
        return ()
    return (
        Page("GET", "/sign-in/oidc", None, partial(begin, provider)),
        Page("GET", RETURN_PATH, None, partial(back, provider)),
    )
