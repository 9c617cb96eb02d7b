"""What can be observed, as frozen events, and the hub that hands them to observers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from gateway.core.model import Asked, Decision, Facts, Usage


@dataclass(frozen=True, slots=True)
class Decided:
    """A decision was committed, acknowledged and handed to the broker."""

    machine_id: str
    asked: Asked
    facts: Facts
    decision: Decision
    session_id: str | None


@dataclass(frozen=True, slots=True)
class Repeated:
    """A message came again: a request is answered with the bytes of its first answer, an event changes nothing."""

    machine_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class Reported:
    """A chip's event was recorded."""

    machine_id: str
    kind: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """A message was recorded as unusable and dropped. ``kind`` is the topic's last part, or ``unknown``."""

    kind: str
    problem: str


@dataclass(frozen=True, slots=True)
class UsageTaken:
    """A session's cumulative usage was stored."""

    machine_id: str
    division: str | None
    usage: Usage


@dataclass(frozen=True, slots=True)
class UsageFolded:
    """How much a session's usage has grown since it was last folded, seconds."""

    division: str | None
    enabled_s: int
    arc_s: int
    idle_s: int


@dataclass(frozen=True, slots=True)
class SessionEnded:
    session_id: str
    machine_id: str
    division: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """A renewal of a session's lease was sent."""

    session_id: str
    machine_id: str
    lease_s: int


@dataclass(frozen=True, slots=True)
class Locking:
    """A lock was sent to a chip, or the same one ``again``."""

    session_id: str
    machine_id: str
    division: str | None
    reason: str
    again: bool


@dataclass(frozen=True, slots=True)
class EvidenceLost:
    """A chip's event numbers have a gap: ``events`` are missing, None where nobody can say how many."""

    machine_id: str
    events: int | None


@dataclass(frozen=True, slots=True)
class JudgedAfterwards:
    """An unlock without a connection was decided after the fact."""

    machine_id: str
    facts: Facts
    decision: Decision


@dataclass(frozen=True, slots=True)
class StrayRelay:
    """A chip reports its relay closed for a session that is not open; it was sent a lock."""

    machine_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Answers were handed to the broker; ``seconds`` from the arrival of each request."""

    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class NotAnswered:
    """Whoever asked by phone got no answer. ``why``: stopping, busy, late or database."""

    machine_id: str
    request_id: str
    why: str


@dataclass(frozen=True, slots=True)
class Committed:
    """One transaction is durable. ``seconds`` from handing it to the writer."""

    messages: int
    records: int
    seconds: float
    head_seq: int


TROUBLES = (
    *("broker", "broker_queue", "database", "registry", "policy", "clock", "look-up", "figures"),
    *("api", "site", "oidc", "shutdown"),
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something outside failed. ``where`` is one of TROUBLES, or a source's name."""

    where: str
    problem: str


@dataclass(frozen=True, slots=True)
class Recovered:
    where: str
    detail: str


DENIALS = ("unauthorized", "forbidden", "origin", "sign_in")


@dataclass(frozen=True, slots=True)
class Denied:
    """A caller of the HTTP API or of the pages was not let in. ``kind`` is one of DENIALS; ``limited``: this address
    has failed so often that it was only told to wait."""

    kind: str
    address: str
    limited: bool


@dataclass(frozen=True, slots=True)
class PolicyAdopted:
    """Decisions go by another policy from now on."""

    version: str
    hash: str


@dataclass(frozen=True, slots=True)
class RegistryLoaded:
    """The registry in memory stands at ``version``; ``rows`` were taken over in ``seconds``."""

    version: int
    confirmed_at: int
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FiguresFolded:
    """Records and sessions were counted for pages; ``behind`` records are not yet. The write lock was held for
    ``held_s``; None where there was nothing to write."""

    records: int
    sessions: int
    behind: int
    held_s: float | None


@dataclass(frozen=True, slots=True)
class SourceSynced:
    """One pass of a remote registry is over; ``rows`` were read in ``seconds``, with what was wrong told apart."""

    source: str
    rows: int
    seconds: float


LookUpOutcome = Literal["found", "absent", "failed", "left_alone"]


@dataclass(frozen=True, slots=True)
class LookedUp:
    """A registry was asked about somebody who stood at a machine; ``left_alone``: too many were, so nobody asked."""

    outcome: LookUpOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class PageAnswered:
    """A page was shown, or a form dealt with, for somebody of a role ("visitor": not signed in); HTTP status."""

    role: str
    status: int
    seconds: float


Observed = (
    Decided
    | Repeated
    | Reported
    | Rejected
    | UsageTaken
    | UsageFolded
    | SessionEnded
    | Renewed
    | Locking
    | EvidenceLost
    | JudgedAfterwards
    | StrayRelay
    | Answered
    | NotAnswered
    | Committed
    | Trouble
    | Recovered
    | RegistryLoaded
    | PolicyAdopted
    | FiguresFolded
    | SourceSynced
    | LookedUp
    | PageAnswered
    | Denied
)
Observer = Callable[[Observed], None]


class Hub:
    """Hands each event to every observer. INVARIANT: a failing observer changes no outcome; it is counted."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []
        self.failures = 0

    def add(self, observer: Observer) -> None:
        self._observers.append(observer)

    def __call__(self, event: Observed) -> None:
        for observer in self._observers:
            try:
                observer(event)
            except Exception:  # noqa: BLE001  (whatever an observer does wrong, the gate goes on)
                self.failures += 1
