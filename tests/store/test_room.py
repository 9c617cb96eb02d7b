"""How much room a database takes and has left, for whoever watches the disk."""

import math
from pathlib import Path
from shutil import disk_usage

import pytest

from gateway.store.engine import database_file, open_engine, room


def test_a_database_is_measured_with_its_log_and_what_its_disk_has_left(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'weldgate.db'}"
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE anything (x)")
        held, left = room(database_file(url))
        files = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert files["weldgate.db-wal"] > 0
    assert held == files["weldgate.db"] + files["weldgate.db-wal"]
    assert left == pytest.approx(disk_usage(tmp_path).free, rel=0.1)
    engine.dispose()


@pytest.mark.parametrize("url", ["postgresql://weldgate@database/weldgate", "sqlite://", "sqlite:///no/such/file.db"])
def test_where_there_is_no_file_nobody_knows(url: str) -> None:
    assert all(math.isnan(figure) for figure in room(database_file(url)))
