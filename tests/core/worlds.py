"""Hypothesis strategies for requests, facts and policies: near the all-good case, and far from it."""

from datetime import date, timedelta
from typing import Any, get_args

from hypothesis import strategies as st

from gateway.core.model import (
    Asked,
    Certificate,
    CertificateStatus,
    CodeUse,
    Colour,
    Employment,
    Enterprise,
    EnterpriseStatus,
    Facts,
    Hold,
    Machine,
    MachineStatus,
    OpenSession,
    Operator,
    OperatorStatus,
    Override,
    Permit,
    PermitLevel,
    PermitStatus,
    Presence,
    Process,
    Verification,
    WorkHours,
)
from gateway.core.policy import (
    GRACE_CODES,
    MODES,
    Age,
    Colours,
    Credentials,
    Hours,
    Lease,
    Observe,
    Offline,
    Permits,
    Policy,
    Registry,
    Retention,
    Scope,
)
from gateway.core.reasons import FIXED_CODES, REASONS
from tests.core.matrix import (
    ALL_GOOD,
    asked,
    certificate,
    employment,
    enterprise,
    facts,
    machine,
    millis,
    operator,
    permit,
)

NOW = millis(ALL_GOOD.now)
TODAY = ALL_GOOD.now.date()
MINUTE_MS = 60_000

near_days = st.integers(-800, 800).map(lambda n: TODAY + timedelta(days=n))
days = st.one_of(
    near_days, near_days, st.integers(-2, 2).map(lambda n: TODAY + timedelta(days=n)), st.dates(), st.just(date.max)
)
moments = st.one_of(
    st.just(NOW),
    st.integers(NOW - 2 * 86_400_000, NOW + 2 * 86_400_000),
    st.integers(-5, 5).map(lambda n: NOW + 14 * 3_600_000 + n),
)
"""The third kind lies around midnight in the county."""
whole_minutes = st.integers(-3000, 3000).map(lambda n: NOW + n * MINUTE_MS)
ids = st.text("ABCDEFGHJK0123456789-", min_size=3, max_size=12)


