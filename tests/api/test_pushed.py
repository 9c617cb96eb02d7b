"""Pushed events in the registries: the latest word counts, in whatever order and however often it arrives."""

import random
from collections.abc import Iterator, Sequence
from datetime import date
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import Engine

from gateway.errors import DatabaseUnavailable
from gateway.store.changes import Origin, RegistryBody, begin
from gateway.store.claims import Precedence
from gateway.store.entries import CertificateEntry, EmploymentEntry, EnterpriseEntry, Entry, OperatorEntry
from gateway.store.ledger import check, read_head, rows_in_order
from gateway.store.push_events import Barred, Certified, Employed, Event, EventKind, Halted, Outcome, Restated, Said
from gateway.store.pushed import Push, take_events
from gateway.store.registry import apply_entries
from gateway.store.vault import Keys, SealKey, Vault, VaultError
from gateway.store.writing import PLAINLY, How
from tests.api.served import VAULT
from tests.registry.people import ANNA, BERT, FIRM, OTHER_FIRM, PHONE
from tests.store.databases import Databases, locked

NOW = 1_790_000_000_000
NUMBER, OTHER_NUMBER = f"T{ANNA}", f"T{BERT}"
UNTIL, LATER = date(2030, 1, 1), date(2036, 1, 1)
JAN, MAR, JUN = date(2026, 1, 1), date(2026, 3, 1), date(2026, 6, 1)
TABLES: dict[type, str] = {
    CertificateEntry: "certificates",
    EmploymentEntry: "employments",
    EnterpriseEntry: "enterprises",
    OperatorEntry: "operators",
}
STATE_COLUMNS = {
    "certificates": "number_masked, item, operator_id, valid_until, authority, status, verification",
    "operators": "operator_id, name, id_number_index, phone_index, status",
    "employments": "operator_id, uscc, since, until",
    "enterprises": "uscc, name, division, status",
}


class County:
    """A database that events are pushed into; each helper pushes one event and gives its outcome."""

    def __init__(self, engine: Engine, vault: Vault = VAULT) -> None:
        self.engine, self.vault, self.how = engine, vault, PLAINLY
        self._numbers = 0

    def bring_in(self, *entries: Entry, source: str = "exam-centre", at: int = NOW - 1000) -> None:
        """What a source says by other ways."""
        rows: dict[str, list[Entry]] = {}
        for entry in entries:
            rows.setdefault(TABLES[type(entry)], []).append(entry)
        apply_entries(self.engine, self.vault, rows, Origin(source, "test", at), at)

    def push(self, *events: Event, sender: str = "exam-centre") -> list[Outcome]:
        return take_events(self.engine, self.vault, Push(sender, NOW, self.how), events)

    def say(self, at: int, kind: EventKind, said: Said, sender: str = "exam-centre") -> str:
        self._numbers += 1
        (outcome,) = self.push(event(at, kind, said, f"e-{self._numbers}"), sender=sender)
        return outcome.outcome

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        """What the registries say."""
        return {
            table: self.rows(f"SELECT {columns} FROM {table} ORDER BY {columns}")
            for table, columns in STATE_COLUMNS.items()
        }

    def status(self, item: str = "fusion") -> str:
        ((status,),) = self.rows(f"SELECT status FROM certificates WHERE item = '{item}'")
        return str(status)


def event(at: int, kind: EventKind, said: Said, event_id: str = "e") -> Event:
    return Event(event_id, NOW + at, kind, said, event_id)


def held(item: Any = "fusion", number: str = NUMBER, **different: Any) -> CertificateEntry:
    """A whole certificate of P-1, in order unless something is ``different``."""
    others = (None, None, None, None, None, None)
    return replace(CertificateEntry(number, "P-1", item, UNTIL, "valid", "verified", *others), **different)


HOLDER = OperatorEntry("P-1", "active", "样例甲", ANNA, PHONE)


@pytest.fixture
def county(databases: Databases) -> County:
    """With one firm, and a person who works there and has a certificate."""
    county = County(databases.engine())
    county.bring_in(
        EnterpriseEntry(FIRM, "330521", "active", "样例企业"), HOLDER, held(), EmploymentEntry("P-1", FIRM, JAN, None)
    )
    return county


@pytest.fixture
def empty(databases: Databases) -> County:
    return County(databases.engine())


# --- what each kind does ----------------------------------------------------------------------------------------


