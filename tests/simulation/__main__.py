"""``python -m tests.simulation``: a million simulated machine-hours, or one seed again."""

import argparse
import os
import sys
import time

from tests.simulation.many import run_for
from tests.simulation.plan import make_config, make_plan
from tests.simulation.report import LINES, failure
from tests.simulation.simulation import run
from tests.simulation.statistics import Statistics

TELL_EVERY_S = 15.0


def main() -> int:
    arguments = _arguments()
    if arguments.seed is not None:
        return _again(arguments.seed, arguments.lines, smaller=not arguments.whole)
    told, began = [time.monotonic()], time.monotonic()

    def tell(stats: Statistics) -> None:
        if time.monotonic() - told[0] > TELL_EVERY_S:
            told[0] = time.monotonic()
            rate = stats.machine_hours / (told[0] - began)
            print(f"{stats.machine_hours:,.0f} machine-hours, {rate:,.0f} a second, {stats.faults.total():,} faults")
            sys.stdout.flush()

    outcome = run_for(arguments.machine_hours, arguments.first_seed, arguments.jobs, tell)
    print("\n".join(outcome.stats.lines()))
    print(f"in {time.monotonic() - began:,.0f} s; broken invariants: {len(outcome.broken)}")
    for seed, _ in outcome.broken[:1]:
        print("\n".join(failure(seed, lines=arguments.lines)))
    return 1 if outcome.broken else 0


def _again(seed: int, lines: int, *, smaller: bool) -> int:
    config = make_config(seed)
    stats, broken, log = run(config, make_plan(config), traced=lines)
    if broken is not None:
        print("\n".join(failure(seed, lines=lines, smaller=smaller)))
        return 1
    print(f"seed {seed}: {config.words()}")
    print("\n".join([*log, *stats.lines()]))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--machine-hours", type=float, default=1_000_000, help="how much to simulate")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--first-seed", type=int, default=0, help="go on from another seed")
    parser.add_argument("--seed", type=int, default=None, help="only this run, with the end of its trace")
    parser.add_argument("--lines", type=int, default=LINES, help="lines of the trace; 0 is all")
    parser.add_argument("--whole", action="store_true", help="with --seed: do not make a failing run smaller")
    return parser.parse_args()


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets have to come in the same order every time
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.simulation", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main())
