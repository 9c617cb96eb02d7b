"""The key that the kit signs with, and what a device is provisioned with to believe it."""

from pathlib import Path
from typing import Any

import msgspec
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from gateway.wire.tokens import Signer

PRIVATE, PUBLIC = "conformance-key.json", "conformance.jwks.json"


class KeyFileError(Exception):
    """The folder holds no usable key; the message names file and remedy."""


class Keys:
    """One signing key; ``public`` is the JWK Set for the device."""

    def __init__(self, key: ECKey) -> None:
        self.key = key
        self.signer = Signer(key)
        self.public: dict[str, Any] = {"keys": [{**key.as_dict(private=False), "kid": key.thumbprint()}]}


def new_keys() -> Keys:
    """A fresh key, on no disk."""
    return Keys(ECKey.generate_key("P-256"))


def keys_in(folder: Path) -> Keys:
    """The key in a folder; made there at the first call. Raises KeyFileError."""
    private = folder / PRIVATE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not private.exists():
            private.touch(mode=0o600)
            private.write_bytes(msgspec.json.encode(ECKey.generate_key("P-256").as_dict(private=True)))
        keys = Keys(ECKey.import_key(msgspec.json.decode(private.read_bytes())))
        (folder / PUBLIC).write_bytes(msgspec.json.encode(keys.public))
    except OSError as error:
        raise KeyFileError(f"{private}: {error.strerror}; choose a folder that can be written") from error
    except (JoseError, ValueError, msgspec.MsgspecError) as error:
        raise KeyFileError(f"{private}: not a private key of this kit; remove it to have a new one made") from error
    return keys