def test_a_status_changes_and_nothing_else_does(county: County) -> None:
    before = county.rows("SELECT number_sealed, number_index, category, valid_until, verification FROM certificates")
    for at, kind, status in ((1, "suspend", "suspended"), (2, "reinstate", "valid"), (3, "revoke", "revoked")):
        assert county.say(at, kind, Restated(NUMBER, "fusion")) == "applied"  # type: ignore[arg-type]
        assert county.status() == status
    after = county.rows("SELECT number_sealed, number_index, category, valid_until, verification FROM certificates")
    assert [row[1:] for row in after] == [row[1:] for row in before]
    assert county.vault.open(after[0][0], "number") == NUMBER


def test_without_an_item_all_of_them_are_meant(county: County) -> None:
    county.say(1, "issue", Certified(held("brazing")))
    assert county.say(2, "revoke", Restated(NUMBER)) == "applied"
    assert (county.status("fusion"), county.status("brazing")) == ("revoked", "revoked")
    assert county.say(3, "reinstate", Restated(NUMBER, "brazing")) == "applied"
    assert (county.status("fusion"), county.status("brazing")) == ("revoked", "valid")


def test_an_issue_brings_certificate_and_holder(empty: County) -> None:
    assert empty.say(1, "issue", Certified(held(), HOLDER)) == "applied"
    state = empty.state()
    assert [row[:3] + row[5:] for row in state["certificates"]] == [
        (f"{'*' * 15}{ANNA[-4:]}", "fusion", "P-1", "valid", "verified")
    ]
    assert state["operators"] == [("P-1", "样例甲", VAULT.index(ANNA), VAULT.index(PHONE), "active")]


def test_a_renewal_stands_as_it_is_given(county: County) -> None:
    assert county.say(1, "renew", Certified(held(valid_until=LATER, authority="样例局"))) == "applied"
    assert county.rows("SELECT valid_until, authority FROM certificates") == [(LATER.isoformat(), "样例局")]


def test_whoever_is_known_stays_as_he_is(county: County) -> None:
    county.say(1, "block", Barred("P-1"))
    county.say(2, "renew", Certified(held(valid_until=LATER), OperatorEntry("P-1", "active", None, BERT, None)))
    assert county.rows("SELECT name, id_number_index, status FROM operators") == [
        ("样例甲", VAULT.index(ANNA), "blocked")
    ]


def test_a_person_is_blocked_and_unblocked(county: County) -> None:
    for at, kind, status in ((1, "block", "blocked"), (2, "unblock", "active")):
        assert county.say(at, kind, Barred("P-1")) == "applied"  # type: ignore[arg-type]
        assert county.rows("SELECT status, name FROM operators") == [(status, "样例甲")]


def test_a_firm_stops_and_goes_on(county: County) -> None:
    for at, kind, status in ((1, "stop_production", "production_suspended"), (2, "resume", "active")):
        assert county.say(at, kind, Halted(FIRM)) == "applied"  # type: ignore[arg-type]
        assert county.rows("SELECT status, name, division FROM enterprises") == [(status, "样例企业", "330521")]


@pytest.mark.parametrize("status", ["closed", "licence_suspended"])
def test_what_goes_further_than_a_stop_is_neither_weakened_nor_lifted(county: County, status: Any) -> None:
    county.bring_in(EnterpriseEntry(FIRM, "330521", status), at=NOW)
    assert county.say(1, "stop_production", Halted(FIRM)) == "unchanged"
    assert county.say(2, "resume", Halted(FIRM)) == "unchanged"
    assert county.rows("SELECT status FROM enterprises") == [(status,)]


def test_somebody_is_hired_and_leaves(county: County) -> None:
    assert county.say(1, "leave", Employed("P-1", FIRM, MAR)) == "applied"
    assert county.say(2, "hire", Employed("P-1", FIRM, JUN)) == "applied"
    assert county.state()["employments"] == [
        ("P-1", FIRM, "2026-01-01", "2026-03-01"),
        ("P-1", FIRM, "2026-06-01", None),
    ]


def test_leaving_ends_what_has_begun_by_then_and_at_that_firm(county: County) -> None:
    county.say(1, "hire", Employed("P-1", OTHER_FIRM, JAN))
    county.say(2, "hire", Employed("P-1", FIRM, JUN))
    county.say(3, "leave", Employed("P-1", FIRM, MAR))
    assert [row[1:] for row in county.state()["employments"]] == [
        (FIRM, "2026-01-01", "2026-03-01"),
        (FIRM, "2026-06-01", None),
        (OTHER_FIRM, "2026-01-01", None),
    ]


def test_a_first_day_takes_the_place_of_an_unknown_one(empty: County) -> None:
    empty.bring_in(EmploymentEntry("P-1", FIRM), at=NOW)
    assert empty.say(1, "hire", Employed("P-1", FIRM, JAN)) == "applied"
    assert empty.say(2, "leave", Employed("P-1", FIRM, MAR)) == "applied"
    assert empty.state()["employments"] == [("P-1", FIRM, "2026-01-01", "2026-03-01")]


