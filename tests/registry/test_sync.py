"""Passes of a source: what was read is taken in, and only what was read whole confirms and moves on."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from gateway.errors import WeldGateError
from gateway.observe.events import Observed, Recovered, SourceSynced, Trouble
from gateway.registry.importer import Store
from gateway.registry.remote import Client
from gateway.registry.sync import Books, Pass, run_source, sync_once
from gateway.store.changes import Origin, read_state
from gateway.store.entries import Entry
from gateway.store.registry import apply_entries
from gateway.store.sources import SourceState, source_state
from gateway.store.tables import CertificateRow, OperatorRow, metadata
from gateway.store.writing import Counts, Summary
from simulator.registry_service.faults import Faults
from simulator.registry_service.service import Service
from tests.registry.people import ANNA, FILES
from tests.support.registries import NOW, Script, Time, client, make_service, page, serving

EVERYTHING = {"registries": list(FILES)}
SPOILT = {"operator_id": "P-9", "status": "gone"}


class Refused(WeldGateError):
    """What a writer says that takes nothing in."""


class Recording:
    """Takes what it is given, or refuses it."""

    def __init__(self) -> None:
        self.taken: list[tuple[Origin, dict[str, list[Entry]]]] = []
        self.refuses = False

    def __call__(self, entries: Mapping[str, Sequence[Entry]], origin: Origin) -> Summary:
        if self.refuses:
            raise Refused("held: too many people")
        self.taken.append((origin, {name: list(rows) for name, rows in entries.items()}))
        return Summary(len(self.taken), {})

    def counts(self) -> dict[str, int]:
        """Of the last time."""
        return {name: len(rows) for name, rows in self.taken[-1][1].items()}


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def service(tmp_path: Path, time: Time) -> Service:
    return make_service(tmp_path / "county", time)


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.fixture
def books(store: Store, recording: Recording, time: Time) -> Books:
    return Books(store.engine, recording, time.wall_ms)


@asynccontextmanager
async def of_service(service: Service, time: Time, **given: Any) -> AsyncIterator[Client]:
    async with serving(service.app()) as url, client(f"{url}/v1", time, **{**EVERYTHING, **given}) as opened:
        yield opened


def state(engine: Engine) -> SourceState:
    with engine.connect() as connection:
        return source_state(connection, "province")


def operators(done: Pass) -> int:
    return done.rows.get("operators", 0)


async def test_a_pass_hands_everything_over_and_confirms(
    service: Service, time: Time, books: Books, recording: Recording
) -> None:
    async with of_service(service, time) as client:
        done = await sync_once(client, books)
    assert (done.problems, done.rows) == ([], recording.counts())
    assert list(done.rows) == ["enterprises", "operators", "certificates", "employments", "machines"]
    assert recording.taken[0][0] == Origin("province", "sync", NOW)
    assert state(books.engine).confirmed_at == NOW


async def test_the_next_pass_goes_on_from_there(
    service: Service, time: Time, books: Books, recording: Recording
) -> None:
    async with serving(service.app()) as url:
        async with client(f"{url}/v1", time, **EVERYTHING) as first:
            await sync_once(first, books)
        time.passed_s += 10
        service.change({"certificates": [{"number": f"T{ANNA}", "item": "fusion", "status": "revoked"}]})
        async with client(f"{url}/v1", time, **EVERYTHING) as restarted:
            await sync_once(restarted, books)
            assert recording.counts() == {"certificates": 1}
            time.passed_s += 10
            assert (await sync_once(restarted, books)).rows == {}
    assert recording.taken[-1] == (Origin("province", "sync", NOW + 20_000), {})
    assert state(books.engine).confirmed_at == NOW + 20_000


async def test_another_description_begins_from_the_start(
    service: Service, time: Time, books: Books, recording: Recording
) -> None:
    async with serving(service.app()) as url:
        for fields in ({}, {}, {"operators": {"mobile": "phone"}}):
            async with client(f"{url}/v1", time, fields=fields) as opened:
                await sync_once(opened, books)
    assert [len(entries.get("operators", ())) for _, entries in recording.taken] == [2, 0, 2]


async def test_a_failing_source_makes_data_old_and_not_wrong(
    service: Service, time: Time, books: Books, recording: Recording
) -> None:
    async with of_service(service, time, retries=0, breaker={"failures": 3, "open_s": 30}) as client:
        await sync_once(client, books)
        position = state(books.engine).position
        service.switch(Faults(error=1))
        for _ in range(2):
            time.passed_s += 10
            done = await sync_once(client, books)
            assert (done.summary, done.rows) == (None, {})
        failing = state(books.engine)
        assert (failing.confirmed_at, failing.failing_since, failing.position) == (NOW, NOW + 10_000, position)
        assert (failing.problem or "").startswith("enterprises: status: answers with 50")
        service.switch(Faults())
        time.passed_s += 30
        assert (await sync_once(client, books)).problems == []
        assert state(books.engine).failing_since is None
    assert [origin.as_of - NOW for origin, _ in recording.taken] == [0, 50_000]


async def test_what_was_read_before_the_fault_is_taken_in_and_asked_for_again(
    time: Time, books: Books, recording: Recording
) -> None:
    rows = [{"operator_id": "P-1", "status": "blocked"}]
    script = Script({"rows": rows, "next": "a", "more": True}, page({}, status=500))
    async with serving(script.app()) as url, client(url, time, retries=0) as opened:
        done = await sync_once(opened, books)
        assert (operators(done), len(done.problems), recording.counts()) == (1, 1, {"operators": 1})
        assert state(books.engine).confirmed_at is None
        await sync_once(opened, books)
        assert "cursor" not in script.asked[-1].query


async def test_a_registry_that_was_read_whole_moves_on_without_the_others(
    service: Service, time: Time, books: Books, recording: Recording
) -> None:
    async with of_service(service, time, paths={"machines": "/nowhere"}) as client:
        first = await sync_once(client, books)
        assert "machines" not in first.rows
        assert len(first.problems) == 1
        second = await sync_once(client, books)
        assert second.rows == {}
    assert state(books.engine).confirmed_at is None


async def test_of_one_row_on_two_pages_the_later_holds(time: Time, books: Books, recording: Recording) -> None:
    before, after = ({"operator_id": "P-1", "status": status} for status in ("active", "blocked"))
    script = Script({"rows": [before], "next": "a", "more": True}, {"rows": [after], "next": "b", "more": False})
    async with serving(script.app()) as url, client(url, time) as opened:
        await sync_once(opened, books)
    (entry,) = recording.taken[0][1]["operators"]
    assert getattr(entry, "status", None) == "blocked"


async def test_rows_that_are_refused_are_asked_for_again(
    service: Service, time: Time, books: Books, recording: Recording
) -> None:
    recording.refuses = True
    async with of_service(service, time) as client:
        done = await sync_once(client, books)
        assert (done.summary, done.problems) == (None, ["held: too many people"])
        assert state(books.engine).confirmed_at is None
        recording.refuses = False
        assert (await sync_once(client, books)).rows == recording.counts()
        assert operators(done) == recording.counts()["operators"]


async def test_bad_rows_are_no_confirmation(time: Time, books: Books, recording: Recording) -> None:
    script = Script({"rows": [{"operator_id": "P-1", "status": "active"}, SPOILT], "next": "a", "more": False})
    async with serving(script.app()) as url:
        async with client(url, time) as opened:
            done = await sync_once(opened, books)
            assert (operators(done), state(books.engine).confirmed_at) == (1, None)
            assert "province/operators:2: status = gone" in str(state(books.engine).problem)
        async with client(url, time, skip_bad_rows=True) as opened:
            await sync_once(opened, books)
            assert state(books.engine).confirmed_at == NOW


async def test_rows_that_a_push_overtook_are_read_again_before_anything_is_confirmed(
    service: Service, time: Time, store: Store
) -> None:
    overtaken = [1, 0]

    def write(entries: Mapping[str, Sequence[Entry]], _origin: Origin) -> Summary:
        left = {name: Counts(len(rows)) for name, rows in entries.items()}
        left["operators"].overtaken = overtaken.pop(0)
        return Summary(1, left)

    books = Books(store.engine, write, time.wall_ms)
    async with of_service(service, time) as client:
        first = await sync_once(client, books)
        assert (operators(first), state(books.engine).confirmed_at) == (2, None)
        assert "overtaken" in first.problems[0]
        again = await sync_once(client, books)
    assert (again.rows, again.problems) == ({"operators": 2}, [])
    assert state(books.engine).confirmed_at == NOW


async def test_rows_of_an_old_copy_are_as_of_that_moment(
    service: Service, time: Time, books: Books, recording: Recording
) -> None:
    service.switch(Faults(stale=True))
    time.passed_s += 5
    async with of_service(service, time, max_lag_s=60) as client:
        await sync_once(client, books)
    assert recording.taken[0][0].as_of == NOW


async def test_into_the_database_through_every_fault(service: Service, time: Time, store: Store) -> None:
    """Rows come in as the service has them, whatever happens on the way, and no pass in between confirms too much."""

    def write(entries: Mapping[str, Sequence[Entry]], origin: Origin) -> Summary:
        return apply_entries(store.engine, store.vault, entries, origin, time.wall_ms())

    books = Books(store.engine, write, time.wall_ms)
    service.switch(Faults(error=0.3, truncated=0.2, contradictory=0.2))
    number = f"T{ANNA}"
    async with of_service(service, time, page_size=1, retries=1, breaker={"failures": 50}) as client:
        for turn in range(20):
            status = "suspended" if turn % 2 else "valid"
            service.change({"certificates": [{"number": number, "item": "fusion", "status": status}]})
            time.passed_s += 10
            if not (await sync_once(client, books)).problems:
                assert status_of(store, number) == status
        service.switch(Faults())
        service.change({"operators": [{"operator_id": "P-2", "status": "active"}]})
        assert (await sync_once(client, books)).problems == []
        time.passed_s += 10
        await sync_once(client, books)  # which finds nothing new, and confirms the registries
    assert status_of(store, number) == "suspended"
    with store.engine.connect() as connection:
        held = read_state(connection)
        assert (held.confirmed_at if held else None) == time.wall_ms()
        table = metadata.tables[OperatorRow.__tablename__]
        assert set(connection.execute(sa.select(table.c.operator_id, table.c.status, table.c.source))) == {
            ("P-1", "active", "province"),
            ("P-2", "active", "province"),
        }


def status_of(store: Store, number: str) -> str | None:
    table = metadata.tables[CertificateRow.__tablename__]
    query = sa.select(table.c.status).where(table.c.number_index == store.vault.index(number), table.c.item == "fusion")
    with store.engine.connect() as connection:
        return connection.execute(query).scalar()


async def test_again_and_again_with_trouble_told_once(
    service: Service, time: Time, books: Books, recording: Recording
) -> None:
    seen: list[Observed] = []
    states = [Faults(), Faults(error=1), Faults(error=1), Faults()]

    async def sleep(seconds: float) -> None:
        assert 9 <= seconds <= 11
        time.passed_s += 40  # longer than the breaker stays open
        if not states:
            raise asyncio.CancelledError
        service.switch(states.pop(0))

    async with of_service(service, time, retries=0) as client:
        with pytest.raises(asyncio.CancelledError):
            await run_source(client, books, seen.append, sleep)
    assert [type(event) for event in seen if not isinstance(event, SourceSynced)] == [Trouble, Recovered]
    assert sum(isinstance(event, SourceSynced) for event in seen) == 5


async def test_a_database_that_is_away_is_tried_again(service: Service, time: Time, books: Books) -> None:
    seen: list[Observed] = []

    async def sleep(seconds: float) -> None:
        if len(seen) > 1:
            raise asyncio.CancelledError
        with books.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO registry_sources")

    with books.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE registry_sources RENAME TO away")
    async with of_service(service, time) as client:
        with pytest.raises(asyncio.CancelledError):
            await run_source(client, books, seen.append, sleep)
    assert [type(event) for event in seen] == [Trouble, SourceSynced, Recovered]
