"""A made-up county, city or province as registry files, the same for the same seed and day.

Nobody in it can be mistaken for a real person or firm: area codes 99…, phone numbers 129…, names 样例….
"""

import random
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from msgspec import Struct
from stdnum.cn import ric, uscc

Row = tuple[Any, ...]
"""One row in the order of the file's columns in ``gateway.registry.columns``; None = unknown."""


class Profile(Struct, frozen=True):
    """How large a sample is. ``certified`` people are in order; ``troubled`` ones come on top; ``second_items`` is
    the share of certified people who hold one certificate more than their work needs."""

    divisions: tuple[str, ...]
    enterprises: int
    machines: int
    certified: int
    troubled: int
    second_items: float


def _province_divisions() -> tuple[str, ...]:
    counties = ("02", "03", "04", "05", "21", "22", "23", "81")
    return tuple(f"33{prefecture:02}{county}" for prefecture in range(1, 12) for county in counties)


PROFILES = {
    "county": Profile(("330521",), 660, 1_603, 1_360, 204, 0.12),
    "city": Profile(("330502", "330503", "330521", "330522", "330523"), 13_000, 30_000, 23_500, 3_500, 0.15),
    "province": Profile(_province_divisions(), 60_000, 150_000, 435_000, 65_000, 0.48),
}

PROCESSES = ("fusion", "pressure", "brazing")
_PROCESS_WEIGHTS = (92, 5, 3)
_TROUBLES = {
    "expired": 20,
    "review_overdue": 20,
    "employment_ended": 12,
    "not_employed": 10,
    "wrong_item": 10,
    "no_certificate": 8,
    "unverified": 6,
    "counterfeit": 4,
    "suspended": 3,
    "not_yet_valid": 3,
    "revoked": 2,
    "blocked": 2,
}
"""What is wrong with the troubled, with weights; the first twelve of a division show one each."""
_STOPPED_FIRMS = {50: "production_suspended", 120: "licence_suspended", 250: "closed"}
"""Every 330th firm has this status, counted from here: about one in a hundred stands still."""
_STOPPED_MACHINES = {40: "suspended", 90: "decommissioned"}
"""Every 160th machine has this status, counted from here."""
_PERMITTED_FIRM, _FIRM_WITH_HOURS = 10, 12
"""Every so many-th firm welds by permit, or at certain hours."""
_LEVELS = ("special", "grade_1", "grade_2")
_TRADES = ("机械制造", "钢结构", "压力容器", "船舶配件", "汽车零部件", "建筑安装", "家具五金", "管道工程")
_FAMILIES = "甲乙丙丁戊己庚辛壬癸"
_CATEGORY = "焊接与热切割作业"
_AUTHORITY = "样例应急管理局"
_VALID_YEARS, _REVIEW_YEARS = 6, 3
_YOUNGEST, _OLDEST = 26, 55
"""Years of age: whose certificate expired up to two years ago got it at 18 or later."""


class Firm(Struct):
    """A firm with its serial number in the division, and the processes and ids of its machines."""

    serial: int
    code: str
    processes: list[str]
    machines: list[str] = []


class Person(Struct, frozen=True):
    operator_id: str
    id_number: str


class Tables(Struct):
    """The files' rows of one division."""

    enterprises: list[Row] = []
    operators: list[Row] = []
    certificates: list[Row] = []
    employments: list[Row] = []
    machines: list[Row] = []
    permits: list[Row] = []
    work_hours: list[Row] = []


def generate(profile: Profile, seed: int, today: date) -> Iterator[Tables]:
    """The sample division by division, so that a province never stands in memory."""
    for place in range(len(profile.divisions)):
        yield Division(profile, place, random.Random(f"{seed}/{place}"), today).build()  # noqa: S311  # not a secret


def shares(total: int, parts: int) -> list[int]:
    """``total`` in ``parts`` whole shares that differ by at most one.

    >>> shares(7, 3)
    [3, 2, 2]
    """
    return [total // parts + (part < total % parts) for part in range(parts)]


def years_after(day: date, years: int) -> date:
    """The same day years later (or earlier); 29 February becomes 28 February where there is none."""
    leap = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year + years, day=28 if leap else day.day)


