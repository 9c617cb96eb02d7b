"""The files of deploy/ that Prometheus, Alertmanager and Grafana read, and the programs that check them."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULE_TESTS = sorted((Path(__file__).parent / "rules").glob("*.yml"))
BOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))


def program(name: str) -> str:
    """Missing: skipped on a laptop, failed in CI."""
    if path := shutil.which(name):
        return path
    absent = f"{name} is not installed: run `make prometheus`"
    if os.environ.get("CI"):
        pytest.fail(absent)
    pytest.skip(absent)


def run(name: str, *words: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([program(name), *words], input=stdin, capture_output=True, text=True, check=False)


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    """Every rule, recording and alerting."""
    return [rule for path in RULE_FILES for group in read_yaml(path)["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def boards() -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in BOARDS]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that show something: all but the rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def board_queries() -> Iterator[tuple[str, str]]:
    """Every expression of every dashboard, with where it stands."""
    for board in boards():
        for annotation in board["annotations"]["list"]:
            yield f"{board['uid']}, {annotation['name']}", annotation["expr"]
        for panel in panels(board):
            for target in panel["targets"]:
                yield f"{board['uid']}, {panel['title']}", target["expr"]
