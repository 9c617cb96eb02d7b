"""A gate, a signer and databases for the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from joserfc.jwk import ECKey

from gateway.wire.tokens import Signer
from tests.gate.gates import Gate, make_gate
from tests.store.databases import Databases, make_template


@pytest.fixture
def gate() -> Gate:
    return make_gate()


@pytest.fixture(scope="session")
def key() -> ECKey:
    return ECKey.generate_key("P-256", auto_kid=True)


@pytest.fixture(scope="session")
def signer(key: ECKey) -> Signer:
    return Signer(key)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_template(tmp_path_factory.mktemp("template") / "template.db")


@pytest.fixture
def databases(template: Path, tmp_path: Path) -> Iterator[Databases]:
    made = Databases(template, tmp_path)
    yield made
    made.close()