class Division:
    """One division of a sample, drawn with its own random numbers."""

    def __init__(self, profile: Profile, place: int, rng: random.Random, today: date) -> None:
        self.code, self.place, self.rng, self.today = profile.divisions[place], place, rng, today
        parts = len(profile.divisions)
        self.firm_count, self.machine_count, self.certified, self.troubled = (
            shares(total, parts)[place]
            for total in (profile.enterprises, profile.machines, profile.certified, profile.troubled)
        )
        self.second_items = profile.second_items
        self.first_birth = years_after(today, -_OLDEST)
        self.birth_days = (years_after(today, -_YOUNGEST) - self.first_birth).days
        self.birth_offset = rng.randrange(self.birth_days)
        self.people = 0
        self.tables = Tables()

    def build(self) -> Tables:
        firms = [self._firm(serial) for serial in range(1, self.firm_count + 1)]
        self._machines(firms)
        for firm, places in zip(firms, self._spread(firms, self.certified), strict=True):
            self._rules_of_work(firm, self._staff(firm, places))
        choosy = [firm for firm in firms if len(set(firm.processes)) < len(PROCESSES)]
        for number in range(self.troubled):
            self._trouble(self._which_trouble(number), self.rng.choice(choosy))
        return self.tables

    # --- firms and machines -------------------------------------------------------------------------------------

    def _firm(self, serial: int) -> Firm:
        body = f"9199{self.place:04}{serial:09}"
        code = body + uscc.calc_check_digit(body)
        name = f"样例{_TRADES[serial % len(_TRADES)]}企业{serial:04}号"
        self.tables.enterprises.append((code, name, self.code, _STOPPED_FIRMS.get(serial % 330, "active")))
        return Firm(serial, code, [])

    def _spread(self, firms: Sequence[Firm], total: int) -> list[int]:
        """``total`` over the firms: each one first, as far as they go, then more to those with more machines."""
        spread = [int(place < total) for place in range(len(firms))]
        weights = [1 + 3 * len(firm.processes) for firm in firms]
        for place in self.rng.choices(range(len(firms)), weights, k=max(0, total - len(firms))):
            spread[place] += 1
        return spread

    def _machines(self, firms: Sequence[Firm]) -> None:
        """Few firms have many machines: the weights fall off like a Pareto distribution."""
        counts = [int(place < self.machine_count) for place in range(len(firms))]
        weights = [self.rng.paretovariate(1.5) for _ in firms]
        for place in self.rng.choices(range(len(firms)), weights, k=max(0, self.machine_count - len(firms))):
            counts[place] += 1
        for firm, count in zip(firms, counts, strict=True):
            for number in range(1, count + 1):
                self._machine(firm, number)

    def _machine(self, firm: Firm, number: int) -> None:
        serial = len(self.tables.machines) + 1
        process = self.rng.choices(PROCESSES, _PROCESS_WEIGHTS)[0]
        firm.processes.append(process)
        chip = f"WG-{self.code}-{serial:05}" if self.rng.random() < 0.97 else None
        location = f"{1 + (number - 1) // 6}号车间{1 + (number - 1) % 6}号工位"
        status = _STOPPED_MACHINES.get(serial % 160, "active")
        machine_id = f"HJ-{self.code}-{serial:05}"
        firm.machines.append(machine_id)
        self.tables.machines.append((machine_id, chip, firm.code, process, self.code, location, status))

    # --- permits and hours --------------------------------------------------------------------------------------

    def _rules_of_work(self, firm: Firm, staff: Sequence[str]) -> None:
        """Some firms weld by permit today, some at certain hours."""
        if firm.serial % _PERMITTED_FIRM == 0 and firm.machines and staff:
            self._permit(firm, staff)
        if firm.serial % _FIRM_WITH_HOURS == 0:
            self.tables.work_hours.append((firm.code, None, "123456", "06:00", "22:00"))
            for machine_id in firm.machines[1:2]:
                self.tables.work_hours.append((firm.code, machine_id, "1234567", "20:00", "04:00"))

    def _permit(self, firm: Firm, staff: Sequence[str]) -> None:
        """Today's permit for the first machine and welder, guarded by a colleague where there is one."""
        level = _LEVELS[firm.serial // _PERMITTED_FIRM % len(_LEVELS)]
        guardian = staff[1] if len(staff) > 1 else f"样例监护人{firm.serial:04}"
        begins, ends = f"{self.today} 08:00", f"{self.today} 16:00"
        number = f"DH-{self.code}-{self.today:%y%m%d}-{len(self.tables.permits) + 1:04}"
        self.tables.permits.append(
            (number, firm.code, staff[0], firm.machines[0], level, guardian, begins, ends, "approved")
        )

    # --- people in order ----------------------------------------------------------------------------------------

    def _staff(self, firm: Firm, places: int) -> list[str]:
        """People in order, who together hold every item that the firm's machines need."""
        staff = []
        needed = sorted(set(firm.processes), key=PROCESSES.index) or ["fusion"]
        for number in range(places):
            person = self._person()
            staff.append(person.operator_id)
            items = needed[number::places] or [self.rng.choice(needed)]
            if self.rng.random() < self.second_items:
                items += [item for item in PROCESSES if item not in items][:1]
            self._in_order(person, items)
            self._employed(person, firm)
            if self.rng.random() < 0.08:
                self._former(person)
        return staff

    def _person(self, status: str = "active") -> Person:
        """Somebody with an ID number of their own: the birthday goes round, the order code counts the rounds."""
        self.people += 1
        turn = (self.people * 7919 + self.birth_offset) % self.birth_days
        born = self.first_birth + timedelta(days=turn)
        body = f"99{self.place:04}{born:%Y%m%d}{1 + self.people // self.birth_days:03}"
        person = Person(f"P{self.code}-{self.people:05}", body + ric.calc_check_digit(body + "0"))
        name = f"样例{_FAMILIES[self.people % len(_FAMILIES)]}{self.people:04}"
        phone = f"129{self.place:03}{self.people:05}" if self.rng.random() < 0.95 else None
        self.tables.operators.append((person.operator_id, name, person.id_number, phone, status))
        return person

    def _in_order(self, person: Person, items: Sequence[str], verification: str = "verified") -> None:
        issued = self.today - timedelta(days=self.rng.randrange(1, 365 * _VALID_YEARS))
        for item in items:
            self._certificate(person, item, issued, verification=verification)

    def _certificate(
        self,
        person: Person,
        item: str,
        issued: date,
        *,
        begins: date | None = None,
        reviewed: bool = True,
        status: str = "valid",
        verification: str = "verified",
    ) -> None:
        """Six years from ``begins`` (else the day of issue), with the re-review after three."""
        begins = begins or issued
        until = years_after(begins, _VALID_YEARS) - timedelta(days=1)
        due = years_after(begins, _REVIEW_YEARS)
        done = due - timedelta(days=self.rng.randrange(1, 60)) if reviewed and due <= self.today else None
        number = f"T{person.id_number}"
        self.tables.certificates.append(
            (
                number,
                person.operator_id,
                _CATEGORY,
                item,
                issued,
                begins,
                until,
                due,
                done,
                _AUTHORITY,
                status,
                verification,
            )
        )

    def _employed(self, person: Person, firm: Firm, until: date | None = None) -> None:
        since = (until or self.today) - timedelta(days=self.rng.randrange(5, 730))
        self.tables.employments.append((person.operator_id, firm.code, since, until))

    def _former(self, person: Person) -> None:
        """An earlier employer, left before the present job: welders move between firms."""
        _, present, since, _ = self.tables.employments[-1]
        code = self.rng.choice(self.tables.enterprises)[0]
        if code != present:
            left = since - timedelta(days=self.rng.randrange(1, 60))
            began = left - timedelta(days=self.rng.randrange(90, 900))
            self.tables.employments.append((person.operator_id, code, began, left))

    # --- people with a trouble ----------------------------------------------------------------------------------

    def _which_trouble(self, number: int) -> str:
        names = list(_TROUBLES)
        return names[number] if number < len(names) else self.rng.choices(names, list(_TROUBLES.values()))[0]

    def _trouble(self, trouble: str, firm: Firm) -> None:
        person = self._person("blocked" if trouble == "blocked" else "active")
        if trouble == "employment_ended":
            self._employed(person, firm, self.today - timedelta(days=self.rng.randrange(1, 400)))
        elif trouble != "not_employed":
            self._employed(person, firm)
        if trouble != "no_certificate":
            self._troubled_certificate(person, trouble, firm)

    def _troubled_certificate(self, person: Person, trouble: str, firm: Firm) -> None:
        item = self.rng.choice(firm.processes or ["fusion"])
        days = self.rng.randrange
        if trouble == "expired":
            issued = years_after(self.today, -_VALID_YEARS) - timedelta(days=days(0, 700))
            self._certificate(person, item, issued)
        elif trouble == "review_overdue":
            issued = years_after(self.today, -_REVIEW_YEARS) - timedelta(days=days(1, 1000))
            self._certificate(person, item, issued, reviewed=False)
        elif trouble == "not_yet_valid":
            begins = self.today + timedelta(days=days(5, 40))
            self._certificate(person, item, self.today - timedelta(days=days(1, 10)), begins=begins)
        elif trouble in ("suspended", "revoked"):
            self._certificate(person, item, self.today - timedelta(days=days(1, 1000)), status=trouble)
        elif trouble in ("unverified", "counterfeit"):
            self._in_order(person, [item], verification=trouble)
        elif trouble == "wrong_item":
            self._in_order(person, [next(other for other in reversed(PROCESSES) if other not in firm.processes)])
        else:
            self._in_order(person, [item])