def _one_of(values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(get_args(values))


def mostly(good: Any, otherwise: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The all-good value in about two cases of three."""
    return st.one_of(st.just(good), st.just(good), otherwise)


certificates: st.SearchStrategy[Certificate] = st.builds(
    certificate,
    item=mostly("fusion", _one_of(Process)),
    valid_from=mostly(date(2023, 1, 1), st.none() | days),
    valid_until=mostly(date(2028, 12, 31), days),
    review_due=mostly(date(2026, 12, 31), st.none() | days),
    reviewed_on=mostly(None, days),
    status=mostly("valid", _one_of(CertificateStatus)),
    verification=mostly("verified", _one_of(Verification)),
)
several_certificates = st.lists(certificates, max_size=4).map(
    lambda found: tuple(certificate_named(one, f"ref-{number}") for number, one in enumerate(found))
)


def certificate_named(one: Certificate, ref: str) -> Certificate:
    fields = {name: getattr(one, name) for name in one.__struct_fields__}
    return Certificate(**fields | {"ref": ref})


employments: st.SearchStrategy[tuple[Employment, ...]] = mostly(
    (employment(),),
    st.lists(st.builds(Employment, st.just(employment().uscc), st.none() | days, st.none() | days), max_size=3).map(
        tuple
    ),
)
machines: st.SearchStrategy[Machine | None] = mostly(
    machine(),
    st.none()
    | st.builds(
        machine,
        process=_one_of(Process),
        status=_one_of(MachineStatus),
        chip=st.none() | ids,
        division=st.sampled_from(["330521", "330522"]),
    ),
)
enterprises: st.SearchStrategy[Enterprise | None] = mostly(
    enterprise(), st.none() | st.builds(enterprise, status=_one_of(EnterpriseStatus))
)
operators: st.SearchStrategy[Operator | None] = mostly(
    operator(), st.none() | st.builds(operator, status=_one_of(OperatorStatus), born_on=st.none() | days)
)
sessions: st.SearchStrategy[OpenSession | None] = mostly(
    None,
    st.builds(
        OpenSession,
        ids,
        st.sampled_from(["HJ-0001", "HJ-0002"]),
        st.sampled_from([None, operator().operator_id, "P000999"]),
        moments,
    ),
)
holds: st.SearchStrategy[Hold | None] = mostly(
    None, st.none() | st.builds(Hold, st.sampled_from(["locked", "out_of_service"]), moments)
)
overrides: st.SearchStrategy[Override | None] = mostly(
    None,
    st.builds(
        Override,
        ids,
        st.lists(st.sampled_from(sorted(REASONS)), unique=True, max_size=8).map(tuple),
        st.sampled_from(["supervisor", "regulator"]),
        whole_minutes,
        whole_minutes,
    ),
)
hours_of_permits = st.integers(-80, 30).map(lambda n: NOW + n * 60 * MINUTE_MS)
permits: st.SearchStrategy[tuple[Permit, ...]] = mostly(
    (permit(),),
    st.lists(
        st.builds(
            permit,
            operator_id=mostly(operator().operator_id, st.sampled_from([None, "P000999"])),
            machine_id=mostly(machine().machine_id, st.sampled_from([None, "HJ-0002"])),
            uscc=mostly(machine().uscc, st.just("91330521MA00000025")),
            level=_one_of(PermitLevel),
            guardian=mostly("P000456", st.sampled_from([None, operator().operator_id])),
            starts_at=hours_of_permits,
            ends_at=hours_of_permits | whole_minutes,
            status=mostly("approved", _one_of(PermitStatus)),
        ),
        max_size=4,
    ).map(tuple),
)
clocks = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.sampled_from([0, 0, 30, 59]))
working_hours: st.SearchStrategy[tuple[WorkHours, ...]] = mostly(
    (),
    st.lists(
        st.builds(
            WorkHours,
            mostly(machine().uscc, st.just("91330521MA00000025")),
            st.sampled_from([None, None, machine().machine_id, "HJ-0002"]),
            st.sets(st.sampled_from("1234567"), min_size=1).map(lambda held: "".join(sorted(held))),
            clocks,
            clocks | st.just("24:00"),
        ),
        max_size=4,
    ).map(tuple),
)
source_ages: st.SearchStrategy[tuple[tuple[str, int], ...]] = mostly(
    (),
    st.dictionaries(st.sampled_from(["files", "county"]), st.integers(0, 30 * 86_400)).map(lambda d: tuple(d.items())),
)
codes: st.SearchStrategy[CodeUse | None] = mostly(
    None, st.builds(CodeUse, st.integers(0, 10**9), st.integers(-3, 3), st.booleans())
)
presences: st.SearchStrategy[Presence | None] = mostly(
    Presence(True, 0),
    st.none() | st.builds(Presence, st.booleans(), st.none() | st.integers(-200_000, 200_000), st.booleans()),
)
requests: st.SearchStrategy[Asked] = st.builds(
    asked,
    at=mostly(None, moments),
    credential_kind=mostly("badge", st.sampled_from(["code", "account", "session", "malformed"])),
    malformed=mostly(None, st.just("Expected `str`, got `int` - at `$.challenge`")),
    method=st.sampled_from([None, "scan", "card", "keypad", "phone"]),
    challenge=mostly("challenge-1", st.just("")),
)


def worlds(
    now: st.SearchStrategy[int] = moments, override: st.SearchStrategy[Override | None] = overrides
) -> st.SearchStrategy[Facts]:
    """Facts in every combination."""
    return st.builds(
        facts,
        now=now,
        presence=presences,
        waited_ms=mostly(0, st.integers(0, 60_000)),
        clock_behind_s=mostly(0, st.integers(0, 100)),
        machine=machines,
        chip_reported=mostly(ALL_GOOD.chip_reported, st.none() | ids),
        enterprise=enterprises,
        operator_id=mostly(operator().operator_id, st.none()),
        operator=operators,
        employments=employments,
        certificates=several_certificates,
        machine_session=sessions,
        operator_session=sessions,
        registry_age_s=mostly(60, st.none() | st.integers(0, 30 * 86_400)),
        hold=holds,
        override=override,
        code=codes,
        source_ages=source_ages,
        permits=permits,
        hours=working_hours,
    )


_clocks = st.builds(lambda h, m: f"{h:02}:{m:02}", st.integers(0, 23), st.integers(0, 59)) | st.just("24:00")
_codes = sorted(set(REASONS) - FIXED_CODES)
_rules = st.dictionaries(st.sampled_from(_codes), st.sampled_from(MODES), max_size=8)
_grace = st.dictionaries(st.sampled_from(GRACE_CODES), st.integers(0, 366), max_size=2)
_observes = mostly(False, st.just(True)).map(Observe)
_scopes = st.builds(Scope, rules=_rules, grace=_grace, observe=st.none() | _observes)

policies: st.SearchStrategy[Policy] = st.builds(
    Policy,
    version=st.text(max_size=8),
    rules=_rules,
    grace=_grace,
    lease=st.builds(Lease, lease_s=st.integers(1, 30 * 86_400) | st.integers(1, 1800), start_by_s=st.integers(1, 30)),
    credentials=mostly(Credentials(), st.sampled_from([Credentials(()), Credentials(("code",))])),
    offline=mostly(Offline(), st.builds(Offline, st.integers(0, 604_800), st.integers(1, 40), st.integers(1, 366))),
    registry=mostly(
        Registry(), st.builds(Registry, st.integers(1, 30 * 86_400), st.just({"county": 3600}) | st.just({}))
    ),
    hours=st.builds(Hours, _clocks, _clocks),
    permits=mostly(
        Permits(), st.builds(Permits, st.integers(1, 24), st.integers(1, 24), st.integers(1, 100), st.booleans())
    ),
    age=st.builds(Age, st.integers(14, 30), st.integers(50, 100)),
    colours=mostly(Colours(), st.builds(Colours, st.integers(0, 366), *4 * [_one_of(Colour)])),
    observe=_observes,
    retention=mostly(Retention(), st.builds(Retention, st.integers(0, 36_525), ledger_days=st.integers(0, 36_525))),
    division=st.dictionaries(st.just("330521"), _scopes, max_size=1),
    enterprise=st.dictionaries(st.just(enterprise().uscc), _scopes, max_size=1),
)
