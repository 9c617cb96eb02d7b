"""Every topic of protocol version 1 and of the broker itself, and nothing else knows them."""

import re
from typing import Literal

from gateway.core.model import MACHINE_ID

ROOT = "weldgate/v1"
ChipTopic = Literal["request", "usage", "event", "status"]
CHIP_TOPICS: tuple[ChipTopic, ...] = ("request", "usage", "event", "status")
CHIP_FILTERS = tuple(f"{ROOT}/+/{kind}" for kind in CHIP_TOPICS)
BROKER_FIGURES = "$SYS/broker/#"
"""Mosquitto's own counts. No topic, name or payload of anybody is in them."""
BROKER_DROPPED = "$SYS/broker/publish/messages/dropped"
"""How many messages Mosquitto has dropped since its start because a client's queue was full."""
UNKNOWN_DIVISION = "000000"
"""Stands for the division of a machine that is not registered."""

_BEFORE_MACHINE = f"{ROOT}/"
_machine_id = re.compile(MACHINE_ID).match


def chip_topic(topic: str) -> tuple[str, ChipTopic] | None:
    """``machine_id`` and kind of a topic that chips publish to; None for any other topic.

    >>> chip_topic("weldgate/v1/HJ-0001/request")
    ('HJ-0001', 'request')
    >>> chip_topic("weldgate/v1/hj 1/request") is None
    True
    """
    parts = topic.split("/")
    if len(parts) != 4 or not topic.startswith(_BEFORE_MACHINE) or not _machine_id(parts[2]):
        return None
    for kind in CHIP_TOPICS:
        if parts[3] == kind:
            return parts[2], kind
    return None


def to_gateway(machine_id: str, kind: ChipTopic) -> str:
    """Where a chip publishes."""
    return f"{ROOT}/{machine_id}/{kind}"


def decision(machine_id: str) -> str:
    return f"{ROOT}/{machine_id}/decision"


def command(machine_id: str) -> str:
    return f"{ROOT}/{machine_id}/command"


def replies(machine_id: str) -> str:
    """A filter for the topics that an MQTT 5 chip may name as Response Topic where brokers check rights."""
    return f"{ROOT}/{machine_id}/reply/#"


def feed(division: str | None, kind: Literal["decision", "usage", "alert"]) -> str:
    return f"{ROOT}/feed/{division or UNKNOWN_DIVISION}/{kind}"


def gateway_status(instance: str) -> str:
    return f"{ROOT}/gateway/{instance}/status"
