"""The OpenAPI document: valid, the same on file and from a running gateway, and what the routes really do."""

import json
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.web import openapi
from gateway.web.call import PARAMETERS, Route
from gateway.web.problems import PROBLEMS
from gateway.web.routes import ROUTES
from tests.api.served import Served
from tests.docs.pages import DOCS

DOCUMENT: dict[str, Any] = openapi.document()


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["paths"][route.path][route.method.lower()]
    return found


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_a_wrong_one_would_be_found() -> None:
    wrong = json.loads(json.dumps(DOCUMENT))
    del wrong["paths"]["/machines/{machine_id}"]["get"]["parameters"]
    assert list(OpenAPIV31SpecValidator(wrong).iter_errors())


def test_it_is_on_file() -> None:
    assert json.loads((DOCS / "openapi.json").read_bytes()) == DOCUMENT


async def test_it_is_served_to_everybody(api: Served) -> None:
    answer = await api.get("/openapi.json", token=None)
    assert (answer.status, answer.kind, answer.body) == (200, "application/json", DOCUMENT)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_each_route_tells_what_it_takes_and_every_way_it_can_end(route: Route) -> None:
    told = operation(route)
    assert told["operationId"] == route.name
    wanted = {"signature": []} if route.access == "signature" else {"token": [route.access]}
    assert told["security"] == [wanted]
    assert {"200", "401", "429", "503"} <= set(told["responses"])
    assert ("404" in told["responses"]) == ("not-found" in route.problems)
    assert ("requestBody" in told) == (route.body is not None) == ("413" in told["responses"])


def test_names_are_given_once_and_every_parameter_of_a_path_has_its_meaning() -> None:
    assert len({route.name for route in ROUTES}) == len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert {name for route in ROUTES for name in re.findall(r"{(\w+)}", route.path)} == set(PARAMETERS)


def test_it_speaks_to_readers_who_do_not_know_python() -> None:
    text = json.dumps(DOCUMENT)
    assert "``" not in text
    assert "(?!" not in text
    assert "None" not in text
    assert set(DOCUMENT["components"]["responses"]) == set(PROBLEMS)
