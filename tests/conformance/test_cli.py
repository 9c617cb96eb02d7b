"""``weldsim conformance`` from outside: processes, files, exit codes."""

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from simulator.cli import app
from simulator.conformance.keys import PUBLIC, keys_in
from tests.support.brokers import Mosquitto, free_port

REFERENCE = f"{sys.executable} -m simulator.conformance.reference --time-scale 20 --idle-lock-s 40 --drain-s 30"
FAST = ("--time-scale", "20", "--idle-lock-s", "40", "--drain-s", "30", "--prompt-s", "1.0")
HALF_A_DRIVER = """
import json, subprocess, sys
chip = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
for line in sys.stdin.buffer:
    if json.loads(line)["do"] == "tamper":
        print('{"ok": false, "error": "the housing is glued"}', flush=True)
        continue
    chip.stdin.write(line)
    chip.stdin.flush()
    print(chip.stdout.readline().decode().strip(), flush=True)
chip.stdin.close()
chip.wait()
"""


def weldsim(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["conformance", *arguments])


def chip(folder: Path, driver: str, *arguments: str) -> Result:
    """The kit on a free port, a driver that is told where it is."""
    keys_in(folder)
    at = f"127.0.0.1:{free_port()}"
    driver = f"{driver} --broker {at} --jwks {folder / PUBLIC}"
    return weldsim("chip", "--listen", at, "--keys", str(folder), "--driver", driver, *FAST, *arguments)


def test_the_reference_chip_as_a_process_conforms(tmp_path: Path) -> None:
    junit = tmp_path / "out" / "chip.xml"
    only = [part for case_id in ("CHIP-0", "CHIP-2.1", "CHIP-5.6", "OTHERS-15") for part in ("--only", case_id)]
    done = chip(tmp_path, REFERENCE, "--junit", str(junit), *only)
    assert done.exit_code == 0, done.output
    suite = ET.parse(junit).getroot()
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "0")
    assert "CHIP-0.1" in done.output


def test_what_a_driver_cannot_do_is_not_run_and_named(tmp_path: Path) -> None:
    program = tmp_path / "half.py"
    program.write_text(HALF_A_DRIVER)
    driver = f"{sys.executable} {program} {REFERENCE}"
    only = ("--only", "CHIP-5.6", "--only", "CHIP-2.1")
    done = chip(tmp_path, driver, *only)
    assert done.exit_code == 1
    assert "the housing is glued" in done.output
    assert "1 passed, 0 failed, 1 not run" in done.output
    assert chip(tmp_path, driver, "--allow-not-run", *only).exit_code == 0


def test_a_chip_without_a_clock_is_not_asked_for_one(tmp_path: Path) -> None:
    only = [part for case_id in ("CHIP-1.7", "CHIP-1.9", "CHIP-7.1") for part in ("--only", case_id)]
    done = chip(tmp_path, f"{REFERENCE} --without-clock", "--without", "clock", *only)
    assert done.exit_code == 0, done.output
    assert "1 passed, 0 failed, 2 not run" in done.output


MISTAKES = (
    (("chip",), "--driver"),
    (("chip", "--driver", "x", "--listen", "nowhere"), "HOST:PORT"),
    (("chip", "--driver", "/does/not/exist", "--listen", "127.0.0.1:0"), "--driver"),
    (("chip", "--driver", "x", "--without", "wings"), "wings"),
    (("chip", "--driver", "x", "--only", "CHIP-99"), "CHIP-99"),
    (("chip", "--driver", "x", "--drain-s", "3"), "--drain-s"),
    (("gateway", "--registry", "/does/not/exist", "--jwks", "/does/not/exist"), "--jwks"),
)


@pytest.mark.parametrize(("arguments", "named"), MISTAKES)
def test_a_mistake_is_named_and_ends_with_2(
    arguments: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = weldsim(*arguments)
    assert done.exit_code == 2
    assert named in done.output


def test_a_silent_gateway_fails_and_missing_hooks_are_named(mosquitto: Mosquitto, tmp_path: Path) -> None:
    files = tmp_path / "registry"
    assert weldsim("registry", "--out", str(files)).exit_code == 0
    keys_in(tmp_path)
    where = ("--broker", mosquitto.url, "--registry", str(files), "--jwks", str(tmp_path / PUBLIC))
    only = [part for case_id in ("GW-1.1", "GW-2.7", "OTHERS-14") for part in ("--only", case_id)]
    done = weldsim("gateway", *where, "--answer-s", "0.3", "--ready-s", "0.3", *only)
    assert done.exit_code == 1
    assert "0 passed, 1 failed, 2 not run" in done.output
    assert "--restart-command" in done.output
    assert "--tap HOST:PORT" in done.output


def test_every_requirement_is_listed() -> None:
    text = weldsim("list").output
    assert all(f"| {case_id} |" in text for case_id in ("CHIP-1.3", "GW-2.1", "OTHERS-04-CHIP", "OTHERS-20"))
