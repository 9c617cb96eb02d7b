"""``weldgate registry`` as a person meets it: one line for each mistake, and exit codes."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gateway.cli import app
from tests.registry import people
from tests.registry.conftest import Write

Run = Callable[..., Any]


@pytest.fixture
def weldgate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("WELDGATE_DATABASE", f"sqlite:///{tmp_path}/cli.db")
    monkeypatch.setenv("WELDGATE_KEYS", str(tmp_path / "cli-keys"))
    return lambda *words: CliRunner().invoke(app, ["registry", *map(str, words)])


def test_a_sample_county_goes_in_and_says_what_it_added(weldgate: Run, tmp_path: Path) -> None:
    made = weldgate("sample", "--profile", "county", "--seed", "1", "--out", tmp_path / "county")
    assert made.exit_code == 0
    result = weldgate("import", tmp_path / "county")
    assert result.exit_code == 0
    assert ["machines", "1,603", "0", "0"] in [line.split() for line in result.stdout.splitlines()]
    assert "registry version 1" in result.stdout
    assert "area code of the ID number is not known (1564 lines" in result.stderr


def test_bad_rows_are_named_masked_and_nothing_is_imported(weldgate: Run, write: Write) -> None:
    path = write("o.csv", [people.OPERATORS[0], ["P-1", "", people.ANNA[:-1] + "?", "", "active"]])
    result = weldgate("import", path)
    assert result.exit_code == 1
    assert f"{path}:2: id_number = {'*' * 14}{people.ANNA[-4:-1]}?: is no ID number" in result.stderr
    assert result.stderr.endswith("1 bad rows were found\nnothing was imported\n")


def test_bad_rows_left_out_are_counted(weldgate: Run, write: Write) -> None:
    result = weldgate("import", write("o.csv", [*people.OPERATORS, ["P-3", "", "", "", "?"]]), "--skip-bad-rows")
    assert result.exit_code == 0
    assert "1 bad rows were left out" in result.stderr
    assert ["operators", "2", "0", "0"] in [line.split() for line in result.stdout.splitlines()]


def test_fifty_mistakes_are_shown_and_the_rest_counted(weldgate: Run, write: Write) -> None:
    rows = [[f"P-{number}", "", "", "", "?"] for number in range(60)]
    result = weldgate("import", write("o.csv", [people.OPERATORS[0], *rows]))
    assert result.stderr.count("status = ?") == 50
    assert "and 10 more" in result.stderr


def test_rows_that_a_later_import_has_changed_are_told_and_are_no_success(
    weldgate: Run, tmp_path: Path, write: Write
) -> None:
    """As after a clock that ran ahead and was set back: an import that seems to do nothing must not look like one."""
    weldgate("import", write("o.csv", people.OPERATORS))
    ahead = sqlite3.connect(tmp_path / "cli.db")
    ahead.execute("UPDATE registry_changes SET began_at = began_at + 3600000")
    ahead.commit()
    ahead.close()
    blocked = write("o.csv", [people.OPERATORS[0], ["P-1", "样例甲", people.ANNA, people.PHONE, "blocked"]])
    result = weldgate("import", blocked)
    assert result.exit_code == 1
    assert "1 rows were left as they are" in result.stderr
    assert "compare the clock" in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["missing.csv", "empty"])
def test_what_is_not_there_is_one_line(weldgate: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    result = weldgate("import", tmp_path / name)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"weldgate: {tmp_path / name}: ")
    assert result.stderr.count("\n") == 1


def test_an_unusable_database_is_one_line(weldgate: Run, tmp_path: Path) -> None:
    result = weldgate("import", tmp_path, "--database", "nonsense")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
