"""The small county's database for each test, and the command line on it."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import Engine

from gateway.store.engine import open_engine
from tests.service.conftest import (
    Prepared,
    mosquitto_of_module,
    prepared,
    service,
    start_gateway,
    start_gateway_of_module,
)
from tests.support.gateway import weldgate

__all__ = ["mosquitto_of_module", "prepared", "service", "start_gateway", "start_gateway_of_module"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Office:
    """A database of the county and the people who give orders on it."""

    database: Path
    keys: Path
    engine: Engine

    @property
    def url(self) -> str:
        return f"sqlite:///{self.database}"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return weldgate(*words, "--database", self.url)

    def does(self, *words: str) -> list[str]:
        """Lines that a command prints, which has to succeed."""
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.splitlines()

    def refuses(self, *words: str) -> str:
        """The one line by which a command refuses; it changes nothing."""
        before = self.records()
        done = self.run(*words)
        assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr
        assert done.stderr.startswith("weldgate: ")
        assert done.stderr.count("\n") == 1
        assert self.records() == before
        return done.stderr

    def records(self) -> int:
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql("SELECT count(*) FROM ledger").scalar_one())


@pytest.fixture
def office(prepared: Prepared, tmp_path: Path) -> Iterator[Office]:
    database = tmp_path / "office.db"
    shutil.copy(prepared.database, database)
    engine = open_engine(f"sqlite:///{database}", migrate=False)
    yield Office(database, prepared.keys, engine)
    engine.dispose()
