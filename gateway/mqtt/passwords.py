"""Mosquitto's password file: made, changed and checked by us, read by Mosquitto and by the embedded broker."""

import hmac
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import pbkdf2_hmac
from pathlib import Path

from gateway.errors import WeldGateError

SECRET_BYTES = 24
"""192 random bits: such a password cannot be guessed, however fast its hash is computed."""
ITERATIONS = 101
"""As mosquitto_passwd's own. More would only slow the broker down when a county's chips come back at once."""
SALT_BYTES, HASH_BYTES = 12, 64
"""What Mosquitto 2.0 takes."""
_FORMAT = "7"
"""PBKDF2 with SHA-512."""


class PasswordFileError(WeldGateError):
    """The password file cannot be used."""


def new_password() -> str:
    """Letters, digits, ``-`` and ``_`` alone, so that it may stand in a URL as it is."""
    return secrets.token_urlsafe(SECRET_BYTES)


def hashed(password: str) -> str:
    """``$7$iterations$salt$hash`` with a fresh salt."""
    salt = secrets.token_bytes(SALT_BYTES)
    digest = _digest(password, salt, ITERATIONS)
    return f"${_FORMAT}${ITERATIONS}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def matches(password: str, stored: str) -> bool:
    """Whether the password is the one that was hashed, in the same time for every wrong one."""
    try:
        _, _, iterations, salt, digest = stored.split("$")
        return hmac.compare_digest(_digest(password, b64decode(salt), int(iterations)), b64decode(digest))
    except ValueError:  # Mosquitto's older form; it says so itself when it starts
        return False


def read_passwords(path: Path) -> dict[str, str]:
    """Hashes by user name. Raises PasswordFileError."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise PasswordFileError(
            f"--passwords {path}: {error}; make it with: weldgate broker password --passwords FILE"
        ) from error
    for number, line in enumerate(lines, 1):
        if ":" not in line:
            raise PasswordFileError(f"--passwords {path}, line {number}: not NAME:HASH; remove the line")
    return dict(line.split(":", 1) for line in lines)


def password_file(hashes: Mapping[str, str]) -> bytes:
    """The file's content, in the order of names."""
    return "".join(f"{name}:{stored}\n" for name, stored in sorted(hashes.items())).encode()


def _digest(password: str, salt: bytes, iterations: int) -> bytes:
    return pbkdf2_hmac("sha512", password.encode(), salt, iterations, HASH_BYTES)
