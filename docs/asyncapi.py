"""The protocol as an AsyncAPI 3.0 document, from the point of view of the gateway.

Made from the message types, the topics and the golden payloads; MQTT bindings 0.2.0. Schemas keep to JSON Schema
draft 07, of which AsyncAPI's own dialect is a superset.
"""

import inspect
import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import UNSET, Struct
from payloads import MEANINGS, DriftError, fields, meanings, readable

from gateway.core import model
from gateway.mqtt.wire import SESSION_EXPIRY_S
from gateway.wire import acl, messages, replies, topics
from gateway.wire.codec import MAX_PAYLOAD_BYTES
from gateway.wire.tokens import ALGORITHM, Command, CommandName, Grant

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "wire" / "golden"
SCHEMAS = "#/components/schemas/"
TOKEN_TYPE = "application/jose"  # noqa: S105 - the media type of a JWS in compact form (RFC 7515, section 9.2.1)
BINDING = {"bindingVersion": "0.2.0"}
Json = dict[str, Any]


class Message(Struct, frozen=True):
    """One message with its channel and operation, which share its name; ``action`` is the gateway's.

    ``golden`` names the payloads on file. ``mqtt`` and ``operation_mqtt`` are what MQTT 5 adds.
    """

    name: str
    struct: type
    address: str
    action: str
    tag: str
    about: str
    golden: tuple[str, ...]
    retained: bool = False
    mqtt: Json = {}
    operation_mqtt: Json = {}


_MACHINE, _DIVISION, _INSTANCE = "{machine_id}", "{division}", "{instance}"

_ASKED = {
    "responseTopic": {
        "type": "string",
        "pattern": f"^{topics.ROOT}/{readable(model.MACHINE_ID).strip('^$')}(/[^/+#]+)+$",
        "maxLength": replies.LONGEST_TOPIC,
        "description": "MQTT 5: where the answer goes instead, if it lies under the machine's own topics and is none "
        f"of the other ones here. Brokers that check rights let a chip hear `{topics.replies(_MACHINE)}`.",
    },
    "correlationData": {
        "type": "string",
        "description": f"MQTT 5: at most {replies.LONGEST_CORRELATION_BYTES} bytes; the answer carries the same.",
    },
}
_ANSWERED = {
    "correlationData": {"type": "string", "description": "MQTT 5: that of the request, byte for byte."},
}
_EXPIRES = {
    "messageExpiryInterval": {
        "type": "integer",
        "minimum": 1,
        "description": "MQTT 5: an allow is of no use after its grant's start-by, seconds.",
    },
}

MESSAGES = (
    Message(
        "request", model.Request, topics.to_gateway(_MACHINE, "request"), "receive", "chip",
        "A chip asks whether somebody may weld.", ("request", "request_without_clock"), mqtt=_ASKED,
    ),
    Message(
        "usage", model.Usage, topics.to_gateway(_MACHINE, "usage"), "receive", "chip",
        "A chip reports a session's figures, about every ten seconds and once at the end.", ("usage", "usage_final"),
    ),
    Message(
        "event", model.Event, topics.to_gateway(_MACHINE, "event"), "receive", "chip",
        "A chip says that something happened.", ("event", "event_boot"),
    ),
    Message(
        "status", model.Status, topics.to_gateway(_MACHINE, "status"), "receive", "chip",
        "A chip's presence: at connect, at each change, and as last will.", ("status", "status_last_will"),
        retained=True,
    ),
    Message(
        "decision", messages.DecisionMessage, topics.decision(_MACHINE), "send", "chip",
        "The answer to a request; the same bytes to each repeat of it.", ("decision_allow", "decision_deny"),
        mqtt=_ANSWERED, operation_mqtt=_EXPIRES,
    ),
    Message(
        "command", messages.CommandMessage, topics.command(_MACHINE), "send", "chip",
        "The gateway tells a chip to do something.", ("command",),
    ),
    Message(
        "feedDecision", messages.FeedDecision, topics.feed(_DIVISION, "decision"), "send", "feed",
        "Every decision, for those who watch a division.", ("feed_decision", "feed_decision_unknown_machine"),
    ),
    Message(
        "feedUsage", messages.FeedUsage, topics.feed(_DIVISION, "usage"), "send", "feed",
        "Usage of a session: at least once a minute while it grows, and once at its end.", ("feed_usage",),
    ),
    Message(
        "feedAlert", messages.FeedAlert, topics.feed(_DIVISION, "alert"), "send", "feed",
        "What a person should look at.", ("feed_alert", "feed_alert_without_session"),
    ),
    Message(
        "gatewayStatus", messages.GatewayStatus, topics.gateway_status(_INSTANCE), "send", "feed",
        "A gateway's presence: at connect, at each new registry version, and as last will.",
        ("gateway_status", "gateway_status_last_will"), retained=True,
    ),
)  # fmt: skip


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
    ("DecisionMessage", "grant"): {"$ref": f"{SCHEMAS}Grant"},
    ("CommandMessage", "command"): {"oneOf": [{"$ref": SCHEMAS + claims.name} for claims in COMMANDS.values()]},
}
"""Fields that hold a signed token, and the claims in it."""


