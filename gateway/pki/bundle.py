"""What a chip is provisioned with, in one file."""

import io
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec

from gateway.pki.folder import AUTHORITY, files_of
from gateway.wire.tokens import ALGORITHM

BROKER_PLACEHOLDER = "mqtts://BROKER:8883"
OWNER_ONLY = 0o600


def bundle(folder: Path, machine_id: str, jwks: bytes, broker: str, now: datetime) -> bytes:
    """A tar of certificate, key, authority, the gateway's public keys and ``provision.json``. Raises PkiError."""
    certificate, key = files_of(folder, "machine", machine_id, now)
    provision = {"machine_id": machine_id, "client_id": machine_id, "broker": broker, "algorithms": [ALGORITHM]}
    files = {
        "client.crt": certificate.read_bytes(),
        "client.key": key.read_bytes(),
        "ca.crt": (folder / AUTHORITY).read_bytes(),
        "jwks.json": jwks,
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
