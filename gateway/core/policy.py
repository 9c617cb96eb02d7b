"""The policy: how each rule is applied, and the numbers behind the rules. Parsed from TOML, identified by hash."""

import hashlib
import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from gateway.core.documents import Document, DocumentError
from gateway.core.lease import MIN_LEASE_S, USAGE_EVERY_S
from gateway.core.model import Colour, PermitLevel
from gateway.core.reasons import FIXED_CODES, REASONS

Mode = Literal["enforce", "warn", "off"]
MODES: tuple[Mode, ...] = ("enforce", "warn", "off")
MAX_GRACE_DAYS = 366
Clock = Annotated[str, Meta(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)(?!\n)$")]
Seconds = Annotated[int, Meta(ge=1, le=30 * 86_400)]
Days = Annotated[int, Meta(ge=0, le=36_525)]
PermitHours = Annotated[int, Meta(ge=1, le=30 * 24)]
LONGEST_DRAIN_S = 600
"""Longer than any arc: sessions of which nothing is heard are held open so long after their lease."""
DrainSeconds = Annotated[int, Meta(ge=1, le=LONGEST_DRAIN_S)]

GRACE_CODES = ("certificate_expired", "certificate_review_overdue")
OFF_BY_DEFAULT = ("permit_missing", "permit_expired", "outside_permitted_hours")

_TOO_SHORT = (
    f"{{}} s are too short: a lease is renewed on a usage report, before half of it is gone, and chips report every "
    f"{USAGE_EVERY_S} s; use {MIN_LEASE_S} or more"
)


class PolicyError(Exception):
    """The policy document cannot be used; the message names line, key, value and remedy."""


class Lease(Struct, frozen=True, forbid_unknown_fields=True):
    """How long a grant and its lease live, seconds. A new document's ``lease_s`` is 30 at least (see ``parse``).

    ``chip_drain_s``: the longest drain deadline that any chip was provisioned with.
    """

    lease_s: Seconds = 900
    start_by_s: Annotated[int, Meta(ge=1, le=30)] = 30
    idle_lock_s: Seconds = 900
    drain_deadline_s: DrainSeconds = 120
    chip_drain_s: DrainSeconds = 120


class Requests(Struct, frozen=True, forbid_unknown_fields=True):
    """``max_age_s``: older, or that far in the future, is stale. ``answer_within_s``: waited longer is overloaded."""

    max_age_s: Seconds = 60
    answer_within_s: Annotated[int, Meta(ge=1, le=30)] = 10


class Registry(Struct, frozen=True, forbid_unknown_fields=True):
    """``max_age_s``: registries not confirmed for longer are stale (default seven days).

    ``sources``: the same for one source by its name. A source that is named here has to have confirmed at all.
    """

    max_age_s: Seconds = 7 * 86_400
    sources: dict[str, Seconds] = {}


class Credentials(Struct, frozen=True, forbid_unknown_fields=True):
    """Which kinds of credential are accepted: the static ``badge``, the rolling ``code``, and by phone the ``account``
    of who has signed in."""

    kinds: tuple[Literal["badge", "code", "account"], ...] = ("badge", "code", "account")


class Offline(Struct, frozen=True, forbid_unknown_fields=True):
    """Unlocks by a signed list while a chip has no connection. ``for_s``: how long after the last contact; 0 is never.

    ``operators``: how many of the latest welders of a machine its list holds at most; ``recent_days``: who was let in
    there within so many days. ``lease_s``: how long one such unlock lasts.
    """

    for_s: Annotated[int, Meta(ge=0, le=7 * 86_400)] = 0
    operators: Annotated[int, Meta(ge=1, le=40)] = 20
    recent_days: Annotated[int, Meta(ge=1, le=366)] = 30
    lease_s: Seconds = 900


class Hours(Struct, frozen=True, forbid_unknown_fields=True):
    """Permitted hours of the day in the county's time zone, where no registry knows any; ``from`` later than ``until``
    spans midnight."""

    start: Clock = field(default="00:00", name="from")
    until: Clock = "24:00"


class Permits(Struct, frozen=True, forbid_unknown_fields=True):
    """Hot-work permits: the longest that one of each level counts, hours from its start, whatever end it names.

    ``guardian_required``: one without a guardian does not count.
    """

    special_hours: PermitHours = 8
    grade_1_hours: PermitHours = 8
    grade_2_hours: PermitHours = 72
    guardian_required: bool = False

    def longest_hours(self, level: PermitLevel) -> int:
        return {"special": self.special_hours, "grade_1": self.grade_1_hours, "grade_2": self.grade_2_hours}[level]


class Age(Struct, frozen=True, forbid_unknown_fields=True):
    """Completed years of age; ``max_years`` is the last permitted age (statutory ages are in transition)."""

    min_years: Annotated[int, Meta(ge=14, le=100)] = 18
    max_years: Annotated[int, Meta(ge=14, le=100)] = 63


class Colours(Struct, frozen=True, forbid_unknown_fields=True):
    """The colour of a person or firm by how it stands: ``in_order``; ``soon`` where something runs out within
    ``soon_days`` or has to be seen to; ``barred`` where no machine may open; ``none`` without a certificate on record.
    """

    soon_days: Annotated[int, Meta(ge=0, le=366)] = 60
    in_order: Colour = "blue"
    soon: Colour = "yellow"
    barred: Colour = "red"
    none: Colour = "grey"


class Observe(Struct, frozen=True, forbid_unknown_fields=True):
    """``enabled``: nothing but the fixed reasons refuses; every would-be refusal is recorded."""

    enabled: bool = False


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """Days for which things are kept before `weldgate purge` deletes them; 0 is for ever. The ledger is kept for ever
    unless the county decides otherwise."""

    usage_days: Days = 1096
    sessions_days: Days = 1096
    lost_evidence_days: Days = 1096
    offline_lists_days: Days = 1096
    history_days: Days = 1096
    events_days: Days = 1096
    ledger_days: Days = 0


class Scope(Struct, frozen=True, forbid_unknown_fields=True):
    """An override for one division or one enterprise."""

    rules: dict[str, str] = {}
    grace: dict[str, int] = {}
    observe: Observe | None = None


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """One whole policy document. Enterprise overrides beat division overrides beat the base."""

    version: str = "default"
    rules: dict[str, str] = {}
    grace: dict[str, int] = {}
    lease: Lease = Lease()
    requests: Requests = Requests()
    registry: Registry = Registry()
    credentials: Credentials = Credentials()
    offline: Offline = Offline()
    hours: Hours = Hours()
    permits: Permits = Permits()
    age: Age = Age()
    colours: Colours = Colours()
    observe: Observe = Observe()
    retention: Retention = Retention()
    division: dict[str, Scope] = {}
    enterprise: dict[str, Scope] = {}


class Effective(Struct, frozen=True):
    """The modes, grace days and observe flag that hold for one machine."""

    modes: dict[str, str]
    grace: dict[str, int]
    observe: bool


def document(policy: Policy) -> bytes:
    """The canonical document that is stored and hashed (keys sorted, no floats: RFC 8785)."""
    return msgspec.json.encode(policy, order="sorted")


def from_document(raw: bytes) -> Policy:
    return msgspec.json.decode(raw, type=Policy)


def policy_hash(policy: Policy) -> str:
    """SHA-256 of the canonical document, hex."""
    return hashlib.sha256(document(policy)).hexdigest()


class Rulebook:
    """A policy ready for use: its hash, and what holds for each division and enterprise that it names."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.hash = policy_hash(policy)
        self._held: dict[tuple[str | None, str | None], Effective] = {}

    def holds(self, division: str | None, uscc: str | None) -> Effective:
        """What holds for a machine in ``division`` owned by ``uscc``."""
        key = (
            division if division in self.policy.division else None,
            uscc if uscc in self.policy.enterprise else None,
        )
        held = self._held.get(key)
        if held is None:
            held = self._held[key] = _effective(self.policy, *key)
        return held


def _effective(policy: Policy, division: str | None, uscc: str | None) -> Effective:
    modes: dict[str, str] = {code: "off" if code in OFF_BY_DEFAULT else "enforce" for code in REASONS}
    grace = dict.fromkeys(GRACE_CODES, 0)
    observe = policy.observe
    scopes: tuple[Policy | Scope | None, ...] = (
        policy,
        policy.division.get(division or ""),
        policy.enterprise.get(uscc or ""),
    )
    for scope in scopes:
        if scope is not None:
            modes |= scope.rules
            grace |= scope.grace
            observe = scope.observe or observe
    return Effective(modes, grace, observe.enabled)


def parse(text: str, name: str = "policy") -> Policy:
    """A policy from its TOML text; raises PolicyError with the line and the reason."""
    toml = Document(text, name, "docs/policy.md")
    try:
        policy = toml.decode(Policy)
        for path, problem in _problems(policy):
            raise toml.error(path, problem)
    except DocumentError as error:
        raise PolicyError(str(error)) from error
    return policy


def _problems(policy: Policy) -> list[tuple[tuple[str, ...], str]]:
    """Where the document says something that its types alone cannot refuse."""
    found: list[tuple[tuple[str, ...], str]] = []
    for base, scope in _scopes(policy):
        found += [((*base, "rules", code), why) for code, mode in scope.rules.items() if (why := _bad_rule(code, mode))]
        found += [
            ((*base, "grace", code), why) for code, days in scope.grace.items() if (why := _bad_grace(code, days))
        ]
    for division in policy.division:
        if not re.fullmatch(r"[0-9]{6}", division):
            found.append((("division", division), f"{division!r} is no division; use six digits (GB/T 2260)"))
    for uscc in policy.enterprise:
        if not re.fullmatch(r"[0-9A-Z]{18}", uscc):
            found.append((("enterprise", uscc), f"{uscc!r} is no credit code; use 18 characters (GB 32100-2015)"))
    if policy.lease.lease_s < MIN_LEASE_S:
        found.append((("lease", "lease_s"), _TOO_SHORT.format(policy.lease.lease_s)))
    if policy.age.min_years > policy.age.max_years:
        found.append((("age", "min_years"), "min_years is above max_years; lower it"))
    if 0 < policy.retention.sessions_days < policy.offline.recent_days:
        found.append(
            (("retention", "sessions_days"), "is below offline.recent_days, which looks so far back; raise it")
        )
    return found


def _bad_rule(code: str, mode: str) -> str | None:
    if code not in REASONS:
        return f"{code!r} is no reason code; see docs/reasons.md for all codes"
    if mode not in MODES:
        return f"{mode!r} is no mode; use one of {', '.join(MODES)}"
    if code in FIXED_CODES and mode != "enforce":
        return f"{code!r} always refuses; remove the line or set 'enforce'"
    return None


def _bad_grace(code: str, days: int) -> str | None:
    if code not in GRACE_CODES:
        return f"{code!r} has no grace; use one of {', '.join(GRACE_CODES)}"
    if not 0 <= days <= MAX_GRACE_DAYS:
        return f"{days} days are out of range; use 0 to {MAX_GRACE_DAYS}"
    return None


def _scopes(policy: Policy) -> list[tuple[tuple[str, ...], Policy | Scope]]:
    return [
        ((), policy),
        *((("division", key), scope) for key, scope in policy.division.items()),
        *((("enterprise", key), scope) for key, scope in policy.enterprise.items()),
    ]
