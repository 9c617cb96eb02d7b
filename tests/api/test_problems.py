"""Every error is a problem document that says what is wrong and what to do (RFC 9457)."""

import io
from typing import IO, Annotated

import pytest
from msgspec import Meta, Struct

from gateway.errors import DatabaseUnavailable
from gateway.observe.events import Trouble
from gateway.web.api import MAX_BODY_BYTES
from gateway.web.call import Call, Route, Services
from gateway.web.problems import PROBLEMS
from tests.api.served import Answer, Served, serving
from tests.docs.pages import DOCS, anchors
from tests.gate.gates import make_gate
from tests.registry.people import ANNA
from tests.store.databases import Databases

JSON = {"Content_Type": "application/json"}


def is_problem(answer: Answer, kind: str, *says: str) -> bool:
    """With the members that the RFC names, and texts that tell what and how."""
    assert answer.kind == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    status, title, _ = PROBLEMS[kind]  # type: ignore[index]
    assert answer.body["type"] == f"/docs/api.md#{kind}"
    assert (answer.status, answer.body["status"], answer.body["title"]) == (status, status, title)
    for text in says:
        assert text in answer.body["detail"]
    return True


def test_every_kind_of_problem_is_explained_where_its_type_says() -> None:
    assert set(PROBLEMS) <= set(anchors(DOCS / "api.md"))


async def test_a_path_that_is_none(api: Served) -> None:
    assert is_problem(await api.get("/nowhere"), "not-found", "openapi.json")


async def test_a_method_that_the_path_does_not_have(api: Served) -> None:
    answer = await api.call("DELETE", "/registry")
    assert is_problem(answer, "method-not-allowed", "DELETE", "GET")
    assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=many", "limit=1&limit=2", "other=1"])
async def test_a_query_that_is_not_asked_for(api: Served, query: str) -> None:
    assert is_problem(await api.get(f"/registry/versions?{query}"), "malformed", "query")


async def test_a_query_where_there_is_none(api: Served) -> None:
    assert is_problem(await api.get("/registry?verbose=1"), "malformed", "verbose")


@pytest.mark.parametrize("path", ["/operators/{}", "/machines/{}", "/enterprises/{}"])
async def test_a_personal_number_has_no_place_in_a_url_and_comes_back_in_no_answer(api: Served, path: str) -> None:
    for number in (ANNA, f"T{ANNA}", "12900000001"):
        answer = await api.get(path.format(number))
        assert is_problem(answer, "malformed", "URL")
        assert number not in str(answer.body)


@pytest.mark.parametrize("path", ["/operators/P-NOBODY", "/machines/HJ-NONE", "/enterprises/91330521MA28A0AA00"])
async def test_something_that_the_registries_do_not_know(api: Served, path: str) -> None:
    assert is_problem(await api.get(path), "not-found", "registered" if "operators" not in path else "registry")


# --- bodies -----------------------------------------------------------------------------------------------------


class Order(Struct, frozen=True, forbid_unknown_fields=True):
    """How many of what."""

    what: str
    count: Annotated[int, Meta(ge=1)]


async def take_order(_: Services, call: Call) -> Order:
    match call.body.what:
        case "trouble":
            raise DatabaseUnavailable("--database /somewhere: locked")
        case "bug":
            raise ZeroDivisionError(call.body.what)
    return call.body  # type: ignore[no-any-return]


ORDER = Route("POST", "/orders", "order", "codes", "Take an order.", Order, take_order, body=Order)


@pytest.fixture
async def orders(databases: Databases):  # type: ignore[no-untyped-def]
    async with serving(make_gate(), databases.engine(), [ORDER]) as served:
        yield served


async def order(orders: Served, body: bytes | IO[bytes], **headers: str) -> Answer:
    return await orders.call("POST", "/orders", body, **{**JSON, **headers})


async def test_a_good_body_is_read_into_the_routes_struct(orders: Served) -> None:
    answer = await order(orders, b'{"what": "rods", "count": 2}')
    assert (answer.status, answer.body) == (200, {"what": "rods", "count": 2})


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"what": "\xff", "count": 1}'])
async def test_a_body_that_is_no_json(orders: Served, body: bytes) -> None:
    assert is_problem(await order(orders, body), "malformed", "body")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[]", "object"),
        (b'{"what": "rods"}', "count"),
        (b'{"what": "rods", "count": "2"}', "$.count"),
        (b'{"what": "rods", "count": 0}', "$.count"),
        (b'{"what": "rods", "count": 2, "colour": "red"}', "colour"),
    ],
)
async def test_a_body_that_is_not_what_is_asked_for(orders: Served, body: bytes, says: str) -> None:
    assert is_problem(await order(orders, body), "invalid", says)


async def test_a_field_that_is_somebodys_number_does_not_come_back(orders: Served) -> None:
    answer = await order(orders, b'{"what": "rods", "count": 2, "%b": 1}' % ANNA.encode())
    assert is_problem(answer, "invalid", "unknown field")
    assert ANNA not in str(answer.body)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_that_does_not_say_it_is_json(orders: Served, kind: str) -> None:
    assert is_problem(await order(orders, b"{}", Content_Type=kind), "unsupported-media-type", "application/json")


async def test_a_body_that_is_too_large(orders: Served) -> None:
    assert is_problem(await order(orders, io.BytesIO(b" " * (MAX_BODY_BYTES + 1))), "too-large", str(MAX_BODY_BYTES))


async def test_trouble_with_the_database_passes_and_tells_nothing_about_it(orders: Served) -> None:
    answer = await order(orders, b'{"what": "trouble", "count": 1}')
    assert is_problem(answer, "unavailable", "try again")
    assert answer.headers["Retry-After"] == "1"
    assert "somewhere" not in str(answer.body)
    assert Trouble("api", "--database /somewhere: locked") in orders.seen


async def test_a_bug_is_told_to_the_log_by_its_place(orders: Served) -> None:
    assert is_problem(await order(orders, b'{"what": "bug", "count": 1}'), "internal")
    (trouble,) = [event for event in orders.seen if isinstance(event, Trouble)]
    assert trouble.problem.startswith("ZeroDivisionError at test_problems.py:")
