"""The client of a remote registry, against the simulator's service with each of its faults and against a server that
answers by a script. Whatever is wrong has a name, is counted, and moves nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.registry.pages import FetchFailed
from gateway.registry.remote import Absent, Client, Failed, Found, Page, Position
from gateway.store.entries import OperatorEntry
from simulator.registry_service.faults import Faults
from simulator.registry_service.service import Service
from tests.registry.people import ANNA, FILES
from tests.support.registries import NOW, Script, Time, client, make_service, page, serving

ROW = {"operator_id": "P-1", "status": "active"}
OTHER = {"operator_id": "P-2", "status": "blocked"}
TOKEN = "t" * 32
CUT = Faults(truncated=1)
CURSOR, SINCE = {"incremental": "cursor"}, {"incremental": "updated_since"}


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def service(tmp_path: Path, time: Time) -> Service:
    return make_service(tmp_path / "county", time)


@asynccontextmanager
async def of_service(service: Service, time: Time, **given: Any) -> AsyncIterator[Client]:
    async with serving(service.app()) as url, client(f"{url}/v1", time, **given) as opened:
        yield opened


@asynccontextmanager
async def of_script(script: Script, time: Time, **given: Any) -> AsyncIterator[Client]:
    async with serving(script.app()) as url, client(url, time, **given) as opened:
        yield opened


async def pages(client: Client, registry: str = "operators", position: Position = Position()) -> list[Page]:  # noqa: B008
    return [page async for page in client.fetch(registry, position)]


async def read(client: Client, registry: str = "operators", position: Position = Position()) -> Page:  # noqa: B008
    """All pages as one."""
    read = await pages(client, registry, position)
    last = read[-1]
    entries = [entry for page in read for entry in page.entries]
    return Page(entries, [bad for page in read for bad in page.bad], last.position, last.complete, last.problem)


async def failure(client: Client, position: Position = Position()) -> FetchFailed:  # noqa: B008
    with pytest.raises(FetchFailed) as failed:
        await read(client, position=position)
    return failed.value


# --- whole registries -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [CURSOR, SINCE, {"incremental": "none"}], ids=str)
async def test_all_of_a_registry_is_read_page_by_page(service: Service, time: Time, how: dict[str, Any]) -> None:
    async with of_service(service, time, page_size=1, registries=list(FILES), **how) as client:
        for registry, rows in FILES.items():
            told = await pages(client, registry)
            assert [len(page.entries) for page in told] == [1] * (len(rows) - 1)
            assert [page.complete for page in told] == [False] * (len(rows) - 2) + [True]


async def test_registries_come_in_the_order_in_which_they_name_each_other(service: Service, time: Time) -> None:
    async with of_service(service, time, registries=["machines", "certificates", "operators"]) as client:
        assert client.registries == ("operators", "certificates", "machines")


async def test_pages_by_number_end_with_an_empty_one(time: Time) -> None:
    script = Script({"rows": [ROW]}, {"rows": [OTHER]}, {"rows": []})
    async with of_script(script, time, paging="page", incremental="none") as client:
        assert len((await read(client)).entries) == 2
        assert [request.query["page"] for request in script.asked] == ["1", "2", "3"]


async def test_a_source_may_call_everything_otherwise(time: Time) -> None:
    script = Script({"data": [ROW], "size": 1, "token": 7, "again": True}, {"data": [OTHER], "again": False})
    names = {"rows": "data", "count": "size", "next": "token", "more": "again", "cursor": "after", "limit": "n"}
    async with of_script(script, time, names=names, paths={"operators": "/people?of=all"}, page_size=9) as client:
        assert len((await read(client)).entries) == 2
        assert script.asked[1].path_qs == "/people?of=all&n=9&after=7"


# --- what has changed since -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [CURSOR, SINCE], ids=str)
async def test_the_next_pass_reads_what_has_changed(service: Service, time: Time, how: dict[str, Any]) -> None:
    async with of_service(service, time, **how) as client:
        time.passed_s += 10
        position = (await read(client)).position
        time.passed_s += 10
        service.change({"operators": [{"operator_id": "P-1", "status": "blocked"}]})
        changed = await read(client, position=position)
        assert [(entry.operator_id, entry.status) for entry in changed.entries if isinstance(entry, OperatorEntry)] == [
            ("P-1", "blocked")
        ]
        time.passed_s += 10
        assert (await read(client, position=changed.position)).complete


@pytest.mark.parametrize("how", [CURSOR, SINCE, {"incremental": "none"}], ids=str)
async def test_what_is_as_it_was_is_not_sent_again(service: Service, time: Time, how: dict[str, Any]) -> None:
    async with of_service(service, time, **how) as client:
        position = Position()
        for _ in range(3):
            time.passed_s += 10
            position = (await read(client, position=position)).position
        again = await read(client, position=position)
        assert (again.entries, again.complete, service.answers["304"] > 0) == ([], True, True)
        service.change({"operators": [{"operator_id": "P-9", "status": "active"}]})
        assert "P-9" in {
            getattr(entry, "operator_id", None) for entry in (await read(client, position=position)).entries
        }


async def test_an_etag_of_many_pages_counts_only_where_it_speaks_for_all(service: Service, time: Time) -> None:
    for etag, kept in (("page", False), ("registry", True)):
        async with of_service(service, time, page_size=1, incremental="none", etag=etag) as client:
            assert ((await read(client)).position.etag is not None) is kept


@pytest.mark.parametrize(("since_as", "since"), [("ms", "1789999940000"), ("iso", "2026-09-21T14:12:20+00:00")])
async def test_where_the_source_tells_no_time_ours_counts_with_a_minute_to_spare(
    time: Time, since_as: str, since: str
) -> None:
    async with of_script(Script({"rows": [ROW]}), time, incremental="updated_since", since_as=since_as) as client:
        assert (await read(client)).position.since == since


async def test_a_source_that_has_forgotten_the_cursor_is_read_from_the_start(service: Service, time: Time) -> None:
    async with of_service(service, time) as client:
        told = await read(client, position=Position(cursor="dead.7"))
        assert (len(told.entries), told.complete, client.problems["gone"]) == (2, True, 1)


# --- faults of the simulator's service --------------------------------------------------------------------------


async def test_errors_now_and_then_are_got_over(service: Service, time: Time) -> None:
    service.switch(Faults(error=0.4, truncated=0.3))
    async with of_service(service, time, page_size=1, retries=10, breaker={"failures": 100}) as client:
        assert [len((await read(client)).entries) for _ in range(10)] == [2] * 10
        assert set(client.problems) == {"status", "truncated", "not_json"}


async def test_errors_all_the_time_are_one_named_problem(service: Service, time: Time) -> None:
    service.switch(Faults(error=1))
    async with of_service(service, time) as client:
        failed = await failure(client)
        assert (failed.problem, client.problems["status"]) == ("status", 3)


async def test_a_slow_answer_is_not_waited_for(service: Service, time: Time) -> None:
    service.switch(Faults(slow=1, slow_s=600))
    async with of_service(service, time, timeout_s=0.05, retries=0) as client:
        assert (await failure(client)).problem == "timeout"


async def test_a_truncated_page_is_never_taken(service: Service, time: Time) -> None:
    service.switch(CUT)
    async with of_service(service, time, retries=10, breaker={"failures": 100}) as client:
        assert (await failure(client)).problem in ("truncated", "not_json")
        assert set(client.problems) == {"truncated", "not_json"}
        service.switch(Faults())
        assert (await read(client)).complete


async def test_rows_that_contradict_each_other_are_bad_rows(service: Service, time: Time) -> None:
    service.switch(Faults(contradictory=1))
    async with of_service(service, time) as client:
        told = await read(client)
        assert [getattr(entry, "operator_id", None) for entry in told.entries] == ["P-2"]
        assert (told.complete, told.position) == (False, Position())
        assert "has the same operator_id" in str(told.problem)


async def test_a_stale_source_shows_by_the_moment_of_its_rows(service: Service, time: Time) -> None:
    async with of_service(service, time, max_lag_s=60) as client:
        position = (await read(client)).position
        service.switch(Faults(stale=True))
        time.passed_s += 59
        assert (await read(client, position=position)).complete
        time.passed_s += 2
        told = await read(client, position=position)
        assert (told.complete, told.position, told.problem) == (False, position, "stale: operators is 61 s behind")
        service.switch(Faults())
        assert (await read(client, position=position)).complete


# --- answers that no honest source gives ------------------------------------------------------------------------

REFUSED = [
    ("status", page({"rows": []}, status=404), 1),
    ("status", page({"rows": []}, status=500), 3),
    ("status", page({"rows": []}, status=204), 1),
    ("status", page(b"", status=304), 1),
    ("content_type", page({"rows": []}, headers={"Content-Type": "text/html"}), 3),
    ("not_json", page(b"<html>"), 3),
    ("not_json", page(b""), 3),
    ("not_json", page(b'{"rows": [], "next": "\xff"}'), 3),
    ("not_a_page", page([]), 3),
    ("not_a_page", page({}), 3),
    ("not_a_page", page({"rows": {}}), 3),
    ("not_a_page", page({"rows": [], "more": 1}), 3),
    ("not_a_page", page({"rows": [], "next": ["a"]}), 3),
    ("not_a_page", page({"rows": [], "next": "x" * 257}), 3),
    ("not_a_page", page({"rows": [], "as_of": "yesterday"}), 3),
    ("truncated", page({"rows": [ROW], "count": 2}), 3),
    ("truncated", page({"rows": [ROW], "count": "1"}), 3),
    ("repeats", page({"rows": [ROW], "next": "a", "more": True}), 1),
    ("repeats", page({"rows": [ROW], "more": True}), 1),
    ("too_large", page(b"[" + b" " * (17 << 20)), 1),
    ("redirect", page(b"", status=302, headers={"Location": "http://registry.example/"}), 1),
    ("redirect", page(b"", status=302, headers={"Location": "http://127.0.0.1:1/operators"}), 1),
    ("redirect", page(b"", status=307, headers={"Location": "/operators"}), 1),
    ("redirect", page(b"", status=302, headers={"Location": "http://["}), 3),
]


@pytest.mark.parametrize(("problem", "answer", "times"), REFUSED)
async def test_what_is_wrong_has_a_name_and_is_counted(
    time: Time, problem: str, answer: web.Response, times: int
) -> None:
    async with of_script(Script(answer), time, incremental="none") as client:
        assert (await failure(client)).problem == problem
        assert client.problems == {problem: times}


async def test_a_redirect_on_the_same_host_is_followed(time: Time) -> None:
    script = Script(page(b"", status=308, headers={"Location": "/elsewhere"}), {"rows": [ROW]})
    async with of_script(script, time) as client:
        assert len((await read(client)).entries) == 1
        assert script.asked[1].path == "/elsewhere"


async def test_an_older_copy_than_the_one_that_was_read_last_is_refused(time: Time) -> None:
    script = Script({"rows": [ROW], "as_of": NOW - 1})
    async with of_script(script, time) as client:
        assert (await failure(client, Position(as_of=NOW))).problem == "stale"
        assert (await read(client, position=Position(as_of=NOW - 1))).complete


async def test_a_bad_row_is_left_out_and_asked_for_again(time: Time) -> None:
    bad = {"operator_id": "P-2", "status": "gone"}
    script = Script({"rows": [ROW, bad], "next": "a", "more": False})
    async with of_script(script, time) as client:
        told = await read(client)
        assert (len(told.entries), told.complete, told.position) == (1, False, Position())
        assert "bad_rows: 1 of operators" in str(told.problem)
    async with of_script(script, time, skip_bad_rows=True) as client:
        told = await read(client)
        assert (len(told.entries), told.complete, told.position) == (1, True, Position("a"))
        assert client.problems == {"bad_rows": 1}


async def test_nothing_of_an_id_number_is_in_a_message(time: Time) -> None:
    script = Script({"rows": [{**ROW, "id_number": ANNA[:-1] + "Y"}, {**ROW, "status": ANNA}]})
    async with of_script(script, time) as client:
        told = await read(client)
        assert len(told.bad) == 2
        assert ANNA[:-1] not in f"{told.problem} {[str(bad) for bad in told.bad]} {client.warnings}"


# --- tries and rests --------------------------------------------------------------------------------------------


async def test_a_source_that_says_when_to_come_again_is_left_alone_until_then(time: Time) -> None:
    busy = page({}, status=429, headers={"Retry-After": "7"})
    async with of_script(Script(busy, {"rows": [ROW]}), time) as client:
        assert (await read(client)).complete
        assert time.slept == [7.0]


async def test_one_that_wants_to_be_left_alone_for_long_is_asked_in_a_later_pass(time: Time) -> None:
    busy = page({}, status=503, headers={"Retry-After": "3600"})
    async with of_script(script := Script(busy), time) as client:
        await failure(client)
        assert (len(script.asked), time.slept) == (1, [])


async def test_waits_grow_from_try_to_try(time: Time) -> None:
    async with of_script(Script(page({}, status=500)), time, retries=4) as client:
        await failure(client)
        assert len(time.slept) == 4
        assert all(wait < longer for wait, longer in pairwise(time.slept))


async def test_a_source_that_fails_too_often_is_not_asked_for_a_while(time: Time) -> None:
    script = Script(*[page({}, status=500)] * 2, {"rows": [ROW]})
    async with of_script(script, time, retries=0, breaker={"failures": 2, "open_s": 30}) as client:
        assert [(await failure(client)).problem for _ in range(3)] == ["status", "status", "left_alone"]
        assert len(script.asked) == 2
        time.passed_s += 30
        assert (await read(client)).complete


async def test_no_more_is_asked_than_the_rate_allows(time: Time) -> None:
    pages = [{"rows": [ROW], "next": str(number), "more": number < 9} for number in range(10)]
    async with of_script(Script(*pages), time, rate_per_s=2) as client:
        await read(client)
        assert time.passed_s == pytest.approx(4.0)


async def test_who_is_not_there_is_a_problem_of_the_connection(time: Time) -> None:
    async with client("http://127.0.0.1:1", time) as nobody:
        assert (await failure(nobody)).problem == "connection"


async def test_the_secret_goes_along_and_is_needed(tmp_path: Path, time: Time) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    service = make_service(tmp_path / "county", time, token=TOKEN)
    async with of_service(service, time, auth={"kind": "bearer", "token_file": str(token)}) as known:
        assert (await read(known)).complete
    async with of_service(service, time) as unknown:
        assert "401" in str(await failure(unknown))


# --- one person -------------------------------------------------------------------------------------------------

LOOKUP = {"lookup": "/operators/{operator_id}/file"}


async def test_a_person_is_found_with_certificates_and_employments(service: Service, time: Time) -> None:
    async with of_service(service, time, **LOOKUP) as client:
        found = await client.look_up("P-1")
        assert isinstance(found, Found)
        assert {name: len(entries) for name, entries in found.entries.items()} == {
            "operators": 1,
            "certificates": 2,
            "employments": 1,
        }
        assert await client.look_up("P-9") == Absent()


async def test_a_strange_id_is_one_part_of_the_path(time: Time) -> None:
    async with of_script(script := Script(page({}, status=404)), time, **LOOKUP) as client:
        assert await client.look_up("../甲 ?x=1#") == Absent()
        assert script.asked[0].match_info["path"] == "operators/../甲 ?x=1#/file"
        assert script.asked[0].query_string == ""


async def test_an_id_number_goes_into_no_url(time: Time) -> None:
    async with of_script(script := Script({}), time, **LOOKUP) as client:
        assert isinstance(await client.look_up(ANNA), Failed)
        assert script.asked == []


@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (page({}, status=500), "status"),
        (page(b"<html>"), "not_json"),
        (page({"certificates": {}, "as_of": NOW}), "not_a_page"),
        (page({"operator": {"operator_id": "P-1"}, "as_of": NOW}), "bad_rows"),
        (page({"operator": OTHER, "as_of": NOW}), "other_person"),
        (page({"operator": ROW, "as_of": NOW - 61_000}), "stale"),
        (page({"operator": ROW}), "stale"),
        (page(b"", status=302, headers={"Location": "http://registry.example/"}), "redirect"),
    ],
)
async def test_what_is_no_answer_tells_nothing_about_the_person(time: Time, answer: web.Response, named: str) -> None:
    async with of_script(script := Script(answer), time, max_lag_s=60, **LOOKUP) as client:
        told = await client.look_up("P-1")
        assert isinstance(told, Failed)
        assert told.problem.startswith(named)
        assert len(script.asked) == 1


async def test_a_look_up_does_not_wait(service: Service, time: Time) -> None:
    service.switch(Faults(slow=1, slow_s=600))
    async with of_service(service, time, lookup_timeout_s=0.05, rate_per_s=1, **LOOKUP) as client:
        told = [await client.look_up("P-1") for _ in range(2)]
        assert [getattr(answer, "problem", "").partition(":")[0] for answer in told] == ["timeout", "left_alone"]


async def test_a_source_without_look_up_says_so(service: Service, time: Time) -> None:
    async with of_service(service, time) as client:
        assert await client.look_up("P-1") == Failed("the source has no look-up")