# --- schemas ----------------------------------------------------------------------------------------------------


def schemas() -> Json:
    """Every payload and every token's claims by the name of their struct."""
    structs = [message.struct for message in MESSAGES]
    _, found = msgspec.json.schema_components([*structs, Grant, Command], ref_template=SCHEMAS + "{name}")
    by_name = {struct.__name__: struct for struct in MEANINGS}
    for name, schema in found.items():
        _explain(by_name[name], schema)
    found["Grant"] = _as_signed(Grant, found["Grant"]) | {"examples": [_golden("claims_grant")]}
    command = _as_signed(Command, found.pop("Command"))
    return found | _commands(command)


def _explain(struct: type, schema: Json) -> None:
    """Add what each field means, in draft 07 and without what only Python needs."""
    schema["description"] = _plain(schema["description"])
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
        raise DriftError("docs/asyncapi.py: COMMANDS does not hold the commands and claims of gateway/wire/tokens.py")
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
        "examples": [_golden(name) for name in claims.golden],
    }


def _plain(docstring: str) -> str:
    """A docstring as Markdown for readers of JSON."""
    return re.sub(r"\bNone\b", "null", inspect.cleandoc(docstring).replace("``", "`"))


def _golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_bytes())


# --- the document -----------------------------------------------------------------------------------------------


def document() -> Json:
    return {
        "asyncapi": "3.0.0",
        "info": _info(),
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": {message.name: _channel(message) for message in MESSAGES},
        "operations": {_operation_name(message): _operation(message) for message in MESSAGES},
        "components": {
            "messages": {message.name: _message(message) for message in MESSAGES},
            "parameters": _parameters(),
            "schemas": schemas(),
            "securitySchemes": _security_schemes(),
        },
    }


def text() -> str:
    """The document as it lies on file."""
    return json.dumps(document(), ensure_ascii=False, indent=2) + "\n"


def _info() -> Json:
    about = (
        "What lock chips of welding machines and the gateway say to each other over MQTT. MQTT 3.1.1 suffices; nothing "
        "that safety needs lives in an MQTT 5 property alone.\n\n"
        f"Payloads are JSON objects in UTF-8 of at most {MAX_PAYLOAD_BYTES} bytes; unknown fields are passed over. "
        "Times named `at` are Unix milliseconds in UTC, durations end in `_s` and are whole seconds. Everything is "
        "QoS 1, so everything may arrive twice: a repeat changes nothing. Only presences are retained; a retained "
        "message on another topic is a replay and is dropped.\n\n"
        f"A grant and a command are signed tokens: JWS in compact form (RFC 7515), {ALGORITHM}, the key named by `kid` "
        "in the header. `x-claims` is the schema of what is in them. What a chip checks and does is in "
        "[protocol.md](protocol.md)."
    )
    return {
        "title": "WeldGate",
        "version": topics.ROOT.rpartition("/v")[2],
        "description": about,
        "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        "tags": [
            {"name": "chip", "description": "Between a lock chip and the gateway."},
            {"name": "feed", "description": "From the gateway to everybody who may listen."},
        ],
    }


