"""The benchmark still runs, and every answer under its load is the right one."""

import os
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import msgspec
import pytest

from tests.bench.__main__ import DEVICE_COUNTS
from tests.bench.devices import Device, from_registry
from tests.bench.figures import Profile
from tests.bench.stage import gateway_is_there
from tests.support.brokers import mosquitto_binary

pytestmark = pytest.mark.alone


@pytest.mark.skipif(mosquitto_binary() is None and "CI" not in os.environ, reason="mosquitto is not installed")
def test_a_quick_run_measures_every_responder_and_gets_no_wrong_answer(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr

    (profile,) = msgspec.json.decode((tmp_path / "benchmark.json").read_bytes(), type=list[Profile])
    responders = ["gateway", "echo"] if gateway_is_there() else ["echo"]
    measured = {(leg.responder, leg.devices) for leg in profile.legs}
    assert measured == {(responder, devices) for responder in responders for devices in DEVICE_COUNTS}
    assert profile.faults == 0
    assert all(one.rate > 0 for leg in profile.legs for one in leg.rounds)

    page = (tmp_path / "benchmark.md").read_text(encoding="utf-8")
    for devices in DEVICE_COUNTS:
        assert f"| {devices} | echo |" in page
        assert re.search(rf"^ *{devices} +echo +[\d,]+ ", done.stdout, re.MULTILINE)
    assert (tmp_path / "benchmark.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_only_pairs_that_every_rule_lets_in_are_chosen(tmp_path: Path) -> None:
    past, soon = date.today() - timedelta(days=9), date.today() + timedelta(days=99)  # noqa: DTZ011 - days apart
    tables = {
        "enterprises": "uscc,status\nE1,active\nE2,closed\n",
        "operators": "operator_id,id_number,status\nP1,999999199001010000,active\nP2,999999199001010000,active\n"
        "P3,999999199001010000,blocked\n",
        "employments": "operator_id,uscc,from,until\nP3,E1,,\nP1,E1,,\nP2,E2,,\n",
        "certificates": "operator_id,item,status,verification,valid_from,valid_until,review_due\n"
        + "".join(f"P{n},fusion,valid,verified,{past},{soon},{soon}\n" for n in (1, 2, 3)),
        "machines": "machine_id,uscc,process,status\nM-BRAZE,E1,brazing,active\nM-OFF,E1,fusion,suspended\n"
        "M-CLOSED,E2,fusion,active\nM-GOOD,E1,fusion,active\nM-SPARE,E1,fusion,active\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    assert from_registry(tmp_path, 1) == [Device("M-GOOD", "P1")]
    with pytest.raises(ValueError, match="only 1 machines"):
        from_registry(tmp_path, 2)
