"""What rests on more than memory holds: another gateway of the same database may know of it. It is looked up first.

That is events of sessions and numbers that memory cannot tell, and whatever is asked by phone: a chip tells only one of
the gateways what its challenge is.
"""

from collections.abc import Iterable

from gateway.core.model import Event
from gateway.gate.state import GateState
from gateway.store.ledger import Key
from gateway.wire import topics
from gateway.wire.codec import MalformedMessage, decode
from gateway.wire.inbound import Inbound

ABOUT_THE_LOCK = frozenset(("boot", "clock_reset"))
"""These concern whichever session is open at the machine, whether or not they name it. A tampering does too: memory
must not mistake that for another one, which is locked already. So does a clock that was reset: it may be known under
another challenge."""


def doubtful(state: GateState, batch: Iterable[Inbound]) -> dict[Key, str]:
    """The machine of each event whose session or number memory cannot tell, and of each ask by phone, by its key.

    INVARIANT: an event takes its step for the session that the database holds, whichever gateway opened it.
    """
    last: dict[str, int | None] = {}
    found: dict[Key, str] = {}
    for inbound in batch:
        if (ask := inbound.phone) is not None:
            found[ask.machine_id, "decision", ask.request_id] = ask.machine_id
            continue
        if (told := _event(inbound)) is None:
            continue
        machine_id, event = told
        before = last.get(machine_id, state.chips.last_seq(machine_id))
        if before is None or event.seq != before + 1 or _session_unknown(state, machine_id, event):
            found[machine_id, "event", event.event_id] = machine_id
        last[machine_id] = max(event.seq, before or 0)
    return found


def _event(inbound: Inbound) -> tuple[str, Event] | None:
    if inbound.retained or not inbound.topic.endswith("/event"):
        return None
    addressed = topics.chip_topic(inbound.topic)
    if addressed is None or addressed[1] != "event":
        return None
    try:
        message = decode("event", inbound.payload)
    except MalformedMessage:
        return None
    return (addressed[0], message) if isinstance(message, Event) else None


def _session_unknown(state: GateState, machine_id: str, event: Event) -> bool:
    if event.kind in ("tamper", "clock_reset"):
        return True
    speaks_of_one = event.session_id is not None or event.kind in ABOUT_THE_LOCK
    return speaks_of_one and not state.sessions.knows(machine_id, event.session_id)
