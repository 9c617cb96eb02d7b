"""Tokens of the HTTP API: who may do what. Only a token's SHA-256 is kept; its row stays when it is revoked."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy import Engine

from gateway.core.model import Millis
from gateway.errors import DatabaseUnavailable, WeldGateError
from gateway.store.engine import reading
from gateway.store.tables import ApiTokenRow, metadata

Scope = Literal["codes", "certificates:check", "registry:read", "registry:write"]
SCOPES: dict[Scope, str] = {
    "codes": "Have a rolling code for anybody: for the server of a page on welders' phones.",
    "certificates:check": "Check a certificate that somebody shows.",
    "registry:read": "Read the registries as decisions see them, personal numbers masked.",
    "registry:write": "Confirm or reject a change of the registries that is held.",
}
"""Everything that a token can be for. A scope holds no other."""

PREFIX = "wgt"
"""What a token begins with: it tells people and secret scanners what they have found."""
_ID_BYTES, _SECRET_BYTES = 6, 32
NAME_LENGTH = 128
_DAY_MS = 86_400_000
_tokens = metadata.tables[ApiTokenRow.__tablename__]


class TokenError(WeldGateError):
    """A token cannot be made or revoked; the message names the field, the value and the remedy."""


class ApiToken(Struct, frozen=True):
    """A token as it is kept. ``expires_at`` None: it lasts until it is revoked."""

    token_id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    made_at: Millis
    expires_at: Millis | None
    revoked_at: Millis | None

    def holds_at(self, now: Millis) -> bool:
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


def add_token(engine: Engine, name: str, scopes: Sequence[str], now: Millis, days: int | None) -> tuple[ApiToken, str]:
    """Make a token for ``days``; it and the text that its holder sends, which is kept nowhere. Raises TokenError."""
    _refuse_unusable(name, scopes, days)
    token_id = secrets.token_hex(_ID_BYTES)
    text = f"{PREFIX}_{token_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
    expires_at = None if days is None else now + days * _DAY_MS
    token = ApiToken(token_id, name, _hash(text), tuple(sorted(set(scopes))), now, expires_at, None)
    row = msgspec.structs.asdict(token) | {"scopes": msgspec.json.encode(token.scopes).decode()}
    with engine.begin() as connection:
        connection.execute(sa.insert(_tokens).values(row))
    return token, text


def _refuse_unusable(name: str, scopes: Sequence[str], days: int | None) -> None:
    if not 0 < len(name) <= NAME_LENGTH or not name.isprintable():
        raise TokenError(f"name = {name[:NAME_LENGTH]!r}: use 1 to {NAME_LENGTH} printable characters")
    unknown = sorted(set(scopes) - set(get_args(Scope)))
    if unknown or not scopes:
        raise TokenError(f"--scope {' '.join(unknown)}: use one or more of: {', '.join(SCOPES)}")
    if days is not None and days < 1:
        raise TokenError(f"--days {days}: use 1 or more, or leave it out for a token that lasts until it is revoked")


def revoke_token(engine: Engine, token_id: str, now: Millis) -> ApiToken:
    """From within a second on nobody takes it any more. Raises TokenError."""
    with engine.begin() as connection:
        query = sa.update(_tokens).where(_tokens.c.token_id == token_id, _tokens.c.revoked_at.is_(None))
        if not connection.execute(query.values(revoked_at=now)).rowcount:
            raise TokenError(f"id = {token_id!r}: no token of this id is in use; `weldgate token list` shows all")
        row = connection.execute(sa.select(*_columns()).where(_tokens.c.token_id == token_id)).one()
    return _token(row)


def read_tokens(engine: Engine) -> dict[str, ApiToken]:
    """Every token by its id, the latest first. Raises DatabaseUnavailable."""
    try:
        with reading(engine).connect() as connection:
            rows = connection.execute(sa.select(*_columns()).order_by(_tokens.c.made_at.desc(), _tokens.c.token_id))
            return {token.token_id: token for token in map(_token, rows)}
    except sa.exc.DBAPIError as error:
        raise DatabaseUnavailable(f"the tokens of the API cannot be read: {error.orig}") from error


def token_of(tokens: Mapping[str, ApiToken], text: str, now: Millis) -> ApiToken | None:
    """Whose token this text is, if it holds now; in constant time but for the id, which is no secret."""
    token = tokens.get(text.removeprefix(f"{PREFIX}_").partition("_")[0])
    if token is None or not hmac.compare_digest(token.hash, _hash(text)):
        return None
    return token if token.holds_at(now) else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def _columns() -> list[sa.Column[Any]]:
    return [_tokens.c[name] for name in ApiToken.__struct_fields__]


def _token(row: Any) -> ApiToken:
    values = dict(zip(ApiToken.__struct_fields__, row, strict=True))
    return ApiToken(**values | {"scopes": tuple(msgspec.json.decode(values["scopes"], type=list[str]))})
