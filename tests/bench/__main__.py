"""``python -m tests.bench``: the gateway beside a bare echo, rounds interleaved, in one run on one machine; ``figures``
behind it: what pages ask (``tests.bench.counting``)."""

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench.counting.command import main as figures
from tests.bench.figures import Leg, Process, Profile, Round, round_of
from tests.bench.load import Load, measure
from tests.bench.processes import memory_mib
from tests.bench.report import machine, show, write
from tests.bench.stage import Responder, all_responders

DEVICE_COUNTS = (1, 64, 512)
ROUNDS, WINDOW_S, WARM_UP_S = 5, 5.0, 2.0
TABLE_WIDTH = 120
"""Columns of text; a narrower terminal wraps."""
QUICK_ROUNDS, QUICK_WINDOW_S, QUICK_WARM_UP_S = 1, 0.4, 0.2


def bench(profile: str, folder: Path, rounds: int, window_s: float, warm_up_s: float) -> Profile:
    """One whole benchmark over one size of registry."""
    taken: dict[tuple[str, int], list[Round]] = {}
    with all_responders(profile, folder, max(DEVICE_COUNTS)) as responders:
        before = {responder.name: memory_mib(responder.pid) for responder in responders}
        for number in range(rounds):
            for devices in DEVICE_COUNTS:
                for responder in responders:
                    one = _measure(responder, devices, f"r{number}d{devices}", window_s, warm_up_s)
                    taken.setdefault((responder.name, devices), []).append(one)
        processes = tuple(Process(r.name, r.ready_s, before[r.name], memory_mib(r.pid)) for r in responders)
    legs = tuple(Leg(name, devices, tuple(windows)) for (name, devices), windows in taken.items())
    return Profile(profile, window_s, machine(), processes, legs)


def _measure(responder: Responder, devices: int, stem: str, window_s: float, warm_up_s: float) -> Round:
    load = Load(responder.devices[:devices], responder.broker.port, responder.check, stem)
    watched = {responder.name: responder.pid, "broker": responder.broker.pid}
    result = measure(load, warm_up_s, window_s, watched)
    if result.first_wrong:
        print(f"{responder.name}, {devices} devices, first wrong answer: {result.first_wrong}", file=sys.stderr)
    return round_of(result, responder.name)


def main(arguments: list[str]) -> None:
    """Exits with 1 when any answer was wrong or missing."""
    if arguments[:1] == ["figures"]:
        sys.exit(figures(arguments[1:]))
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--profile", default="county", help="size of the sample registry: county or province")
    parser.add_argument("--quick", action="store_true", help="a few seconds: shows that it runs, measures nothing")
    parser.add_argument("--rounds", type=int, help=f"default {ROUNDS}")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of benchmark.json, .md and .svg")
    chosen = parser.parse_args(arguments)
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS)
    windows = (QUICK_WINDOW_S, QUICK_WARM_UP_S) if chosen.quick else (WINDOW_S, WARM_UP_S)
    work = Path("var")
    work.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=work) as folder:
        profile = bench(chosen.profile, Path(folder), rounds, *windows)
    show(profile, Console(width=max(Console().width, TABLE_WIDTH)))
    write(profile, chosen.out)
    sys.exit(bool(profile.faults))


if __name__ == "__main__":
    main(sys.argv[1:])
