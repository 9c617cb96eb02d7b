"""What a chip is provisioned with, in one file."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.pki.folder import PkiError, files_of, latest_of
from gateway.wire.tokens import ALGORITHM

OWNER_ONLY = 0o600


class Surroundings(Struct, frozen=True):
    """What a chip has to know of others: where the broker is, whom to trust, and the gateway's public keys."""

    broker: str
    authorities: bytes
    jwks: bytes


Files = tuple[Path, Path]
"""Certificate and key."""


def files_of_all(folder: Path, machine_ids: Sequence[str], now: datetime) -> dict[str, Files]:
    """What every machine shows at the broker. Raises PkiError, before anything is written, where one has nothing."""
    latest, found, missing = latest_of(folder), dict[str, Files](), list[PkiError]()
    for machine_id in machine_ids:
        try:
            found[machine_id] = files_of(folder, "machine", machine_id, now, latest)
        except PkiError as error:
            missing.append(error)
    if missing:
        more = f" ({len(missing) - 1:,} more machines like it: weldgate pki issue --all-machines)"
        raise PkiError(f"{missing[0]}{more if len(missing) > 1 else ''}")
    return found


def bundle(machine_id: str, files: Files, around: Surroundings, now: datetime) -> bytes:
    """A tar of certificate, key, authorities, the gateway's public keys and ``provision.json``. Raises OSError."""
    certificate, key = files
    provision = {"machine_id": machine_id, "client_id": machine_id, "broker": around.broker, "algorithms": [ALGORITHM]}
    held = {
        "client.crt": certificate.read_bytes(),
        "client.key": key.read_bytes(),
        "ca.crt": around.authorities,
        "jwks.json": around.jwks,
        "provision.json": msgspec.json.format(msgspec.json.encode(provision), indent=2) + b"\n",
    }
    return _tar(held, int(now.timestamp()))


def _tar(files: Mapping[str, bytes], mtime: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), OWNER_ONLY, mtime
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()
