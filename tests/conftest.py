"""Fixtures that several folders of tests share."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from gateway.mqtt.embedded import EmbeddedBroker
from tests.support.brokers import Mosquitto, mosquitto_binary


@pytest.fixture
def mosquitto() -> Iterator[Mosquitto]:
    """A Mosquitto of the test's own, started. Missing: skipped on a laptop, failed in CI."""
    if mosquitto_binary() is None:
        missing = "mosquitto is not installed: run `make test`, or as root `apt-get install mosquitto`"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    broker = Mosquitto().start()
    yield broker
    broker.close()


@pytest.fixture
async def embedded_broker() -> AsyncIterator[EmbeddedBroker]:
    """The demo's broker in a process of its own, started."""
    async with EmbeddedBroker() as broker:
        yield broker
