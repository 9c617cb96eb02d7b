"""The HTTP API as an OpenAPI 3.1 document, made from the table of routes and the structs that they speak."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.store.api_tokens import SCOPES
from gateway.web.call import PARAMETERS, Route
from gateway.web.problems import CONTENT_TYPE, PROBLEMS, Kind, Problem, problem_type
from gateway.web.routes import ROOT, ROUTES

REF = "#/components/schemas/"
LONGEST_PARAMETER = 256
"""Characters of what stands in a path."""
JSON = "application/json"
Json = dict[str, Any]

_IN_PATH = re.compile(r"{(\w+)}")
_EVERYWHERE: tuple[Kind, ...] = ("malformed", "unauthorized", "too-many-requests", "internal", "unavailable")
_SIGNED = {
    "webhook-id": "The delivery's id, new for each delivery.",
    "webhook-timestamp": "When it was signed, whole seconds since 1970; at most five minutes off.",
}


def document(routes: tuple[Route, ...] = ROUTES) -> Json:
    structs = [struct for route in routes for struct in (route.answer, route.body) if struct]
    _, schemas = msgspec.json.schema_components([*structs, Problem], ref_template=REF + "{name}")
    return {
        "openapi": "3.1.0",
        "info": _info(),
        "servers": [{"url": ROOT}],
        "paths": _paths(routes),
        "components": {
            "schemas": {name: _plain(schema) for name, schema in schemas.items()},
            "responses": {kind: _problem_response(kind) for kind in PROBLEMS},
            "securitySchemes": _security_schemes(),
        },
    }


def problems_of(route: Route) -> list[Kind]:
    """Every problem that a route may answer with, in the order of their statuses."""
    found: set[Kind] = {*_EVERYWHERE, *route.problems}
    found |= {"forbidden"} if route.access != "signature" else set()
    found |= {"too-large", "unsupported-media-type", "invalid"} if route.body else set()
    return [kind for kind in PROBLEMS if kind in found]


def _info() -> Json:
    about = (
        "The gateway's registries for other programs. Times named `at` or `…_at` are Unix milliseconds in UTC, "
        "durations end in `_s` and are whole seconds, dates are days of the county (Asia/Shanghai). Errors are problem "
        "documents (RFC 9457). No answer holds an ID number or a phone number, and no URL may: what is personal goes "
        "into a body."
    )
    return {
        "title": "WeldGate",
        "version": ROOT.rpartition("/v")[2],
        "description": about,
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
    }


def _security_schemes() -> Json:
    scopes = " ".join(f"`{scope}`: {meaning}" for scope, meaning in SCOPES.items())
    return {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": f"A token that `weldgate token add` made. Scopes: {scopes}",
        },
        "signature": {
            "type": "apiKey",
            "in": "header",
            "name": "webhook-signature",
            "description": "Standard Webhooks: `v1,` and the base64 of HMAC-SHA256 over webhook-id, webhook-timestamp "
            "and the body, joined by dots, with a secret of the sender.",
        },
    }


def _paths(routes: tuple[Route, ...]) -> Json:
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return paths


def _operation(route: Route) -> Json:
    signed = route.access == "signature"
    done: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "security": [{"signature": []} if signed else {"token": [route.access]}],
        "responses": {"200": _answer(route)}
        | {str(PROBLEMS[kind][0]): {"$ref": f"#/components/responses/{kind}"} for kind in problems_of(route)},
    }
    if parameters := [*_in_path(route), *_in_query(route), *(_in_headers() if signed else ())]:
        done["parameters"] = parameters
    if route.body:
        done["requestBody"] = {"required": True, "content": {JSON: {"schema": _reference(route.body)}}}
    return done


def _answer(route: Route) -> Json:
    about = _in_words(route.answer.__doc__ or "")
    return {"description": about, "content": {JSON: {"schema": _reference(route.answer)}}}


def _in_path(route: Route) -> Iterator[Json]:
    for name in _IN_PATH.findall(route.path):
        schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_PARAMETER}
        yield {"name": name, "in": "path", "required": True, "description": PARAMETERS[name], "schema": schema}


def _in_query(route: Route) -> Iterator[Json]:
    if route.query:
        (schema,) = msgspec.json.schema(route.query)["$defs"].values()
        for name, field in schema["properties"].items():
            required = name in schema.get("required", ())
            yield {"name": name, "in": "query", "required": required, "schema": field}


def _in_headers() -> Iterator[Json]:
    for name, about in _SIGNED.items():
        schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_PARAMETER}
        yield {"name": name, "in": "header", "required": True, "description": about, "schema": schema}


def _problem_response(kind: Kind) -> Json:
    _, title, about = PROBLEMS[kind]
    return {
        "description": f"{title}. {about} `type` is `{problem_type(kind)}`.",
        "content": {CONTENT_TYPE: {"schema": _reference(Problem)}},
    }


def _reference(struct: type) -> Json:
    return {"$ref": REF + struct.__name__}


def _plain(value: Any) -> Any:
    """Schemas for readers who do not know Python."""
    match value:
        case {"description": str(text), **others}:
            return {"description": _in_words(text), **{key: _plain(held) for key, held in others.items()}}
        case {"pattern": str(pattern), **others}:
            return {"pattern": pattern.replace(r"(?!\n)", ""), **{key: _plain(held) for key, held in others.items()}}
        case dict():
            return {key: _plain(held) for key, held in value.items()}
        case list():
            return [_plain(held) for held in value]
        case _:
            return value


def _in_words(docstring: str) -> str:
    return re.sub(r"\bNone\b", "null", inspect.cleandoc(docstring).replace("``", "`"))
