"""Signed tokens (JWS compact, RFC 7515) and the key ring that signs them.

``iat`` and ``exp`` are NumericDate, whole seconds since 1970 (RFC 7519, section 2). A key's id is its RFC 7638
thumbprint. Keys are joserfc's; the signature itself is made by ``cryptography`` directly, in six tenths of the time.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Literal

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from msgspec import UNSET, Struct, UnsetType

ISSUER = "weldgate"
ALGORITHM = "ES256"
_COORDINATE_BYTES = 32
_ECDSA = ec.ECDSA(hashes.SHA256())


class Grant(Struct, frozen=True):
    """Claims of a grant: ``aud`` machine, ``jti`` request, ``sid`` session, ``cha`` the challenge answered.

    ``exp`` is the start-by, at most 30 s after ``iat``; ``lease_s`` starts when the chip accepts; ``n`` is 0.
    """

    aud: str
    cha: str
    exp: int
    iat: int
    jti: str
    lease_s: int
    sid: str
    iss: str = ISSUER
    n: int = 0


CommandName = Literal["renew", "lock", "offline_list", "config"]
When = Literal["between_arcs", "now"]


class Command(Struct, frozen=True, kw_only=True):
    """Claims of a command: ``aud`` machine, ``jti`` command id; what a ``cmd`` does not need is left out.

    It is addressed by ``sid`` to a session, in which ``n`` rises, or by ``cha`` to the chip's present challenge, or by
    both. ``exp`` is the last second in which a chip that has a clock carries it out.
    """

    aud: str
    cmd: CommandName
    exp: int
    iat: int
    jti: str
    iss: str = ISSUER
    n: int = 0
    sid: str | UnsetType = UNSET
    cha: str | UnsetType = UNSET
    lease_s: int | UnsetType = UNSET
    """``renew``: how long the relay may stay closed from acceptance on; ``offline_list``: the lease of each unlock."""
    when: When | UnsetType = UNSET
    deadline_s: int | UnsetType = UNSET
    """``lock`` between arcs: seconds after which the relay opens in any case."""
    reason: str | UnsetType = UNSET
    list_version: int | UnsetType = UNSET
    base_version: int | UnsetType = UNSET
    """The list that a difference builds on; without it the list is whole."""
    entries: tuple[tuple[str, int], ...] | UnsetType = UNSET
    """Who may unlock offline: the credential's digest, and until when in seconds since 1970."""
    gone: tuple[str, ...] | UnsetType = UNSET
    """Digests that a difference takes off the list."""
    offline_for_s: int | UnsetType = UNSET
    """How long after its last contact with the gateway a chip may use the list."""
    idle_lock_s: int | UnsetType = UNSET
    drain_deadline_s: int | UnsetType = UNSET


class TokenError(Exception):
    """A token that must not be believed: wrong form, unknown key or bad signature."""


class Signer:
    """Signs with one private key; the protected header is made once."""

    def __init__(self, key: ECKey) -> None:
        self.kid = key.thumbprint()
        header = msgspec.json.encode({"alg": ALGORITHM, "kid": self.kid})
        self._prefix = _b64(header) + b"."
        private = key.private_key
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise TokenError("a signing key must hold its private part")
        self._sign = private.sign

    def sign(self, claims: Struct | Mapping[str, object]) -> str:
        """A compact token over the claims."""
        return self.sign_bytes(msgspec.json.encode(claims))

    def sign_bytes(self, claims: bytes) -> str:
        """A compact token over claims that are JSON already."""
        signing_input = self._prefix + _b64(claims)
        r, s = decode_dss_signature(self._sign(signing_input, _ECDSA))
        signature = r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")
        return (signing_input + b"." + _b64(signature)).decode("ascii")


class Verifier:
    """What a chip holds: the public keys it was provisioned with, and the one algorithm it accepts."""

    def __init__(self, jwks: Mapping[str, object]) -> None:
        self._keys = KeySet.import_key_set(jwks)  # type: ignore[arg-type]

    def claims(self, token: str) -> dict[str, object]:
        """The claims of a token with a good signature; raises TokenError. Checks no claim."""
        try:
            payload = jws.deserialize_compact(token, self._keys, algorithms=[ALGORITHM]).payload
            return msgspec.json.decode(payload, type=dict[str, object])
        except (JoseError, ValueError, msgspec.MsgspecError) as error:
            raise TokenError(f"token refused: {type(error).__name__}") from error


def _b64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
