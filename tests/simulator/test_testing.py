"""The fixture for teams that build chips or rules, against the real gateway."""

from pathlib import Path

import pytest

from simulator.testing import StandError, StartStand
from tests.support.brokers import mosquitto_binary

pytestmark = pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed")


def test_a_gateway_with_a_fleet_and_places_for_ones_own_chips(weldgate_fleet: StartStand) -> None:
    stand = weldgate_fleet()
    report = stand.run(machines=40, for_s=4, rate=20)
    assert report.mismatch_details == []
    assert report.allowed > 10
    assert report.denied > 10
    places = [stand.place(number) for number in range(3)]
    assert len({place.machine_id for place in places}) == 3
    assert all(place.badge in stand.files().operators for place in places)


def test_a_policy_of_ones_own(weldgate_fleet: StartStand, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "trial"\n[rules]\noperator_not_employed = "off"\nemployment_ended = "off"\n')
    report = weldgate_fleet(policy=policy).run(machines=40, for_s=3, rate=20)
    assert not {"operator_not_employed", "employment_ended"} & report.by_reason.keys()
    assert report.mismatches > 0


def test_what_failed_is_quoted(weldgate_fleet: StartStand, tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("nonsense = 1\n")
    with pytest.raises(StandError, match="nonsense"):
        weldgate_fleet(policy=policy)