def test_a_leave_closes_again_what_another_source_has_reopened(county: County) -> None:
    county.say(1, "hire", Employed("P-1", FIRM, JAN))
    county.say(2, "leave", Employed("P-1", FIRM, MAR))
    county.bring_in(EmploymentEntry("P-1", FIRM, JAN, None), at=NOW)
    assert county.say(3, "leave", Employed("P-1", FIRM, MAR)) == "applied"
    assert county.state()["employments"] == [("P-1", FIRM, "2026-01-01", "2026-03-01")]


# --- repeats, order, strangers ----------------------------------------------------------------------------------


def test_a_repeat_gets_the_same_outcome_and_changes_nothing(county: County) -> None:
    revoke = event(1, "revoke", Restated(NUMBER))
    (first,) = county.push(revoke)
    county.say(2, "reinstate", Restated(NUMBER))
    (again,) = county.push(revoke)
    assert (first.outcome, first.version, first.repeated) == ("applied", 2, False)
    assert again == replace(first, repeated=True)
    assert county.status() == "valid"


def test_an_event_twice_in_one_delivery_counts_once(county: County) -> None:
    revoke = event(1, "revoke", Restated(NUMBER))
    first, second = county.push(revoke, revoke)
    assert (first.repeated, second) == (False, replace(first, repeated=True))
    assert county.rows("SELECT COUNT(*) FROM registry_events") == [(1,)]


def test_the_same_id_of_another_sender_is_another_event(county: County) -> None:
    assert county.push(event(1, "suspend", Restated(NUMBER)), sender="a")[0].outcome == "applied"
    assert county.push(event(2, "revoke", Restated(NUMBER)), sender="b")[0].outcome == "applied"
    assert county.status() == "revoked"


@pytest.mark.parametrize("at", [-1, 1])
def test_a_word_that_changed_nothing_stands_over_older_data_of_the_same_source(county: County, at: int) -> None:
    """A page may have been read before the word came, and be written after it."""
    assert county.say(1, "resume", Halted(FIRM)) == "unchanged"
    county.bring_in(EnterpriseEntry(FIRM, "330521", "production_suspended", "样例企业"), at=NOW + at)
    ((status,),) = county.rows("SELECT status FROM enterprises")
    assert status == ("active" if at < 0 else "production_suspended")


def test_an_older_word_is_outdated(county: County) -> None:
    county.say(5, "reinstate", Restated(NUMBER))
    assert county.say(4, "revoke", Restated(NUMBER)) == "outdated"
    assert county.status() == "valid"
    assert county.say(6, "block", Barred("P-1")) == "applied"
    assert county.say(5, "unblock", Barred("P-1")) == "outdated"


@pytest.mark.parametrize("order", [("revoke", "reinstate"), ("reinstate", "revoke")])
def test_of_two_words_of_one_moment_the_one_that_takes_away_counts(county: County, order: Sequence[Any]) -> None:
    for kind in order:
        county.say(1, kind, Restated(NUMBER))
    assert county.status() == "revoked"


def test_what_is_so_already_is_unchanged_and_makes_no_version(county: County) -> None:
    (outcome,) = county.push(event(1, "unblock", Barred("P-1")))
    assert (outcome.outcome, outcome.version) == ("unchanged", None)
    assert county.rows("SELECT MAX(version) FROM registry_changes") == [(1,)]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("revoke", Restated(OTHER_NUMBER)),
        ("suspend", Restated(NUMBER, "pressure")),
        ("block", Barred("P-2")),
        ("leave", Employed("P-2", FIRM, MAR)),
        ("stop_production", Halted(OTHER_FIRM)),
    ],
)
def test_what_nobody_knows_is_told_and_kept(county: County, kind: Any, said: Said) -> None:
    before = county.state()
    assert county.say(1, kind, said) == "unknown"
    assert county.state() == before
    assert county.rows("SELECT outcome FROM registry_events") == [("unknown",)]


def test_a_revocation_that_overtakes_its_certificate_counts_when_that_arrives(empty: County) -> None:
    assert empty.say(2, "revoke", Restated(NUMBER)) == "unknown"
    assert empty.say(3, "block", Barred("P-1")) == "unknown"
    assert empty.say(1, "issue", Certified(held(), HOLDER)) == "applied"
    assert empty.status() == "revoked"
    assert empty.rows("SELECT status FROM operators") == [("blocked",)]
    assert empty.rows("SELECT DISTINCT outcome FROM registry_events") == [("applied",)]


