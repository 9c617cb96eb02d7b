"""A signer and fresh databases for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from joserfc.jwk import ECKey
from sqlalchemy import Connection, Engine

from gateway.store.journal import Journal
from gateway.wire.tokens import Signer
from tests.store.databases import Databases, make_template


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer(ECKey.generate_key("P-256", auto_kid=True))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def databases(template: Path, tmp_path: Path) -> Iterator[Databases]:
    made = Databases(template, tmp_path)
    yield made
    made.close()


@pytest.fixture
def engine(databases: Databases) -> Engine:
    return databases.engine()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def journal(engine: Engine, signer: Signer) -> Journal:
    return Journal(engine.dialect, signer)
