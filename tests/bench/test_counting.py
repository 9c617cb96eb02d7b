"""The benchmark of the figures still runs, on a county of a few machines."""

from pathlib import Path

import pytest

from gateway.store.engine import open_engine
from tests.bench.counting import keeping, queries, synthetic
from tests.bench.counting.synthetic import Size, make
from tests.support.gateway import weldgate


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("year") / "figures.db"
    make(path, Size(3, 4, 3, 5, 40, 1500, 1500))
    return path


def test_every_query_is_asked_and_finds_what_is_there(year: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "FOR_S", 0.0)
    monkeypatch.setattr(queries, "AT_LEAST", 1)
    engine = open_engine(f"sqlite:///{year}", migrate=False)
    with engine.connect() as connection:
        about = queries.names(connection)
    took = [queries.measure(engine, year, query) for query in queries.asked(about)]
    engine.dispose()
    assert len({one.name for one in took}) == len(took) > 90
    assert all(one.p50 > 0 for one in took)


def test_what_is_written_straight_into_tables_is_what_counting_comes_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synthetic, "REFUSED", 0)  # each session is one that a decision opened
    make(tmp_path / "figures.db", Size(3, 4, 3, 5, 10, 300, 300))
    told = weldgate("figures", "verify", "--database", f"sqlite:///{tmp_path}/figures.db")
    assert told.returncode == 0, told.stdout


def test_a_backlog_is_counted(year: Path) -> None:
    for one in (keeping.counted_bare(year, 0.5), keeping.counted_by_the_task(year, 0.5)):
        assert one.records_s > 0
        assert one.held_max > 0
    assert not year.with_suffix(".backlog").exists()