def test_a_word_that_waited_counts_with_the_next_one_about_the_same(county: County) -> None:
    assert county.say(2, "revoke", Restated(OTHER_NUMBER)) == "unknown"
    county.bring_in(held("brazing", OTHER_NUMBER), at=NOW)
    assert county.say(1, "suspend", Restated(OTHER_NUMBER)) == "outdated"
    assert county.status("brazing") == "revoked"


# --- one transaction --------------------------------------------------------------------------------------------


def test_one_delivery_is_one_version_and_one_record(county: County) -> None:
    outcomes = county.push(
        event(1, "issue", Certified(held("brazing")), "e-1"),
        event(2, "revoke", Restated(OTHER_NUMBER), "e-2"),
        event(3, "block", Barred("P-1"), "e-3"),
    )
    assert [(one.outcome, one.version) for one in outcomes] == [("applied", 2), ("unknown", None), ("applied", 2)]
    with county.engine.connect() as connection:
        rows = list(rows_in_order(connection))
        assert list(check(rows, read_head(connection))) == []
    *_, row = rows
    body = msgspec.json.decode(row.record)["body"]
    assert (row.kind, msgspec.convert(body, RegistryBody)) == (
        "registry",
        RegistryBody(2, "exam-centre", "push of 3 events", 1, 1, 0, ("e-1", "e-3")),
    )
    assert county.rows("SELECT version, source, added, changed FROM registry_changes WHERE version = 2") == [
        (2, "exam-centre", 1, 1)
    ]


def test_nothing_that_changed_nothing_is_recorded(county: County) -> None:
    before = county.rows("SELECT COUNT(*) FROM ledger")
    county.say(1, "revoke", Restated(OTHER_NUMBER))
    assert county.rows("SELECT COUNT(*) FROM ledger") == before


def test_a_push_confirms_nothing_but_itself(county: County) -> None:
    county.say(1, "block", Barred("P-1"))
    assert county.rows("SELECT confirmed_at FROM registry_state") == [(NOW - 1000,)]


def test_rows_name_their_sender(county: County) -> None:
    county.say(1, "block", Barred("P-1"))
    assert county.rows("SELECT source FROM operators") == [("exam-centre",)]


def test_no_personal_number_is_kept_in_clear(empty: County, databases: Databases) -> None:
    empty.say(1, "issue", Certified(held(), HOLDER))
    empty.say(2, "revoke", Restated(OTHER_NUMBER))
    path = Path(str(empty.engine.url.database))
    content = b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    for number in (ANNA, BERT, PHONE):
        assert number.encode() not in content


def test_another_vault_takes_nothing(county: County) -> None:
    stranger = County(county.engine, Vault(Keys(b"y" * 32, (SealKey(1, 0, b"x" * 32),))))
    with pytest.raises(VaultError):
        stranger.say(1, "revoke", Restated(NUMBER))
    assert county.rows("SELECT COUNT(*) FROM registry_events") == [(0,)]


def test_a_database_that_is_busy_takes_all_or_nothing(databases: Databases, county: County) -> None:
    path = Path(str(county.engine.url.database))
    with locked(path), pytest.raises(DatabaseUnavailable, match="send it again"):
        County(databases.engine(path, "busy_timeout=20")).say(1, "revoke", Restated(NUMBER))
    assert county.status() == "valid"


# --- other sources ----------------------------------------------------------------------------------------------


def test_a_stricter_word_of_another_source_stands_above_and_the_outcome_says_so(county: County) -> None:
    county.bring_in(held(status="revoked"), source="files", at=NOW)
    assert county.say(1, "reinstate", Restated(NUMBER)) == "unchanged"
    assert county.status() == "revoked"
    outcomes = county.push(event(2, "reinstate", Restated(NUMBER), "a"), event(2, "block", Barred("P-1"), "b"))
    assert [one.outcome for one in outcomes] == ["unchanged", "applied"]


def test_the_source_whose_word_counts_first_is_not_overruled(county: County) -> None:
    county.how = How(precedence=Precedence({"certificates": ("exam-centre", "files")}))
    county.bring_in(held(status="revoked"), source="files", at=NOW)
    assert county.say(1, "reinstate", Restated(NUMBER)) == "applied"
    assert county.status() == "valid"


