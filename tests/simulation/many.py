"""Many runs, one after the other or in several processes, until so many machine-hours are done."""

from collections.abc import Callable, Iterator
from multiprocessing import Pool

from msgspec import Struct

from tests.simulation.plan import make_config, make_plan
from tests.simulation.simulation import run
from tests.simulation.statistics import Statistics

SEEDS_AT_ONCE = 8


class Outcome(Struct):
    """Of some seeds: what ran, and which seeds broke which invariant."""

    stats: Statistics
    broken: list[tuple[int, str]]


def run_seeds(seeds: range) -> Outcome:
    """One run for each seed; a broken one does not stop the others."""
    outcome = Outcome(Statistics(), [])
    for seed in seeds:
        config = make_config(seed)
        stats, broken, _ = run(config, make_plan(config))
        outcome.stats.add(stats)
        if broken is not None:
            outcome.broken.append((seed, str(broken)))
    return outcome


def run_for(machine_hours: float, first_seed: int, jobs: int, tell: Callable[[Statistics], None]) -> Outcome:
    """Seeds from ``first_seed`` on until enough was simulated or something is broken."""
    total = Outcome(Statistics(), [])
    with Pool(jobs) as pool:
        for outcome in pool.imap_unordered(run_seeds, _portions(first_seed)):
            total.stats.add(outcome.stats)
            total.broken += outcome.broken
            tell(total.stats)
            if total.broken or total.stats.machine_hours >= machine_hours:
                pool.terminate()
                break
    return total


def _portions(first_seed: int) -> Iterator[range]:
    while True:
        yield range(first_seed, first_seed + SEEDS_AT_ONCE)
        first_seed += SEEDS_AT_ONCE
