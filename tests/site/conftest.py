"""A served site, and databases for it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.site.served import Town, town
from tests.store.databases import Databases, make_template


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def databases(template: Path, tmp_path: Path) -> Iterator[Databases]:
    made = Databases(template, tmp_path)
    yield made
    made.close()


@pytest.fixture
async def site(databases: Databases, tmp_path: Path) -> AsyncIterator[Town]:
    async with town(databases.engine(), tmp_path) as served:
        yield served
