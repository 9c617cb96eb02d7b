"""What a person needs to see of a run that broke an invariant."""

from collections.abc import Iterator

from tests.simulation.plan import Act, Config, make_config, make_plan
from tests.simulation.shrinking import shrink
from tests.simulation.simulation import run

LINES = 60


def failure(seed: int, *, lines: int = LINES, smaller: bool = True) -> Iterator[str]:
    """The seed, its setting, a minimal list of acts, the end of the trace, and what broke."""
    config, acts = make_config(seed), make_plan(make_config(seed))
    broken = run(config, acts)[1]
    if broken is None:
        yield f"seed {seed}: nothing is broken"
        return
    yield f"seed {seed}: {broken}"
    yield f"setting: {config.words()}"
    if smaller:
        acts = shrink(config, acts, broken.invariant)
    yield from _small(config, acts, lines)
    yield f"replay: python -m tests.simulation --seed {seed}"


def _small(config: Config, acts: list[Act], lines: int) -> Iterator[str]:
    yield f"{len(acts)} acts are enough:"
    for act in acts:
        yield f"{act.at / 1000:>12.3f}  {act.words()}"
    _, broken, log = run(config, acts, traced=lines)
    yield f"the last {len(log)} steps:"
    yield from log
    yield f"broken: {broken}"
