"""What a chip is provisioned with, in one file."""

import io
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.pki.folder import files_of
from gateway.wire.tokens import ALGORITHM

BROKER_PLACEHOLDER = "mqtts://BROKER:8883"
OWNER_ONLY = 0o600


class Surroundings(Struct, frozen=True):
    """What a chip has to know of others: where the broker is, whom to trust, and the gateway's public keys."""

    broker: str
    authorities: bytes
    jwks: bytes


def bundle(folder: Path, machine_id: str, around: Surroundings, now: datetime) -> bytes:
    """A tar of certificate, key, authorities, the gateway's public keys and ``provision.json``. Raises PkiError."""
    certificate, key = files_of(folder, "machine", machine_id, now)
    provision = {"machine_id": machine_id, "client_id": machine_id, "broker": around.broker, "algorithms": [ALGORITHM]}
    files = {
        "client.crt": certificate.read_bytes(),
        "client.key": key.read_bytes(),
        "ca.crt": around.authorities,
        "jwks.json": around.jwks,
        "provision.json": msgspec.json.format(msgspec.json.encode(provision), indent=2) + b"\n",
    }
    return _tar(files, int(now.timestamp()))


def _tar(files: Mapping[str, bytes], mtime: int) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(content), OWNER_ONLY, mtime
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()
