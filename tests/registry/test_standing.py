"""The people and firms of the registries in memory: who stands how, and what runs out at which firm."""

from datetime import date, timedelta

import pytest

from gateway.core.model import Certificate, Employment, Enterprise, Operator, Process
from gateway.core.policy import Policy, Rulebook
from gateway.registry.expiring import NO_FIRM, expiring
from gateway.registry.snapshot import Delta, Snapshot
from gateway.registry.standing import firm_in, person_in, staff_on
from gateway.store.readers import Known
from tests.registry.people import FIRM, OTHER_FIRM

TODAY = date(2026, 6, 15)
DEFAULT = Rulebook(Policy())
LONG_AGO, FAR = date(2023, 1, 1), date(2030, 1, 1)


def ahead(days: int) -> date:
    return TODAY + timedelta(days=days)


def held(by: str, until: date = FAR, item: Process = "fusion", **other: date) -> tuple[str, str, Certificate]:
    ref = f"{by}-{item[0]}"
    due, done = other.get("review_due"), None
    return ref, by, Certificate(ref, "****000X", item, LONG_AGO, until, due, done, "valid", "verified")


def employed(who: str, uscc: str = FIRM, since: date = LONG_AGO, until: date | None = None) -> Known:
    return who, Employment(uscc, since, until)


def known(*rows: Known) -> Snapshot:
    """A snapshot of two firms, the people A to D and these rows."""
    firms = [Enterprise(FIRM, "330521", "active"), Enterprise(OTHER_FIRM, "330521", "active")]
    people = [Operator(who, date(1990, 1, 1), "active") for who in "ABCD"]
    snapshot = Snapshot()
    snapshot.apply(Delta(1, 0, [*firms, *people, *rows]))
    return snapshot


def test_the_staff_of_a_firm_are_those_whom_it_employs_today() -> None:
    snapshot = known(
        employed("A"),
        employed("B", until=ahead(-1)),
        employed("C", since=ahead(1)),
        employed("D", OTHER_FIRM),
    )
    assert staff_on(snapshot, FIRM, TODAY) == ["A"]
    assert staff_on(snapshot, FIRM, ahead(-1)) == ["A", "B"]
    assert staff_on(snapshot, FIRM, ahead(1)) == ["A", "C"]
    assert staff_on(snapshot, "NOBODY", TODAY) == []


def test_whoever_is_employed_twice_by_a_firm_is_one_of_its_people_once() -> None:
    snapshot = known(employed("A", until=ahead(-100)), employed("A", since=ahead(-50)), employed("A", OTHER_FIRM))
    assert snapshot.employees_of(FIRM) == ["A"]
    assert snapshot.employees_of(OTHER_FIRM) == ["A"]


def test_a_firm_knows_who_comes_with_a_later_version() -> None:
    snapshot = known(employed("A"))
    snapshot.apply(Delta(2, 0, [employed("A", until=ahead(5)), employed("B")]))
    assert snapshot.employees_of(FIRM) == ["A", "B"]


def test_a_firm_stands_by_its_present_people() -> None:
    snapshot = known(
        *(employed(who) for who in "ABC"),
        employed("D", until=ahead(-1)),
        held("A"),
        held("B", ahead(30)),
        held("D", ahead(-30)),
    )
    firm, people = firm_in(snapshot, FIRM, DEFAULT, TODAY)
    assert (firm.colour, firm.people) == ("yellow", {"blue": 1, "yellow": 1, "grey": 1})
    assert {who: standing.colour for who, standing in people.items()} == {"A": "blue", "B": "yellow", "C": "grey"}
    assert firm.worst == "C"


def test_a_person_whom_no_registry_names_has_nothing_on_record() -> None:
    person = person_in(known(), "E")
    assert (person.operator, person.certificates, person.employments) == (None, (), ())


# --- what runs out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "found"), [(30, "A"), (60, "AB"), (90, "ABC")])
def test_who_runs_out_within_so_many_days(days: int, found: str) -> None:
    snapshot = known(
        *(employed(who) for who in "ABCD"),
        held("A", ahead(30)),
        held("B", FAR, review_due=ahead(60)),
        held("C", ahead(90)),
        held("D", ahead(91)),
    )
    listed = expiring(snapshot, FIRM, DEFAULT, TODAY, days)
    assert "".join(expiry.operator_id for expiry in listed) == found
    assert all((expiry.last_day - TODAY).days == expiry.days_left <= days for expiry in listed)


def test_what_runs_out_is_named_with_its_last_day_and_no_number() -> None:
    snapshot = known(employed("A", until=ahead(10)), held("A", ahead(30), review_due=ahead(20)))
    first, second, third = expiring(snapshot, FIRM, DEFAULT, TODAY, 30)
    assert (first.code, first.last_day, first.number) == ("employment_ends_soon", ahead(10), None)
    assert (second.code, second.last_day, second.item) == ("review_due_soon", ahead(20), "fusion")
    assert (third.code, third.days_left, third.number) == ("certificate_expires_soon", 30, "****000X")
    assert third.certificate == "A-f"


def test_what_has_run_out_already_and_who_has_left_are_not_listed() -> None:
    snapshot = known(employed("A"), held("A", ahead(-1)), employed("B", until=ahead(-1)), held("B", ahead(5)))
    assert expiring(snapshot, FIRM, DEFAULT, TODAY, 90) == []


def test_an_employment_ends_at_the_firm_that_it_is_with() -> None:
    """Also where the person goes on elsewhere: this firm's machines refuse afterwards."""
    snapshot = known(employed("A", until=ahead(10)), employed("A", OTHER_FIRM), held("A", ahead(20)))
    assert [expiry.code for expiry in expiring(snapshot, FIRM, DEFAULT, TODAY, 30)] == [
        "employment_ends_soon",
        "certificate_expires_soon",
    ]
    assert [expiry.code for expiry in expiring(snapshot, OTHER_FIRM, DEFAULT, TODAY, 30)] == [
        "certificate_expires_soon"
    ]


def test_everywhere_means_firm_by_firm_and_people_without_one() -> None:
    snapshot = known(
        employed("A", OTHER_FIRM), held("A", ahead(5)), employed("B"), held("B", ahead(6)), held("C", ahead(7))
    )
    listed = expiring(snapshot, None, DEFAULT, TODAY, 30)
    assert [(expiry.uscc, expiry.operator_id) for expiry in listed] == [(NO_FIRM, "C"), (FIRM, "B"), (OTHER_FIRM, "A")]
    assert FIRM < OTHER_FIRM
