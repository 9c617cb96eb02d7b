"""Who may sign in as what, which secrets do, and how long somebody waits who guesses. Pure."""

import re
from itertools import pairwise
from typing import Literal, get_args

from msgspec import Struct

from gateway.core.model import Millis
from gateway.core.reach import EVERYWHERE, Reach

Role = Literal["welder", "firm", "regulator", "gateway_operator", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)
STAFF: tuple[Role, ...] = ("firm", "regulator", "gateway_operator", "auditor")
"""They sign in with a name and a password; a welder does with a telephone number and a PIN."""

LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{2,31}")
PIN = re.compile(r"\d{6}")
SHORTEST_PASSWORD, LONGEST_PASSWORD = 12, 128
"""NIST SP 800-63B, 5.1.1.2: length counts, and rules about kinds of characters do not help."""
FREE_FAILURES = 5
"""Wrong secrets in a row before an account has to wait: with six digits, a guesser has one chance in 200,000."""
FIRST_WAIT_MS, LONGEST_WAIT_MS = 60_000, 86_400_000
MINUTE_MS = 60_000
CODE_LASTS_MS = 7 * 86_400_000
"""How long the code for a first sign-in can be used."""


class Lifetime(Struct, frozen=True):
    """Of a session: in all, and without a request."""

    whole_ms: Millis
    idle_ms: Millis


WELDER_LIFETIME = Lifetime(30 * 86_400_000, 14 * 86_400_000)
"""A welder has it in a pocket: the phone's own lock guards it, and every unlock is decided anew."""
STAFF_LIFETIME = Lifetime(12 * 3_600_000, 3_600_000)


def lifetime(role: Role) -> Lifetime:
    return WELDER_LIFETIME if role == "welder" else STAFF_LIFETIME


class Account(Struct, frozen=True):
    """An account as it is kept. ``secret`` is an argon2id hash, None before the first sign-in; ``code`` the SHA-256 of
    the code for that, which holds until ``code_until``. ``failures`` counts wrong secrets in a row."""

    account_id: str
    role: Role
    login: str
    name: str
    reach: Reach
    secret: str | None
    code: str | None
    code_until: Millis | None
    failures: int
    failed_at: Millis | None
    made_at: Millis
    disabled_at: Millis | None

    def waits_until(self) -> Millis:
        """Until when no secret is looked at, whether right or wrong; 0 where it need not wait."""
        if self.failures < FREE_FAILURES or self.failed_at is None:
            return 0
        doubled = FIRST_WAIT_MS << min(self.failures - FREE_FAILURES, 12)
        return self.failed_at + min(doubled, LONGEST_WAIT_MS)


def reach_of(role: Role, where: str) -> Reach:
    """What a new account of this role sees: a firm's by its credit code, a welder's by the person's number, a
    regulator's and an auditor's by a division prefix, a gateway operator's everything."""
    match role:
        case "welder":
            return Reach(operator_id=where)
        case "firm":
            return Reach(uscc=where)
        case "gateway_operator":
            return EVERYWHERE
        case _:
            return Reach(division=where)


def weak_pin(pin: str) -> bool:
    """Whether it is no PIN, or one that is guessed first: one digit, or digits that count up or down.

    >>> [weak_pin(pin) for pin in ("111111", "123456", "987654", "19073", "190734")]
    [True, True, True, True, False]
    """
    if not PIN.fullmatch(pin):
        return True
    return {int(after) - int(before) for before, after in pairwise(pin)} in ({0}, {1}, {-1})


def weak_password(password: str, login: str) -> bool:
    """Whether it is too short or too long, has fewer than five different characters, or holds the login."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        return True
    return len(set(password)) < 5 or login.lower() in password.lower()


class Provider(Struct, frozen=True):
    """Who vouches for people, as whom we ask there, and which claim is the login of an account here."""

    issuer: str
    client_id: str
    client_secret: str
    claim: str
