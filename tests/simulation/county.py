"""Registries and orders as they truly are, their changes, and until when an unlock has its ground: worked out anew."""

from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.core.model import Certificate, Control, Employment, Enterprise, Machine, Operator, Override
from gateway.core.policy import Policy
from gateway.core.rules import COUNTY_ZONE
from gateway.registry.snapshot import Delta
from gateway.store.readers import Gone, Known

USCC = "91330521990000010R"
DIVISION = "330521"
DAY_MS = 86_400_000
OVERRIDABLE = ("operator_in_session", "machine_in_session", "employment_ended", "outside_permitted_hours")
NEVER = 1 << 60


class County(Struct):
    """One firm with its machines and welders. ``log`` holds every row that was ever written, with its version;
    ``touches`` when (milliseconds of the run) something was last changed about a person, machine, session or the firm.
    """

    base_ms: int
    policy: Policy
    machines: dict[str, Machine] = field(default_factory=dict)
    firm: Enterprise = Enterprise(USCC, DIVISION, "active")
    operators: dict[str, Operator] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    employments: dict[str, Employment] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    ended_sessions: set[str] = field(default_factory=set)
    overrides: dict[tuple[str, str], Override] = field(default_factory=dict)
    version: int = 0
    confirmed_at: int = 0
    log: list[tuple[int, str, Known]] = field(default_factory=list)
    touches: dict[str, int] = field(default_factory=dict)

    def write(self, now: int, *rows: tuple[str, Known]) -> None:
        """One change of these rows at a moment of the run."""
        self.version += 1
        self.confirmed_at = self.base_ms + now
        for table, row in rows:
            self.log.append((self.version, table, row))
            for touched in self._take(row):
                self.touches[touched] = now

    def _take(self, row: Known) -> tuple[str, ...]:
        """Take a row over; whom it is about."""
        match row:
            case Machine():
                self.machines[row.machine_id] = row
                return (row.machine_id,)
            case Enterprise():
                self.firm = row
                return (row.uscc,)
            case Operator():
                self.operators[row.operator_id] = row
                return (row.operator_id,)
            case Control():
                return self._order(row)
            case (operator_id, Employment() as employment):
                self.employments[operator_id] = employment
                return (operator_id,)
            case (_, operator_id, Certificate() as certificate):
                self.certificates[operator_id] = certificate
                return (operator_id,)
        raise AssertionError(f"{type(row).__name__} is no row of a registry")

    def _order(self, order: Control) -> tuple[str, ...]:
        machine_id, person = order.machine_id or "", order.operator_id or ""
        if order.act in ("lock", "out_of_service"):
            self.held.add(machine_id)
        elif order.act == "release":
            self.held.discard(machine_id)
        elif order.act == "end_session":
            self.ended_sessions.add(order.session_id or "")
        elif order.act == "override_approved":
            until = order.until or order.at
            self.overrides[machine_id, person] = Override(order.control_id, order.codes, "supervisor", order.at, until)
        elif order.act == "override_ended":
            self.overrides.pop((machine_id, person), None)
        return (machine_id, order.session_id or "")

    def confirm(self, now: int) -> None:
        """A source says that all is as it was."""
        self.confirmed_at = self.base_ms + now

    def adopt(self, policy: Policy, now: int) -> None:
        """Another policy holds: for everybody."""
        self.policy = policy
        self.touches[USCC] = now

    def delta(self, since: int) -> Delta:
        """What a gateway reads that knows everything up to a version."""
        rows: list[Known | Gone] = [row for version, _, row in self.log if version > since]
        return Delta(self.version, self.confirmed_at, rows)

    # --- what is true ---

    def touched(self, *names: str) -> int:
        """When something was last changed about one of these, or the firm."""
        return max(self.touches.get(name, 0) for name in (*names, USCC))

    def ground_ends(self, operator_id: str, machine_id: str, wall_ms: int) -> int | None:
        """Until when (Unix ms) this person may use this machine as things stand; None if not even now. Sessions are
        left aside."""
        machine, operator = self.machines[machine_id], self.operators.get(operator_id)
        certificate, work = self.certificates.get(operator_id), self.employments.get(operator_id)
        if machine.status != "active" or self.firm.status != "active" or machine_id in self.held:
            return None
        if operator is None or operator.status != "active" or certificate is None or work is None:
            return None
        if certificate.status != "valid" or certificate.item != machine.process:
            return None
        ends = [end_of(certificate.valid_until)]
        if certificate.review_due is not None and certificate.reviewed_on is None:
            ends.append(end_of(certificate.review_due))
        over = self.overrides.get((machine_id, operator_id))
        until = over.until if over is not None and over.since <= wall_ms < over.until else 0
        ends.append(max(until, NEVER if work.until is None else end_of(work.until)))
        ends.append(max(until, self._hours_end(wall_ms)))
        return min(ends) if min(ends) > wall_ms else None

    def _hours_end(self, wall_ms: int) -> int:
        """The end of the permitted hours that a moment lies in, 0 outside."""
        if self.policy.rules.get("outside_permitted_hours") != "enforce":
            return NEVER
        local = datetime.fromtimestamp(wall_ms / 1000, COUNTY_ZONE)
        begin, end = (int(clock[:2]) for clock in (self.policy.hours.start, self.policy.hours.until))
        midnight = round(local.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)
        return midnight + end * 3_600_000 if begin <= local.hour < end else 0


def end_of(day: date) -> int:
    """The first millisecond after a day of the county."""
    return round(datetime.combine(day + timedelta(days=1), time(), COUNTY_ZONE).timestamp() * 1000)


