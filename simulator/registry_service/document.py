"""The OpenAPI 3.1 document of the service, made from the registries that it serves."""

from collections.abc import Iterable
from typing import Any, get_args

from gateway.core.model import (
    CertificateStatus,
    EnterpriseStatus,
    MachineStatus,
    OperatorStatus,
    PermitLevel,
    PermitStatus,
    Process,
    Verification,
)
from simulator.registry_service.county import KEYS, OF_A_PERSON, Table
from simulator.registry_service.faults import Faults

Json = dict[str, Any]

MOST_ROWS = 1000
"""Of one page."""
_CHOICES: dict[str, Any] = {
    "enterprises.status": EnterpriseStatus,
    "operators.status": OperatorStatus,
    "certificates.status": CertificateStatus,
    "certificates.item": Process,
    "certificates.verification": Verification,
    "machines.status": MachineStatus,
    "machines.process": Process,
    "permits.level": PermitLevel,
    "permits.status": PermitStatus,
}
_BEARER = {"bearer": {"type": "http", "scheme": "bearer"}}


def document(tables: Iterable[Table], version: str, *, secured: bool) -> Json:
    served = list(tables)
    paths: Json = {f"/v1/{table.name}": {"get": _listing(table.name)} for table in served}
    paths["/v1/operators/{operator_id}/file"] = {"get": _file()}
    paths |= {path: {"post": _control(*rest)} for path, rest in _CONTROLS.items()}
    paths["/control/state"] = {"get": _state()}
    schemas = {table.name: _row(table) for table in served} | {"problem": _PROBLEM, "faults": _faults()}
    components: Json = {"schemas": schemas, **({"securitySchemes": _BEARER} if secured else {})}
    about = "A registry to run a gateway against: the rows of registry files, changes, and faults by switch."
    info = {"title": "weldsim registry", "version": version, "description": about}
    security: Json = {"security": [{"bearer": []}]} if secured else {}
    return {"openapi": "3.1.0", "info": info, **security, "paths": paths, "components": components}


def _listing(registry: str) -> Json:
    """One page of a registry."""
    page = {
        "type": "object",
        "required": ["rows", "count", "next", "more", "as_of"],
        "properties": {
            "rows": {"type": "array", "items": _ref(registry)},
            "count": {"type": "integer", "description": "How many rows are here."},
            "next": {"type": "string", "description": "The cursor behind the last row; also later it leads on."},
            "more": {"type": "boolean", "description": "Whether further rows are there now."},
            "as_of": {"type": "integer", "description": "The moment that the rows are of, Unix milliseconds."},
        },
    }
    parameters = [
        _query("cursor", {"type": "string"}, "Rows that changed after this cursor's."),
        _query("limit", {"type": "integer", "minimum": 1, "maximum": MOST_ROWS}, "Rows on the page."),
        _query("updated_since", {"type": "integer", "minimum": 0}, "Rows that changed then or later, Unix ms."),
        {
            "name": "If-None-Match",
            "in": "header",
            "schema": {"type": "string"},
            "description": "The ETag of an earlier answer to the same question.",
        },
    ]
    return {
        "operationId": f"list_{registry}",
        "summary": f"Rows of {registry}, in the order in which they last changed",
        "parameters": parameters,
        "responses": {
            "200": {**_json("A page.", page), "headers": {"ETag": {"schema": {"type": "string"}}}},
            "304": {"description": "Nothing has changed."},
            "400": _problem("A parameter cannot be read."),
            "410": _problem("The cursor is of an earlier start of the service: begin without one."),
            "500": _problem("A fault that was switched on; also 502 and 503, with Retry-After."),
        },
    }


def _file() -> Json:
    person = {
        "type": "object",
        "required": ["operator", *OF_A_PERSON, "as_of"],
        "properties": {
            "operator": {"anyOf": [_ref("operators"), {"type": "null"}]},
            **{name: {"type": "array", "items": _ref(name)} for name in OF_A_PERSON},
            "as_of": {"type": "integer"},
        },
    }
    who = {"name": "operator_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "operationId": "operator_file",
        "summary": "One person with certificates and employments",
        "parameters": [who],
        "responses": {"200": _json("The person.", person), "404": _problem("Nobody of this id is known.")},
    }


_CHANGES = {
    "type": "object",
    "description": "Rows by registry: fields of the row that the key names; a new key is a new row.",
    "additionalProperties": {"type": "array", "items": {"type": "object"}},
}
_CONTROLS: dict[str, tuple[str, str, Json]] = {
    "/control/change": ("change", "Change rows, and push what that means", _CHANGES),
    "/control/faults": (
        "set_faults",
        "Switch faults: those not named are off",
        {"$ref": "#/components/schemas/faults"},
    ),
}
_PROBLEM = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["title", "status", "detail"],
    "properties": {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}},
}


def _control(name: str, about: str, schema: Json) -> Json:
    return {
        "operationId": name,
        "summary": about,
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {"200": _json("Done.", {"type": "object"}), "400": _problem("What is wrong with it.")},
    }


def _state() -> Json:
    about = "Versions, faults, requests and pushed events"
    return {"operationId": "state", "summary": about, "responses": {"200": _json(about + ".", {"type": "object"})}}


def _row(table: Table) -> Json:
    return {
        "type": "object",
        "required": list(KEYS[table.name]),
        "properties": {column: _column(table.name, column) for column in table.columns},
    }


def _column(registry: str, column: str) -> Json:
    if choices := _CHOICES.get(f"{registry}.{column}"):
        return {"enum": [*get_args(choices), None]}
    return {"type": ["string", "null"]}


def _faults() -> Json:
    kinds = {bool: {"type": "boolean"}}
    defaults = {name: getattr(Faults(), name) for name in Faults.__struct_fields__}
    properties = {name: kinds.get(type(value), {"type": "number"}) for name, value in defaults.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _query(name: str, schema: Json, about: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": about}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(about: str, schema: Json) -> Json:
    return {"description": about, "content": {"application/json": {"schema": schema}}}


def _problem(about: str) -> Json:
    return {"description": about, "content": {"application/problem+json": {"schema": _ref("problem")}}}
