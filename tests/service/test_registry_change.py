"""A change of the registries reaches the gate within a second: a welder certified a moment ago can start a machine."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service import county
from tests.service.conftest import Service
from tests.support.chips import ROOT
from tests.support.gateway import weldgate

VISIBLE_WITHIN_S = 1.0
GIVE_UP_S = 10.0
Import = Callable[..., float]


@pytest.fixture
def bring_in(service: Service, tmp_path: Path) -> Import:
    """Imports rows into the running gateway's database; the moment at which the import had ended."""

    def bring_in(**tables: Any) -> float:
        files = county.write(tmp_path / f"import-{time.monotonic_ns()}", tables)
        gateway = service.gateway
        done = weldgate("registry", "import", str(files), "--database", gateway.url, "--keys", str(gateway.keys))
        assert done.returncode == 0, done.stdout + done.stderr
        return time.monotonic()

    return bring_in


def seen_after(service: Service, since: float, machine: str, welder: str, codes: list[str]) -> float:
    """Seconds from ``since`` until a new scan is decided with these codes."""
    while (got := service.chips.codes(machine, welder)) != codes:
        assert time.monotonic() - since < GIVE_UP_S, f"still {got}"
    return time.monotonic() - since


def in_order(operator_id: str, serial: int) -> dict[str, list[county.Row]]:
    """Rows of one new welder."""
    return {
        "operators": [(operator_id, "样例乙", county.id_number(serial), "", "active")],
        "employments": [(operator_id, county.FIRM, "", "")],
        "certificates": [county.certificate(operator_id, serial)],
    }


def test_a_newly_certified_welder_starts_a_machine_within_a_second(
    service: Service, bring_in: Import, record_property: Callable[[str, object], None]
) -> None:
    took = []
    for number in range(3):
        machine, _ = service.pair()
        welder = f"P-NEW-{number}"
        assert service.chips.codes(machine, welder) == ["credential_unknown"]
        imported = bring_in(**in_order(welder, 700 + number))
        took.append(seen_after(service, imported, machine, welder, []))
    record_property("seconds", took)
    assert statistics.median(took) < VISIBLE_WITHIN_S, took


def test_a_suspended_certificate_no_longer_opens(service: Service, bring_in: Import) -> None:
    machine, _ = service.pair()
    welder = "P-TO-BE-SUSPENDED"
    seen_after(service, bring_in(**in_order(welder, 710)), machine, welder, [])
    suspended = county.certificate(welder, 710, status="suspended")
    assert seen_after(service, bring_in(certificates=[suspended]), machine, welder, ["certificate_suspended"]) < 5


def test_a_certificate_that_moves_to_another_person_opens_for_that_one_alone(
    service: Service, bring_in: Import
) -> None:
    (machine, _), (other_machine, _) = service.pair(), service.pair()
    seen_after(service, bring_in(**in_order("P-HELD-IT", 720)), machine, "P-HELD-IT", [])
    new = in_order("P-HOLDS-IT", 721) | {"certificates": [county.certificate("P-HOLDS-IT", 720)]}
    imported = bring_in(**new)
    seen_after(service, imported, other_machine, "P-HOLDS-IT", [])
    assert service.chips.codes(machine, "P-HELD-IT") == ["certificate_missing"]


def test_a_machine_that_moves_to_another_firm_needs_that_firms_welders(service: Service, bring_in: Import) -> None:
    machine, welder = service.pair()
    firm = county.firm(77)
    imported = bring_in(
        enterprises=[(firm, "样例企业", county.DIVISION, "active")],
        machines=[(machine, "", firm, "fusion", county.DIVISION, "", "active")],
    )
    seen_after(service, imported, machine, welder, ["operator_not_employed"])


def test_what_a_gateway_decides_by_shows_in_its_status_and_metrics(service: Service, bring_in: Import) -> None:
    version = service.gateway.metric("weldgate_registry_version")
    bring_in(**in_order("P-ONE-MORE", 730))
    topic = f"{ROOT}/gateway/{service.gateway.instance}/status"
    service.chips.wait_on(topic, lambda content: content["registry_version"] == version + 1)
    assert service.gateway.metric("weldgate_registry_version") == version + 1


def test_an_import_with_a_mistake_changes_nothing(service: Service, tmp_path: Path) -> None:
    """Where others fail, 18: an import with a mistake revokes half the county."""
    machine, welder = service.pair()
    version = service.gateway.metric("weldgate_registry_version")
    revoked = [county.certificate(county.welder(number), number, status="revoked") for number in range(1, 30)]
    revoked.append(county.certificate(welder, 30, item="juggling"))
    files = county.write(tmp_path / "mistake", {"certificates": revoked})
    gateway = service.gateway
    done = weldgate("registry", "import", str(files), "--database", gateway.url, "--keys", str(gateway.keys))
    assert done.returncode == 1
    assert "nothing was imported" in done.stderr
    assert "certificates.csv:31" in done.stderr
    assert service.chips.codes(machine, welder) == []
    assert gateway.metric("weldgate_registry_version") == version
    gateway.intact()
