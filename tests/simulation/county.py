"""The registries as they truly are, their changes, and when what an unlock rests on is over: worked out anew."""

from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any

import msgspec
from msgspec import Struct, field

from gateway.core.model import Certificate, Employment, Enterprise, Machine, Operator
from gateway.core.policy import Policy
from gateway.core.rules import COUNTY_ZONE
from gateway.registry.snapshot import Delta
from gateway.store.readers import Known

USCC = "91330521990000010R"
DIVISION = "330521"
DAY_MS = 86_400_000


class County(Struct):
    """One firm with its machines and welders. ``log`` holds every row that was ever written, with its version."""

    base_ms: int
    machines: dict[str, Machine] = field(default_factory=dict)
    firm: Enterprise = Enterprise(USCC, DIVISION, "active")
    operators: dict[str, Operator] = field(default_factory=dict)
    certificates: dict[str, Certificate] = field(default_factory=dict)
    employments: dict[str, Employment] = field(default_factory=dict)
    version: int = 0
    confirmed_at: int = 0
    log: list[tuple[int, str, Known]] = field(default_factory=list)

    def write(self, wall_ms: int, *rows: tuple[str, Known]) -> None:
        """One import that changes these rows."""
        self.version += 1
        self.confirmed_at = wall_ms
        for table, row in rows:
            self.log.append((self.version, table, row))
            match row:
                case Machine():
                    self.machines[row.machine_id] = row
                case Enterprise():
                    self.firm = row
                case Operator():
                    self.operators[row.operator_id] = row
                case (operator_id, Employment() as employment):
                    self.employments[operator_id] = employment
                case (_, operator_id, Certificate() as certificate):
                    self.certificates[operator_id] = certificate

    def delta(self, since: int) -> Delta:
        """What a gateway reads that knows everything up to a version."""
        batches = [(table, [row]) for version, table, row in self.log if version > since]
        return Delta(self.version, self.confirmed_at, batches)

    # --- what is true ---

    def may_weld(self, operator_id: str, machine_id: str, wall_ms: int) -> bool:
        """Whether the registries let this person use this machine at a moment, sessions left aside."""
        ends = self.ground_ends(operator_id, machine_id)
        return ends is not None and wall_ms < ends

    def ground_ends(self, operator_id: str, machine_id: str) -> int | None:
        """Until when (Unix ms) the registries let this person use this machine; None if they do not at all."""
        machine, operator = self.machines[machine_id], self.operators.get(operator_id)
        certificate, work = self.certificates.get(operator_id), self.employments.get(operator_id)
        if machine.status != "active" or self.firm.status != "active":
            return None
        if operator is None or operator.status != "active" or certificate is None or work is None:
            return None
        if certificate.status != "valid" or certificate.item != machine.process:
            return None
        days = [certificate.valid_until]
        if certificate.review_due is not None and certificate.reviewed_on is None:
            days.append(certificate.review_due)
        if work.until is not None:
            days.append(work.until)
        return min(end_of(day) for day in days)


def end_of(day: date) -> int:
    """The first millisecond after a day of the county."""
    return round(datetime.combine(day + timedelta(days=1), time(), COUNTY_ZONE).timestamp() * 1000)


def make_county(random: Random, base_ms: int, machines: int, people: int) -> County:
    """Some certificates, re-reviews and employments end at a midnight within the next days."""
    county = County(base_ms)
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
    county.write(base_ms, *rows)
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


CHANGES = ("block", "unblock", "revoke", "restore", "leave", "return", "suspend firm", "firm back", "machine", "repair")


def change(county: County, kind: str, number: int, wall_ms: int) -> None:
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
        today = datetime.fromtimestamp(wall_ms / 1000, COUNTY_ZONE).date()
        until = today - timedelta(days=1) if kind == "leave" else None
        row = ("employments", (person, _with(county.employments[person], until=until)))
    elif kind in ("suspend firm", "firm back"):
        row = ("enterprises", _with(county.firm, status="active" if kind == "firm back" else "production_suspended"))
    else:
        row = ("machines", _with(county.machines[machine_id], status="active" if kind == "repair" else "suspended"))
    county.write(wall_ms, row)


def _with(row: Any, **different: Any) -> Any:
    return msgspec.structs.replace(row, **different)


def make_policy(random: Random) -> Policy:
    """Short and long leases, different start-bys."""
    lease_s = random.choice((20, 60, 300, 900, 900, 3600))
    lease = {
        "lease_s": lease_s,
        "start_by_s": random.choice((2, 5, 15, 30)),
        "idle_lock_s": random.choice((60, 300, 900)),
        "drain_deadline_s": random.choice((10, 60, 120)),
    }
    requests = {"max_age_s": 60, "answer_within_s": random.choice((2, 10, 30))}
    return msgspec.convert({"lease": lease, "requests": requests}, Policy)
