"""What an allow rests on: nothing outlives it, and an override changes what it names and nothing else."""

from collections.abc import Iterator
from datetime import date

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from gateway.core.decide import decide, standing
from gateway.core.lease import CLOCK_ERROR_S
from gateway.core.model import Asked, Decision, Facts, Override, Presence
from gateway.core.policy import Lease, Observe, Policy, Rulebook
from gateway.core.reasons import REASONS
from gateway.core.rules import CERTIFICATE_RULES
from gateway.core.session import CHIP_GIVES_UP_S
from tests.core.matrix import ALL_GOOD, YESTERDAY, asked, certificate, employment, facts, millis
from tests.core.permission import moments_that_matter, outside_hours, permit_expired
from tests.core.worlds import policies, requests, worlds

DEFAULT = Rulebook(Policy())
SHANGHAI_MS = 8 * 3_600_000
DAY_S = 86_400


def _end_of(day: date) -> int:
    """The midnight in the county at which ``day`` ends, Unix milliseconds: by arithmetic, without a time zone table."""
    return (day.toordinal() + 1 - date(1970, 1, 1).toordinal()) * DAY_S * 1000 - SHANGHAI_MS


# --- INVARIANT: start-by plus lease end no later than anything that the allow rests on ---------------------------


@settings(max_examples=200)
@given(requests, worlds(), policies)
def test_invariant_start_by_and_lease_end_before_everything_that_the_allow_rests_on(
    request: Asked, world: Facts, policy: Policy
) -> None:
    rulebook = Rulebook(policy)
    decision = decide(request, world, rulebook)
    holds = rulebook.holds(*((world.machine.division, world.machine.uscc) if world.machine else (None, None)))
    assert 0 <= decision.start_by_s <= policy.lease.start_by_s <= 30
    assert 0 <= decision.lease_s <= policy.lease.lease_s
    if decision.outcome == "deny" or holds.observe:
        return
    over = world.now + (_starts_within_s(request, decision) + decision.lease_s) * 1000
    if decision.overridden:
        assert world.override is not None
        assert over <= world.override.until
    for code, end in _ends(decision, world, holds.grace):
        if holds.modes[code] == "enforce":
            assert over <= max(end, _let_pass_until(code, world)), code
    for code, forbids in (("permit_expired", permit_expired), ("outside_permitted_hours", outside_hours)):
        if holds.modes[code] == "enforce":
            first = max(world.now, _let_pass_until(code, world))
            assert not any(forbids(world, policy, at) for at in moments_that_matter(world, first, over)), code


def _starts_within_s(request: Asked, decision: Decision) -> int:
    """A session's lease is counted from now on: when the chip takes its renewal is told by `core.lease`."""
    if request.credential_kind == "session":
        return 0
    if request.method == "phone":
        return decision.start_by_s + CLOCK_ERROR_S
    return decision.start_by_s if request.at is not None else CHIP_GIVES_UP_S


def _let_pass_until(code: str, world: Facts) -> int:
    override = world.override
    if override is None or code not in override.codes or not override.since <= world.now < override.until:
        return 0
    return override.until if REASONS[code].override in ("supervisor", override.level) else 0


def _ends(decision: Decision, world: Facts, grace: dict[str, int]) -> Iterator[tuple[str, int]]:
    """When each thing that the allow rests on ends."""
    for one in world.certificates:
        if one.ref == decision.certificate:
            yield "certificate_expired", _end_of(one.valid_until) + grace["certificate_expired"] * DAY_S * 1000
            if one.review_due is not None and one.reviewed_on is None:
                due = _end_of(one.review_due)
                yield "certificate_review_overdue", due + grace["certificate_review_overdue"] * DAY_S * 1000
    if world.employments and all(work.until is not None for work in world.employments):
        yield "employment_ended", max(_end_of(work.until or date.max) for work in world.employments)


@pytest.mark.parametrize(
    ("left_s", "start_by_s", "lease_s"),
    [(7200, 30, 900), (930, 30, 900), (929, 30, 899), (60, 30, 30), (59, 29, 30), (2, 1, 1)],
)
def test_invariant_a_grant_shortly_before_the_end_shrinks_to_fit(left_s: int, start_by_s: int, lease_s: int) -> None:
    now = _end_of(ALL_GOOD.now.date()) - left_s * 1000
    ending = facts(now=now, certificates=(certificate(valid_until=ALL_GOOD.now.date()),))
    decision = decide(asked(at=now), ending, DEFAULT)
    assert (decision.start_by_s, decision.lease_s) == (start_by_s, lease_s)


