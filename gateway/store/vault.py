"""Personal numbers at rest: sealed with AES-256-GCM under numbered keys, found by an HMAC-SHA-256 index, masked for
readers.

A sealed number is the version of its key (2 bytes, big-endian), a nonce (12 bytes) and the ciphertext with its tag. The
kind of number is bound into the tag, so that no seal stands for a number of another kind. Seals from before keys had
versions are a nonce and the ciphertext alone, by key 1; the tag tells which of the two a seal is.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from gateway.clock import monotonic_ns, now_ms
from gateway.core.model import Millis
from gateway.errors import WeldGateError

Number = Literal["id_number", "phone", "number"]
"""The kinds of personal numbers, ``number`` being a certificate's; each is kept in the column ``…_sealed``."""

FILE_NAME = "vault.json"
FIRST_VERSION, LAST_VERSION = 1, 65_535
LOOK_AGAIN_S = 10
"""A process that seals knows a new key after so many seconds at the latest."""
STILL_SEALING_MS = 3_600_000
"""How long after a rotation the key before may still come into rows: an import seals, and then writes for minutes."""
_VERSION_BYTES = 2
_NONCE_BYTES = 12


class VaultError(WeldGateError):
    """The vault's keys cannot be used."""


class SealKey(Struct, frozen=True):
    """A key that seals or has sealed. ``at``: since when, Unix milliseconds."""

    version: int
    at: Millis
    key: bytes


class Keys(Struct, frozen=True):
    """The keys of one vault: of ``seals`` the last one seals, and all open."""

    index: bytes
    seals: tuple[SealKey, ...]


class _File(Struct):
    """``vault.json``; ``seal`` is the one key of a file from before keys had versions."""

    index: bytes
    seals: tuple[SealKey, ...] = ()
    seal: bytes | None = None


class Vault:
    """Seals and finds personal numbers with the keys of one key directory.

    With a ``path`` the keys are read again from there: for a seal by a key that was added since, and before a seal is
    made with one that may have been rotated out.
    """

    def __init__(self, keys: Keys, path: Path | None = None, now_ns: Callable[[], int] = monotonic_ns) -> None:
        self._path = path
        self._now_ns = now_ns
        self._index_key = keys.index
        self._take(keys)

    def _take(self, keys: Keys) -> None:
        self._aeads = {held.version: AESGCM(held.key) for held in keys.seals}
        self._newest = keys.seals[-1].version
        self._read_ns = self._now_ns()

    @property
    def newest(self) -> int:
        """The version of the key that seals."""
        return self._newest

    def seal(self, number: str, what: Number) -> bytes:
        """The sealed number; differs at each call."""
        if self._now_ns() - self._read_ns > LOOK_AGAIN_S * 1_000_000_000:
            self._read_again()
        version, nonce = self._newest, os.urandom(_NONCE_BYTES)
        sealed = self._aeads[version].encrypt(nonce, number.encode(), what.encode())
        return version.to_bytes(_VERSION_BYTES, "big") + nonce + sealed

    def open(self, sealed: bytes, what: Number) -> str:
        """The number. Raises VaultError for what was changed, is of another kind, or is sealed with no key known."""
        return self.opened(sealed, what)[0]

    def opened(self, sealed: bytes, what: Number) -> tuple[str, int]:
        """The number, and the version of the key that it is sealed with. Raises VaultError."""
        found = self._tried(sealed, what)
        if found is None and self._read_again():
            found = self._tried(sealed, what)
        if found is None:
            raise VaultError(
                f"{what}: a sealed number does not open; it was changed, or {FILE_NAME} lacks its key: restore that "
                "file from a backup"
            )
        return found

    def _tried(self, sealed: bytes, what: Number) -> tuple[str, int] | None:
        version = int.from_bytes(sealed[:_VERSION_BYTES], "big")
        for key, content, kind in ((version, sealed[_VERSION_BYTES:], what.encode()), (FIRST_VERSION, sealed, None)):
            if key in self._aeads:
                try:
                    number = self._aeads[key].decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], kind)
                    return number.decode(), key
                except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
                    continue
        return None

    def _read_again(self) -> bool:
        if self._path is not None:
            self._take(_read(self._path))
        return self._path is not None

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


# --- the file ---------------------------------------------------------------------------------------------------


