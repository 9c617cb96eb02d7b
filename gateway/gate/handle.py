"""One arrived message to one Entry. Synchronous; touches neither broker nor database."""

from collections.abc import Callable

from gateway.core.model import Event, Request, Usage
from gateway.gate import reports, requests
from gateway.gate.entry import Entry
from gateway.gate.state import GateState
from gateway.observe.events import Repeated
from gateway.store.ledger import Key
from gateway.wire import topics
from gateway.wire.codec import MalformedMessage, decode, request_id_of
from gateway.wire.inbound import Inbound

Known = Callable[[Key], bool]


def handle(state: GateState, inbound: Inbound, monotonic_ns: int, known: Known) -> Entry:
    """What the message leads to; ``known`` tells whether a key is on record, or in this batch, already."""
    entry = _handle(state, inbound, max(0, monotonic_ns - inbound.arrived_ns) // 1_000_000, known)
    entry.inbound = inbound
    return entry


def _handle(state: GateState, inbound: Inbound, waited_ms: int, known: Known) -> Entry:
    addressed = topics.chip_topic(inbound.topic)
    if addressed is None:
        return reports.reject(state, inbound, None, "unknown", "topic: not one of the protocol's")
    machine_id, kind = addressed
    if inbound.phone is not None:
        asked: Key = (machine_id, "decision", inbound.phone.request_id)
        return _repeated(asked) if known(asked) else requests.answer_phone(state, inbound.phone, waited_ms)
    if inbound.retained and kind != "status":
        return reports.reject(state, inbound, machine_id, kind, "retained: a replay; only status may be retained")
    try:
        message = decode(kind, inbound.payload)
    except MalformedMessage as error:
        request_id = request_id_of(inbound.payload) if kind == "request" else None
        if request_id is None:
            return reports.reject(state, inbound, machine_id, kind, str(error))
        key: Key = (machine_id, "decision", request_id)
        if known(key):
            return _repeated(key)
        return requests.answer_unreadable(state, machine_id, request_id, str(error), waited_ms)
    if isinstance(message, Request):
        key = (machine_id, "decision", message.request_id)
        return _repeated(key) if known(key) else requests.answer(state, machine_id, message, waited_ms)
    if isinstance(message, Event):
        key = (machine_id, "event", message.event_id)
        return _repeated(key) if known(key) else reports.record_event(state, machine_id, message, inbound.payload)
    if isinstance(message, Usage):
        return reports.take_usage(state, machine_id, message)
    return reports.take_status(state, machine_id, message)


def _repeated(key: Key) -> Entry:
    return Entry(key=key, observed=(Repeated(key[0], key[1]),))