def test_a_word_about_the_status_claims_nothing_else(empty: County) -> None:
    first = How(precedence=Precedence({"certificates": ("exam-centre", "files")}))
    empty.how = first
    empty.bring_in(held(), source="files", at=NOW - 1000)
    assert empty.say(1, "suspend", Restated(NUMBER)) == "applied"
    rows = {"certificates": [held(valid_until=LATER)]}
    apply_entries(empty.engine, VAULT, rows, Origin("files", "test", NOW + 1), NOW + 1, first)
    assert empty.rows("SELECT status, valid_until FROM certificates") == [("suspended", LATER.isoformat())]


def test_a_renewal_outlives_a_later_word_about_the_status(empty: County) -> None:
    empty.bring_in(held(), source="files")
    empty.say(1, "renew", Certified(held(valid_until=LATER)))
    empty.say(2, "suspend", Restated(NUMBER))
    assert empty.rows("SELECT status, valid_until FROM certificates") == [("suspended", LATER.isoformat())]


def test_what_another_writes_and_does_not_hold_yet_is_said_all_the_same(county: County) -> None:
    """An import that is under way may be broken off, and what it wrote is then taken back."""
    with county.engine.begin() as connection:
        change = begin(connection, Origin("files", "under way", NOW), NOW)
        connection.exec_driver_sql(f"UPDATE certificates SET status = 'revoked', change = {change}")
    assert county.say(1, "revoke", Restated(NUMBER)) == "applied"


# --- any order --------------------------------------------------------------------------------------------------

_items = st.sampled_from([None, "fusion", "brazing"])
_certificates = st.builds(
    held,
    st.sampled_from(["fusion", "brazing"]),
    valid_until=st.sampled_from([UNTIL, LATER]),
    status=st.sampled_from(["valid", "suspended"]),
    authority=st.sampled_from(["样例局", "样例厅"]),
)
_restated = st.builds(Restated, st.just(NUMBER), _items)
_employed = st.builds(Employed, st.just("P-1"), st.just(FIRM), st.sampled_from([JAN, MAR, JUN]))
_said: dict[EventKind, st.SearchStrategy[Any]] = {
    "issue": st.builds(Certified, _certificates, st.sampled_from([None, HOLDER])),
    "renew": st.builds(Certified, _certificates),
    "suspend": _restated,
    "reinstate": _restated,
    "revoke": _restated,
    "block": st.just(Barred("P-1")),
    "unblock": st.just(Barred("P-1")),
    "hire": _employed,
    "leave": _employed,
    "stop_production": st.just(Halted(FIRM)),
    "resume": st.just(Halted(FIRM)),
}


@st.composite
def _histories(draw: st.DrawFn) -> list[Event]:
    """Events of one sender about a few subjects, some of the same moment."""
    kinds = draw(st.lists(st.sampled_from(sorted(_said)), min_size=2, max_size=8))
    return [event(draw(st.integers(1, 6)), kind, draw(_said[kind]), f"e-{number}") for number, kind in enumerate(kinds)]


def _in_deliveries(events: Sequence[Event], seed: int) -> Iterator[list[Event]]:
    """In any order, some twice, in deliveries of any size."""
    chance = random.Random(seed)
    sent = [*events, *chance.sample(events, len(events) // 2)]
    chance.shuffle(sent)
    while sent:
        size = chance.randint(1, 3)
        yield sent[:size]
        del sent[:size]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=_histories(), seed=st.integers(0, 2**32), on_file=st.sampled_from([None, "exam-centre", "files"]))
def test_any_order_and_repetition_ends_in_the_same_registries(
    events: list[Event], seed: int, on_file: str | None, databases: Databases
) -> None:
    in_time, in_any_order = County(databases.engine()), County(databases.engine())
    for county in (in_time, in_any_order):
        if on_file:
            firm = EnterpriseEntry(FIRM, "330521", "active")
            county.bring_in(firm, HOLDER, held(), EmploymentEntry("P-1", FIRM), source=on_file)
    for one in sorted(events, key=lambda one: one.at):
        in_time.push(one)
    for delivery in _in_deliveries(events, seed):
        in_any_order.push(*delivery)
    assert in_any_order.state() == in_time.state()


def test_every_order_of_a_life_ends_in_the_same_registries(databases: Databases) -> None:
    life = [
        event(1, "issue", Certified(held(), HOLDER), "e-1"),
        event(2, "suspend", Restated(NUMBER), "e-2"),
        event(3, "renew", Certified(held(valid_until=LATER)), "e-3"),
        event(4, "revoke", Restated(NUMBER, "fusion"), "e-4"),
    ]
    states = []
    for order in permutations(life):
        county = County(databases.engine())
        for one in order:
            county.push(one)
        states.append(county.state())
        county.engine.dispose()
    assert all(state == states[0] for state in states)
    assert states[0]["certificates"][0][3:] == (LATER.isoformat(), None, "revoked", "verified")