def _servers() -> Json:
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in _security_schemes()]
    return {
        "county": {
            "host": "{broker}:8883",
            "protocol": "secure-mqtt",
            "protocolVersion": "3.1.1",
            "description": "A county's broker, by TLS. It may speak MQTT 5 too.",
            "variables": {"broker": {"description": "The broker's host name.", "default": "broker.example"}},
            "security": security,
            "bindings": {"mqtt": _connection()},
        },
        "local": {
            "host": "127.0.0.1:{port}",
            "protocol": "mqtt",
            "protocolVersion": "3.1.1",
            "description": "A broker on the machine itself, for the gateway beside it and to try things out.",
            "variables": {"port": {"description": "The broker's port.", "default": "1883"}},
            "bindings": {"mqtt": _connection()},
        },
    }


def _connection() -> Json:
    """How the gateway connects."""
    return {
        "clientId": acl.gateway_name(_INSTANCE),
        "cleanSession": False,
        "sessionExpiryInterval": SESSION_EXPIRY_S,
        "lastWill": {
            "topic": topics.gateway_status(_INSTANCE),
            "qos": 1,
            "retain": True,
            "message": json.dumps(_golden("gateway_status_last_will"), separators=(",", ":")),
        },
        **BINDING,
    }


def _security_schemes() -> Json:
    who = (
        f"a machine's id, `{acl.gateway_name('INSTANCE')}` of a gateway, or `{acl.reader_name('NAME')}` of somebody "
        "who only listens"
    )
    return {
        "certificate": {"type": "X509", "description": f"A client certificate whose common name is {who}."},
        "password": {"type": "userPassword", "description": f"The user name is {who}; each has a password of its own."},
    }


def _parameters() -> Json:
    return {
        "machine_id": {
            "description": "The welding machine, as its firm's registry names it.",
            "examples": ["HJ-0001"],
            "x-pattern": readable(model.MACHINE_ID),
        },
        "division": {
            "description": "Six-digit GB/T 2260 code of the machine's county; "
            f"`{topics.UNKNOWN_DIVISION}` for a machine that is not registered.",
            "examples": ["330521"],
            "location": "$message.payload#/division",
            "x-pattern": "^[0-9]{6}$",
        },
        "instance": {
            "description": "The gateway's own name.",
            "examples": ["county"],
            "x-pattern": readable(acl.INSTANCE),
        },
    }


def _channel(message: Message) -> Json:
    names = re.findall(r"{(\w+)}", message.address)
    return {
        "address": message.address,
        "summary": message.about,
        "messages": {message.name: {"$ref": f"#/components/messages/{message.name}"}},
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in names},
        "tags": [{"name": message.tag}],
    }


def _operation_name(message: Message) -> str:
    return message.action + message.name[0].upper() + message.name[1:]


def _operation(message: Message) -> Json:
    done: Json = {
        "action": message.action,
        "channel": {"$ref": f"#/channels/{message.name}"},
        "summary": message.about,
        "tags": [{"name": message.tag}],
        "bindings": {"mqtt": {"qos": 1, "retain": message.retained, **message.operation_mqtt, **BINDING}},
        "messages": [_in_channel(message.name)],
    }
    if message.name == "request":
        done["reply"] = {"channel": {"$ref": "#/channels/decision"}, "messages": [_in_channel("decision")]}
    return done


def _in_channel(name: str) -> Json:
    return {"$ref": f"#/channels/{name}/messages/{name}"}


def _message(message: Message) -> Json:
    done: Json = {
        "name": message.name,
        "title": message.struct.__name__,
        "summary": _plain(message.struct.__doc__ or ""),
        "payload": {"$ref": SCHEMAS + message.struct.__name__},
        "examples": [{"name": name, "payload": _golden(name)} for name in message.golden],
    }
    if message.mqtt:
        done["bindings"] = {"mqtt": message.mqtt | BINDING}
    if message.name in ("request", "decision"):
        done["correlationId"] = {
            "location": "$message.payload#/request_id",
            "description": "The request and its answer carry the same.",
        }
    return done
