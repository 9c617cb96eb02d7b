"""A key for the tests of this folder."""

import pytest
from joserfc.jwk import ECKey

from gateway.wire.tokens import Signer


@pytest.fixture(scope="session")
def key() -> ECKey:
    return ECKey.generate_key("P-256", auto_kid=True)


@pytest.fixture(scope="session")
def signer(key: ECKey) -> Signer:
    return Signer(key)
