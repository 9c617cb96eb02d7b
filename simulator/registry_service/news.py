"""What a change of a row means to those who are told at once: events of the push."""

import secrets
from collections.abc import Iterator
from typing import Any

from simulator.registry_service.county import County, Row

Event = dict[str, Any]

_CERTIFICATE = {"suspended": "suspend", "revoked": "revoke", "valid": "reinstate"}
_OPERATOR = {"blocked": "block", "active": "unblock"}


def events(county: County, registry: str, before: Row | None, after: Row, at: int) -> list[Event]:
    """The events of one change, in order; none for what nobody pushes."""
    tell = {
        "certificates": _certificate,
        "operators": _operator,
        "employments": _employment,
        "enterprises": _enterprise,
    }.get(registry)
    told = tell(county, before, after) if tell else iter(())
    return [{"event_id": f"ev_{secrets.token_hex(12)}", "at": at, **event} for event in told]


def _certificate(county: County, before: Row | None, after: Row) -> Iterator[Event]:
    if before is None or _without_status(before) != _without_status(after):
        operator = county.tables["operators"].rows.get((after["operator_id"],))
        whole = {"certificate": after, **({"operator": _without_status(operator)} if operator else {})}
        yield {"kind": "issue" if before is None else "renew", **whole}
    if before is not None and before["status"] != after["status"]:
        yield {"kind": _CERTIFICATE[after["status"] or ""], "number": after["number"], "item": after["item"]}


def _without_status(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "status"}


def _operator(_county: County, before: Row | None, after: Row) -> Iterator[Event]:
    if after["status"] != (before["status"] if before else "active"):
        yield {"kind": _OPERATOR[after["status"] or ""], "operator_id": after["operator_id"]}


def _employment(_county: County, before: Row | None, after: Row) -> Iterator[Event]:
    who = {"operator_id": after["operator_id"], "uscc": after["uscc"]}
    if before is None:
        yield {"kind": "hire", **who, "from": after["from"]}
    if after["until"] and after["until"] != (before["until"] if before else None):
        yield {"kind": "leave", **who, "until": after["until"]}


def _enterprise(_county: County, before: Row | None, after: Row) -> Iterator[Event]:
    stood = before["status"] if before else "active"
    if after["status"] == "production_suspended" != stood:
        yield {"kind": "stop_production", "uscc": after["uscc"]}
    if after["status"] == "active" and stood == "production_suspended":
        yield {"kind": "resume", "uscc": after["uscc"]}