def make_county(random: Random, base_ms: int, policy: Policy, machines: int, people: int) -> County:
    """Some certificates, re-reviews and employments end at a midnight within the next days."""
    county = County(base_ms, policy)
    today = datetime.fromtimestamp(base_ms / 1000, COUNTY_ZONE).date()
    rows: list[tuple[str, Known]] = [("enterprises", county.firm)]
    for number in range(machines):
        serial = f"CHIP-{number}" if random.random() < 0.8 else None
        rows.append(("machines", Machine(f"HJ-{number:04}", serial, USCC, "fusion", DIVISION, "active")))
    for number in range(people):
        operator_id = f"P{number:06}"
        rows.append(("operators", Operator(operator_id, date(1985, 1, 1), "active")))
        rows.append(("certificates", (f"index-{number}", operator_id, _certificate(random, number, today))))
        until = _soon(random, today) if random.random() < 0.2 else None
        rows.append(("employments", (operator_id, Employment(USCC, date(2020, 1, 1), until))))
    county.write(0, *rows)
    return county


def _certificate(random: Random, number: int, today: date) -> Certificate:
    far = today + timedelta(days=900)
    valid_until = _soon(random, today) if random.random() < 0.25 else far
    review_due = _soon(random, today) if random.random() < 0.2 else far
    return Certificate(
        f"ref-{number}", "T***1", "fusion", date(2020, 1, 1), valid_until, review_due, None, "valid", "verified"
    )


def _soon(random: Random, today: date) -> date:
    return today + timedelta(days=random.randrange(-1, 3))


# --- changes ----------------------------------------------------------------------------------------------------

REGISTRY_CHANGES = (
    ("block", "unblock"),
    ("revoke", "restore"),
    ("leave", "return"),
    ("suspend firm", "firm back"),
    ("suspend machine", "machine back"),
)
ORDERS = (("lock", "release"), ("out_of_service", "release"), ("end_session", ""), ("override", ""))


def change(county: County, kind: str, number: int, now: int) -> None:
    """One change of the registries, about the person or machine of a number."""
    people, machines = sorted(county.operators), sorted(county.machines)
    person, machine_id = people[number % len(people)], machines[number % len(machines)]
    row: tuple[str, Known]
    if kind in ("block", "unblock"):
        row = ("operators", _with(county.operators[person], status="blocked" if kind == "block" else "active"))
    elif kind in ("revoke", "restore"):
        status = "revoked" if kind == "revoke" else "valid"
        certificate = _with(county.certificates[person], status=status)
        row = ("certificates", (f"index-{int(person[1:])}", person, certificate))
    elif kind in ("leave", "return"):
        today = datetime.fromtimestamp((county.base_ms + now) / 1000, COUNTY_ZONE).date()
        until = today - timedelta(days=1) if kind == "leave" else None
        row = ("employments", (person, _with(county.employments[person], until=until)))
    elif kind in ("suspend firm", "firm back"):
        row = ("enterprises", _with(county.firm, status="active" if kind == "firm back" else "production_suspended"))
    else:
        status = "suspended" if kind == "suspend machine" else "active"
        row = ("machines", _with(county.machines[machine_id], status=status))
    county.write(now, row)


def order(county: County, kind: str, number: int, now: int, session_id: str | None) -> None:
    """One order of an authorised person: about a machine, its session, or a person at it."""
    people, machines = sorted(county.operators), sorted(county.machines)
    person, machine_id = people[number % len(people)], machines[number % len(machines)]
    at = county.base_ms + now
    control = Control(f"control-{county.version}", at, "lock", "supervisor", "simulated", machine_id=machine_id)
    if kind == "override":
        lasts_ms = 60_000 * (5 + number % 60)
        control = _with(control, act="override_approved", operator_id=person, level="supervisor")
        control = _with(control, codes=OVERRIDABLE, until=at + lasts_ms, override_id=control.control_id)
    elif kind == "end_session":
        control = _with(control, act=kind, session_id=session_id or "session-unknown")
    else:
        control = _with(control, act=kind)
    county.write(now, ("controls", control))


def _with(row: Any, **different: Any) -> Any:
    return msgspec.structs.replace(row, **different)


def make_policy(random: Random) -> Policy:
    """Short and long leases, different start-bys, sometimes permitted hours."""
    lease = {
        "lease_s": random.choice((20, 60, 300, 900, 900, 3600)),
        "start_by_s": random.choice((2, 5, 15, 30)),
        "idle_lock_s": random.choice((60, 300, 900)),
        "drain_deadline_s": random.choice((10, 60, 120)),
    }
    requests = {"max_age_s": 60, "answer_within_s": random.choice((2, 10, 30))}
    document: dict[str, Any] = {"lease": lease, "requests": requests}
    if random.random() < 0.2:
        document["rules"] = {"outside_permitted_hours": "enforce"}
        document["hours"] = {"from": "06:00", "until": random.choice(("17:00", "20:00", "22:00"))}
    if random.random() < 0.4:
        for_s, lease_s = random.choice((1_200, 7_200, 50_000)), random.choice((60, 600))
        document["offline"] = {"for_s": for_s, "lease_s": lease_s, "operators": random.choice((2, 20))}
    if random.random() < 0.4:
        document["registry"] = {"max_age_s": random.choice((600, 3_600))}
    return msgspec.convert(document, Policy)


def later_policy(random: Random, first: Policy) -> Policy:
    """What may hold later in the same run: other bounds and hours, the same sources and lists."""
    return msgspec.structs.replace(make_policy(random), offline=first.offline, registry=first.registry)
