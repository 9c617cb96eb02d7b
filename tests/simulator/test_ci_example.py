"""The CI example under deploy/ uses options that the command has."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli import app
from simulator.scenario import SCENARIOS

EXAMPLE = Path(__file__).parents[2] / "deploy" / "ci" / "weldgate-fleet.yml"


def test_the_example_uses_options_that_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    command = EXAMPLE.read_text(encoding="utf-8").split("weldsim run", 1)[1].split("- name:", 1)[0]
    options = set(re.findall(r"--[a-z-]+", command))
    known = CliRunner().invoke(app, ["run", "--help"]).output
    assert {"--junit", "--report", "--seed"} <= options
    assert not {option for option in options if option not in known}
    assert command.split("--scenario ")[1].split()[0] in SCENARIOS
