"""What a sender pushes about the registries, one struct per event, and the order in which its words count. Pure.

Every event changes a *register*: what a certificate holds, its status, whether a person is barred, a firm stopped. The
latest word about a register counts, whatever order deliveries arrive in. Employments are told as a story: who was hired
from which day and left on which.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any, Literal

from msgspec import Struct

from gateway.core.model import CertificateStatus, EnterpriseStatus, Millis, OperatorStatus, Process
from gateway.store.entries import CertificateEntry, OperatorEntry
from gateway.store.vault import Vault

EventKind = Literal[
    "issue",
    "renew",
    "suspend",
    "reinstate",
    "revoke",
    "block",
    "unblock",
    "hire",
    "leave",
    "stop_production",
    "resume",
]
RESTRICTING: frozenset[EventKind] = frozenset({"suspend", "revoke", "block", "leave", "stop_production"})
"""Kinds that take a right away."""
GIVING: frozenset[EventKind] = frozenset({"issue", "renew"})
"""Kinds that bring a whole certificate."""

CERTIFICATE_STATUS: dict[EventKind, CertificateStatus] = {
    "suspend": "suspended",
    "reinstate": "valid",
    "revoke": "revoked",
}
OPERATOR_STATUS: dict[EventKind, OperatorStatus] = {"block": "blocked", "unblock": "active"}
ENTERPRISE_STATUS: dict[EventKind, tuple[EnterpriseStatus, EnterpriseStatus]] = {
    "stop_production": ("active", "production_suspended"),
    "resume": ("production_suspended", "active"),
}
"""From which status to which: a firm that is closed or without licence stays so, whoever stops or resumes it."""

EventOutcome = Literal["applied", "unchanged", "outdated", "unknown", "invalid"]
OUTCOMES: dict[EventOutcome, str] = {
    "applied": "The registries changed; `version` is the first that holds it.",
    "unchanged": "It was so already, what is on file goes further (a closed firm stays closed), or another source's "
    "word stands above it.",
    "outdated": "A later word about the same is known; nothing changed.",
    "unknown": "Nobody has told the registries of this certificate, person, employment or firm. It counts once this "
    "sender tells of it; where somebody else does, send it again with a new `event_id`.",
    "invalid": "It cannot be read; `problem` says why. It is not kept: correct it and send it again.",
}


class Outcome(Struct, frozen=True):
    """What became of one event, in the order of the delivery. ``repeated``: it was taken before, with this outcome."""

    event_id: str | None
    outcome: EventOutcome
    repeated: bool = False
    version: int | None = None
    problem: str | None = None


# --- what is said -----------------------------------------------------------------------------------------------


class Certified(Struct, frozen=True):
    """A whole certificate, and its holder where the sender names one."""

    certificate: CertificateEntry
    operator: OperatorEntry | None = None

    def subject(self, vault: Vault) -> str:
        return certificate_subject(self.certificate.number, vault)

    @property
    def detail(self) -> str:
        return self.certificate.item


class Restated(Struct, frozen=True):
    """A certificate's status; all its items where none is named."""

    number: str
    item: Process | None = None

    def subject(self, vault: Vault) -> str:
        return certificate_subject(self.number, vault)

    @property
    def detail(self) -> str:
        return self.item or ""


class Barred(Struct, frozen=True):
    """Whether a person may work at all."""

    operator_id: str

    def subject(self, _: Vault) -> str:
        return operator_subject(self.operator_id)

    @property
    def detail(self) -> str:
        return ""


class Employed(Struct, frozen=True):
    """The first day of an employment, or the last."""

    operator_id: str
    uscc: str
    day: date

    def subject(self, _: Vault) -> str:
        return employment_subject(self.operator_id, self.uscc)

    @property
    def detail(self) -> str:
        return self.day.isoformat()


class Halted(Struct, frozen=True):
    """Whether a firm may produce."""

    uscc: str

    def subject(self, _: Vault) -> str:
        return enterprise_subject(self.uscc)

    @property
    def detail(self) -> str:
        return ""


Said = Certified | Restated | Barred | Employed | Halted


class Event(Struct, frozen=True):
    """One event; ``at`` by the sender's clock. ``listed`` is its id as a record may show it."""

    event_id: str
    at: Millis
    kind: EventKind
    said: Said
    listed: str


def certificate_subject(number: str, vault: Vault) -> str:
    """INVARIANT: the number itself stands nowhere in clear."""
    return _certificate_subject(vault.index(number))


def _certificate_subject(number_index: str) -> str:
    return f"certificate {number_index}"


def operator_subject(operator_id: str) -> str:
    return f"operator {operator_id}"


def employment_subject(operator_id: str, uscc: str) -> str:
    return f"employment {operator_id} {uscc}"


def enterprise_subject(uscc: str) -> str:
    return f"enterprise {uscc}"


_OF_ROWS: dict[str, Callable[..., str]] = {
    "enterprises": lambda uscc: enterprise_subject(uscc),
    "operators": lambda operator_id: operator_subject(operator_id),
    "certificates": lambda number_index, _item: _certificate_subject(number_index),
    "employments": lambda operator_id, uscc, _since: employment_subject(operator_id, uscc),
}


def subject_of_row(table: str, key: Sequence[Any]) -> str | None:
    """What words about a row of this key are about; None where nobody pushes any."""
    subject = _OF_ROWS.get(table)
    return subject(*key) if subject else None


# --- the order of words -----------------------------------------------------------------------------------------


class Word(Struct):
    """An event as it is kept: ``detail`` is the certificate's item or the day. ``outcome`` is "" before it has one."""

    event_id: str
    at: Millis
    kind: EventKind
    detail: str
    outcome: str = ""

    @property
    def order(self) -> tuple[Millis, bool, str]:
        """INVARIANT: of two words of the same moment the one that takes a right away counts, whatever came first."""
        return self.at, self.kind in RESTRICTING, self.event_id

    @property
    def pending(self) -> bool:
        """Whether it waits for what it is about."""
        return self.outcome == "unknown"


def latest(words: Iterable[Word]) -> Word | None:
    return max(words, key=lambda word: word.order, default=None)


def employments(words: Iterable[Word]) -> dict[date, date | None]:
    """The story of one person at one firm: the last day of each employment by its first day.

    Leaving ends whatever has begun by then and goes on.
    """
    told: dict[date, date | None] = {}
    for word in sorted(words, key=lambda word: word.order):
        day = date.fromisoformat(word.detail)
        if word.kind == "hire":
            told[day] = None
        else:
            told |= dict.fromkeys(begun_and_open(told, day), day)
    return told


def begun_and_open(spans: dict[date, date | None], day: date) -> list[date]:
    """First days of the employments that have begun by ``day`` and go on after it."""
    return [since for since, until in spans.items() if since <= day and (until is None or until > day)]
