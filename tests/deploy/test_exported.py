"""Whatever a dashboard or an alert asks for is exported by a gateway at work, as a real Prometheus reads it."""

from pathlib import Path

import pytest

from tests.deploy.conftest import Prometheus
from tests.deploy.files import board_queries, boards, rules, run
from tests.deploy.promql import missing, without_variables
from tests.support.waiting import eventually

EXPRESSIONS = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
EXPRESSIONS += [(where, without_variables(expr)) for where, expr in board_queries()]
ALWAYS_THERE = {"WeldGateSourceStale"}
"""The county of these tests waits for a source in vain."""
OF_THIS_MACHINE = {"WeldGateDiskFull"}


@pytest.mark.parametrize(
    ("expr", "gone"),
    [
        ("weldgate_nothing", ["weldgate_nothing"]),
        ('sum(rate(weldgate_decisions_total{instance="a"}[5m]))', []),
        ('weldgate_decisions_total{zone="a"}', ["weldgate_decisions_total{zone}"]),
        ("sum by (zone) (weldgate_decisions_total)", ["zone"]),
        ("weldgate_decisions_total / on (zone) group_left (area) weldgate_chips", ["area", "zone"]),
        ("weldgate_decisions_total offset 5m or vector(0)", []),
        ("max_over_time(weldgate_nothing[5m:1m])", ["weldgate_nothing"]),
    ],
)
def test_what_nobody_exports_would_be_found(expr: str, gone: list[str]) -> None:
    exported = {"weldgate_decisions_total": frozenset({"division"}), "weldgate_chips": frozenset({"presence"})}
    assert missing(expr, exported) == gone


def test_every_metric_and_label_that_is_asked_for_is_exported(prometheus: Prometheus) -> None:
    exported = prometheus.exported()
    assert len(EXPRESSIONS) > 90
    assert {where: gone for where, expr in EXPRESSIONS if (gone := missing(expr, exported))} == {}


def test_every_panel_shows_something(prometheus: Prometheus) -> None:
    """Also: Prometheus finds nothing wrong with any query."""
    empty = [where for where, expr in board_queries() if not prometheus.query(without_variables(expr))]
    assert empty == []


def test_every_variable_has_values(prometheus: Prometheus) -> None:
    for board in boards():
        for variable in board["templating"]["list"]:
            metric, label = variable["query"].removeprefix("label_values(").removesuffix(")").split(", ")
            values = prometheus.get(f"label/{label}/values", **{"match[]": metric})
            assert values, variable["query"]


def test_every_rule_can_be_reckoned_and_a_healthy_gateway_is_silent(prometheus: Prometheus) -> None:
    reckoned = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert len(reckoned) == len(rules())
    assert {rule["name"]: rule.get("lastError") for rule in reckoned if rule["health"] != "ok"} == {}
    firing = {rule["name"] for rule in reckoned if rule.get("state") == "firing"}
    assert firing - OF_THIS_MACHINE == ALWAYS_THERE


def test_an_alert_names_the_gateway_and_the_source(prometheus: Prometheus) -> None:
    (alert,) = [one for one in prometheus.get("alerts")["alerts"] if one["labels"]["alertname"] in ALWAYS_THERE]
    chinese, english = alert["annotations"]["description"].splitlines()
    assert chinese.startswith(f"{alert['labels']['instance']}：登记源 province ")
    assert english.startswith(f"{alert['labels']['instance']}: source province ")


def test_what_an_audit_leaves_is_read(prometheus: Prometheus, textfile: Path) -> None:
    done = run("promtool", "check", "metrics", stdin=textfile.read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stdout + done.stderr
    eventually(lambda: prometheus.value("weldgate_audit_intact") == 1, what="the audit's outcome")
