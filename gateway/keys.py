"""The keys of one gateway, as private JWK Sets on disk (mode 0600): those that sign, and those of rolling codes.

The first key of a set makes, the others are still accepted. A rotated-out signing key stays in the public set until it
is retired, so that chips go on accepting what it signed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, KeySet, OctKey

from gateway.errors import WeldGateError
from gateway.store.vault import write_secret
from gateway.wire.tokens import Signer

FILE_NAME = "signing.json"
CODES_FILE = "codes.json"
CODE_KEY_BITS = 256
CURVE = "P-256"


class KeysError(WeldGateError):
    """The signing keys cannot be used."""


class KeyRing:
    """The keys of one directory, the signing one first."""

    def __init__(self, path: Path, keys: list[ECKey]) -> None:
        self._path = path
        self._keys = keys

    @property
    def kids(self) -> list[str]:
        """Key ids, the signing one first."""
        return [key.thumbprint() for key in self._keys]

    def signer(self) -> Signer:
        return Signer(self._keys[0])

    def public(self) -> bytes:
        """The JWK Set (RFC 7517, section 5) for chips: no private part."""
        keys = [key.as_dict(private=False, use="sig", alg="ES256") for key in self._keys]
        return msgspec.json.format(msgspec.json.encode({"keys": keys}), indent=2) + b"\n"

    def announce(self) -> str:
        """Make a key that chips can be given before anything is signed with it. Returns its id."""
        self._keys.append(_new_key())
        self._save()
        return self.kids[-1]

    def rotate(self, to: str | None = None) -> str:
        """Put a key in front: the announced one named, else a new one. Gateways sign with it from their next start."""
        key = self._accepted(to) if to else _new_key()
        self._keys = [key, *(other for other in self._keys if other is not key)]
        self._save()
        return self.kids[0]

    def retire(self, kid: str) -> None:
        """Drop a key that no longer signs; what it signed is refused by chips that get the new set."""
        self._keys.remove(self._accepted(kid))
        self._save()

    def _accepted(self, kid: str) -> ECKey:
        for key in self._keys[1:]:
            if key.thumbprint() == kid:
                return key
        others = ", ".join(self.kids[1:]) or "none"
        raise KeysError(f"no key {kid!r} in {self._path} beside the one that signs; there are: {others}")

    def _save(self) -> None:
        _write_set(self._path, self._keys)


def open_keys(directory: Path) -> KeyRing:
    """The key ring of a directory, made at first use. Raises KeysError."""
    keys = _read_set(directory, FILE_NAME, _new_key)
    usable = [key for key in keys if isinstance(key, ECKey) and key.curve_name == CURVE and key.is_private]
    if not usable or len(usable) < len(keys):
        raise KeysError(f"--keys {directory}: {FILE_NAME}: not only private {CURVE} keys; restore it from a backup")
    return KeyRing(directory / FILE_NAME, usable)


def open_code_keys(directory: Path) -> tuple[bytes, ...]:
    """The secrets of rolling codes, made at first use; the first makes codes. Raises KeysError."""
    keys = _read_set(directory, CODES_FILE, _new_code_key)
    usable = [key.raw_value for key in keys if isinstance(key, OctKey) and len(key.raw_value) * 8 >= CODE_KEY_BITS]
    if not usable or len(usable) < len(keys):
        raise KeysError(f"--keys {directory}: {CODES_FILE}: not only secrets of {CODE_KEY_BITS} bits; remove the file")
    return tuple(usable)


def rotate_code_key(directory: Path) -> None:
    """Make codes with a new secret from the gateways' next start on; codes of the one before are accepted still."""
    open_code_keys(directory)
    before = _read_set(directory, CODES_FILE, _new_code_key)[0]
    _write_set(directory / CODES_FILE, [_new_code_key(), before])


def _read_set(directory: Path, name: str, make: Callable[[], Key]) -> list[Key]:
    path = directory / name
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            write_secret(path, _private_set([make()]))
        keys = KeySet.import_key_set(msgspec.json.decode(path.read_bytes())).keys
    except (OSError, msgspec.DecodeError, JoseError, KeyError, TypeError, ValueError) as error:
        raise KeysError(f"--keys {directory}: {name}: {error}; restore it from a backup or remove it") from error
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise KeysError(f"--keys {directory}: {name} has mode {mode:04o}; others may read it: chmod 600 it")
    return keys


def _write_set(path: Path, keys: Sequence[Key]) -> None:
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    write_secret(partial, _private_set(keys))
    partial.replace(path)


def _new_key() -> ECKey:
    return ECKey.generate_key(CURVE, auto_kid=True)


def _new_code_key() -> OctKey:
    return OctKey.generate_key(CODE_KEY_BITS, auto_kid=True)


def _private_set(keys: Sequence[Key]) -> bytes:
    return msgspec.json.encode({"keys": [key.as_dict(private=True) for key in keys]})
