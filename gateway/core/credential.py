"""Reading a scanned text: which kind of credential it is, and whom it names. Pure."""

import hmac
import re
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Iterable
from hashlib import sha256
from typing import Literal

from msgspec import Struct

from gateway.core.model import Millis

Kind = Literal["badge", "code", "malformed"]
MAX_LENGTH = 256
CODE_PREFIX = "WG1/"
"""A rolling code reads ``WG1/OPERATOR/STEP/MAC``; no operator's id begins like this."""
LONGEST_OPERATOR_ID = 200
"""So that a rolling code, too, fits into what may be scanned."""
STEP_S = 30
"""Time step of rolling codes (RFC 6238, section 5.2)."""
STEPS_OFF = 1
"""A code of the step before or after is taken as well: reading and sending it take their time."""
MAC_BYTES = 10
"""80 bits; base32 makes 16 characters of them, which QR codes hold in their small alphanumeric mode."""
_code = re.compile(r"WG1/(?P<operator>.+)/(?P<step>[0-9]{1,12})/(?P<mac>[A-Z2-7]{16})", re.DOTALL)


class Code(Struct, frozen=True):
    """A rolling code as it was read: not yet known to be genuine."""

    operator_id: str
    step: int
    mac: str


def kind_of(text: str) -> Kind:
    """A ``badge`` carries the operator's id as plain text, a ``code`` begins with ``WG1/`` and has all its parts;
    anything empty, overlong, unprintable or with parts of a code missing is malformed."""
    if not 0 < len(text) <= MAX_LENGTH or not text.isprintable():
        return "malformed"
    if text.startswith(CODE_PREFIX):
        return "code" if _code.fullmatch(text) else "malformed"
    return "badge"


def step_at(now: Millis) -> int:
    """The time step at a moment of Unix milliseconds."""
    return now // (STEP_S * 1000)


def make_code(key: bytes, operator_id: str, step: int) -> str:
    """The operator's code for one step, in force from its begin for 30 s, and taken one step longer."""
    return f"{CODE_PREFIX}{operator_id}/{step}/{_mac(key, operator_id, step)}"


def read_code(text: str) -> Code | None:
    """The parts of a code; None for any other text."""
    found = _code.fullmatch(text)
    return Code(found["operator"], int(found["step"]), found["mac"]) if found else None


def genuine(code: Code, keys: Iterable[bytes]) -> bool:
    """Whether one of the keys made the code."""
    return any(hmac.compare_digest(_mac(key, code.operator_id, code.step), code.mac) for key in keys)


def _mac(key: bytes, operator_id: str, step: int) -> str:
    digest = hmac.digest(key, f"weldgate/code/1\0{step}\0{operator_id}".encode(), sha256)
    return b32encode(digest[:MAC_BYTES]).decode()


def offline_digest(machine_id: str, credential: str) -> str:
    """What stands for a credential on one machine's offline list: 96 bits of a SHA-256, base64url without padding.

    >>> offline_digest("HJ-0001", "P000123")
    'ZjPerJO7FvVxxRAl'
    """
    digest = sha256(f"weldgate/offline/1\0{machine_id}\0{credential}".encode()).digest()
    return urlsafe_b64encode(digest[:12]).decode()


def mask(text: str) -> str:
    """At most two characters at each end, for records: people also scan identity cards by mistake.

    >>> mask("P000123")
    'P0***23'
    """
    return f"{text[:2]}***{text[-2:]}" if len(text) > 6 and text.isprintable() else "***"
