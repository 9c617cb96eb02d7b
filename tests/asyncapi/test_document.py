"""Nothing of the protocol is missing in the document, and nothing is in it that the code does not know."""

import inspect
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from joserfc.jwk import ECKey

from gateway.wire import acl, messages, topics
from gateway.wire.codec import ChipMessage
from gateway.wire.inbound import Inbound
from gateway.wire.replies import reply_to
from gateway.wire.tokens import CommandName, Grant, Signer, Verifier
from simulator.grants import Expected, RefusedError, check_command
from tests.asyncapi.reading import (
    CHANNELS,
    COMMANDS,
    MESSAGES,
    OPERATIONS,
    PARAMETERS,
    PATH,
    ROOT,
    SCHEMAS,
    address_of,
    channel_of,
)
from tests.wire.messages import AT

GOLDEN = ROOT / "tests" / "wire" / "golden"
KEY = ECKey.generate_key("P-256", auto_kid=True)
VERIFY = Verifier({"keys": [KEY.as_dict(private=False)]}).claims
SESSION_OF_THE_EXAMPLES, CHALLENGE_OF_THE_EXAMPLES = "AZ8Vq0AAmJ3kQ2xW5c7d", "c-8f1e23"


# --- it is generated --------------------------------------------------------------------------------------------


