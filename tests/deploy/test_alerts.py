"""Prometheus and Alertmanager take what deploy/ has; each alert fires when it should and is silent otherwise."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import PROMETHEUS, RULE_FILES, RULE_TESTS, alerts, read_yaml, rules, run
from tests.docs.pages import DOCS, anchors, headings

SEVERITIES = ("critical", "warning")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[a-z]{3,}")
RUNBOOK = DOCS / "runbook.md"
PARTS = ("Means", "How bad", "Look at", "Do", "Over when")


def test_prometheus_takes_its_configuration_and_every_rule() -> None:
    done = run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULE_FILES)} rule files found" in done.stdout
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_are_silent(path: Path) -> None:
    done = run("promtool", "test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def _checks(alert: str) -> list[dict[str, Any]]:
    """What the unit tests expect of an alert, each time that they look at it."""
    looked_at = f'ALERTS{{alertname="{alert}", alertstate="firing"}}'
    tests = [test for path in RULE_TESTS for test in read_yaml(path)["tests"] if test["name"] == alert]
    checks = [check for test in tests for check in test["promql_expr_test"]]
    assert {check["expr"] for check in checks} == {looked_at}, f"no unit test is named {alert}, or it looks at another"
    return checks


@pytest.mark.parametrize("alert", alerts())
def test_every_alert_is_seen_to_fire_and_to_be_silent(alert: str) -> None:
    assert {bool(check["exp_samples"]) for check in _checks(alert)} == {True, False}


def test_no_name_is_used_twice() -> None:
    names = [rule.get("alert") or rule["record"] for rule in rules()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("alert", alerts().values(), ids=list(alerts()))
def test_every_alert_says_how_bad_it_is_in_both_languages_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"] in [{"severity": severity} for severity in SEVERITIES]
    chinese, english = alert["annotations"]["description"].splitlines()
    assert CHINESE.search(chinese)
    assert ENGLISH.search(english)
    assert not CHINESE.search(english)
    assert re.fullmatch(r"[^a-z]*[\u4e00-\u9fff] [A-Z].*", alert["annotations"]["summary"])
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    assert anchor == alert["alert"].lower()
    assert anchor in anchors(RUNBOOK)


def test_the_runbook_has_a_section_of_five_parts_for_every_alert_and_for_nothing_else() -> None:
    sections = [heading for depth, heading in headings(RUNBOOK) if depth == 3]
    assert sorted(sections) == sorted(alerts())
    text = RUNBOOK.read_text(encoding="utf-8")
    for alert in alerts():
        section = re.split(r"^#", text.split(f"### {alert}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
        assert tuple(re.findall(r"^- \*\*([A-Za-z ]+)\.\*\*", section, re.MULTILINE)) == PARTS, alert


def test_alertmanager_takes_its_configuration() -> None:
    done = run("amtool", "check-config", PROMETHEUS / "alertmanager.yml")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("severity", "receiver"), [("critical", "duty"), ("warning", "day")])
def test_who_is_told(severity: str, receiver: str) -> None:
    config = f"--config.file={PROMETHEUS / 'alertmanager.yml'}"
    done = run("amtool", "config", "routes", "test", config, f"severity={severity}")
    assert done.stdout.strip() == receiver, done.stderr


def test_alerts_that_are_held_back_exist_and_none_of_them_tells_of_a_machine_that_welds() -> None:
    """What a gateway saw at machines is told even if it is down by now."""
    held_back: set[str] = set()
    for rule in read_yaml(PROMETHEUS / "alertmanager.yml")["inhibit_rules"]:
        targets = [name for name in alerts() if _matches(rule["target_matchers"], name)]
        assert targets, rule
        assert any(_matches(rule["source_matchers"], name) for name in alerts()), rule
        held_back.update(targets)
    assert "WeldGateQueueGrows" in held_back
    assert not held_back & {"WeldGateDown", "WeldGateStrayRelay", "WeldGateLockOverdue", "WeldGateChipAlarm"}


def _matches(matchers: list[str], name: str) -> bool:
    """Whether an alert's name fits; Alertmanager anchors its patterns."""
    for matcher in matchers:
        found = re.fullmatch(r'alertname(=~|!~|!=|=)"(.+)"', matcher)
        assert found, f"a matcher that this test cannot read: {matcher}"
        fits = re.fullmatch(found[2], name) if "~" in found[1] else found[2] == name
        if bool(fits) == found[1].startswith("!"):
            return False
    return True
