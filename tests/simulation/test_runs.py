"""What fits into a minute and a half of one core; ``make soak`` runs a million machine-hours."""

import hashlib
import os
import re
import subprocess
import sys

import pytest

from tests.simulation.broken_variants import VARIANTS
from tests.simulation.plan import make_config, make_plan
from tests.simulation.report import failure
from tests.simulation.shrinking import shrink
from tests.simulation.simulation import run

MACHINE_HOURS = 30_000
REAL_PARTS = ("sqlite", "real_tokens")


def simulate(*arguments: str, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.timeout(600)
def test_no_invariant_breaks_in_thirty_thousand_machine_hours() -> None:
    done = simulate("--machine-hours", str(MACHINE_HOURS), "--jobs", "1")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"^([\d,]+) machine-hours in", done.stdout, re.MULTILINE)
    assert found
    assert int(found[1].replace(",", "")) >= MACHINE_HOURS


@pytest.mark.parametrize("part", REAL_PARTS)
def test_runs_with_the_real_scribe_and_with_es256_break_nothing_either(part: str) -> None:
    seeds = [seed for seed in range(600) if getattr(make_config(seed), part)][:3]
    assert seeds
    for seed in seeds:
        config = make_config(seed)
        stats, broken, _ = run(config, make_plan(config))
        assert broken is None, f"seed {seed}: {broken}"
        assert stats.counts["allows"]


def test_the_same_seed_gives_the_same_steps() -> None:
    def trace(seed: int) -> str:
        config = make_config(seed)
        lines = run(config, make_plan(config), traced=0)[2]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    assert [trace(seed) for seed in range(5)] == [trace(seed) for seed in range(5)]
    assert trace(1) != trace(2)


def test_a_seed_is_replayed_exactly_by_the_command_in_any_process() -> None:
    one, other = (simulate("--seed", "3", "--lines", "0", hash_seed=seed) for seed in ("1", "2"))
    assert one.returncode == 0, one.stderr
    assert one.stdout == other.stdout
    assert "receives" in one.stdout


def test_every_kind_of_fault_is_injected_and_the_people_get_in() -> None:
    done = simulate("--machine-hours", "3000", "--jobs", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    faults = done.stdout.splitlines()[-2]
    for kind in (
        "broker crash", "chip clock", "chip count", "chip cut", "chip power", "chip says", "chip stall",
        "database away", "gateway clock", "gateway crash", "gateway cut", "gateway dies", "gateway freeze",
        "gateway stall", "gateway stop", "order", "packet doubled", "packet lost", "packet out of order", "policy",
        "registry", "registry silent", "replay", "rule fails", "scribe dies", "tamper",
    ):  # fmt: skip
        assert f" {kind}" in faults
    for what in (
        "allows",
        "renewals taken",
        "commands sent",
        "offline unlocks",
        "unlocks by phone",
        "session_ends on record",
    ):
        assert f" {what}" in done.stdout


def test_a_failure_prints_its_seed_its_setting_and_a_small_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    VARIANTS["sees nobody elsewhere"].apply(monkeypatch)
    seed = next(seed for seed in range(100) if run(make_config(seed), make_plan(make_config(seed)))[1])
    config, acts = make_config(seed), make_plan(make_config(seed))
    broken = run(config, acts)[1]
    assert broken is not None
    fewer = shrink(config, acts, broken.invariant)
    assert len(fewer) <= 5 < len(acts)
    again = run(config, fewer)[1]
    assert again is not None
    assert again.invariant == broken.invariant
    text = "\n".join(failure(seed))
    assert f"seed {seed}: {broken.invariant}" in text
    assert f"--seed {seed}" in text
    assert "goes to HJ-" in text
    assert "BROKEN" in text
