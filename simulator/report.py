"""What a run found: as JSON for programs, as JUnit XML for CI, as a few lines for a person."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import msgspec
from msgspec import Struct, field

JUNIT_FAILURES_SHOWN = 20
"""Mismatches quoted in one testcase; the JSON report holds them all."""


class Mismatch(Struct, frozen=True):
    """One thing that was not as the protocol or the registry files say."""

    check: str
    request_id: str
    machine_id: str
    operator: str
    expected: str
    got: str


class Check(Struct):
    """One property with how often it held and where it did not."""

    name: str
    passed: int = 0
    failed: list[Mismatch] = field(default_factory=list)


class Latency(Struct, frozen=True):
    """Publication of a request to arrival of its decision, milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float


class Report(Struct, kw_only=True):
    """One run. ``undetermined`` decisions depend on which of two messages the gateway saw first; both are right."""

    scenario: str
    seed: int
    machines: int
    duration_s: float
    requests: int = 0
    decisions: int = 0
    allowed: int = 0
    denied: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)
    undetermined: int = 0
    unanswered: int = 0
    repeats: int = 0
    foreign: int = 0
    sessions: int = 0
    grants_rejected: int = 0
    commands: int = 0
    events: int = 0
    usage: int = 0
    faults_injected: dict[str, int] = field(default_factory=dict)
    latency_ms: Latency = Latency(0, 0, 0, 0)
    mismatches: int = 0
    mismatch_details: list[Mismatch] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


def latency(values_ms: list[float]) -> Latency:
    """Percentiles by nearest rank.

    >>> latency([1.0, 2.0, 3.0, 4.0]).p50
    2.0
    """
    if not values_ms:
        return Latency(0, 0, 0, 0)
    ordered = sorted(values_ms)

    def rank(percent: int) -> float:
        return round(ordered[max(0, -(-len(ordered) * percent // 100) - 1)], 3)

    return Latency(rank(50), rank(95), rank(99), round(ordered[-1], 3))


def to_json(report: Report) -> bytes:
    """The report as readable JSON; the checks give their counts alone, their failures stand in ``mismatch_details``."""
    plain: dict[str, Any] = msgspec.to_builtins(report)
    plain["checks"] = [{"name": c.name, "passed": c.passed, "failed": len(c.failed)} for c in report.checks]
    return msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n"


def to_junit(report: Report) -> bytes:
    """One testcase per property and kind of request."""
    failed = sum(bool(check.failed) for check in report.checks)
    counts = {"tests": str(len(report.checks)), "failures": str(failed), "errors": "0", "skipped": "0"}
    time_s = {"time": f"{report.duration_s:.3f}"}
    suites = ET.Element("testsuites", {"name": "weldsim", **counts, **time_s})
    suite = ET.SubElement(suites, "testsuite", {"name": f"weldsim.{report.scenario}", **counts, **time_s})
    properties = ET.SubElement(suite, "properties")
    for name in ("seed", "machines", "requests", "decisions", "undetermined"):
        ET.SubElement(properties, "property", {"name": name, "value": str(getattr(report, name))})
    for check in report.checks:
        _add_testcase(suite, report.scenario, check)
    ET.indent(suites)
    return bytes(ET.tostring(suites, encoding="utf-8", xml_declaration=True))


def _add_testcase(suite: ET.Element, scenario: str, check: Check) -> None:
    case = ET.SubElement(suite, "testcase", {"classname": f"weldsim.{scenario}", "name": check.name, "time": "0"})
    total = check.passed + len(check.failed)
    if check.failed:
        failure = ET.SubElement(case, "failure", {"message": f"{len(check.failed)} of {total} not as expected"})
        failure.text = "\n".join(_line(mismatch) for mismatch in check.failed[:JUNIT_FAILURES_SHOWN])
    ET.SubElement(case, "system-out").text = f"{check.passed} of {total} as expected"


def _line(mismatch: Mismatch) -> str:
    who = f"{mismatch.machine_id}, {_printable(mismatch.operator)}, request {mismatch.request_id}"
    return f"{who}: expected {mismatch.expected}, got {mismatch.got}"


def _printable(text: str) -> str:
    """XML 1.0 has no place for control characters."""
    return text if text.isprintable() else ascii(text)


def write(path: Path, content: bytes) -> None:
    """Write a report, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def summary(report: Report) -> list[str]:
    """What a person wants to know first."""
    spread = report.latency_ms
    lines = [
        f"{report.scenario}, seed {report.seed}: {report.machines} machines, {report.duration_s:.0f} s",
        f"{report.requests} requests, {report.decisions} decisions: {report.allowed} allowed, {report.denied} denied",
        f"latency p50 {spread.p50} ms, p95 {spread.p95} ms, p99 {spread.p99} ms, max {spread.max} ms",
        f"{report.undetermined} undetermined, {report.repeats} repeats, {report.sessions} sessions, "
        f"{sum(report.faults_injected.values())} faults injected",
        f"{report.mismatches} mismatches",
    ]
    return lines + [f"  {mismatch.check}: {_line(mismatch)}" for mismatch in report.mismatch_details[:10]]
