"""A person whom only a remote registry knows: the request waits for the answer, and for no longer than it may."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service import county
from tests.service.conftest import StartGateway
from tests.support.brokers import Mosquitto
from tests.support.chips import Chips
from tests.support.gateway import Gateway
from tests.support.registry_service import RegistryService

ANSWERED_WITHIN_S = 1.0
"""The look-up's 0.75 s and the way there and back."""
NEW = "P-NEW"


@dataclass
class Scene:
    """A gateway whose province knows somebody whom its database does not."""

    registry: RegistryService
    gateway: Gateway
    chips: Chips

    def scan(self, welder: str, number: int = 1) -> tuple[list[str], float]:
        """The codes of a refusal, none for an allow; and the seconds that it took."""
        began = time.monotonic()
        return self.chips.codes(county.machine(number), welder), time.monotonic() - began


@pytest.fixture
def scene(mosquitto: Mosquitto, start_gateway: StartGateway, tmp_path: Path) -> Iterator[Scene]:
    rows = county.rows()
    rows["operators"].append((NEW, "样例乙", county.id_number(700), "", "active"))
    rows["employments"].append((NEW, county.FIRM, "", ""))
    rows["certificates"].append(county.certificate(NEW, 700))
    with RegistryService(county.write(tmp_path / "province", rows)) as registry:
        described = registry.described(tmp_path / "registry.toml")
        gateway = start_gateway(mosquitto.url, options=("--registry", str(described))).until_ready()
        with Chips(mosquitto.port) as chips:
            yield Scene(registry, gateway, chips)


def lookups(scene: Scene) -> dict[str, float]:
    outcomes = ("found", "absent", "failed", "left_alone")
    metrics = scene.gateway.metrics()
    return {one: metrics.get(f'weldgate_registry_lookups_total{{outcome="{one}"}}', 0.0) for one in outcomes}


def test_who_is_certified_elsewhere_is_let_in_at_the_first_scan(scene: Scene) -> None:
    codes, took_s = scene.scan(NEW)
    assert codes == []
    assert took_s < ANSWERED_WITHIN_S
    assert lookups(scene)["found"] == 1
    [stored] = scene.gateway.rows("SELECT source FROM operators WHERE operator_id = 'P-NEW'")
    assert stored["source"] == "province"


def test_whoever_was_certified_anew_a_moment_ago_is_let_in_too(scene: Scene) -> None:
    """The registries here hold the person with a certificate that has expired."""
    new = dict(zip(county.COLUMNS["certificates"], county.certificate("P-EXPIRED", 701), strict=True))
    scene.registry.change(certificates=[{name: str(value) for name, value in new.items()}])
    codes, took_s = scene.scan("P-EXPIRED")
    assert codes == []
    assert took_s < ANSWERED_WITHIN_S


def test_nobody_is_asked_about_twice_in_a_row(scene: Scene) -> None:
    assert [scene.scan("P-NOBODY")[0] for _ in range(3)] == [["credential_unknown"]] * 3
    assert lookups(scene) == {"found": 0, "absent": 1, "failed": 0, "left_alone": 0}


def test_a_registry_that_is_away_delays_a_refusal_by_less_than_a_second_and_lets_nobody_in(scene: Scene) -> None:
    scene.registry.stop()
    codes, took_s = scene.scan(NEW)
    assert codes == ["credential_unknown"]
    assert took_s < ANSWERED_WITHIN_S
    assert lookups(scene)["failed"] == 1


def test_a_slow_registry_holds_nobody_up_for_longer(scene: Scene) -> None:
    scene.registry.faults(slow=1.0, slow_s=5)
    codes, took_s = scene.scan(NEW)
    assert codes == ["credential_unknown"]
    assert 0.5 < took_s < ANSWERED_WITHIN_S


def test_whom_nothing_fresher_would_help_is_refused_at_once(scene: Scene) -> None:
    scene.registry.faults(slow=1.0, slow_s=5)
    assert scene.chips.codes("HJ-SUSPENDED", NEW) == ["machine_suspended", "credential_unknown"]
    assert scene.chips.codes(county.machine(1), "P-REVOKED") == ["certificate_revoked"]
    assert sum(lookups(scene).values()) == 0


def test_requests_of_others_are_answered_while_one_waits(scene: Scene) -> None:
    scene.registry.faults(slow=1.0, slow_s=5)
    waiting = scene.chips.request(county.machine(1), NEW)
    codes, took_s = scene.scan(county.welder(2), 2)
    assert codes == []
    assert took_s < 0.5
    assert scene.chips.answer(county.machine(1), waiting).content["outcome"] == "deny"
