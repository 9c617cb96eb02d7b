"""What one message leads to, and the bodies of the ledger's records."""

from typing import Literal

from msgspec import Struct

from gateway.core.model import Asked, Decision, Facts
from gateway.core.session import DrainReason
from gateway.observe.events import Observed
from gateway.store.ledger import Draft, Key
from gateway.store.prepared import Row
from gateway.wire.inbound import Inbound, Outbound
from gateway.wire.tokens import Command


class Entry(Struct):
    """To be made durable, then acknowledged, then answered. ``key`` names what may be on record only once.

    A repeated message has a key and nothing to record; its answer is the one on record. ``command`` goes to the chip,
    ``feed`` to everybody else; the answer is of no use after ``expires_s``. ``awaits`` names a person about whom a
    source is to be asked first: nothing is recorded, and the message is handled again afterwards.
    """

    inbound: Inbound | None = None
    key: Key | None = None
    draft: Draft | None = None
    feed: Outbound | None = None
    expires_s: int | None = None
    command: Command | None = None
    usage: Row | None = None
    chip: Row | None = None
    seq: Row | None = None
    lost: Row | None = None
    offline_list: Row | None = None
    awaits: str | None = None
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


class EventBody(Struct, frozen=True, omit_defaults=True):
    """A chip's event: the payload as sent, and the session that it ended.

    ``lost``: the numbers missing before it, the second None where they began anew. ``judged``: an unlock without a
    connection, decided after the fact.
    """

    ends: str | None
    payload: str
    judged: DecisionBody | None = None
    lost: tuple[int, int | None] | None = None


class RejectedBody(Struct, frozen=True):
    """A message that cannot be used: never its content, which may be anything."""

    kind: str
    problem: str
    sha256: str
    size: int


class GatewayBody(Struct, frozen=True):
    """Something that was done to the gateway itself."""

    what: Literal["clock_accepted"]


class CommandBody(Struct, frozen=True, omit_defaults=True):
    """A lock that was sent, for what reason; ``review`` is the decision that the session may not go on."""

    command: Command
    reason: DrainReason
    review: DecisionBody | None = None


class SessionEndBody(Struct, frozen=True):
    """A session that ended without word from its chip."""

    reason: str
    session_id: str
