"""Who is let in: tokens, scopes, and a limit on failed attempts."""

from typing import Any

import msgspec
import pytest
from msgspec import Struct

from gateway.observe.events import Denied
from gateway.store.api_tokens import SCOPES, ApiToken, TokenError, add_token, read_tokens, revoke_token, token_of
from gateway.web.access import ADDRESSES_AT_MOST, FAILURES_AT_MOST, TOKENS_LAST_S, WINDOW_S, Failures, Tokens
from gateway.web.call import Route
from gateway.web.routes import ROUTES
from tests.api.served import Served, status_line
from tests.gate.gates import NOW
from tests.store.databases import Databases

DAY_MS = 86_400_000
FILLED = {
    "{operator_id}": "P000123",
    "{uscc}": "91330521MA28A0AA00",
    "{machine_id}": "HJ-0001",
    "{hold_id}": "0a1b2c3d",
}
NOTHING_SAID: dict[str, Any] = {"body": b"{}", "Content_Type": "application/json"}


def path_of(route: Route) -> str:
    path = route.path
    for name, value in FILLED.items():
        path = path.replace(name, value)
    return path


# --- scopes -----------------------------------------------------------------------------------------------------

BY_TOKEN = [route for route in ROUTES if route.access != "signature"]


@pytest.mark.parametrize("route", BY_TOKEN, ids=lambda route: route.name)
@pytest.mark.parametrize("scope", SCOPES)
async def test_each_route_is_open_to_its_scope_and_to_no_other(api: Served, route: Route, scope: str) -> None:
    answer = await api.call(route.method, path_of(route), token=api.add_token(scope), **NOTHING_SAID)
    if scope == route.access:
        assert answer.status in (200, 404, 422)
    else:
        assert answer.status == 403
        assert route.access in answer.body["detail"]
        assert scope in answer.body["detail"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
async def test_no_route_is_open_to_somebody_without_token_and_signature(api: Served, route: Route) -> None:
    answer = await api.call(route.method, path_of(route), token=None, **NOTHING_SAID)
    assert (answer.status, answer.kind) == (401, "application/problem+json")


async def test_a_token_does_not_stand_for_a_signature(api: Served) -> None:
    answer = await api.call("POST", "/registry/events", b"{}", Content_Type="application/json")
    assert answer.status == 401


# --- tokens -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil", [lambda t: t[:-1], lambda t: t + "x", lambda t: t.upper(), lambda t: "", lambda t: "令牌"]
)
async def test_a_token_that_is_not_exactly_one_is_refused(api: Served, spoil: Any) -> None:
    answer = await api.call("GET", "/registry", token=None, Authorization="Bearer " + spoil(api.token))
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "weldgate token add" in answer.body["detail"]


@pytest.mark.parametrize("header", [b"Bearer \xff\xfe", b"Basic dDp0", b"bearer", b"x"])
async def test_a_header_that_is_no_text_or_no_token_is_refused_like_any_other(api: Served, header: bytes) -> None:
    head = b"GET /api/v1/registry HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: %b\r\n\r\n" % header
    assert b" 401 " in await status_line(api.port, head)


async def test_a_token_holds_until_its_end(api: Served) -> None:
    token = api.add_token(days=1)
    assert (await api.get("/registry", token=token)).status == 200
    api.gate.clock.pass_s(DAY_MS / 1000)
    assert (await api.get("/registry", token=token)).status == 401


async def test_no_answer_repeats_a_token(api: Served) -> None:
    for answer in (
        await api.get("/registry"),
        await api.get("/nowhere"),
        await api.get("/registry", token=api.token + "x"),
    ):
        assert api.token not in str(answer.body)


def test_the_database_holds_nothing_that_opens(databases: Databases) -> None:
    engine = databases.engine()
    token, text = add_token(engine, "page", ["codes"], NOW, None)
    with engine.connect() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM api_tokens").all())
    assert text not in rows
    assert text.split("_", 2)[2] not in rows
    assert token_of(read_tokens(engine), text, NOW) == token


def test_a_revoked_token_stays_on_file_and_opens_nothing(databases: Databases) -> None:
    engine = databases.engine()
    token, text = add_token(engine, "page", ["codes", "codes"], NOW, 30)
    assert token.scopes == ("codes",)
    revoke_token(engine, token.token_id, NOW + 1)
    assert read_tokens(engine)[token.token_id].revoked_at == NOW + 1
    assert token_of(read_tokens(engine), text, NOW + 2) is None
    with pytest.raises(TokenError, match="token list"):
        revoke_token(engine, token.token_id, NOW + 3)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": ""}, "name"),
        ({"name": "two\nlines"}, "printable"),
        ({"scopes": []}, "registry:read"),
        ({"scopes": ["codes", "everything"]}, "--scope everything"),
        ({"days": 0}, "--days 0"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_made(databases: Databases, wrong: dict[str, Any], says: str) -> None:
    engine = databases.engine()
    given: dict[str, Any] = {"name": "page", "scopes": ["codes"], "now": NOW, "days": None}
    with pytest.raises(TokenError, match=says):
        add_token(engine, **given | wrong)
    assert read_tokens(engine) == {}


# --- how long tokens are remembered ------------------------------------------------------------------------------


class Ticking(Struct):
    """Monotonic nanoseconds that move only when told."""

    now: int = 5_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += round(seconds * 1e9)


async def test_tokens_are_read_again_after_a_second_however_often_they_are_used() -> None:
    clock, reads = Ticking(), 0

    def read() -> dict[str, ApiToken]:
        nonlocal reads
        reads += 1
        clock.pass_s(0.1)  # reading takes its time, which counts
        return {}

    tokens = Tokens(read, clock)
    for _ in range(20):
        await tokens.known()
        clock.pass_s(TOKENS_LAST_S / 10)
    assert reads == 2 + 1


# --- a limit on failed attempts ----------------------------------------------------------------------------------


async def test_whoever_fails_too_often_is_told_to_wait_while_a_good_token_still_opens(api: Served) -> None:
    answers = [await api.get("/registry", token="wrong") for _ in range(FAILURES_AT_MOST + 1)]
    assert [answer.status for answer in answers] == [401] * FAILURES_AT_MOST + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= WINDOW_S
    assert (await api.get("/registry")).status == 200
    denied = [event for event in api.seen if isinstance(event, Denied)]
    assert [event.limited for event in denied] == [False] * FAILURES_AT_MOST + [True]
    assert {(event.kind, event.address) for event in denied} == {("unauthorized", "127.0.0.1")}


def test_after_the_window_an_address_may_fail_again() -> None:
    clock = Ticking()
    failures = Failures(clock)
    waits = [failures.too_many("a") for _ in range(FAILURES_AT_MOST + 1)]
    assert waits == [None] * FAILURES_AT_MOST + [WINDOW_S]
    assert failures.too_many("b") is None
    clock.pass_s(WINDOW_S - 1)
    assert failures.too_many("a") == 1
    clock.pass_s(1)
    assert failures.too_many("a") is None


def test_however_many_addresses_fail_they_take_little_memory_and_are_limited_together() -> None:
    failures = Failures(Ticking())
    waits = [failures.too_many(f"address-{number}") for number in range(ADDRESSES_AT_MOST + FAILURES_AT_MOST + 2)]
    assert waits[: ADDRESSES_AT_MOST + FAILURES_AT_MOST] == [None] * (ADDRESSES_AT_MOST + FAILURES_AT_MOST)
    assert waits[-1] == WINDOW_S
    assert msgspec.json.encode(failures._counts).count(b"address") <= ADDRESSES_AT_MOST
