"""The nouns of the gate as frozen structs: what a chip says, what the registries know, what was decided.

Times named ``at``, ``now`` or ``*_at`` are integer Unix milliseconds in UTC; durations end in ``_s`` and are
integer seconds; dates are calendar days in the county's time zone (Asia/Shanghai).
"""

from datetime import date
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

MACHINE_ID = r"^[A-Z0-9][A-Z0-9-]{2,31}(?!\n)$"
CHIP_MADE_ID = r"^[A-Za-z0-9_-]{8,64}(?!\n)$"
"""Python's ``$`` also matches before a last line feed; the lookahead closes that and means nothing elsewhere."""

ChipMadeId = Annotated[str, Meta(pattern=CHIP_MADE_ID)]
Text = Annotated[str, Meta(max_length=256)]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""RFC 8785 numbers are IEEE doubles: whole numbers stay exact up to 2**53 - 1."""
Millis = Count

CredentialKind = Literal["badge", "code", "account", "session", "malformed"]
"""``account`` stands for a person who has signed in, ``session`` for the person of a running session, who is looked at
again."""
Process = Literal["fusion", "pressure", "brazing"]
Method = Literal["scan", "card", "keypad"]
"""How a chip was asked."""
AskedBy = Literal[Method, "phone"]
"""INVARIANT: no chip can say ``phone``: only the gateway itself does, for who has signed in."""
Relay = Literal["closed", "open"]
Outcome = Literal["allow", "deny"]
Resolver = Literal["operator", "enterprise", "regulator", "training_centre", "machine_vendor", "gateway_operator"]
OverrideLevel = Literal["nobody", "supervisor", "regulator"]

EnterpriseStatus = Literal["active", "production_suspended", "licence_suspended", "closed"]
OperatorStatus = Literal["active", "blocked"]
CertificateStatus = Literal["valid", "suspended", "revoked"]
Verification = Literal["verified", "unverified", "counterfeit"]
MachineStatus = Literal["active", "suspended", "decommissioned"]
PermitLevel = Literal["special", "grade_1", "grade_2"]
PermitStatus = Literal["approved", "withdrawn"]
Colour = Literal["blue", "yellow", "red", "grey"]

EventKind = Literal[
    "boot",
    "unlocked",
    "locked",
    "grant_rejected",
    "tamper",
    "arc_without_lease",
    "relay_stuck",
    "clock_reset",
    "offline_unlock",
]


# --- what a chip says -------------------------------------------------------------------------------------------


class Request(Struct, frozen=True, gc=False):
    """An operator's code was scanned at a machine. ``at`` is None where the chip has no wall clock."""

    request_id: ChipMadeId
    credential: str
    challenge: Annotated[str, Meta(min_length=1, max_length=128)]
    method: Method
    at: Millis | None = None


class Usage(Struct, frozen=True, gc=False):
    """Cumulative figures of one session; ``final`` marks the last report."""

    session_id: ChipMadeId
    seq: Count
    at: Millis | None
    relay: Relay
    enabled_s: Count
    arc_s: Count
    idle_s: Count
    arcs: Count
    energy_wh: Annotated[float, Meta(ge=0, le=1e9)]
    current_a: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    voltage_v: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    final: bool = False


class Event(Struct, frozen=True):
    """Something happened at a machine. ``seq`` never resets: a gap is lost evidence."""

    event_id: ChipMadeId
    seq: Count
    kind: EventKind
    at: Millis | None = None
    session_id: ChipMadeId | None = None
    reason: Text | None = None
    detail: dict[str, Any] = field(default_factory=dict)


class Status(Struct, frozen=True, gc=False):
    """The chip's retained presence. The last will carries ``online: false`` alone."""

    online: bool
    challenge: Annotated[str, Meta(max_length=128)] | None = None
    chip: Annotated[str, Meta(max_length=64)] | None = None
    firmware: Annotated[str, Meta(max_length=64)] | None = None
    relay: Relay | None = None
    session_id: ChipMadeId | None = None
    at: Millis | None = None


# --- what a person asks of the gateway --------------------------------------------------------------------------


class PhoneAsk(Struct, frozen=True, gc=False):
    """Somebody who has signed in wants a machine unlocked. ``account_id`` is who signed in, ``operator_id`` the welder.

    ``request_id`` is made by the gateway for one tap: asked again by the same id it is the same request.
    """

    machine_id: str
    operator_id: str
    request_id: str
    account_id: str


# --- what the registries know -----------------------------------------------------------------------------------


class Machine(Struct, frozen=True, gc=False):
    machine_id: str
    chip: str | None
    uscc: str
    process: Process
    division: str
    status: MachineStatus


class Enterprise(Struct, frozen=True, gc=False):
    uscc: str
    division: str
    status: EnterpriseStatus


class Operator(Struct, frozen=True, gc=False):
    operator_id: str
    born_on: date | None
    status: OperatorStatus


class Certificate(Struct, frozen=True, gc=False):
    """One row of a special-operation certificate: a number carries one row per item.

    ``ref`` names the row without telling its number; ``number`` is masked.
    """

    ref: str
    number: str
    item: Process
    valid_from: date | None
    valid_until: date
    review_due: date | None
    reviewed_on: date | None
    status: CertificateStatus
    verification: Verification


class Employment(Struct, frozen=True, gc=False):
    uscc: str
    since: date | None
    until: date | None


