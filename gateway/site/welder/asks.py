"""The one-time id of a press of the button. Pure.

It is made with the page, so that a second tap, a repeated form or an impatient browser ask the same once more; it is
bound to the sign-in and the machine, so that nobody asks with an id that another request has; and it is old after a
while, so that a page which was kept, or a form which was held back on its way, unlocks nothing.
"""

import hashlib
import hmac
import re
import secrets

from gateway.core.model import Millis

LASTS_MS = 300_000
"""From the page to the press: long enough to put the gloves on, short enough that whoever presses stands there."""
CLOCKS_DIFFER_MS = 5_000
"""Another gateway, whose clock is ahead, may have made the page."""
_NONCE_BYTES, _MAC_CHARACTERS = 8, 20
_id = re.compile(r"phone-(?P<at>[0-9a-f]{1,12})-(?P<nonce>[0-9a-f]{16})-(?P<mac>[0-9a-f]{20})")


def new_id(form_token: str, machine_id: str, now: Millis) -> str:
    """An id as the protocol has them, with the moment of the page in it."""
    at, nonce = f"{now // 1000:x}", secrets.token_hex(_NONCE_BYTES)
    return f"phone-{at}-{nonce}-{_mac(form_token, machine_id, at, nonce)}"


def may_ask(request_id: str, form_token: str, machine_id: str, now: Millis) -> bool:
    """INVARIANT: only an id that a page of this sign-in got for this machine, and not long ago."""
    found = _id.fullmatch(request_id)
    if found is None:
        return False
    at, nonce, mac = found.groups()
    made_at = int(at, 16) * 1000
    fresh = made_at - CLOCKS_DIFFER_MS <= now <= made_at + LASTS_MS
    return fresh and hmac.compare_digest(_mac(form_token, machine_id, at, nonce), mac)


def _mac(form_token: str, machine_id: str, at: str, nonce: str) -> str:
    digest = hmac.digest(form_token.encode(), f"weldgate/ask/1\0{machine_id}\0{at}\0{nonce}".encode(), hashlib.sha256)
    return digest.hex()[:_MAC_CHARACTERS]
