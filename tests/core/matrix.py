"""Reads decision_matrix.toml: each case as a request, facts, a policy and what is expected."""

from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from gateway.core.credential import step_at
from gateway.core.model import (
    Asked,
    Certificate,
    CodeUse,
    Employment,
    Enterprise,
    Facts,
    Hold,
    Machine,
    OpenSession,
    Operator,
    Override,
    Permit,
    Presence,
    WorkHours,
)
from gateway.core.policy import Policy, Rulebook, parse

MATRIX = Path(__file__).with_name("decision_matrix.toml")
REQUEST_ID = "request-00000001"

Fields = dict[str, Any]
Unknown = Literal["unknown"]


class Named(Struct, forbid_unknown_fields=True):
    """Whose session it is, and where."""

    machine_id: str
    operator_id: str


class Overriding(Struct, forbid_unknown_fields=True):
    """What two people approved for this person at this machine, and for how long around now."""

    codes: tuple[str, ...]
    level: Literal["supervisor", "regulator"] = "supervisor"
    since_min: int = -10
    until_min: int = 50


class Shown(Struct, forbid_unknown_fields=True):
    """A genuine rolling code, by how many half minutes it is off, and whether it was shown before."""

    steps_off: int = 0
    used: bool = False


class ByPhone(Struct, forbid_unknown_fields=True):
    """Somebody who has signed in asks: what was heard of the lock last. ``clock_off_s`` is None without a clock."""

    online: bool = True
    challenge: bool = True
    clock_off_s: float | Literal["no clock"] = 0
    unlocked: bool = False


class Row(Struct, forbid_unknown_fields=True, frozen=True):
    """One case as it stands in the file."""

    what: str
    outcome: Literal["allow", "deny"]
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    overridden: tuple[str, ...] = ()
    certificate: str | None = None
    start_by_s: int | None = None
    lease_s: int | None = None
    now: datetime | None = None
    now_ms: int | None = None
    machine: Fields | Unknown = {}
    enterprise: Fields | Unknown = {}
    operator: Fields | Unknown = {}
    certificates: list[Fields] | None = None
    employments: list[Fields] | None = None
    credential: Literal["badge", "code", "session", "malformed", "names nobody"] = "badge"
    malformed: str | None = None
    asked_at: datetime | None = None
    chip_clock: bool = True
    waited_ms: int = 0
    clock_behind_s: int = 0
    chip_reported: str | None = None
    registry_age_s: int | Literal["never"] | None = None
    machine_session: Named | None = None
    operator_session: Named | None = None
    hold: Literal["locked", "out_of_service"] | None = None
    override: Overriding | None = None
    code: Shown | None = None
    by_phone: ByPhone | None = None
    permits: list[Fields] | None = None
    hours: list[Fields] = []
    source_ages: dict[str, int] = {}
    policy: str = ""


class AllGood(Struct, forbid_unknown_fields=True, frozen=True):
    """The case in which nothing is wrong."""

    now: datetime
    machine: Fields
    enterprise: Fields
    operator: Fields
    certificate: Fields
    employment: Fields
    permit: Fields
    chip_reported: str
    registry_age_s: int


class Matrix(Struct, forbid_unknown_fields=True, frozen=True):
    all_good: AllGood
    case: list[Row]


def load() -> Matrix:
    """The whole file; a name that the file must not hold is an error."""
    return msgspec.toml.decode(MATRIX.read_bytes(), type=Matrix)


ALL_GOOD = load().all_good


