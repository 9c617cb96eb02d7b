"""What one message leads to, and the bodies of the ledger's records."""

from typing import Literal

from msgspec import Struct

from gateway.core.model import Asked, Decision, Facts
from gateway.observe.events import Observed
from gateway.store.ledger import Draft, Key
from gateway.store.prepared import Row
from gateway.wire.inbound import Inbound, Outbound


class Entry(Struct):
    """To be made durable, then acknowledged, then answered. ``key`` names what may be on record only once.

    A repeated message has a key and nothing to record; its answer is the one on record.
    """

    inbound: Inbound | None = None
    key: Key | None = None
    draft: Draft | None = None
    feed: Outbound | None = None
    usage: Row | None = None
    chip: Row | None = None
    observed: tuple[Observed, ...] = ()


class DecisionBody(Struct, frozen=True):
    """Enough to explain a decision and to make it again. ``replaces`` names the sessions that an allow ended.

    In the ledger the exact answer stands behind it, as the member ``reply``.
    """

    asked: Asked
    decision: Decision
    facts: Facts
    policy: str
    registry: int
    replaces: tuple[str, ...]


class EventBody(Struct, frozen=True):
    """A chip's event: the payload as sent, and the session that it ended."""

    ends: str | None
    payload: str


class RejectedBody(Struct, frozen=True):
    """A message that cannot be used: never its content, which may be anything."""

    kind: str
    problem: str
    sha256: str
    size: int


class GatewayBody(Struct, frozen=True):
    """Something that was done to the gateway itself."""

    what: Literal["clock_accepted"]


class SessionEndBody(Struct, frozen=True):
    """A session that ended without word from its chip."""

    reason: str
    session_id: str
