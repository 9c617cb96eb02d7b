"""Who may publish and hear what: one table, from which every broker's access list is made. Pure.

A name says whose it is: a machine's id, ``weldgate-INSTANCE`` of a gateway, ``reader-NAME`` of somebody who only
listens. Every other name has no rights.
"""

import re
from typing import Literal

from msgspec import Struct

from gateway.core.model import MACHINE_ID
from gateway.wire import topics

Role = Literal["machine", "gateway", "reader"]
Access = Literal["publish", "subscribe"]

INSTANCE = r"^[A-Za-z0-9_-]{1,32}(?!\n)$"
READER = r"^[a-z0-9][a-z0-9-]{0,31}(?!\n)$"
GATEWAY_PREFIX, READER_PREFIX = "weldgate-", "reader-"
OWN = "{name}"
"""Stands for the identity's own name in a topic."""


class Right(Struct, frozen=True):
    """One thing that one role may do; ``topic`` is a filter in which ``{name}`` stands for the identity's own name."""

    access: Access
    topic: str


RIGHTS: dict[Role, tuple[Right, ...]] = {
    "machine": (
        *(Right("publish", topics.to_gateway(OWN, kind)) for kind in topics.CHIP_TOPICS),
        Right("subscribe", topics.decision(OWN)),
        Right("subscribe", topics.command(OWN)),
        Right("subscribe", topics.replies(OWN)),
    ),
    "gateway": (
        *(Right("subscribe", chip_filter) for chip_filter in topics.CHIP_FILTERS),
        Right("subscribe", topics.BROKER_DROPPED),
        Right("publish", topics.decision("+")),
        Right("publish", topics.command("+")),
        Right("publish", topics.replies("+")),
        Right("publish", f"{topics.ROOT}/feed/#"),
        Right("publish", topics.gateway_status(OWN)),
    ),
    "reader": (
        Right("subscribe", f"{topics.ROOT}/feed/#"),
        Right("subscribe", topics.gateway_status("+")),
        Right("subscribe", topics.BROKER_FIGURES),
    ),
}
"""INVARIANT: nothing lets a machine speak for, listen to or answer another one, nor a reader speak at all."""

_FORMS: dict[Role, re.Pattern[str]] = {
    "machine": re.compile(MACHINE_ID),
    "gateway": re.compile(INSTANCE.replace("^", f"^{GATEWAY_PREFIX}")),
    "reader": re.compile(READER.replace("^", f"^{READER_PREFIX}")),
}


def gateway_name(instance: str) -> str:
    """The identity and client id of a gateway."""
    return f"{GATEWAY_PREFIX}{instance}"


def reader_name(name: str) -> str:
    return f"{READER_PREFIX}{name}"


def role_of(identity: str) -> Role | None:
    """Whose name it is; None for a name without any rights.

    >>> role_of("HJ-0001"), role_of("weldgate-county-1"), role_of("reader-board"), role_of("weldgate-+")
    ('machine', 'gateway', 'reader', None)
    """
    for role, form in _FORMS.items():
        if form.match(identity):
            return role
    return None


def rights_of(identity: str) -> list[Right]:
    """What this identity may do, with its own name filled in."""
    role = role_of(identity)
    own = identity.removeprefix(GATEWAY_PREFIX)
    return [Right(right.access, right.topic.replace(OWN, own)) for right in RIGHTS[role]] if role else []


def may_publish(identity: str, topic: str) -> bool:
    """Whether a message of this identity, or its last will, goes any further.

    >>> may_publish("HJ-0001", "weldgate/v1/HJ-0001/request"), may_publish("HJ-0001", "weldgate/v1/HJ-0002/request")
    (True, False)
    """
    if "+" in topic or "#" in topic:
        return False
    return any(right.access == "publish" and _covers(right.topic, topic) for right in rights_of(identity))


def may_subscribe(identity: str, topic_filter: str) -> bool:
    """Whether everything that the filter matches may be heard; a shared subscription counts as what it shares.

    >>> may_subscribe("HJ-0001", "weldgate/v1/HJ-0001/decision"), may_subscribe("HJ-0001", "weldgate/v1/+/decision")
    (True, False)
    """
    wanted = _unshared(topic_filter)
    return any(right.access == "subscribe" and _covers(right.topic, wanted) for right in rights_of(identity))


def _unshared(topic_filter: str) -> str:
    parts = topic_filter.split("/", 2)
    return parts[2] if len(parts) == 3 and parts[0] == "$share" else topic_filter


def _covers(held: str, wanted: str) -> bool:
    """Whether each topic that ``wanted`` matches is matched by ``held`` too (MQTT 3.1.1, section 4.7)."""
    held_levels, wanted_levels = held.split("/"), wanted.split("/")
    for place, level in enumerate(held_levels):
        if level == "#":
            return len(wanted_levels) >= place
        if place == len(wanted_levels) or not _covers_level(level, wanted_levels[place]):
            return False
    return len(wanted_levels) == len(held_levels)


def _covers_level(held: str, wanted: str) -> bool:
    return held == wanted or (held == "+" and wanted != "#")