def millis(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _over(good: Fields, different: Fields) -> Fields:
    """The all-good row with what is different; ``"unknown"`` and an empty text stand for not known."""
    return {key: None if value in ("unknown", "") else value for key, value in (good | different).items()}


def machine(**different: Any) -> Machine:
    return Machine(**_over(ALL_GOOD.machine, different))


def enterprise(**different: Any) -> Enterprise:
    return Enterprise(**_over(ALL_GOOD.enterprise, different))


def operator(**different: Any) -> Operator:
    return Operator(**_over(ALL_GOOD.operator, different))


def certificate(**different: Any) -> Certificate:
    return Certificate(**_over({"reviewed_on": None} | ALL_GOOD.certificate, different))


def employment(**different: Any) -> Employment:
    return Employment(**_over({"until": None} | ALL_GOOD.employment, different))


def permit(**different: Any) -> Permit:
    """``starts_at`` and ``ends_at`` may be given as moments; an empty text stands for any or for not known."""
    fields = _over(ALL_GOOD.permit, different)
    moments = {name: millis(fields[name]) for name in ("starts_at", "ends_at") if isinstance(fields[name], datetime)}
    return Permit(**fields | moments)


def work_hours(**different: Any) -> WorkHours:
    """Hours of the all-good machine's firm: on working days from 8 to 18, at all its machines."""
    firm = {"uscc": ALL_GOOD.machine["uscc"], "machine_id": "", "days": "12345", "starts": "08:00", "ends": "18:00"}
    return WorkHours(**_over(firm, different))


def session(machine_id: str, operator_id: str | None, now: int) -> OpenSession:
    return OpenSession(f"session-{machine_id}", machine_id, operator_id, now + 600_000)


def asked(**different: Any) -> Asked:
    """The all-good request."""
    fields: Fields = {
        "request_id": REQUEST_ID,
        "credential": "P0***23",
        "credential_kind": "badge",
        "challenge": "challenge-1",
        "method": "scan",
        "at": millis(ALL_GOOD.now),
    }
    return Asked(**fields | different)


def facts(**different: Any) -> Facts:
    """The all-good facts."""
    person = operator()
    fields: Fields = {
        "now": millis(ALL_GOOD.now),
        "machine": machine(),
        "chip_reported": ALL_GOOD.chip_reported,
        "enterprise": enterprise(),
        "operator_id": person.operator_id,
        "operator": person,
        "employments": (employment(),),
        "certificates": (certificate(),),
        "registry_age_s": ALL_GOOD.registry_age_s,
        "permits": (permit(),),
    }
    return Facts(**fields | different)


def asked_of(row: Row) -> Asked:
    now = _now(row)
    if row.malformed is not None:
        return Asked(REQUEST_ID, credential="", credential_kind="malformed", challenge="", malformed=row.malformed)
    if row.by_phone is not None:
        challenge = "challenge-1" if row.by_phone.challenge else ""
        return asked(at=None, credential_kind="account", method="phone", challenge=challenge, account_id="account-1")
    at = (millis(row.asked_at) if row.asked_at else now) if row.chip_clock else None
    return asked(at=at, credential_kind="badge" if row.credential == "names nobody" else row.credential)


def facts_of(row: Row) -> Facts:
    now, named = _now(row), row.credential in ("badge", "code", "session") and row.malformed is None
    person: Fields = {"employments": (), "certificates": (), "operator_id": None, "operator": None}
    if named:
        person = {
            "operator_id": ALL_GOOD.operator["operator_id"],
            "operator": None if row.operator == "unknown" else operator(**row.operator),
            "employments": tuple(employment(**one) for one in _or_one(row.employments)),
            "certificates": tuple(certificate(**one) for one in _or_one(row.certificates)),
        }
    chip = ALL_GOOD.chip_reported if row.chip_reported is None else row.chip_reported or None
    age = ALL_GOOD.registry_age_s if row.registry_age_s is None else row.registry_age_s
    return facts(
        now=now,
        waited_ms=row.waited_ms,
        clock_behind_s=row.clock_behind_s,
        machine=None if row.machine == "unknown" else machine(**row.machine),
        enterprise=None if "unknown" in (row.machine, row.enterprise) else enterprise(**_fields(row.enterprise)),
        chip_reported=chip,
        registry_age_s=None if age == "never" else age,
        machine_session=_session(row.machine_session, now),
        operator_session=_session(row.operator_session, now),
        hold=Hold(row.hold, now - 60_000) if row.hold else None,
        override=_override(row.override, now),
        code=CodeUse(step_at(now) + row.code.steps_off, row.code.steps_off, row.code.used) if row.code else None,
        source_ages=tuple(sorted(row.source_ages.items())),
        permits=tuple(permit(**one) for one in _or_one(row.permits)),
        hours=tuple(work_hours(**one) for one in row.hours),
        presence=_presence(row.by_phone),
        **person,
    )


def rulebook_of(row: Row) -> Rulebook:
    return Rulebook(parse(row.policy, row.what) if row.policy else Policy())


def _now(row: Row) -> int:
    return row.now_ms if row.now_ms is not None else millis(row.now or ALL_GOOD.now)


def _fields(row: Fields | Unknown) -> Fields:
    return row if isinstance(row, dict) else {}


def _or_one(rows: list[Fields] | None) -> list[Fields]:
    return [{}] if rows is None else rows


def _session(named: Named | None, now: int) -> OpenSession | None:
    return session(named.machine_id, named.operator_id, now) if named else None


def _presence(phone: ByPhone | None) -> Presence | None:
    if phone is None:
        return None
    off_ms = None if phone.clock_off_s == "no clock" else round(phone.clock_off_s * 1000)
    return Presence(phone.online, off_ms, phone.unlocked)


def _override(given: Overriding | None, now: int) -> Override | None:
    if given is None:
        return None
    since, until = now + given.since_min * 60_000, now + given.until_min * 60_000
    return Override("override-1", given.codes, given.level, since, until)


YESTERDAY = date.fromordinal(ALL_GOOD.now.date().toordinal() - 1)
TOMORROW = date.fromordinal(ALL_GOOD.now.date().toordinal() + 1)
