"""Metrics: what happened, counted by few labels, none of which names a machine or a person."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from prometheus_client import generate_latest

import gateway
from gateway.core.decide import decide
from gateway.core.model import Override
from gateway.core.policy import Policy, Rulebook
from gateway.core.session import OPEN_STATES
from gateway.observe.events import (
    DENIALS,
    TROUBLES,
    Decided,
    EvidenceLost,
    JudgedAfterwards,
    Locking,
    Observed,
    PolicyAdopted,
    Recovered,
    RegistryLoaded,
    Renewed,
    SessionEnded,
    StrayRelay,
    Trouble,
    UsageFolded,
)
from gateway.observe.metrics import Metrics
from tests.core.matrix import asked, facts, operator

DEFAULT = Rulebook(Policy())
LET_PASS = facts(
    employments=(), override=Override("override-1", ("operator_not_employed",), "supervisor", 0, facts().now + 1000_000)
)


def decided(**different: Any) -> Decided:
    world = facts(**different)
    return Decided("HJ-0001", asked(), world, decide(asked(), world, DEFAULT), None)


EVENTS: list[tuple[Observed, str, float]] = [
    (decided(), 'weldgate_decisions_total{division="330521",outcome="allow"}', 1),
    (
        decided(operator=operator(status="blocked")),
        'weldgate_reasons_total{code="operator_blocked",division="330521"}',
        1,
    ),
    (
        Decided("HJ-0001", asked(), LET_PASS, decide(asked(), LET_PASS, DEFAULT), None),
        'weldgate_overridden_total{code="operator_not_employed",division="330521"}',
        1,
    ),
    (Renewed("session-1", "HJ-0001", 900), "weldgate_renewals_total", 1),
    (
        Locking("session-1", "HJ-0001", "330521", "revoked", again=False),
        'weldgate_locks_total{again="false",reason="revoked"}',
        1,
    ),
    (
        Locking("session-1", "HJ-0001", "330521", "revoked", again=True),
        'weldgate_locks_total{again="true",reason="revoked"}',
        1,
    ),
    (EvidenceLost("HJ-0001", 7), "weldgate_lost_events_total", 7),
    (EvidenceLost("HJ-0001", None), "weldgate_lost_events_total", 1),
    (StrayRelay("HJ-0001", "session-1"), "weldgate_stray_relays_total", 1),
    (
        JudgedAfterwards("HJ-0001", facts(), decide(asked(), facts(), DEFAULT)),
        'weldgate_offline_unlocks_total{outcome="allow"}',
        1,
    ),
    (SessionEnded("session-1", "HJ-0001", "330521", "idle"), 'weldgate_sessions_ended_total{reason="idle"}', 1),
    (UsageFolded("330521", 30, 20, 10), 'weldgate_usage_seconds_total{division="330521",what="arc"}', 20),
    (UsageFolded(None, 30, 20, 10), 'weldgate_usage_seconds_total{division="unknown",what="enabled"}', 30),
    (
        decided(clock_behind_s=3600),
        'weldgate_refused_by_fault_total{code="internal_error"}',
        1,
    ),
    (Trouble("policy", "line 2"), 'weldgate_trouble_total{where="policy"}', 1),
    (Trouble("policy", "line 2"), 'weldgate_upkeep_failing{what="policy"}', 1),
    (RegistryLoaded(7, 1_781_488_800_000, 3, 0.1), "weldgate_registry_version", 7),
]


def sample(metrics: Metrics, name: str) -> float:
    lines = generate_latest(metrics.registry).decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == name)


@pytest.mark.parametrize(("event", "name", "value"), EVENTS, ids=[name for _, name, _ in EVENTS])
def test_an_event_is_counted(event: Observed, name: str, value: float) -> None:
    metrics = Metrics("1.0")
    before = sample(metrics, name)
    metrics(event)
    assert sample(metrics, name) - before == value


def test_every_event_can_be_observed() -> None:
    """Also those that have no metric."""
    metrics = Metrics("1.0")
    for event, _, _ in EVENTS:
        metrics(event)
    metrics(PolicyAdopted("two", "0" * 64))


def test_sessions_are_there_in_every_state_from_the_start() -> None:
    exported = generate_latest(Metrics("1.0").registry).decode()
    for state in OPEN_STATES:
        assert f'weldgate_sessions_open{{state="{state}"}} 0.0' in exported


def test_a_policy_that_can_be_used_again_fails_no_longer() -> None:
    metrics = Metrics("1.0")
    metrics(Trouble("policy", "line 2"))
    metrics(Recovered("registry", "version 7"))
    assert sample(metrics, 'weldgate_upkeep_failing{what="policy"}') == 1
    metrics(Recovered("policy", "0" * 64))
    assert sample(metrics, 'weldgate_upkeep_failing{what="policy"}') == 0


@pytest.mark.parametrize(
    "series",
    [
        'weldgate_refused_by_fault_total{code="overloaded"}',
        'weldgate_chip_events_total{kind="arc_without_lease"}',
        'weldgate_locks_total{again="true",reason="revoked"}',
        'weldgate_offline_unlocks_total{outcome="deny"}',
        'weldgate_trouble_total{where="broker_queue"}',
        'weldgate_rejected_total{kind="unknown"}',
        'weldgate_api_denied_total{kind="sign_in"}',
        'weldgate_registry_lookups_total{outcome="failed"}',
    ],
)
def test_a_series_is_there_before_its_first_event(series: str) -> None:
    """A counter that appears with a 1 has not increased as far as Prometheus knows."""
    assert f"{series} 0.0" in generate_latest(Metrics("1.0").registry).decode()


@pytest.mark.parametrize(("event", "known"), [("Trouble", TROUBLES), ("Denied", DENIALS)])
def test_every_place_of_a_trouble_and_kind_of_a_denial_is_known_beforehand(event: str, known: tuple[str, ...]) -> None:
    sources = [path.read_text(encoding="utf-8") for path in Path(gateway.__file__).parent.rglob("*.py")]
    named = {word for source in sources for word in re.findall(rf'\b{event}\("([a-z_-]+)"', source)}
    assert len(named) > 2
    assert named <= set(known)


def test_no_machine_session_or_person_is_ever_a_label() -> None:
    metrics = Metrics("1.0")
    for event, _, _ in EVENTS:
        metrics(event)
    exported = generate_latest(metrics.registry).decode()
    for personal in ("HJ-0001", "session-1", "P000123", "P0***23", "override-1"):
        assert personal not in exported


def test_each_kind_of_event_is_one_of_those_observed() -> None:
    assert {type(event) for event, _, _ in EVENTS} <= set(get_args(Observed))
