"""A served gate, and databases for it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.api.served import Served, serving
from tests.gate.gates import make_gate
from tests.store.databases import Databases, make_template

collect_ignore = ["signing.py"]
"""Hooks that schemathesis loads in a process of its own."""


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def databases(template: Path, tmp_path: Path) -> Iterator[Databases]:
    made = Databases(template, tmp_path)
    yield made
    made.close()


@pytest.fixture
async def api(databases: Databases) -> AsyncIterator[Served]:
    async with serving(make_gate(), databases.engine()) as served:
        yield served
