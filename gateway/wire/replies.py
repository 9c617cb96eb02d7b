"""Where an answer goes: the decision topic, or what an MQTT 5 sender asked for within its own topics."""

from gateway.wire import topics
from gateway.wire.inbound import Inbound, Outbound


def reply_to(inbound: Inbound, machine_id: str, payload: bytes, expires_s: int | None) -> Outbound:
    """The answer to ``inbound`` as it is to be published."""
    return Outbound(topics.decision(machine_id), payload, expires_s=expires_s, correlation=inbound.correlation)