@pytest.mark.parametrize(
    ("left_s", "start_by_s", "lease_s"), [(7200, 30, 900), (990, 30, 900), (989, 30, 899), (91, 30, 1)]
)
def test_invariant_by_phone_a_grant_leaves_time_for_a_clock_that_is_slow(
    left_s: int, start_by_s: int, lease_s: int
) -> None:
    now = _end_of(ALL_GOOD.now.date()) - left_s * 1000
    ending = facts(now=now, certificates=(certificate(valid_until=ALL_GOOD.now.date()),), presence=Presence(True, 0))
    decision = decide(asked(method="phone", credential_kind="account", at=None), ending, DEFAULT)
    assert (decision.start_by_s, decision.lease_s) == (start_by_s, lease_s)


def test_invariant_an_ended_employment_bounds_nothing_where_a_running_one_goes_on() -> None:
    now = _end_of(ALL_GOOD.now.date()) - 60_000
    works = (employment(until=YESTERDAY), employment(since=YESTERDAY))
    assert decide(asked(at=now), facts(now=now, employments=works), DEFAULT).lease_s == 900


def test_a_certificate_that_never_ends_overflows_no_calendar() -> None:
    forever = facts(certificates=(certificate(valid_until=date.max, review_due=date.max),))
    generous = Rulebook(Policy(grace={"certificate_expired": 366, "certificate_review_overdue": 366}))
    assert decide(asked(), forever, generous).outcome == "allow"


def test_the_longest_lease_of_the_policy_is_granted_where_nothing_ends_before() -> None:
    month = Rulebook(Policy(lease=Lease(lease_s=30 * DAY_S)))
    assert decide(asked(at=millis(ALL_GOOD.now)), facts(), month).lease_s == 30 * DAY_S


@given(requests, worlds(), policies)
def test_invariant_no_session_s_lease_ends_later_than_its_ground(request: Asked, world: Facts, policy: Policy) -> None:
    again = replace(request, credential_kind="session", at=None)
    decision, stands_until = standing(again, world, Rulebook(policy))
    if decision.outcome == "allow" and stands_until is not None:
        assert world.now + decision.lease_s * 1000 <= stands_until


@pytest.mark.parametrize(
    ("policy", "stands_until"),
    [
        (Policy(), _end_of(date(2026, 6, 15))),
        (Policy(grace={"certificate_expired": 2}), _end_of(date(2026, 6, 17))),
        (Policy(rules={"certificate_expired": "warn"}), _end_of(date(2026, 12, 31))),
        (Policy(observe=Observe(True)), None),
    ],
    ids=["to the end of its last day", "and the days of grace", "only warned about", "only observed"],
)
def test_an_allow_stands_until_the_first_thing_ends_that_refuses_afterwards(
    policy: Policy, stands_until: int | None
) -> None:
    world = facts(certificates=(certificate(valid_until=date(2026, 6, 15), review_due=date(2026, 12, 31)),))
    assert standing(asked(), world, Rulebook(policy))[1] == stands_until


def test_a_refusal_stands_until_no_moment() -> None:
    assert standing(asked(), facts(certificates=()), DEFAULT)[1] is None


# --- INVARIANT: an override lets pass what it names and who approved it may, and every other check goes on ----------


@settings(max_examples=200)
@given(requests, worlds(), policies)
def test_invariant_an_override_takes_away_no_other_refusal(request: Asked, world: Facts, policy: Policy) -> None:
    rulebook = Rulebook(policy)
    without, with_it = decide(request, replace(world, override=None), rulebook), decide(request, world, rulebook)
    over_now = {code for code in REASONS if _let_pass_until(code, world)}
    assert set(with_it.overridden) <= over_now
    if not over_now:
        assert with_it == without
    about_certificates = {rule.code for rule in CERTIFICATE_RULES}
    refused = set(without.reasons) - about_certificates - over_now
    assert refused <= {*with_it.reasons, *with_it.warnings} | {"registry_stale"}


@given(requests, worlds(), policies)
def test_invariant_without_an_override_nothing_is_let_pass(request: Asked, world: Facts, policy: Policy) -> None:
    assert decide(request, replace(world, override=None), Rulebook(policy)).overridden == ()


def test_where_one_certificate_needs_the_override_and_another_does_not_the_other_carries_the_allow() -> None:
    now = millis(ALL_GOOD.now)
    override = Override("override-1", ("certificate_unverified",), "regulator", now, now + 60_000)
    sound = certificate(ref="sound", valid_until=date(2027, 12, 31))
    longer = certificate(ref="longer", valid_until=date(2028, 12, 31), verification="unverified")
    for held in ((sound, longer), (longer, sound)):
        decision = decide(asked(), facts(certificates=held, override=override), DEFAULT)
        assert (decision.certificate, decision.overridden, decision.lease_s) == ("sound", (), 900)
