"""Issuing and revoking. An authority is a folder: key, certificate, index, list of revoked ones, and what it issued."""

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, load_pem_private_key
from msgspec import Struct
from msgspec.structs import replace

from gateway.pki import orders as names
from gateway.pki.certificates import Key, Period, Signer, new_key, own_certificate, pem, pem_key
from gateway.pki.folder import (
    AUTHORITY,
    FOLDERS,
    INDEX,
    KEY,
    REVOKED,
    Issued,
    PkiError,
    alone,
    put,
    read_index,
    write_index,
)
from gateway.pki.orders import Order

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and out of how much."""


class _Made(Struct, frozen=True):
    issued: Issued
    certificate: bytes
    key: bytes


class Authority:
    """An authority that is ready to sign."""

    def __init__(self, folder: Path, signer: Signer) -> None:
        self._folder = folder
        self._signer = signer

    def issue(
        self,
        orders: Sequence[Order],
        now: datetime,
        days: int,
        *,
        renew: bool = False,
        progress: Progress = lambda *_: None,
    ) -> list[Issued]:
        """Make keys and certificates for all orders or, if one is wrong, for none. Raises PkiError.

        INVARIANT: no certificate leaves without a line in the index; without it, it could not be revoked by name.
        """
        for order in orders:
            names.check(order)
        period = self._period(now, days)
        with alone(self._folder):
            index = read_index(self._folder)
            if not renew:
                _refuse_held(orders, index, now)
            made = []
            for number, order in enumerate(orders, 1):
                made.append(self._make(order, period))
                progress("issue certificates", number, len(orders))
            write_index(self._folder, [*index, *(one.issued for one in made)])
            self._deliver(made, progress)
        return [one.issued for one in made]

    def revoke(self, what: str, now: datetime) -> list[Issued]:
        """Revoke the certificate of a serial, or all of a name. Returns those that were not revoked before.

        The list of revoked ones is written in any case. Raises PkiError.
        """
        with alone(self._folder):
            index = read_index(self._folder)
            found = [one for one in index if what in (one.name, one.serial)]
            if not found:
                raise PkiError(f"{what!r}: nothing was issued under this name or serial; see: weldgate pki list")
            fresh = {one.serial: replace(one, revoked_at=now) for one in found if one.revoked_at is None}
            index = [fresh.get(one.serial, one) for one in index]
            write_index(self._folder, index)
            self._write_revoked(index, now)
        return list(fresh.values())

    def write_revoked(self, now: datetime) -> None:
        """Sign the list of revoked certificates anew."""
        with alone(self._folder):
            self._write_revoked(read_index(self._folder), now)

    def _write_revoked(self, index: Sequence[Issued], now: datetime) -> None:
        path = self._folder / REVOKED
        revoked = [(one.serial, one.revoked_at) for one in index if one.revoked_at and now < one.not_after]
        last = path.read_bytes() if path.exists() else None
        put(path, self._signer.revocation_list(revoked, now, last), durable=True)

    def _period(self, now: datetime, days: int) -> Period:
        since, last = now.replace(microsecond=0), self._signer.certificate.not_valid_after_utc
        until = since + timedelta(days=days)
        if until > last:
            left = (last - since).days
            raise PkiError(f"--days {days}: the authority itself ends on {last:%Y-%m-%d}; give at most {left}")
        return Period(since, until)

    def _make(self, order: Order, period: Period) -> _Made:
        key = new_key()
        certificate = self._signer.certify(order, key, period)
        serial = f"{certificate.serial_number:040x}"
        issued = Issued(serial, order.name, order.kind, period.since, period.until)
        return _Made(issued, pem(certificate), pem_key(key, NoEncryption()))

    def _deliver(self, made: Sequence[_Made], progress: Progress) -> None:
        for number, one in enumerate(made, 1):
            folder = self._folder / FOLDERS[one.issued.kind]
            folder.mkdir(mode=0o700, exist_ok=True)
            put(folder / f"{one.issued.name}.key", one.key)
            put(folder / f"{one.issued.name}.crt", one.certificate)
            progress("write certificates", number, len(made))
        os.sync()


def make_authority(folder: Path, name: str, period: Period, passphrase: bytes | None) -> Authority:
    """A new authority; its key is encrypted where there is a passphrase. Raises PkiError."""
    if (folder / KEY).exists() or (folder / INDEX).exists():
        raise PkiError(f"--dir {folder}: holds an authority already; choose another folder")
    key = new_key()
    signer = Signer(key, own_certificate(name, key, period))
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        put(folder / KEY, pem_key(key, encryption), durable=True)
        put(folder / AUTHORITY, pem(signer.certificate), durable=True)
        write_index(folder, [])
        made = Authority(folder, signer)
        made.write_revoked(period.since)
    except OSError as error:
        raise PkiError(f"--dir {folder}: {error.strerror}; choose a folder that can be written") from error
    return made


def open_authority(folder: Path, passphrase: bytes | None) -> Authority:
    """Raises PkiError where it is not there, not its owner's alone, or the passphrase is wrong."""
    path = folder / KEY
    try:
        certificate = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
        key = _read_key(folder, path.read_bytes(), passphrase)
    except FileNotFoundError:
        raise PkiError(f"--dir {folder}: holds no authority; make one: weldgate pki init") from None
    except (OSError, ValueError) as error:
        raise PkiError(f"--dir {folder}: {AUTHORITY} or {KEY}: {error}; restore both from a backup") from error
    if key.public_key() != certificate.public_key():
        raise PkiError(f"--dir {folder}: {KEY} does not belong to {AUTHORITY}; restore both from one backup")
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise PkiError(f"--dir {folder}: {KEY} has mode {mode:04o}; others may read it: chmod 600 it")
    return Authority(folder, Signer(key, certificate))


def _read_key(folder: Path, content: bytes, passphrase: bytes | None) -> Key:
    encrypted = b"BEGIN ENCRYPTED" in content
    if encrypted and not passphrase:
        raise PkiError(
            f"--dir {folder}: {KEY} is encrypted; give its passphrase: --passphrase-file or WELDGATE_PKI_PASSPHRASE"
        )
    try:
        key = load_pem_private_key(content, passphrase if encrypted else None)
    except ValueError:
        raise PkiError(
            f"--dir {folder}: {KEY} cannot be read; check the passphrase, or restore it from a backup"
        ) from None
    if not isinstance(key, Key):
        raise PkiError(f"--dir {folder}: {KEY} is no key of an elliptic curve; restore it from a backup")
    return key


def _refuse_held(orders: Sequence[Order], index: Sequence[Issued], now: datetime) -> None:
    held = {(one.kind, one.name): one for one in index if one.holds(now)}
    for order in orders:
        if one := held.get((order.kind, order.name)):
            raise PkiError(
                f"{order.name}: has certificate {one.serial} until {one.not_after:%Y-%m-%d}; "
                "--renew makes another one, and the old one holds until it is revoked"
            )
