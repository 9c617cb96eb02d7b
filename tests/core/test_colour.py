"""The colours: the table that a regulator can read, and what holds for everybody on every day."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from gateway.core.colour import (
    BARRING,
    NOTICES,
    SEVERITY,
    Cause,
    Person,
    Standing,
    State,
    changes_on,
    explained,
    firm_standing,
    person_standing,
    running_out,
)
from gateway.core.decide import decide
from gateway.core.model import Colour, Employment
from gateway.core.policy import Policy, Rulebook, parse
from gateway.core.reasons import REASONS, Reason
from tests.core.matrix import ALL_GOOD, asked, certificate, employment, enterprise, facts, machine, millis, operator
from tests.core.worlds import days, near_days, operators, policies, several_certificates

TODAY = ALL_GOOD.now.date()
DEFAULT = Rulebook(Policy())
Fields = dict[str, Any]


class Why(Struct, forbid_unknown_fields=True):
    code: str
    refused: bool = False
    since: date | None = None
    until: date | None = None


class PersonRow(Struct, forbid_unknown_fields=True):
    """One case of a person as it stands in the file."""

    what: str
    colour: Colour
    causes: list[Why] = []
    changes_on: date | None = None
    stays: bool = False
    today: date | None = None
    operator: Fields | Literal["unknown"] = {}
    certificates: list[Fields] | None = None
    employments: list[Fields] | None = None
    policy: str = ""


class FirmRow(Struct, forbid_unknown_fields=True):
    """One case of a firm as it stands in the file."""

    what: str
    colour: Colour
    people: list[State]
    status: str = "active"
    causes: list[Why] = []
    counts: dict[Colour, int] = {}
    worst: State | None = None
    policy: str = ""


class Table(Struct, forbid_unknown_fields=True):
    person: list[PersonRow]
    firm: list[FirmRow]


TABLE = msgspec.toml.decode(Path(__file__).with_name("colours.toml").read_bytes(), type=Table)


def person_of(row: PersonRow) -> Person:
    return Person(
        None if row.operator == "unknown" else operator(**row.operator),
        tuple(certificate(**one) for one in ([{}] if row.certificates is None else row.certificates)),
        tuple(employment(**one) for one in ([{}] if row.employments is None else row.employments)),
    )


def why(causes: tuple[Cause, ...]) -> list[Why]:
    return [Why(cause.code, cause.refuses, cause.since, cause.until) for cause in causes]


def rulebook_of(row: PersonRow | FirmRow) -> Rulebook:
    return Rulebook(parse(row.policy, row.what))


@pytest.mark.parametrize("row", TABLE.person, ids=lambda row: row.what)
def test_a_person_stands_as_the_table_says(row: PersonRow) -> None:
    person, rulebook, today = person_of(row), rulebook_of(row), row.today or TODAY
    standing = person_standing(person, rulebook, today)
    assert (standing.colour, why(standing.causes)) == (row.colour, row.causes)
    if row.changes_on is not None or row.stays:
        assert changes_on(person, rulebook, today) == row.changes_on


ONE_OF: dict[State, Standing] = {
    "in_order": Standing("blue", "in_order"),
    "soon": Standing("yellow", "soon", (Cause("review_due_soon"),)),
    "none": Standing("grey", "none", (Cause("certificate_missing", refuses=True),)),
    "barred": Standing("red", "barred", (Cause("certificate_revoked", refuses=True), Cause("employment_ended"))),
}


@pytest.mark.parametrize("row", TABLE.firm, ids=lambda row: row.what)
def test_a_firm_stands_as_the_table_says(row: FirmRow) -> None:
    firm = None if row.status == "unknown" else enterprise(status=row.status)
    people = {f"P{number}": ONE_OF[state] for number, state in enumerate(row.people)}
    standing = firm_standing(firm, people, rulebook_of(row))
    assert (standing.colour, why(standing.causes), standing.people) == (row.colour, row.causes, row.counts)
    assert (people[standing.worst].state if standing.worst else None) == row.worst
    assert standing.worst_cause == (ONE_OF[row.worst].causes[0] if row.worst else None)


def test_every_code_that_a_colour_can_have_stands_in_the_table() -> None:
    given_codes = {one.code for row in TABLE.person for one in row.causes}
    given_codes |= {one.code for row in TABLE.firm for one in row.causes}
    assert BARRING - {"enterprise_closed"} <= given_codes
    assert set(NOTICES) <= given_codes


# --- for everybody ----------------------------------------------------------------------------------------------

some_days = st.none() | days
workplaces = st.lists(
    st.builds(Employment, st.sampled_from([employment().uscc, "91330521MA00000025"]), some_days, some_days), max_size=4
)
people = st.builds(Person, operators, several_certificates, st.just((employment(),)) | workplaces.map(tuple))
rulebooks = policies.map(Rulebook)
DAYS_WALKED = 500


@given(people, rulebooks, near_days)
def test_a_colour_stays_until_the_day_that_was_told_and_changes_on_it(
    person: Person, rulebook: Rulebook, today: date
) -> None:
    colour, told = person_standing(person, rulebook, today).colour, changes_on(person, rulebook, today)
    if told is not None:
        assert today < told
        assert person_standing(person, rulebook, told).colour != colour
    until = min(told or date.max, today + timedelta(days=DAYS_WALKED))
    for ahead in range(1, (until - today).days):
        assert person_standing(person, rulebook, today + timedelta(days=ahead)).colour == colour


@given(people, rulebooks, near_days)
def test_a_colour_is_explained_and_the_worst_comes_first(person: Person, rulebook: Rulebook, today: date) -> None:
    standing = person_standing(person, rulebook, today)
    assert standing.colour == getattr(rulebook.policy.colours, standing.state)
    assert (standing.state == "in_order") == (not standing.causes)
    assert standing.causes == tuple(sorted(standing.causes, key=lambda cause: (not cause.bars, not cause.refuses)))
    if standing.state == "barred":
        assert standing.causes[0].bars
    for cause in standing.causes:
        assert cause.since is None or cause.since <= today
        assert cause.until is None or cause.until >= today
        assert explained(cause.code).remedy_zh


@given(people, near_days)
def test_in_no_order_of_certificates_does_anybody_have_another_colour(person: Person, today: date) -> None:
    turned = structs.replace(person, certificates=person.certificates[::-1], employments=person.employments[::-1])
    assert person_standing(turned, DEFAULT, today).state == person_standing(person, DEFAULT, today).state


@settings(max_examples=300)
@given(people, rulebooks, st.integers(-800, 800))
def test_the_gate_agrees_with_the_colours(person: Person, rulebook: Rulebook, ahead: int) -> None:
    """Who is in order is let in at a machine for what they hold; who is barred is let in nowhere."""
    policy = structs.replace(rulebook.policy, observe=Policy().observe, division={}, enterprise={})
    rulebook, now = Rulebook(policy), millis(ALL_GOOD.now) + ahead * 86_400_000
    standing = person_standing(person, rulebook, TODAY + timedelta(days=ahead))
    for item in {held.item for held in person.certificates}:
        refused = {
            code
            for firm in {work.uscc for work in person.employments} or {employment().uscc}
            for code in decide(
                asked(at=now),
                facts(
                    now=now,
                    operator=person.operator,
                    certificates=person.certificates,
                    employments=tuple(work for work in person.employments if work.uscc == firm),
                    machine=machine(process=item, uscc=firm),
                ),
                rulebook,
            ).reasons
        }
        about_person = refused - {
            "registry_stale",
            "permit_missing",
            "permit_expired",
            "outside_permitted_hours",
            "operator_not_employed",
            "employment_ended",
        }
        if standing.state == "in_order":
            assert not about_person - {"credential_unknown"}
        if standing.state == "barred":
            assert about_person & BARRING


@given(people, st.integers(0, 200), near_days)
def test_what_runs_out_within_more_days_includes_what_does_within_fewer(
    person: Person, within: int, today: date
) -> None:
    few, many = (running_out(person, DEFAULT, today, days) for days in (within, within + 30))
    assert all(cause.until is not None and today <= cause.until <= today + timedelta(days=within) for cause in few)
    assert {cause.code for cause in few} <= set(NOTICES)
    if len({held.item for held in person.certificates}) == len(person.certificates):
        assert set(few) <= set(many)


def test_what_runs_out_is_told_by_the_best_certificate_for_each_item() -> None:
    held = (
        certificate(ref="old", valid_until=date(2026, 7, 1)),
        certificate(ref="new"),
        certificate(ref="other", item="brazing", valid_until=date(2026, 7, 2)),
    )
    (cause,) = running_out(Person(operator(), held, (employment(),)), DEFAULT, TODAY, 30)
    assert (cause.code, cause.certificate, cause.item) == ("certificate_expires_soon", "other", "brazing")


def test_the_worst_of_several_is_the_first_by_number() -> None:
    standing = firm_standing(enterprise(), dict.fromkeys(("P3", "P1", "P2"), ONE_OF["soon"]), DEFAULT)
    assert standing.worst == "P1"


def test_states_are_named_in_the_policy() -> None:
    assert {getattr(Policy().colours, state) for state in SEVERITY} == {"blue", "yellow", "red", "grey"}


@pytest.mark.parametrize("notice", NOTICES.values(), ids=NOTICES)
def test_a_notice_reads_like_a_reason_and_is_none(notice: Reason) -> None:
    assert notice.code not in REASONS
    for text in (notice.message_zh, notice.remedy_zh):
        assert text.endswith("。")
        assert not text.isascii()
    for text in (notice.message_en, notice.remedy_en):
        assert text.endswith(".")
        assert text.isascii()
