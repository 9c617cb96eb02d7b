"""Where an answer goes: the decision topic, or what an MQTT 5 sender asked for within its own topics."""

from gateway.wire import topics
from gateway.wire.inbound import Inbound, Outbound

LONGEST_TOPIC = 256
LONGEST_CORRELATION_BYTES = 256
"""A chip chooses both, and both are sent back: more would make answers larger than the protocol's payloads are."""


def reply_to(inbound: Inbound, machine_id: str, payload: bytes, expires_s: int | None) -> Outbound:
    """The answer to ``inbound`` as it is to be published; correlation data that are too long are left out."""
    wanted, correlation = inbound.response_topic, inbound.correlation
    topic = wanted if wanted and _may_have_answers(wanted, machine_id) else topics.decision(machine_id)
    if correlation is not None and len(correlation) > LONGEST_CORRELATION_BYTES:
        correlation = None
    return Outbound(topic, payload, expires_s=expires_s, correlation=correlation)


def _may_have_answers(topic: str, machine_id: str) -> bool:
    """Whether it is one of the machine's own topics for answers: production brokers let it hear no others.

    >>> _may_have_answers("weldgate/v1/HJ-0001/reply/7", "HJ-0001")
    True
    >>> _may_have_answers("weldgate/v1/HJ-0002/reply/7", "HJ-0001")
    False
    """
    own = f"{topics.ROOT}/{machine_id}/"
    if len(topic) > LONGEST_TOPIC or not topic.startswith(own) or not topic.isprintable():
        return False
    levels = topic.removeprefix(own).split("/")
    heard = topic == topics.decision(machine_id) or levels[0] == "reply"
    return heard and all(levels) and not any(sign in topic for sign in "+#")
