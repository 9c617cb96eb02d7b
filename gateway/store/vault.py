"""Personal numbers at rest: sealed with AES-256-GCM, found by an HMAC-SHA-256 index, masked for readers."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from gateway.errors import WeldGateError

FILE_NAME = "vault.json"
_NONCE_BYTES = 12


class VaultError(WeldGateError):
    """The vault's keys cannot be used."""


class _Keys(Struct):
    seal: bytes
    index: bytes


class Vault:
    """Seals and finds personal numbers with the two keys of one key directory."""

    def __init__(self, seal_key: bytes, index_key: bytes) -> None:
        self._aead = AESGCM(seal_key)
        self._index_key = index_key

    def seal(self, number: str) -> bytes:
        """Nonce and ciphertext; differs at each call."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, number.encode(), None)

    def open(self, sealed: bytes) -> str:
        return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None).decode()

    def index(self, number: str) -> str:
        """A keyed hash to find a number by, 32 hex characters (128 bits)."""
        return hmac.digest(self._index_key, number.encode(), hashlib.sha256).hex()[:32]


FINGERPRINT_OF = "weldgate"


def fingerprint(vault: Vault) -> str:
    """Tells one vault's index keys from another's, and nothing about them."""
    return vault.index(FINGERPRINT_OF)


def mask(number: str) -> str:
    """The last four characters, the rest starred.

    >>> mask("T99000019900101000X")
    '***************000X'
    """
    return "*" * max(len(number) - 4, 4) + number[-4:] if len(number) > 6 else "*" * len(number)


def open_vault(keys_dir: Path) -> Vault:
    """The vault of a key directory, made at first use with mode 0600."""
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = keys_dir / FILE_NAME
    if not path.exists():
        write_secret(path, msgspec.json.encode(_Keys(secrets.token_bytes(32), secrets.token_bytes(32))))
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise VaultError(f"--keys {keys_dir}: {path.name} has mode {mode:04o}; others may read it: chmod 600 it")
    try:
        keys = msgspec.json.decode(path.read_bytes(), type=_Keys)
        return Vault(keys.seal, keys.index)
    except ValueError as error:  # not JSON, or keys of another length
        raise VaultError(f"--keys {keys_dir}: {path.name} cannot be read; restore it from a backup") from error


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all; an existing one is kept."""
    partial = path.with_suffix(f".{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(partial, path)
    except FileExistsError:
        pass
    finally:
        partial.unlink()
