"""The blast-radius guard: who would lose the right to weld, and what waits for whom."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from gateway.registry.importer import FILES, Report, Store, import_files
from gateway.registry.preview import in_words, preview
from gateway.store.changes import Origin
from gateway.store.entries import CertificateEntry, EmploymentEntry, EnterpriseEntry, Entry, OperatorEntry
from gateway.store.guard import Guard, Held, HoldError, decide_hold, holds
from gateway.store.registry import apply_entries, compare, shift_of
from gateway.store.writing import PLAINLY, How
from tests.registry import people
from tests.registry.conftest import NOW, Write

FIRM, OTHER = people.FIRM, people.OTHER_FIRM
PEOPLE = 100
STRICT = How(guard=Guard(share_percent=2.0, at_least=2))

BringIn = Callable[..., object]


def certificate(number: int, status: str = "valid", until: date = date(2031, 1, 1), holder: int | None = None) -> Entry:
    who = f"P{number if holder is None else holder:03}"
    return CertificateEntry(f"NO-{number:06}", who, "fusion", until, status, "verified")  # type: ignore[arg-type]


def person(number: int, status: str = "active") -> Entry:
    return OperatorEntry(f"P{number:03}", status)  # type: ignore[arg-type]


def work(number: int, uscc: str = FIRM, until: date | None = None) -> Entry:
    return EmploymentEntry(f"P{number:03}", uscc, date(2020, 1, 1), until)


def firm(uscc: str, status: str = "active") -> Entry:
    return EnterpriseEntry(uscc, "330521", status)  # type: ignore[arg-type]


KINDS = {
    OperatorEntry: "operators",
    CertificateEntry: "certificates",
    EmploymentEntry: "employments",
    EnterpriseEntry: "enterprises",
}


def rows(*entries: Entry) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(KINDS[type(entry)], []).append(entry)
    return found


@pytest.fixture
def county(store: Store) -> Store:
    """A hundred people with the right to weld, ten of them at another firm."""
    everybody = [one for number in range(PEOPLE) for one in (person(number), certificate(number))]
    works = [work(number, OTHER if number < 10 else FIRM) for number in range(PEOPLE)]
    bring_in(store, firm(FIRM), firm(OTHER), *everybody, *works)
    return store


def bring_in(store: Store, *entries: Entry, how: How = PLAINLY, source: str = FILES, later: int = 0) -> None:
    now = NOW + later
    apply_entries(store.engine, store.vault, rows(*entries), Origin(source, "test", now), now, how)


def losing(store: Store, *entries: Entry) -> int:
    with store.engine.connect() as connection:
        wished = compare(connection, store.vault, rows(*entries), lambda *_: None)
    return len(shift_of(store.engine, wished, NOW).losing)


# --- who loses the right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "people_losing"),
    [
        ([person(1, "blocked")], 1),
        ([certificate(1, "revoked")], 1),
        ([certificate(1, "suspended"), person(1, "blocked")], 1),
        ([certificate(1, until=date(2020, 1, 1))], 1),
        ([certificate(1, until=date(2040, 1, 1))], 0),
        ([work(1, OTHER, date(2021, 1, 1))], 1),
        ([work(50, FIRM, date(2021, 1, 1)), work(50, OTHER)], 0),
        ([firm(OTHER, "closed")], 10),
        ([firm(OTHER, "production_suspended"), work(1, FIRM)], 9),
        ([certificate(1, holder=2)], 1),
        ([certificate(900, "revoked", holder=1)], 0),
        ([person(900)], 0),
    ],
)
def test_who_would_lose_the_right_to_weld(county: Store, entries: list[Entry], people_losing: int) -> None:
    assert losing(county, *entries) == people_losing


# --- holding back -----------------------------------------------------------------------------------------------


def test_above_the_share_nothing_is_written_and_somebody_has_to_confirm(county: Store) -> None:
    mistake = [certificate(number, "revoked") for number in range(3)]
    with pytest.raises(Held, match=r"from 3 of 100 people \(3\.0 %\)") as held:
        bring_in(county, *mistake, how=STRICT)
    assert losing(county, *mistake) == 3
    decide_hold(county.engine, held.value.hold.hold_id, "confirmed", ("样例一", "核对无误"), NOW)
    bring_in(county, *mistake, how=STRICT)
    assert losing(county, *mistake) == 0


@pytest.mark.parametrize("many", [1, 2])
def test_up_to_the_share_a_revocation_is_never_delayed(county: Store, many: int) -> None:
    bring_in(county, *[certificate(number, "revoked") for number in range(many)], how=STRICT)
    assert losing(county, *[certificate(number, "revoked") for number in range(many)]) == 0


def test_few_people_are_never_many_however_small_the_county(store: Store) -> None:
    bring_in(store, firm(FIRM), person(1), certificate(1), work(1))
    bring_in(store, certificate(1, "revoked"), how=How(guard=Guard()))
    assert losing(store, certificate(1, "revoked")) == 0


def test_a_confirmation_is_for_those_people_from_that_source_once(county: Store) -> None:
    mistake = [certificate(number, "revoked") for number in range(3)]
    with pytest.raises(Held) as held:
        bring_in(county, *mistake, how=STRICT)
    decide_hold(county.engine, held.value.hold.hold_id, "confirmed", ("样例一", "核对无误"), NOW)
    with pytest.raises(Held):
        bring_in(county, *mistake, certificate(4, "revoked"), how=STRICT)
    with pytest.raises(Held):
        bring_in(county, *mistake, how=STRICT, source="province")
    bring_in(county, *mistake, how=STRICT)
    bring_in(county, *[certificate(number) for number in range(3)], how=STRICT, later=1)
    with pytest.raises(Held):
        bring_in(county, *mistake, how=STRICT, later=2)


def test_the_same_change_held_again_is_the_same_hold(county: Store) -> None:
    for _ in range(3):
        with pytest.raises(Held):
            bring_in(county, firm(OTHER, "closed"), how=STRICT)
    with county.engine.connect() as connection:
        assert [hold.people for hold in holds(connection)] == [10]


def test_a_hold_is_decided_once_and_by_its_number(county: Store) -> None:
    with pytest.raises(Held) as held:
        bring_in(county, firm(OTHER, "closed"), how=STRICT)
    hold_id = held.value.hold.hold_id
    decide_hold(county.engine, hold_id, "rejected", ("样例一", "文件有误"), NOW)
    with pytest.raises(HoldError, match="is rejected already, by 样例一"):
        decide_hold(county.engine, hold_id, "confirmed", ("样例二", "核对无误"), NOW)
    with pytest.raises(HoldError, match="there is none"):
        decide_hold(county.engine, "nothing", "confirmed", ("样例二", "核对无误"), NOW)


# --- looking before ---------------------------------------------------------------------------------------------


def test_a_preview_tells_what_would_change_and_changes_nothing(store: Store, write: Write) -> None:
    files = [write(f"{name}.csv", content) for name, content in people.FILES.items()]
    assert isinstance(import_files(store, files, NOW), Report)
    changed = write("operators.csv", [people.OPERATORS[0], ["P-1", "样例甲", people.BERT, people.PHONE, "blocked"]])
    found = preview(store, [changed], NOW, How(guard=Guard()))
    [line] = map(in_words, found.differences)
    assert line == "operators P-1: id_number 变更 changed, status active → blocked"
    assert preview(store, [changed], NOW).differences == found.differences


def test_no_number_shows_in_a_preview(store: Store, write: Write) -> None:
    files = [write(f"{name}.csv", content) for name, content in people.FILES.items()]
    told = "\n".join(map(in_words, preview(store, files, NOW).differences))
    assert "certificates" in told
    for number in (people.ANNA, people.BERT, people.PHONE):
        assert number not in told


def test_a_preview_of_what_cannot_be_read_shows_the_bad_rows(store: Store, write: Write, tmp_path: Path) -> None:
    path = write("operators.csv", [people.OPERATORS[0], ["P-1", "", "", "", "?"]])
    assert preview(store, [path], NOW).report.bad.lines == 1
