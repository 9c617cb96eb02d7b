"""Tokens of a keyed MAC in the shape of a JWS: a forged one is as useless as with ES256, at a hundredth of the cost."""

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from joserfc.jwk import ECKey, KeySet
from msgspec import Struct

from gateway.wire.tokens import Signer, TokenError, Verifier
from simulator.grants import Verify

_HEADER = b"eyJhbGciOiJNQUMifQ."


class MacSigner:
    """Signs as ``gateway.wire.tokens.Signer`` does, for chips that hold the same key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, claims: Struct | Mapping[str, object]) -> str:
        return self.sign_bytes(msgspec.json.encode(claims))

    def sign_bytes(self, claims: bytes) -> str:
        signed = _HEADER + urlsafe_b64encode(claims).rstrip(b"=")
        return f"{signed.decode()}.{_mac(self._key, signed)}"

    def verify(self, token: str) -> dict[str, object]:
        """The claims; raises TokenError."""
        signed, _, mac = token.rpartition(".")
        if _mac(self._key, signed.encode()) != mac:
            raise TokenError("token refused: bad signature")
        claims: dict[str, object] = msgspec.json.decode(_unpacked(signed.partition(".")[2]))
        return claims


def _mac(key: bytes, signed: bytes) -> str:
    return hashlib.blake2b(signed, key=key, digest_size=16).hexdigest()


def _unpacked(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def signing(real: bool, random_key: Callable[[], bytes]) -> tuple[Any, Verify]:
    """A signer with its verification: ES256 where ``real``, else a MAC."""
    if not real:
        signer = MacSigner(random_key())
        return signer, signer.verify
    key = ECKey.generate_key("P-256", auto_kid=True)
    verifier = Verifier(KeySet([key]).as_dict(private=False))
    return Signer(key), verifier.claims
