"""Each invariant notices a variant that breaks it: without that, a green run would prove nothing."""

import pytest

from tests.simulation.broken_variants import VARIANTS
from tests.simulation.plan import make_config, make_plan
from tests.simulation.simulation import run
from tests.simulation.verdict import INVARIANTS

MOST_SEEDS = 150
"""Some faults need luck: a crash at the right moment, an arc at the end of a lease."""


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.timeout(300)
def test_a_broken_variant_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    variant = VARIANTS[name]
    variant.apply(monkeypatch)
    noticed = set()
    for seed in range(MOST_SEEDS):
        config = make_config(seed)
        broken = None if config.sqlite else run(config, make_plan(config))[1]
        if broken is not None:
            noticed.add(broken.invariant)
            if broken.invariant in variant.invariants:
                return
    pytest.fail(f"{name}: {sorted(noticed) or 'nothing'} was noticed in {MOST_SEEDS} runs")


def test_every_invariant_has_a_variant_that_breaks_it() -> None:
    assert {invariant for variant in VARIANTS.values() for invariant in variant.invariants} == set(INVARIANTS)