class Permit(Struct, frozen=True, gc=False):
    """A hot-work permit of a firm, for one person and machine or (None) for any. ``starts_at`` and ``ends_at`` in Unix
    milliseconds. ``guardian`` is the operator id or the name of who watches for fire."""

    permit_id: str
    uscc: str
    operator_id: str | None
    machine_id: str | None
    level: PermitLevel
    guardian: str | None
    starts_at: Millis
    ends_at: Millis
    status: PermitStatus


class WorkHours(Struct, frozen=True, gc=False):
    """Hours in which work is permitted: on ISO weekdays (Monday is 1) from ``starts`` to ``ends``, HH:MM in the
    county's time; ``ends`` at or before ``starts`` spans midnight. ``machine_id`` None: all machines of the firm."""

    uscc: str
    machine_id: str | None
    days: str
    starts: str
    ends: str


class Hold(Struct, frozen=True, gc=False):
    """A machine locked from afar or taken out of service, until somebody releases it."""

    kind: Literal["locked", "out_of_service"]
    since: Millis


class Override(Struct, frozen=True, gc=False):
    """A temporary grant for one person at one machine: ``codes`` do not refuse while it lasts.

    Two people made it; ``level`` is what the one who approved it is.
    """

    override_id: str
    codes: tuple[str, ...]
    level: Literal["supervisor", "regulator"]
    since: Millis
    until: Millis


class CodeUse(Struct, frozen=True, gc=False):
    """A genuine rolling code: ``steps_off`` from the present 30 s step; ``used`` = it was shown before."""

    step: Count
    steps_off: int
    used: bool


ControlAct = Literal[
    "lock", "out_of_service", "release", "end_session", "override_asked", "override_approved", "override_ended"
]


class Control(Struct, frozen=True, gc=False, omit_defaults=True):
    """What an authorised person ordered: about a machine, a session, or an override.

    ``by`` and ``reason`` are that person's name and words.
    """

    control_id: str
    at: Millis
    act: ControlAct
    by: str
    reason: str
    machine_id: str | None = None
    operator_id: str | None = None
    session_id: str | None = None
    override_id: str | None = None
    level: Literal["supervisor", "regulator"] | None = None
    codes: tuple[str, ...] = ()
    until: Millis | None = None
    minutes: int | None = None


class OpenSession(Struct, frozen=True, gc=False):
    """A session that has not ended; it cannot outlive ``open_until``, whatever the chip reports."""

    session_id: str
    machine_id: str
    operator_id: str | None
    open_until: Millis


class Presence(Struct, frozen=True, gc=False):
    """A lock as it was heard of last, to judge whether a grant that it has not asked for would reach it in time.

    ``clock_off_ms``: how far its clock stood from the gateway's when its status came, ahead is positive; None without
    one. ``unlocked``: it runs the machine's open session, or the grant of that session is still under way to it.
    """

    online: bool
    clock_off_ms: int | None
    unlocked: bool = False


# --- what a decision rests on, and what it is --------------------------------------------------------------------


class Asked(Struct, frozen=True, gc=False, omit_defaults=True):
    """A request as it is decided and recorded: the scanned text only as ``credential_kind`` and masked.

    ``malformed`` says what could not be read; the other fields then hold what could. By phone ``credential`` is the
    welder's masked id and ``challenge`` the one of the chip's latest status, empty where none is known.
    """

    request_id: str
    credential: str
    credential_kind: CredentialKind
    challenge: str
    method: AskedBy | None = None
    at: Millis | None = None
    malformed: str | None = None
    account_id: str | None = None


class Facts(Struct, frozen=True, gc=False, omit_defaults=True):
    """Everything a decision may look at besides the request and the policy. None or empty = not known.

    ``waited_ms`` is how long the request has waited inside the gateway by the monotonic clock.
    ``clock_behind_s`` is how far the wall clock stands behind the latest record: it has been set back.
    ``operator_id`` is whom the credential names, whether or not the operators' registry holds that person.
    ``source_ages`` tells for each source that has to be fresh how many seconds ago it last confirmed its registries.
    ``presence`` is known where somebody asked by phone.
    """

    now: Millis
    waited_ms: Count = 0
    clock_behind_s: Count = 0
    machine: Machine | None = None
    chip_reported: str | None = None
    enterprise: Enterprise | None = None
    operator_id: str | None = None
    operator: Operator | None = None
    employments: tuple[Employment, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    machine_session: OpenSession | None = None
    operator_session: OpenSession | None = None
    registry_age_s: Count | None = None
    hold: Hold | None = None
    override: Override | None = None
    code: CodeUse | None = None
    source_ages: tuple[tuple[str, Count], ...] = ()
    permits: tuple[Permit, ...] = ()
    hours: tuple[WorkHours, ...] = ()
    presence: Presence | None = None


class Decision(Struct, frozen=True, gc=False):
    """What was decided and why; ``reasons`` and ``warnings`` are codes in the order of the rule table.

    ``warnings`` failed but did not refuse (rule in ``warn``, within grace, or observe mode). ``faults`` names
    rules that raised. ``overridden`` failed and were let pass by an override. ``start_by_s`` and ``lease_s`` are 0
    on deny. ``certificate`` is the ``ref`` of the one that decided.
    """

    outcome: Outcome
    reasons: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    start_by_s: int = 0
    lease_s: int = 0
    certificate: str | None = None
    overridden: tuple[str, ...] = ()
