"""The messages that the gateway sends, as structs in the field order of their canonical bytes."""

from typing import Literal

from msgspec import Struct

from gateway.core.model import Millis, Outcome, Resolver


class WireReason(Struct, frozen=True):
    """One reason on the wire; the texts are Chinese first, English after it."""

    code: str
    message: str
    remedy: str
    resolver: Resolver


class DecisionMessage(Struct, frozen=True):
    """Gateway to chip. ``reasons`` is empty on allow; ``grant`` and ``session_id`` are None on deny."""

    at: Millis
    grant: str | None
    outcome: Outcome
    reasons: tuple[WireReason, ...]
    request_id: str
    session_id: str | None


class CommandMessage(Struct, frozen=True):
    """Gateway to chip: a signed command."""

    command: str
    command_id: str


class FeedDecision(Struct, frozen=True):
    """A decision as others may see it: no credential, no grant, the operator masked."""

    at: Millis
    division: str
    enterprise: str | None
    machine_id: str
    operator: str | None
    outcome: Outcome
    reasons: tuple[str, ...]
    request_id: str
    warnings: tuple[str, ...]


class FeedUsage(Struct, frozen=True):
    """Usage of one session so far; ``final`` once, at its end."""

    arc_s: int
    arcs: int
    at: Millis
    division: str
    enabled_s: int
    energy_wh: float
    final: bool
    idle_s: int
    machine_id: str
    session_id: str


AlertKind = Literal[
    "tamper",
    "arc_without_lease",
    "relay_stuck",
    "lost_evidence",
    "offline_refused",
    "lock_overdue",
    "relay_closed_without_session",
]


class FeedAlert(Struct, frozen=True):
    """Something that a person should look at. ``detail`` names codes, sequence numbers or seconds, and nobody."""

    at: Millis
    detail: str
    division: str
    kind: AlertKind
    machine_id: str
    session_id: str | None


class GatewayStatus(Struct, frozen=True):
    """A gateway's retained presence; the last will carries ``online: false``."""

    at: Millis
    online: bool
    registry_version: int
    version: str
