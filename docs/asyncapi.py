"""The protocol as an AsyncAPI 3.0 document, from the point of view of the gateway.

Made from the message types, the topics and the golden payloads; MQTT bindings 0.2.0.
"""

import json
import re

from msgspec import Struct
from payloads import readable
from schemas import REF, Json, golden, plain, schemas

from gateway.core import model
from gateway.mqtt.wire import SESSION_EXPIRY_S
from gateway.wire import acl, messages, replies, topics
from gateway.wire.codec import MAX_PAYLOAD_BYTES
from gateway.wire.tokens import ALGORITHM

BINDING = {"bindingVersion": "0.2.0"}


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
            "schemas": schemas(message.struct for message in MESSAGES),
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
            "message": json.dumps(golden("gateway_status_last_will"), separators=(",", ":")),
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
        "summary": plain(message.struct.__doc__ or ""),
        "payload": {"$ref": REF + message.struct.__name__},
        "examples": [{"name": name, "payload": golden(name)} for name in message.golden],
    }
    if message.mqtt:
        done["bindings"] = {"mqtt": message.mqtt | BINDING}
    if message.name in ("request", "decision"):
        done["correlationId"] = {
            "location": "$message.payload#/request_id",
            "description": "The request and its answer carry the same.",
        }
    return done
