"""An authority's folder: its files are their owner's alone, and its index names everything that was issued."""

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from gateway.errors import WeldGateError

Kind = Literal["machine", "gateway", "reader", "server"]

AUTHORITY, KEY, REVOKED, INDEX = "ca.crt", "ca.key", "crl.pem", "index.json"
FOLDERS: dict[Kind, str] = {"machine": "machines", "gateway": "gateways", "reader": "readers", "server": "servers"}


class PkiError(WeldGateError):
    """The authority cannot do it; the message names the value and the remedy."""


class Issued(Struct, frozen=True):
    """One line of the index. ``serial`` is 40 hexadecimal digits, ``name`` the common name."""

    serial: str
    name: str
    kind: Kind
    issued_at: datetime
    not_after: datetime
    revoked_at: datetime | None = None

    def holds(self, now: datetime) -> bool:
        """Whether it lets its owner in: neither revoked nor over."""
        return self.revoked_at is None and now < self.not_after


def read_index(folder: Path) -> list[Issued]:
    """Everything issued, oldest first. Raises PkiError."""
    try:
        return msgspec.json.decode((folder / INDEX).read_bytes(), type=list[Issued])
    except FileNotFoundError:
        raise PkiError(f"--dir {folder}: holds no authority; make one: weldgate pki init") from None
    except (OSError, msgspec.DecodeError) as error:
        raise PkiError(f"--dir {folder}: {INDEX}: {error}; restore it from a backup") from error


def write_index(folder: Path, index: Sequence[Issued]) -> None:
    put(folder / INDEX, msgspec.json.format(msgspec.json.encode(index), indent=1) + b"\n", durable=True)


Latest = Mapping[tuple[Kind, str], Issued]


def latest_of(folder: Path) -> Latest:
    """The latest certificate of every name. Raises PkiError."""
    return {(one.kind, one.name): one for one in read_index(folder)}


def files_of(folder: Path, kind: Kind, name: str, now: datetime, latest: Latest | None = None) -> tuple[Path, Path]:
    """Certificate and key of a name whose latest certificate holds. Raises PkiError.

    ``latest`` spares reading the index anew for each of many names.
    """
    held = (latest_of(folder) if latest is None else latest).get((kind, name))
    if held is None:
        raise PkiError(f"{kind} {name!r}: has no certificate; make one: weldgate pki issue")
    if not held.holds(now):
        raise PkiError(f"{kind} {name!r}: its certificate is revoked or over; make one: weldgate pki issue")
    files = folder / FOLDERS[kind] / f"{name}.crt", folder / FOLDERS[kind] / f"{name}.key"
    for path in files:
        if not path.is_file():
            raise PkiError(f"{kind} {name!r}: {path} is missing; make a new one: weldgate pki issue --renew")
    return files


def joined(folders: Sequence[Path], name: str) -> bytes:
    """One file of several authorities, for who trusts all of them. Raises PkiError."""
    try:
        return b"".join((folder / name).read_bytes() for folder in folders)
    except OSError as error:
        raise PkiError(
            f"{error.filename}: {error.strerror}; name folders of authorities with --dir and --trust"
        ) from None


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Two commands at once would lose each other's lines of the index."""
    with (folder / INDEX).with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def put(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Put a file that only its owner reads in its place, whole or not at all."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(8)}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fsync(descriptor)
    partial.replace(path)