def _complaints(docs: Path) -> str:
    done = subprocess.run(
        [sys.executable, docs / "generate.py", "--check"], cwd=docs.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.mark.parametrize(("word", "drifts"), [("WeldGate", False), ("WheldGate", True)])
def test_a_document_that_is_not_what_the_code_says_is_found(word: str, drifts: bool, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs, ignore=shutil.ignore_patterns("images", "__pycache__"))
    shutil.copytree(GOLDEN, tmp_path / "tests" / "wire" / "golden")
    written = PATH.read_text(encoding="utf-8").replace("WeldGate", word, 1)
    (docs / "asyncapi.json").write_text(written, encoding="utf-8")
    assert ("docs/asyncapi.json" in _complaints(docs)) is drifts


# --- topics -----------------------------------------------------------------------------------------------------


def _topics() -> Iterator[str]:
    """What every function of the topics' module makes, with each of its choices and names for everything else."""
    for _, function in inspect.getmembers(topics, inspect.isfunction):
        hints = get_type_hints(function)
        if function.__module__ == topics.__name__ and hints.pop("return") is str:
            choices = [get_args(kind) if get_origin(kind) is Literal else (f"{{{n}}}",) for n, kind in hints.items()]
            yield from (function(*chosen) for chosen in itertools.product(*choices))


def test_the_channels_are_the_topics_and_no_others() -> None:
    addresses = [channel["address"] for channel in CHANNELS.values()]
    assert sorted(addresses) == sorted(topic for topic in _topics() if not topic.endswith("#"))


def _request_with(response_topic: str) -> Inbound:
    return Inbound(topics.to_gateway("HJ-0001", "request"), b"", False, 0, (0, 0), response_topic)


def test_where_an_mqtt_5_chip_may_want_its_answer_is_said() -> None:
    (topic_filter,) = (topic for topic in _topics() if topic.endswith("#"))
    wanted = MESSAGES["request"]["bindings"]["mqtt"]["responseTopic"]
    assert f"`{topic_filter}`" in wanted["description"]
    named = topic_filter.format(machine_id="HJ-0001").replace("#", "7")
    assert re.search(wanted["pattern"], named)
    assert reply_to(_request_with(named), "HJ-0001", b"", None).topic == named


def test_every_channel_has_one_operation() -> None:
    assert sorted(operation["channel"]["$ref"] for operation in OPERATIONS.values()) == sorted(
        f"#/channels/{name}" for name in CHANNELS
    )


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_gateway_may_do_what_the_document_says(name: str) -> None:
    gateway, topic = acl.gateway_name(PARAMETERS["instance"]["examples"][0]), address_of(OPERATIONS[name])
    received = acl.may_subscribe(gateway, topic)
    assert (OPERATIONS[name]["action"], received) in [("receive", True), ("send", False)]
    assert acl.may_publish(gateway, topic) is not received


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_chip_or_a_reader_stands_at_the_other_end(name: str) -> None:
    """The operations are the gateway's; whoever reads the document does the opposite."""
    topic, tag = address_of(OPERATIONS[name]), OPERATIONS[name]["tags"][0]["name"]
    other = {"chip": PARAMETERS["machine_id"]["examples"][0], "feed": acl.reader_name("board")}[tag]
    may = acl.may_publish if OPERATIONS[name]["action"] == "receive" else acl.may_subscribe
    assert may(other, topic)


def test_a_reply_goes_to_the_decisions() -> None:
    reply = OPERATIONS["receiveRequest"]["reply"]
    assert channel_of(reply)["address"] == topics.decision("{machine_id}")


def test_presences_are_retained_and_nothing_else() -> None:
    mqtt = {name: operation["bindings"]["mqtt"] for name, operation in OPERATIONS.items()}
    assert {name for name, binding in mqtt.items() if binding["retain"]} == {"receiveStatus", "sendGatewayStatus"}
    assert {binding["qos"] for binding in mqtt.values()} == {1}


def test_the_patterns_of_the_parameters_fit_their_examples() -> None:
    for parameter in PARAMETERS.values():
        assert [example for example in parameter["examples"] if not re.search(parameter["x-pattern"], example)] == []


# --- messages ---------------------------------------------------------------------------------------------------


def test_every_message_of_the_wire_has_a_schema() -> None:
    kinds = [kind for _, kind in inspect.getmembers(messages, inspect.isclass) if kind.__module__ == messages.__name__]
    claims = {Grant.__name__, "Renew", "Lock", "OfflineList", "Config"}
    assert set(SCHEMAS) == {kind.__name__ for kind in (*kinds, *get_args(ChipMessage))} | claims


def test_every_command_has_a_schema() -> None:
    assert set(COMMANDS) == set(get_args(CommandName))


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_is_explained_and_no_pattern_is_python_s_alone(name: str) -> None:
    fields = SCHEMAS[name]["properties"]
    assert [field for field, schema in fields.items() if not schema.get("description")] == []
    assert "(?!" not in json.dumps(SCHEMAS[name])


# --- examples ---------------------------------------------------------------------------------------------------


def _on_file() -> dict[str, Any]:
    return {path.stem: json.loads(path.read_bytes()) for path in GOLDEN.glob("*.json")}


def test_every_message_has_an_example_and_every_example_is_golden() -> None:
    golden = {name: payload for name, payload in _on_file().items() if not name.startswith("claims_")}
    shown = [example for message in MESSAGES.values() for example in message["examples"]]
    assert all(message["examples"] for message in MESSAGES.values())
    assert {example["name"]: example["payload"] for example in shown} == golden
    assert len(shown) == len(golden)


def test_every_token_has_an_example_and_every_example_is_golden() -> None:
    golden = [payload for name, payload in _on_file().items() if name.startswith("claims_")]
    tokens = [SCHEMAS["Grant"], *COMMANDS.values()]
    shown = [example for schema in tokens for example in schema["examples"]]
    assert all(schema["examples"] for schema in tokens)
    assert sorted(shown, key=json.dumps) == sorted(golden, key=json.dumps)


# --- commands ---------------------------------------------------------------------------------------------------


def _refusal(claims: dict[str, Any]) -> str | None:
    """Why the reference chip refuses a token with these claims; None where it carries them out."""
    expected = Expected(claims["aud"], CHALLENGE_OF_THE_EXAMPLES, AT, SESSION_OF_THE_EXAMPLES)
    try:
        check_command(Signer(KEY).sign(claims), VERIFY, claims["jti"], expected)
    except RefusedError as refused:
        return refused.reason
    return None


EXAMPLES = [(cmd, number) for cmd, schema in COMMANDS.items() for number in range(len(schema["examples"]))]
LEAST = [
    (cmd, number, name, schema["minimum"])
    for cmd, number in EXAMPLES
    for name, schema in COMMANDS[cmd]["properties"].items()
    if "minimum" in schema and name in COMMANDS[cmd]["examples"][number]
]


@pytest.mark.parametrize(("cmd", "number"), EXAMPLES)
def test_the_reference_chip_carries_out_the_examples(cmd: str, number: int) -> None:
    assert _refusal(COMMANDS[cmd]["examples"][number]) is None


@pytest.mark.parametrize(("cmd", "number", "name", "least"), LEAST)
def test_the_reference_chip_draws_the_same_line(cmd: str, number: int, name: str, least: int) -> None:
    claims = COMMANDS[cmd]["examples"][number]
    assert _refusal(claims | {name: least}) is None
    assert _refusal(claims | {name: least - 1}) == "malformed"
