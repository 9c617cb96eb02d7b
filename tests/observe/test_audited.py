"""What an audit leaves for Prometheus: whether the ledger is intact, how long it is, when that was found."""

import time
from pathlib import Path

import pytest

from gateway.keys import open_keys
from gateway.store.engine import open_engine
from gateway.store.journal import Batch, Journal
from gateway.store.ledger import Draft
from tests.support.gateway import weldgate


@pytest.fixture
def database(tmp_path: Path) -> str:
    """The URL of a ledger with three records."""
    url = f"sqlite:///{tmp_path / 'weldgate.db'}"
    engine = open_engine(url)
    journal = Journal(engine.dialect, open_keys(tmp_path / "keys").signer())
    with engine.connect() as connection:
        journal.commit(connection, Batch(drafts=[Draft("rejected", 1_793_577_600_000, b"{}", "HJ-0001")] * 3))
    engine.dispose()
    return url


def audited(database: str, textfile: Path, *words: str) -> tuple[int, dict[str, float]]:
    """The exit code of a check, and what it left."""
    done = weldgate("audit", "verify", "--textfile", str(textfile), "--database", database, *words)
    lines = [line.split() for line in textfile.read_text().splitlines() if not line.startswith("#")]
    return done.returncode, {name: float(value) for name, value in lines}


def test_an_intact_ledger_is_told_with_its_length_and_the_time(database: str, tmp_path: Path) -> None:
    code, left = audited(database, tmp_path / "weldgate.prom")
    assert (code, left["weldgate_audit_intact"], left["weldgate_audit_records"]) == (0, 1, 3)
    assert left["weldgate_audit_timestamp_seconds"] == pytest.approx(time.time(), abs=60)


def test_a_ledger_that_was_changed_or_replaced_is_told(database: str, tmp_path: Path) -> None:
    textfile = tmp_path / "weldgate.prom"
    assert audited(database, textfile, "--expect-head", f"3:{'0' * 64}")[1]["weldgate_audit_intact"] == 0
    assert audited(database, textfile)[1]["weldgate_audit_intact"] == 1
    engine = open_engine(database, migrate=False)
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM ledger WHERE seq = 2")
    engine.dispose()
    code, left = audited(database, textfile)
    assert (code, left["weldgate_audit_intact"]) == (1, 0)


def test_a_file_that_cannot_be_written_is_a_mistake_of_the_command_line(database: str, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "weldgate.prom"
    done = weldgate("audit", "verify", "--textfile", str(target), "--database", database)
    assert done.returncode == 1
    assert f"--textfile {target}" in done.stderr
