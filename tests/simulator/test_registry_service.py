"""The registry service: pages, people, changes, faults and pushes over real HTTP."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.registry.columns import KINDS
from gateway.registry.sample import PROFILES, generate
from gateway.registry.sheets import write_files
from simulator.registry import RegistryFileError
from simulator.registry_service.county import KEYS, County, load
from simulator.registry_service.faults import FaultError, Faults, draw, parse
from simulator.registry_service.news import events
from simulator.registry_service.push import Pusher, SecretError, read_secret
from simulator.registry_service.service import Service
from tests.registry.people import ANNA, FILES, FIRM, OTHER_FIRM
from tests.support.registries import NOW, Time, make_service, serving

KEY = b"k" * 32
TOKEN = "t" * 32
CERTIFICATE = {"number": f"T{ANNA}", "item": "fusion"}


class Answer:
    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asking:
    """A plain client of one service."""

    def __init__(self, service: Service, url: str, session: ClientSession) -> None:
        self.service, self._url, self._session = service, url, session

    async def get(self, path: str, **headers: str) -> Answer:
        async with self._session.get(self._url + path, headers=headers) as response:
            return Answer(response.status, response.headers, await response.read())

    async def post(self, path: str, content: Any) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content)
        async with self._session.post(self._url + path, data=body) as response:
            return Answer(response.status, response.headers, await response.read())


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def service(tmp_path: Path, time: Time) -> Service:
    return make_service(tmp_path / "county", time)


@pytest.fixture
async def asking(service: Service) -> AsyncIterator[Asking]:
    async with serving(service.app()) as url, ClientSession() as session:
        yield Asking(service, url, session)


# --- pages and people -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("registry", FILES)
async def test_each_file_is_a_registry(asking: Asking, registry: str) -> None:
    page = (await asking.get(f"/v1/{registry}")).json
    headers, *rows = FILES[registry]
    assert page["rows"] == [dict(zip(headers, (cell or None for cell in row), strict=True)) for row in rows]
    assert (page["count"], page["more"], page["as_of"]) == (len(rows), False, NOW)


async def test_pages_lead_through_all_rows(asking: Asking) -> None:
    seen, cursor = [], ""
    for more in (True, False):
        page = (await asking.get(f"/v1/operators?limit=1{cursor}")).json
        assert page["more"] is more
        seen += [row["operator_id"] for row in page["rows"]]
        cursor = f"&cursor={page['next']}"
    assert seen == ["P-1", "P-2"]
    assert (await asking.get(f"/v1/operators?limit=1{cursor}")).json["rows"] == []


async def test_a_changed_row_comes_again_behind_the_cursor_and_since_its_time(asking: Asking, time: Time) -> None:
    first = (await asking.get("/v1/operators")).json
    time.passed_s += 1
    await asking.post("/control/change", {"operators": [{"operator_id": "P-1", "status": "blocked"}]})
    for query in (f"cursor={first['next']}", f"updated_since={NOW + 1000}"):
        (row,) = (await asking.get(f"/v1/operators?{query}")).json["rows"]
        assert (row["operator_id"], row["status"], row["id_number"]) == ("P-1", "blocked", ANNA)
    assert (await asking.get(f"/v1/operators?updated_since={NOW + 1001}")).json["rows"] == []


async def test_what_has_not_changed_is_not_sent_again(asking: Asking) -> None:
    etag = (await asking.get("/v1/operators")).headers["ETag"]
    assert (await asking.get("/v1/operators", **{"If-None-Match": etag})).status == 304
    assert (await asking.get("/v1/operators?limit=1", **{"If-None-Match": etag})).status == 200
    await asking.post("/control/change", {"operators": [{"operator_id": "P-1", "status": "blocked"}]})
    assert (await asking.get("/v1/operators", **{"If-None-Match": etag})).status == 200


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [
        ("/v1/welders", 404, "operators"),
        ("/v1/operators?cursor=7", 400, "cursor"),
        ("/v1/operators?cursor=other.7", 410, "cursor"),
        ("/v1/operators?limit=0", 400, "limit"),
        ("/v1/operators?limit=1001", 400, "limit"),
        ("/v1/operators?updated_since=today", 400, "updated_since"),
        ("/v1/operators/P-9/file", 404, "operator_id"),
    ],
)
async def test_what_cannot_be_answered_is_a_problem(asking: Asking, path: str, status: int, named: str) -> None:
    answer = await asking.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert named in answer.json["detail"]


async def test_the_file_of_a_person_holds_everything_about_them(asking: Asking) -> None:
    file = (await asking.get("/v1/operators/P-1/file")).json
    assert file["operator"]["operator_id"] == "P-1"
    assert [row["item"] for row in file["certificates"]] == ["fusion", "brazing"]
    assert [row["uscc"] for row in file["employments"]] == [FIRM]


async def test_a_token_is_asked_for_everywhere(tmp_path: Path, time: Time) -> None:
    service = make_service(tmp_path / "county", time, token=TOKEN)
    async with serving(service.app()) as url, ClientSession() as session:
        asking = Asking(service, url, session)
        for path in ("/v1/operators", "/control/state", "/openapi.json"):
            assert (await asking.get(path)).status == 401
            assert (await asking.get(path, Authorization=f"Bearer {TOKEN}x")).status == 401
            assert (await asking.get(path, Authorization=f"Bearer {TOKEN}")).status == 200


def test_a_county_is_loaded_with_its_dates(tmp_path: Path) -> None:
    write_files(generate(PROFILES["county"], 1, date(2026, 11, 1)), tmp_path, form="csv", chinese=False)
    county = load(tmp_path, NOW)
    assert len(county.tables["machines"].rows) == 1603
    assert set(county.tables) == set(KEYS)


def test_keys_are_those_of_the_registry_files() -> None:
    named = {kind.name: {column.into: column.name for column in kind.columns} for kind in KINDS}
    assert {kind.name: tuple(named[kind.name][into] for into in kind.key) for kind in KINDS} == KEYS


def test_permits_are_served_where_the_folder_has_them(tmp_path: Path, time: Time) -> None:
    permits = [["permit_id", "uscc", "operator_id", "machine_id"], ["D-1", FIRM, "", ""]]
    service = make_service(tmp_path, time, {**FILES, "permits": permits})
    assert list(service.county.tables["permits"].rows) == [("D-1", None, None)]


@pytest.mark.parametrize("rows", [[["uscc", "name"]], [["operator_id"]]], ids=["no file", "no key"])
def test_a_folder_that_lacks_something_is_refused(tmp_path: Path, time: Time, rows: list[list[str]]) -> None:
    with pytest.raises(RegistryFileError, match=r"\.csv"):
        make_service(tmp_path, time, {"enterprises": rows})


# --- the document -----------------------------------------------------------------------------------------------


async def test_the_openapi_document_is_one(asking: Asking) -> None:
    document = (await asking.get("/openapi.json")).json
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    assert {f"/v1/{name}" for name in FILES} < set(document["paths"])


@pytest.mark.parametrize("path", ["/v1/certificates", "/v1/machines?limit=1", "/v1/operators/P-1/file"])
async def test_answers_are_what_the_document_says(asking: Asking, path: str) -> None:
    document = (await asking.get("/openapi.json")).json
    place = "/v1/operators/{operator_id}/file" if path.endswith("/file") else path.partition("?")[0]
    schema = document["paths"][place]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    whole = {**schema, "components": document["components"]}
    assert list(OAS31Validator(whole).iter_errors((await asking.get(path)).json)) == []


async def test_every_route_is_in_the_document(asking: Asking) -> None:
    document = (await asking.get("/openapi.json")).json
    listed = {(method.upper(), path) for path, ways in document["paths"].items() for method in ways}
    for route in asking.service.app().router.routes():
        assert route.resource is not None
        path = route.resource.canonical
        if route.method != "HEAD" and path not in ("/openapi.json", "/v1/{registry}"):
            assert (route.method, path) in listed


# --- changes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"welders": [{}]}, "welders"),
        ({"operators": [{"status": "blocked"}]}, "operators.operator_id"),
        ({"operators": [{"operator_id": "P-1", "age": "7"}]}, "operators.age"),
        ({"operators": {}}, "body"),
        (b"{", "body"),
    ],
)
async def test_a_change_that_cannot_be_made_is_refused(asking: Asking, change: Any, named: str) -> None:
    answer = await asking.post("/control/change", change)
    assert (answer.status, named in answer.json["detail"]) == (400, True)


CHANGES = [
    ("certificates", {**CERTIFICATE, "status": "suspended"}, ["suspend"]),
    ("certificates", {**CERTIFICATE, "status": "revoked"}, ["revoke"]),
    ("certificates", {**CERTIFICATE, "valid_until": "2036-01-01"}, ["renew"]),
    ("certificates", {**CERTIFICATE, "valid_until": "2036-01-01", "status": "revoked"}, ["renew", "revoke"]),
    ("certificates", {**CERTIFICATE, "item": "pressure", "operator_id": "P-1", "status": "valid"}, ["issue"]),
    ("certificates", CERTIFICATE, []),
    ("operators", {"operator_id": "P-1", "status": "blocked"}, ["block"]),
    ("operators", {"operator_id": "P-2", "status": "active"}, ["unblock"]),
    ("operators", {"operator_id": "P-3", "status": "active"}, []),
    ("operators", {"operator_id": "P-1", "name": "样例"}, []),
    ("employments", {"operator_id": "P-1", "uscc": OTHER_FIRM, "from": "2026-01-01"}, ["hire"]),
    ("employments", {"operator_id": "P-1", "uscc": FIRM, "from": None, "until": "2026-01-01"}, ["leave"]),
    ("enterprises", {"uscc": FIRM, "status": "production_suspended"}, ["stop_production"]),
    ("enterprises", {"uscc": FIRM, "status": "closed"}, []),
    ("machines", {"machine_id": "HJ-0001", "status": "suspended"}, []),
]


@pytest.mark.parametrize(("registry", "given", "kinds"), CHANGES)
def test_what_a_change_means_is_told(service: Service, registry: str, given: dict[str, Any], kinds: list[str]) -> None:
    told = service.change({registry: [given]})
    assert [event["kind"] for event in told] == kinds
    assert all(event["at"] == NOW for event in told)
    assert len({event["event_id"] for event in told}) == len(told)


def test_what_was_taken_back_is_told_too(service: Service) -> None:
    told: list[tuple[str, dict[str, str | None], dict[str, str | None], str]] = [
        ("certificates", {**CERTIFICATE, "status": "suspended"}, {**CERTIFICATE, "status": "valid"}, "reinstate"),
        ("enterprises", {"uscc": FIRM, "status": "production_suspended"}, {"uscc": FIRM, "status": "active"}, "resume"),
    ]
    for registry, there, back, kind in told:
        service.change({registry: [there]})
        assert [event["kind"] for event in service.change({registry: [back]})] == [kind]


def test_a_certificate_is_told_whole_and_with_its_holder(service: Service) -> None:
    (event,) = service.change({"certificates": [{**CERTIFICATE, "valid_until": "2036-01-01"}]})
    assert event["certificate"] == {**CERTIFICATE, "operator_id": "P-1", "valid_until": "2036-01-01",
                                    "status": "valid", "verification": "verified"}  # fmt: skip
    assert event["operator"]["operator_id"] == "P-1"
    assert "status" not in event["operator"], "whoever is known stays as he is"


def test_a_firm_that_is_new_and_stands_still_is_told(service: Service) -> None:
    county = County(service.county.tables.values())
    row: dict[str, str | None] = {"uscc": OTHER_FIRM, "status": "production_suspended"}
    assert [event["kind"] for event in events(county, "enterprises", None, row, NOW)] == ["stop_production"]


# --- faults -----------------------------------------------------------------------------------------------------


async def test_faults_are_switched_while_it_runs(asking: Asking) -> None:
    assert (await asking.post("/control/faults", {"error": 1})).json["error"] == 1
    assert (await asking.get("/v1/operators")).status in (500, 502, 503)
    assert (await asking.get("/control/state")).json["faults"]["error"] == 1
    await asking.post("/control/faults", {})
    assert (await asking.get("/v1/operators")).status == 200


@pytest.mark.parametrize("given", [{"error": 2}, {"slow": -1}, {"stale": 1}, {"loud": 1}, []])
async def test_a_fault_that_there_is_not_is_refused(asking: Asking, given: Any) -> None:
    assert (await asking.post("/control/faults", given)).status == 400


async def test_a_stale_service_tells_what_was_when_it_became_so(asking: Asking, time: Time) -> None:
    await asking.post("/control/faults", {"stale": True})
    time.passed_s += 60
    await asking.post("/control/change", {"operators": [{"operator_id": "P-1", "status": "blocked"}]})
    page = (await asking.get("/v1/operators")).json
    assert (page["rows"][0]["status"], page["as_of"]) == ("active", NOW)
    assert (await asking.get("/v1/operators/P-1/file")).json["operator"]["status"] == "active"
    await asking.post("/control/faults", {})
    page = (await asking.get("/v1/operators")).json
    assert (page["rows"][-1]["status"], page["as_of"]) == ("blocked", NOW + 60_000)


async def test_a_truncated_answer_is_cut_in_one_of_three_ways(asking: Asking) -> None:
    asking.service.switch(Faults(truncated=1))
    seen = set()
    for _ in range(30):
        try:
            page = (await asking.get("/v1/operators")).json
            assert page["count"] > len(page["rows"])
            seen.add("fewer rows")
        except json.JSONDecodeError:
            seen.add("half a document")
        except ClientError:
            seen.add("half an answer")
    assert seen == {"fewer rows", "half a document", "half an answer"}


@pytest.mark.parametrize(("registry", "column"), [("certificates", "status"), ("employments", "until")])
async def test_a_contradictory_page_says_two_things_of_one_row(asking: Asking, registry: str, column: str) -> None:
    asking.service.switch(Faults(contradictory=1))
    rows = (await asking.get(f"/v1/{registry}")).json["rows"]
    first, last = rows[0], rows[-1]
    assert all(first[name] == last[name] for name in KEYS[registry])
    assert first[column] != last[column]


def test_the_same_seed_draws_the_same_faults() -> None:
    faults = Faults(slow=0.3, error=0.3, truncated=0.3, contradictory=0.3)
    runs = [[draw(faults, chance) for _ in range(50)] for chance in (Random(7), Random(7), Random(8))]
    assert runs[0] == runs[1] != runs[2]
    assert {mishap.wait_s for mishap in runs[0]} == {0, 2}


@pytest.mark.parametrize("text", ["loud", "error=much", "error=2", "stale=1", "error"])
def test_a_switch_that_there_is_not_is_refused(text: str) -> None:
    with pytest.raises(FaultError):
        parse([text])


# --- pushes -----------------------------------------------------------------------------------------------------


class Gateway:
    """Takes pushes as a gateway does, after failing as often as told."""

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.messages: list[tuple[str, list[Any]]] = []
        self.attempts: list[str] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/api/v1/registry/events", self._take)
        return app

    async def _take(self, request: web.Request) -> web.Response:
        body, sent = await request.read(), request.headers
        signed = f"{sent['webhook-id']}.{sent['webhook-timestamp']}.".encode() + body
        wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert sent["webhook-signature"] == f"v1,{wanted}"
        self.attempts.append(sent["webhook-id"])
        status = self._statuses.pop(0) if self._statuses else 202
        if status == 202:
            self.messages.append((sent["webhook-id"], json.loads(body)["events"]))
        return web.Response(status=status)


async def _pushed(gateway: Gateway, service: Service, pusher_of: Any) -> Pusher:
    async with serving(gateway.app()) as url:
        pusher: Pusher = pusher_of(f"{url}/api/v1/registry/events")
        service._pusher = pusher
        service.change({"certificates": [{**CERTIFICATE, "status": "revoked"}]})
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            task = group.create_task(pusher.run(), name="push")
            await pusher.settled()
            task.cancel()
    return pusher


def _pusher(url: str) -> Pusher:
    return Pusher(url, KEY, Random(1))


async def test_a_change_is_pushed_signed(service: Service) -> None:
    gateway = Gateway()
    pusher = await _pushed(gateway, service, _pusher)
    ((_, (event,)),) = gateway.messages
    assert (event["kind"], event["number"], event["item"]) == ("revoke", f"T{ANNA}", "fusion")
    assert (pusher.counts.taken, pusher.counts.refused) == (1, 0)


async def test_a_push_is_repeated_under_its_id_until_it_is_taken(service: Service) -> None:
    gateway = Gateway(503, 202)
    pusher = await _pushed(gateway, service, _pusher)
    assert (len(gateway.attempts), len(set(gateway.attempts)), pusher.counts.taken) == (2, 1, 1)


async def test_a_push_that_is_refused_is_not_repeated(service: Service) -> None:
    gateway = Gateway(401)
    pusher = await _pushed(gateway, service, _pusher)
    assert (len(gateway.attempts), pusher.counts.refused) == (1, 1)


def test_the_secret_stands_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    for text in ("whsec_" + base64.b64encode(KEY).decode(), base64.b64encode(KEY).decode() + "\n"):
        path.write_text(text)
        assert read_secret(path) == KEY
    for text in ("", "whsec_", "whsec_?", "whsec_" + base64.b64encode(b"short").decode()):
        path.write_text(text)
        with pytest.raises(SecretError, match="whsec_"):
            read_secret(path)