def open_vault(keys_dir: Path, *, must_exist: bool = False) -> Vault:
    """The vault of a key directory, made at first use with mode 0600. ``must_exist``: where one made here would find
    nothing, whatever is on record."""
    path = keys_dir / FILE_NAME
    if must_exist and not path.is_file():
        raise VaultError(
            f"--keys {keys_dir}: there is no {FILE_NAME}; name the folder of the keys that imports were made with"
        )
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        write_secret(path, _encoded(Keys(secrets.token_bytes(32), (_new_key(FIRST_VERSION, now_ms()),))))
    return Vault(_read(path), path)


def rotate(keys_dir: Path, now: Millis) -> int:
    """Add a key, which seals from now on; returns its version. Raises VaultError."""
    with _alone(keys_dir) as path:
        keys = _read(path)
        version = keys.seals[-1].version + 1
        if version > LAST_VERSION:
            raise VaultError(f"--keys {keys_dir}: {FILE_NAME} has had {LAST_VERSION} keys; fill a new database")
        _replace(path, Keys(keys.index, (*keys.seals, _new_key(version, now))))
        return version


def retire(keys_dir: Path, version: int, now: Millis) -> None:
    """Drop a key; what is sealed with it can never be read again. Raises VaultError for the newest one, and for one
    that a running process may still seal with."""
    with _alone(keys_dir) as path:
        keys = _read(path)
        check_retirable(keys, version, now)
        _replace(path, Keys(keys.index, tuple([key for key in keys.seals if key.version != version])))


def check_retirable(keys: Keys, version: int, now: Millis) -> None:
    """Raises VaultError with the reason for which a key has to stay, whatever rows there are."""
    after = [key for key in keys.seals if key.version > version]
    if all(key.version != version for key in keys.seals):
        known = ", ".join(str(key.version) for key in keys.seals)
        raise VaultError(f"version {version}: {FILE_NAME} has no such key; there are: {known}")
    if not after:
        raise VaultError(f"version {version}: is the key that seals; add another first (weldgate keys rotate-vault)")
    if now - after[0].at < STILL_SEALING_MS:
        raise VaultError(
            f"version {version}: a running process may still seal with it; retire it an hour after the rotation, when "
            "`weldgate registry reseal` has gone over everything"
        )


def keys_of(keys_dir: Path) -> Keys:
    """The keys that are in a directory now. Raises VaultError."""
    return _read(keys_dir / FILE_NAME)


def _read(path: Path) -> Keys:
    try:
        mode = path.stat().st_mode & 0o777
        content = path.read_bytes()
    except OSError as error:
        raise VaultError(f"--keys {path.parent}: {path.name}: {error.strerror}; restore it from a backup") from error
    if mode & 0o077:
        raise VaultError(f"--keys {path.parent}: {path.name} has mode {mode:04o}; others may read it: chmod 600 it")
    try:
        return _checked(msgspec.json.decode(content, type=_File))
    except ValueError as error:  # not JSON, or keys of another length
        raise VaultError(f"--keys {path.parent}: {path.name} cannot be read; restore it from a backup") from error


def _checked(file: _File) -> Keys:
    """Raises ValueError."""
    seals = file.seals if file.seal is None else (SealKey(FIRST_VERSION, 0, file.seal),)
    versions = [held.version for held in seals]
    if not versions or versions != sorted(set(versions)) or not FIRST_VERSION <= versions[0] <= LAST_VERSION:
        raise ValueError("no keys, or not in the order of their versions")
    for held in seals:
        AESGCM(held.key)
    return Keys(file.index, seals)


def _new_key(version: int, now: Millis) -> SealKey:
    return SealKey(version, now, secrets.token_bytes(32))


def _encoded(keys: Keys) -> bytes:
    return msgspec.json.encode(keys)


@contextmanager
def _alone(keys_dir: Path) -> Iterator[Path]:
    """The path of the file, while nobody else changes it: of two who add a key at once neither loses the other's."""
    try:
        folder = os.open(keys_dir, os.O_RDONLY)
    except OSError as error:
        raise VaultError(f"--keys {keys_dir}: {error.strerror}; name the folder of the vault") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield keys_dir / FILE_NAME
    finally:
        os.close(folder)


def _replace(path: Path, keys: Keys) -> None:
    """Put the keys in place of the file, whole or not at all."""
    partial = path.with_suffix(".new")
    partial.unlink(missing_ok=True)
    write_secret(partial, _encoded(keys))
    partial.replace(path)
    _to_disk(path.parent)


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
    _to_disk(path.parent)


def _to_disk(folder: Path) -> None:
    """The names in a folder outlive a power cut: what is sealed with a key that is lost is lost with it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
