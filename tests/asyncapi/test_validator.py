"""AsyncAPI's own parser reads the document and every example fits its schema; a document with a fault is refused."""

import copy
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.asyncapi.reading import DOCUMENT, PATH

HERE = Path(__file__).parent
GONE = object()

FAULTS: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "no title": (("info", "title"), GONE, '"info" property must have required property "title"'),
    "no such channel": (("operations", "sendCommand", "channel", "$ref"), "#/channels/orders", "invalid-ref"),
    "a message of another channel": (
        ("operations", "sendCommand", "messages", 0, "$ref"),
        "#/channels/decision/messages/decision",
        "asyncapi3-operation-messages-from-referred-channel",
    ),
    "a parameter that nothing explains": (
        ("channels", "command", "address"),
        "weldgate/v1/{machine_id}/{kind}",
        "asyncapi3-channel-parameters",
    ),
    "no such quality of service": (("operations", "sendCommand", "bindings", "mqtt", "qos"), 3, "qos"),
    "no such type": (("components", "schemas", "Usage", "properties", "seq", "type"), "count", "seq"),
    "a word misspelt": (("components", "schemas", "Usage", "properties", "seq", "minimun"), 0, '"minimun"'),
    "a payload of another type": (
        ("components", "messages", "usage", "examples", 0, "payload", "seq"),
        "12",
        "message usage, example usage: data/seq must be integer",
    ),
    "a payload that lacks a field": (
        ("components", "messages", "feedAlert", "examples", 0, "payload", "kind"),
        GONE,
        "message feedAlert, example feed_alert: data must have required property 'kind'",
    ),
    "a lock between arcs without a deadline": (
        ("components", "schemas", "Lock", "examples", 0, "deadline_s"),
        GONE,
        "schema Lock, example 0: data must have required property 'deadline_s'",
    ),
    "a command addressed to nobody": (
        ("components", "schemas", "Config", "examples", 0, "cha"),
        GONE,
        "data must have required property 'cha'",
    ),
    "an entry too long": (
        ("components", "schemas", "OfflineList", "examples", 0, "entries", 0),
        ["ZjPerJO7FvVxxRAl", 1782835199, 900],
        "data/entries/0 must NOT have more than 2 items",
    ),
}
"""Where one value of the document is changed, to what, and what is said of it."""

WARNED_OF = {"asyncapi": "2.6.0", "info": {"title": "Without an id", "version": "1"}, "channels": {}}


def _run(*documents: Path) -> "subprocess.CompletedProcess[str]":
    """The validator; missing: skipped on a laptop, failed in CI."""
    if shutil.which("node") is None or not (HERE / "node_modules").is_dir():
        missing = "node or its modules are missing: run `make asyncapi`"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    command: list[str | Path] = ["node", HERE / "validate.mjs", *documents]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=60)
    assert done.stderr == ""
    return done


def _with(path: Sequence[str | int], value: Any) -> Any:
    """The document with another value at the path, or without it."""
    document = copy.deepcopy(DOCUMENT)
    inner: Any = document
    for step in path[:-1]:
        inner = inner[step]
    if value is GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What the validator says of each fault, all in one run."""
    folder = tmp_path_factory.mktemp("faults")
    files = {fault: folder / f"{number}.json" for number, fault in enumerate(FAULTS)}
    for fault, file in files.items():
        path, value, _ = FAULTS[fault]
        file.write_text(json.dumps(_with(path, value)), encoding="utf-8")
    done = _run(*files.values())
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    return {fault: [line for line in lines if line.startswith(f"{file}:")] for fault, file in files.items()}


def test_the_document_is_valid() -> None:
    done = _run(PATH)
    assert (done.returncode, [line for line in done.stdout.splitlines() if ": information " not in line]) == (0, [])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_document_with_a_fault_is_refused(fault: str, verdicts: dict[str, list[str]]) -> None:
    errors = [line for line in verdicts[fault] if "error " in line]
    assert any(FAULTS[fault][2] in line for line in errors), verdicts[fault]


def test_one_document_with_a_fault_among_good_ones_is_enough(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(_with(("info", "title"), GONE)), encoding="utf-8")
    assert _run(PATH, broken, PATH).returncode == 1


def test_a_warning_alone_refuses(tmp_path: Path) -> None:
    warned_of = tmp_path / "warned_of.json"
    warned_of.write_text(json.dumps(WARNED_OF), encoding="utf-8")
    done = _run(warned_of)
    assert done.returncode == 1
    assert ": warning " in done.stdout
    assert ": error " not in done.stdout


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    torn = tmp_path / "torn.json"
    torn.write_bytes(PATH.read_bytes()[:5000])
    assert _run(torn).returncode == 1


def test_without_a_document_nothing_is_valid() -> None:
    assert _run().returncode == 2


def test_the_lock_names_no_registry() -> None:
    lock = json.loads((HERE / "package-lock.json").read_bytes())
    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
    assert [name for name, package in lock["packages"].items() if name and "integrity" not in package] == []


def test_the_versions_are_exact() -> None:
    wanted = json.loads((HERE / "package.json").read_bytes())["devDependencies"]
    lock = json.loads((HERE / "package-lock.json").read_bytes())["packages"]
    assert {name: lock[f"node_modules/{name}"]["version"] for name in wanted} == wanted
