"""What a person should look at, as messages of the feed."""

from gateway.gate.state import GateState
from gateway.wire import topics
from gateway.wire.codec import encode
from gateway.wire.inbound import Outbound
from gateway.wire.messages import AlertKind, FeedAlert


def alert(state: GateState, kind: AlertKind, machine_id: str, session_id: str | None, detail: str = "") -> Outbound:
    """A message for those who watch the machine's division."""
    machine = state.snapshot.machines.get(machine_id)
    division = machine.division if machine else topics.UNKNOWN_DIVISION
    message = FeedAlert(state.wall_ms(), detail, division, kind, machine_id, session_id)
    return Outbound(topics.feed(division, "alert"), encode(message))
