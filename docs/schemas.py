"""JSON Schemas of payloads and of the claims in tokens, made from the message types.

They keep to draft 07, of which AsyncAPI's own dialect is a superset.
"""

import inspect
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import UNSET, Struct
from payloads import MEANINGS, DriftError, fields, meanings, readable

from gateway.wire.tokens import Command, CommandName, Grant

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "wire" / "golden"
REF = "#/components/schemas/"
TOKEN_TYPE = "application/jose"  # noqa: S105 - the media type of a JWS in compact form (RFC 7515, section 9.2.1)
Json = dict[str, Any]


class Claims(Struct, frozen=True):
    """What one command says besides what all say: ``needs`` always, ``may`` at times; ``rules`` bind them together."""

    name: str
    about: str
    needs: tuple[str, ...]
    may: tuple[str, ...]
    golden: tuple[str, ...]
    rules: Json = {}


_EVERY_COMMAND = ("aud", "cmd", "exp", "iat", "iss", "jti", "n")
_ADDRESSED = {"anyOf": [{"required": ["sid"]}, {"required": ["cha"]}]}
_DEADLINE = {
    "if": {"properties": {"when": {"const": "between_arcs"}}},
    "then": {"required": ["deadline_s"]},
}
_DIFFERENCE = {"dependencies": {"base_version": ["gone"], "gone": ["base_version"]}}
_LEAST = {"lease_s": 1, "deadline_s": 0, "offline_for_s": 0, "idle_lock_s": 1, "drain_deadline_s": 1}

COMMANDS: dict[str, Claims] = {
    "renew": Claims(
        "Renew", "The lease starts anew, from acceptance by the chip's monotonic clock.",
        ("sid", "lease_s"), ("cha",), ("claims_renew", "claims_renew_without_clock"),
    ),
    "lock": Claims(
        "Lock", "The relay opens and the session ends. It is sent again, unchanged, until the chip reports it.",
        ("reason", "when"), ("sid", "cha", "deadline_s"), ("claims_lock", "claims_lock_now"), _ADDRESSED | _DEADLINE,
    ),
    "offline_list": Claims(
        "OfflineList", "Who may unlock while the chip has no connection: a whole list, or the difference to another.",
        ("cha", "list_version", "entries", "offline_for_s", "lease_s"), ("sid", "base_version", "gone"),
        ("claims_offline_list", "claims_offline_list_difference"), _DIFFERENCE,
    ),
    "config": Claims(
        "Config", "Figures that a chip keeps over a loss of power; what is left out stays as it is.",
        (), ("sid", "cha", "idle_lock_s", "drain_deadline_s"), ("claims_config",), _ADDRESSED,
    ),
}  # fmt: skip

_TOKENS: dict[tuple[str, str], Json] = {
    ("DecisionMessage", "grant"): {"$ref": f"{REF}Grant"},
    ("CommandMessage", "command"): {"oneOf": [{"$ref": REF + claims.name} for claims in COMMANDS.values()]},
}
"""Fields that hold a signed token, and the claims in it."""


def schemas(structs: Iterable[type]) -> Json:
    """The schemas of these messages, and of the claims in every token, by the name of their struct."""
    _, found = msgspec.json.schema_components([*structs, Grant, Command], ref_template=REF + "{name}")
    by_name = {struct.__name__: struct for struct in MEANINGS}
    for name, schema in found.items():
        _explain(by_name[name], schema)
    found["Grant"] = _as_signed(Grant, found["Grant"]) | {"examples": [golden("claims_grant")]}
    command = _as_signed(Command, found.pop("Command"))
    return found | _commands(command)


def _explain(struct: type, schema: Json) -> None:
    """Add what each field means, in draft 07 and without what only Python needs."""
    schema["description"] = plain(schema["description"])
    for name, meaning in meanings(struct).items():
        field = _portable(schema["properties"][name])
        if claims := _TOKENS.get((struct.__name__, name)):
            text = field["anyOf"][0] if "anyOf" in field else field
            text |= {"contentMediaType": TOKEN_TYPE, "x-claims": claims}
        schema["properties"][name] = {"description": meaning, **field}


def _portable(schema: Json) -> Json:
    """Draft 07 has a list of ``items`` where later ones have ``prefixItems``."""
    done = {key: _portable_value(value) for key, value in schema.items()}
    if "pattern" in done:
        done["pattern"] = readable(done["pattern"])
    if "prefixItems" in done:
        done |= {"items": done.pop("prefixItems"), "additionalItems": done["items"]}
    return done


def _portable_value(value: Any) -> Any:
    match value:
        case dict():
            return _portable(value)
        case list():
            return [_portable_value(one) for one in value]
        case _:
            return value


def _as_signed(struct: type, schema: Json) -> Json:
    """The gateway writes every claim that is not left out on purpose, whatever a reader would take for granted."""
    for field in schema["properties"].values():
        field.pop("default", None)
    return schema | {"required": [field.encode_name for field in fields(struct) if field.default is not UNSET]}


def _commands(command: Json) -> Json:
    """One schema for each command out of that of all; raises DriftError for a command or a claim without a place."""
    placed = {*_EVERY_COMMAND, *(claim for claims in COMMANDS.values() for claim in (*claims.needs, *claims.may))}
    if set(COMMANDS) != set(get_args(CommandName)) or placed != set(command["properties"]):
        raise DriftError("docs/schemas.py: COMMANDS does not hold the commands and claims of gateway/wire/tokens.py")
    return {claims.name: _command(command, cmd, claims) for cmd, claims in COMMANDS.items()}


def _command(command: Json, cmd: str, claims: Claims) -> Json:
    properties = {
        name: field | ({"minimum": _LEAST[name]} if name in _LEAST else {})
        for name, field in command["properties"].items()
        if name in (*_EVERY_COMMAND, *claims.needs, *claims.may)
    }
    properties["cmd"] = {"description": properties["cmd"]["description"], "const": cmd}
    return {
        "title": claims.name,
        "description": f"{claims.about} Claims of a token.",
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name in (*_EVERY_COMMAND, *claims.needs)],
        **claims.rules,
        "examples": [golden(name) for name in claims.golden],
    }


def plain(docstring: str) -> str:
    """A docstring as Markdown for readers of JSON."""
    return re.sub(r"\bNone\b", "null", inspect.cleandoc(docstring).replace("``", "`"))


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_bytes())
