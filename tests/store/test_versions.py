"""Registry rows by versions: what held when, whoever wrote at the same time, and whatever was broken off."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from gateway.core.model import Certificate, CertificateStatus, Employment, OperatorStatus
from gateway.registry.snapshot import Snapshot, read_delta
from gateway.store import registry as registries
from gateway.store import writing
from gateway.store.changes import ABANDONED_MS, Origin, UnderWay, current_version
from gateway.store.entries import UNKNOWN_DAY, CertificateEntry, EmploymentEntry, Entry, OperatorEntry
from gateway.store.history import life_of
from gateway.store.readers import Gone, rows_between
from gateway.store.registry import apply_entries, write_change
from gateway.store.rollback import roll_back
from gateway.store.tables import metadata
from gateway.store.vault import Vault, open_vault
from gateway.store.writing import How, Part, Summary
from tests.store.databases import AT, Databases

FIRM = "91330521990000010R"
OTHER = "91330521990000029U"
DAYS = [UNKNOWN_DAY, date(2024, 1, 1)]
SHORT = How(at_once=1)
"""Every row in a transaction of its own: a long change."""


def person(number: int, status: OperatorStatus = "active") -> OperatorEntry:
    return OperatorEntry(f"P{number}", status, name=f"样例{number}")


def certificate(number: int, holder: int, status: CertificateStatus = "valid") -> CertificateEntry:
    return CertificateEntry(f"NO-{number:06}", f"P{holder}", "fusion", date(2031, 6, 30), status, "verified")


def work(number: int, since: date = UNKNOWN_DAY, uscc: str = FIRM) -> EmploymentEntry:
    return EmploymentEntry(f"P{number}", uscc, since)


class Registry:
    """A database of registries, and a clock that goes on a second with each change."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self.engine, self.vault, self.now = engine, vault, AT

    def bring_in(self, *entries: Entry, source: str = "files", how: How = SHORT, as_of: int | None = None) -> Summary:
        self.now += 1000
        origin = Origin(source, "test", self.now if as_of is None else as_of)
        return apply_entries(self.engine, self.vault, tables(entries), origin, self.now, how)

    def push(self, *entries: Entry, source: str = "files") -> int | None:
        """A small change in one transaction, as while something long goes on."""
        self.now += 1000
        with self.engine.begin() as connection:
            return write_change(connection, self.vault, tables(entries), Origin(source, "push", self.now), self.now)

    def break_off(self, *entries: Entry, after: int) -> None:
        """A long change whose writer dies after so many rows."""
        count = iter(range(after))

        def dies(what: str, *_: int) -> None:
            if what.startswith("write") and next(count, None) is None:
                raise Killed

        with pytest.raises(Killed):
            self._without_taking_back(tables(entries), dies)

    def _without_taking_back(self, rows: dict[str, list[Entry]], dies: Any) -> None:
        self.now += 1000
        done = writing.Writing(self.vault, Origin("files", "killed", self.now), self.now, How(at_once=1, progress=dies))
        with self.engine.connect() as connection:
            wished = registries.compare(connection, self.vault, rows, lambda *_: None)
        parts: list[Part] = list(registries._parts(wished, 1))
        change = writing._begin(self.engine, done)
        writing._write_parts(self.engine, done, parts, ({}, change))
        writing.take_back(self.engine, change)

    def a_while_later(self) -> None:
        """The one who was writing has been silent for too long."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(f"UPDATE registry_state SET writing_at = writing_at - {ABANDONED_MS + 1}"))

    @property
    def version(self) -> int:
        with self.engine.connect() as connection:
            return current_version(connection)

    def at(self, version: int, since: int = 0) -> list[Any]:
        with self.engine.connect() as connection:
            rows = [row for _, rows in rows_between(connection, since, version) for row in rows]
        assert len(set(map(_key_of, rows))) == len(rows), "a row has one state at a time"
        return sorted(rows, key=str)


def _key_of(row: Any) -> Any:
    match row:
        case (index, _, Certificate()):
            return index
        case (operator_id, Employment() as employment):
            return operator_id, employment.uscc, employment.since
        case _:
            return row.operator_id


class Killed(Exception):
    """What ends the writer."""


def tables(entries: Any) -> dict[str, list[Entry]]:
    names: dict[Any, str] = {
        OperatorEntry: "operators",
        CertificateEntry: "certificates",
        EmploymentEntry: "employments",
    }
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(names[type(entry)], []).append(entry)
    return found


@pytest.fixture
def registry(databases: Databases, tmp_path: Path) -> Iterator[Registry]:
    engine = databases.engine()
    yield Registry(engine, open_vault(tmp_path / "keys"))
    engine.dispose()


# --- holding all at once ----------------------------------------------------------------------------------------


def test_invariant_nothing_of_a_long_change_holds_before_all_of_it_does(registry: Registry) -> None:
    registry.bring_in(person(1), person(2))
    before = registry.at(1)
    seen = []

    def look(what: str, *_: int) -> None:
        if what.startswith("write"):
            seen.append((registry.version, registry.at(registry.version)))

    how = How(at_once=1, progress=look)
    registry.bring_in(person(1, "blocked"), person(2, "blocked"), person(3), how=how)
    assert seen == [(1, before)] * 3
    assert [row.status for row in registry.at(2)] == ["blocked", "blocked", "active"]


def test_what_was_broken_off_never_holds_and_is_taken_back_by_the_next_long_change(registry: Registry) -> None:
    registry.bring_in(person(1), person(2), work(1))
    before = registry.at(1)
    registry.break_off(person(1, "blocked"), person(3), work(1, date(2024, 1, 1)), after=2)
    assert registry.at(registry.version) == before
    registry.a_while_later()
    registry.bring_in(person(4), person(5))
    assert registry.at(1) == before
    assert len(registry.at(2)) == len(before) + 2


def test_there_is_one_long_change_at_a_time_until_its_writer_is_silent_for_a_minute(registry: Registry) -> None:
    registry.bring_in(person(1), person(2))

    def meanwhile(what: str, *_: int) -> None:
        if what == "write operators":
            with pytest.raises(UnderWay, match="another import is under way"):
                registry.bring_in(person(8), person(9))

    registry.bring_in(person(3), person(4), how=How(at_once=1, progress=meanwhile))
    assert registry.version == 2


def test_a_writer_who_was_given_up_stops(registry: Registry) -> None:
    registry.bring_in(person(1), person(2))
    others = []

    def meanwhile(what: str, done: int, _: int) -> None:
        if what == "write operators" and done == 1:
            registry.a_while_later()
            others.append(registry.bring_in(person(8), person(9)).version)

    with pytest.raises(UnderWay, match="given up"):
        registry.bring_in(person(3), person(4), how=How(at_once=1, progress=meanwhile))
    assert others == [2]
    assert [row.operator_id for row in registry.at(2)] == ["P1", "P2", "P8", "P9"]


def test_invariant_what_holds_is_never_taken_back(registry: Registry) -> None:
    """As where somebody presses Ctrl-C between the publishing and the end of the command."""
    registry.bring_in(person(1))
    registry.bring_in(person(1, "blocked"), person(2))
    before = registry.at(2)
    writing.take_back(registry.engine, 2)
    assert (registry.version, registry.at(2)) == (2, before)


def test_a_small_change_in_the_midst_of_a_long_one_holds_at_once_and_stays(registry: Registry) -> None:
    registry.bring_in(person(1), person(2), person(3))

    def meanwhile(what: str, done: int, _: int) -> None:
        if what == "write operators" and done == 1:
            assert registry.push(person(1, "blocked"), person(3, "blocked")) == 2
            assert [row.status for row in registry.at(2)] == ["blocked", "active", "blocked"]

    entries = [OperatorEntry(f"P{number}", "active", name="改名") for number in (1, 2, 3)]
    registry.bring_in(*entries, how=How(at_once=1, progress=meanwhile), as_of=registry.now)
    assert [row.status for row in registry.at(3)] == ["blocked", "active", "blocked"], "the push is newer than the file"


# --- what held when ---------------------------------------------------------------------------------------------


def test_every_version_can_be_read_again(registry: Registry) -> None:
    versions = []
    for step in ([person(1), certificate(1, 1)], [person(1, "blocked")], [certificate(1, 2)], [person(2)]):
        registry.bring_in(*step)
        versions.append(registry.at(registry.version))
    assert [registry.at(version) for version in (1, 2, 3, 4)] == versions


def test_rolling_back_is_a_new_version_that_holds_what_held_then(registry: Registry) -> None:
    registry.bring_in(person(1), work(1), certificate(1, 1))
    then = registry.at(1)
    registry.bring_in(person(1, "blocked"), person(2), work(1, date(2024, 1, 1)), certificate(1, 2, "revoked"))
    summary = roll_back(registry.engine, registry.vault, 1, Origin("rollback", "test", registry.now), registry.now)
    assert (summary.version, registry.at(3)) == (3, then)
    assert registry.at(2) != then


def test_a_running_snapshot_follows_a_rollback(registry: Registry) -> None:
    registry.bring_in(person(1), certificate(1, 1))
    running = Snapshot()
    running.apply(read_delta(registry.engine, 0))
    registry.bring_in(person(2), certificate(1, 2), work(2))
    running.apply(read_delta(registry.engine, running.version))
    roll_back(registry.engine, registry.vault, 1, Origin("rollback", "test", registry.now), registry.now)
    changed = running.apply(read_delta(registry.engine, running.version))
    assert changed.operators == {"P1", "P2"}
    assert (set(running.operators), set(running.certificates)) == ({"P1"}, {"P1"})
    assert not running.employments.get("P2")


def test_the_life_of_somebody_tells_each_state_with_its_source_and_time(registry: Registry) -> None:
    registry.bring_in(person(1))
    registry.push(person(1, "blocked"), source="province")
    registry.push(person(1, "active"), source="province")
    with registry.engine.connect() as connection:
        lived = life_of(connection, metadata.tables["operators"], operator_id="P1")
    told = [(one.from_version, one.to_version, one.row["status"], one.source) for one in lived]
    assert told == [(1, 2, "active", "files"), (2, 3, "blocked", "province"), (3, None, "active", "province")]


# --- any order of things ----------------------------------------------------------------------------------------

entries = st.one_of(
    st.builds(person, st.integers(1, 3), st.sampled_from(["active", "blocked"])),
    st.builds(certificate, st.integers(1, 2), st.integers(1, 3), st.sampled_from(["valid", "revoked"])),
    st.builds(
        work, st.integers(1, 3), st.sampled_from([UNKNOWN_DAY, date(2024, 1, 1)]), st.sampled_from([FIRM, OTHER])
    ),
)


def key(entry: Entry) -> tuple[Any, ...]:
    match entry:
        case OperatorEntry():
            return ("operators", entry.operator_id)
        case CertificateEntry():
            return ("certificates", entry.number)
        case _:
            return ("employments", entry.operator_id, entry.uscc, entry.since)  # type: ignore[union-attr]


batch = st.lists(entries, min_size=1, max_size=5, unique_by=key)
act = st.one_of(
    st.tuples(st.just("long"), batch),
    st.tuples(st.just("small"), batch),
    st.tuples(st.just("broken"), batch, st.integers(0, 4)),
    st.tuples(st.just("pushed while long"), batch, batch),
    st.tuples(st.just("pushed after broken"), batch, batch, st.integers(1, 4)),
    st.tuples(st.just("back"), st.integers(1, 6)),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(act, min_size=1, max_size=6))
def test_any_order_of_long_small_broken_and_concurrent_changes_keeps_every_version(
    acts: list[Any], databases: Databases, tmp_path: Path
) -> None:
    engine = databases.engine()
    registry = Registry(engine, open_vault(tmp_path / "keys"))
    running = Snapshot()
    held: dict[int, list[Any]] = {}
    try:
        for what, *given_ in acts:
            _play(registry, what, given_)
            now = registry.version
            if now:
                assert held.setdefault(now, registry.at(now)) == registry.at(now)
            for version, rows in held.items():
                assert registry.at(version) == rows
            running.apply(read_delta(engine, running.version))
            fresh = Snapshot()
            fresh.apply(read_delta(engine, 0))
            assert _content(running) == _content(fresh)
    finally:
        engine.dispose()


def _play(registry: Registry, what: str, given_: list[Any]) -> None:
    match what:
        case "long":
            registry.bring_in(*given_[0])
        case "small":
            registry.push(*given_[0])
            assert _said(registry, given_[0])
        case "broken":
            _break_off(registry, given_[0], given_[1])
        case "pushed after broken":
            _break_off(registry, given_[0], given_[2])
            registry.push(*given_[1])
        case "pushed while long":
            pushed: list[Any] = []

            def meanwhile(step: str, *_: int) -> None:
                if step.startswith("write") and not pushed:
                    pushed.append(registry.push(*given_[1]))

            registry.bring_in(*given_[0], how=How(at_once=1, progress=meanwhile))
        case "back" if registry.version:
            target = min(given_[0], registry.version)
            then = registry.at(target)
            registry.now += 1000
            roll_back(
                registry.engine, registry.vault, target, Origin("rollback", "", registry.now), registry.now, SHORT
            )
            assert registry.at(registry.version) == then


def _said(registry: Registry, entries: list[Entry]) -> bool:
    """Whether what was pushed holds now."""
    snapshot = Snapshot()
    snapshot.apply(read_delta(registry.engine, 0))
    return all(
        snapshot.operators[entry.operator_id].status == entry.status
        for entry in entries
        if isinstance(entry, OperatorEntry)
    )


def _break_off(registry: Registry, entries: list[Entry], after: int) -> None:
    if len(entries) > after:
        try:
            registry.break_off(*entries, after=after)
        except pytest.fail.Exception:
            return  # nothing of it was new: there was nothing to break off
        registry.a_while_later()


def _content(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "version": snapshot.version,
        "operators": snapshot.operators,
        "certificates": {who: set(held) for who, held in snapshot.certificates.items() if held},
        "employments": {who: set(works) for who, works in snapshot.employments.items() if works},
    }


def test_gone_rows_come_before_what_takes_their_place(registry: Registry) -> None:
    registry.bring_in(person(1), work(1))
    registry.bring_in(work(1, date(2024, 1, 1)))
    with registry.engine.connect() as connection:
        rows = [row for _, rows in rows_between(connection, 1, 2) for row in rows]
    assert [isinstance(row, Gone) for row in rows] == [True, False]
