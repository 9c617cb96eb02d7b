"""A fleet over a real Mosquitto against a scripted gateway: honest, and with one vice at a time."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from typer.testing import CliRunner

from simulator.audit import ANSWERED, GRANTS, SAME_BYTES, UNDER
from simulator.cli import app
from simulator.fleet import Fleet, FleetError, FleetOptions
from simulator.link import Broker, BrokerUrlError, parse_broker
from simulator.registry import load
from simulator.report import Report
from simulator.scenario import SCENARIOS, Act, Planner
from tests.simulator.bench import KEY
from tests.simulator.county import write_county
from tests.simulator.responder import Responder, Vice
from tests.support.brokers import Mosquitto, free_port, mosquitto_binary

MACHINES = 30
JWKS: dict[str, object] = {"keys": [KEY.as_dict(private=False)]}
needs_mosquitto = pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed")


@pytest.fixture(scope="module")
def county(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_county(tmp_path_factory.mktemp("county"), firms=20)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """People who do not wait 30 s for an answer that never comes."""
    monkeypatch.setattr("simulator.stage.ANSWER_WITHIN_S", 2.0)
    monkeypatch.setattr("simulator.fleet.DRAIN_S", 1.0)


@pytest.fixture(scope="module")
def mosquitto() -> Iterator[Mosquitto]:
    broker = Mosquitto().start()
    yield broker
    broker.close()


async def played(
    broker: Mosquitto, county: Path, vice: Vice | None = None, *, for_s: float = 3, rate: float = 25
) -> Report:
    registry, address = load(county), Broker("127.0.0.1", broker.port)
    responder = Responder(address, registry, vice).start()
    try:
        options = FleetOptions(
            broker=address,
            registry=registry,
            jwks=responder.jwks,
            machines=MACHINES,
            for_s=for_s,
            rate=rate,
            repeat_every_s=1,
        )
        return await Fleet(options).run()
    finally:
        responder.stop()


@needs_mosquitto
async def test_an_honest_gateway_has_no_mismatch_and_every_request_an_answer(
    mosquitto: Mosquitto, county: Path
) -> None:
    report = await played(mosquitto, county, for_s=6)
    assert report.mismatch_details == []
    assert (report.unanswered, report.foreign) == (0, 0)
    assert report.requests == report.decisions == report.allowed + report.denied > 50
    assert report.sessions > 20
    assert len(report.faults_injected) > 8
    assert report.latency_ms.p50 > 0


VICES: tuple[tuple[Vice, str], ...] = (
    ("lets_everybody_in", UNDER),
    ("other_bytes", SAME_BYTES),
    ("foreign_key", GRANTS),
    ("other_challenge", GRANTS),
    ("second_session", UNDER),
)


@needs_mosquitto
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("vice", "check"), VICES)
async def test_a_vice_is_noticed(mosquitto: Mosquitto, county: Path, vice: Vice, check: str) -> None:
    report = await played(mosquitto, county, vice)
    assert any(mismatch.check.startswith(check) for mismatch in report.mismatch_details)


@needs_mosquitto
@pytest.mark.usefixtures("impatient")
async def test_a_silent_gateway_is_noticed(mosquitto: Mosquitto, county: Path) -> None:
    report = await played(mosquitto, county, "silent", for_s=1)
    assert report.decisions == 0
    assert {mismatch.check for mismatch in report.mismatch_details} == {ANSWERED}
    assert report.unanswered == report.mismatches > 0


@needs_mosquitto
def test_the_command_writes_both_reports_and_ends_with_zero(mosquitto: Mosquitto, county: Path, tmp_path: Path) -> None:
    responder = Responder(Broker("127.0.0.1", mosquitto.port), load(county)).start()
    (tmp_path / "jwks.json").write_bytes(msgspec.json.encode(responder.jwks))
    options = {
        "--broker": mosquitto.url,
        "--registry": str(county),
        "--jwks": str(tmp_path / "jwks.json"),
        "--machines": "10",
        "--for": "2s",
        "--scenario": "shift",
        "--report": str(tmp_path / "report.json"),
        "--junit": str(tmp_path / "junit.xml"),
    }
    result = CliRunner().invoke(app, ["run", *(word for pair in options.items() for word in pair)])
    responder.stop()
    assert result.exit_code == 0, result.output
    assert "0 mismatches" in result.output
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes())["mismatches"] == 0
    assert ET.parse(tmp_path / "junit.xml").getroot().get("failures") == "0"


# --- without a broker -------------------------------------------------------------------------------------------

WRONG_OPTIONS = (
    ({"--broker": "http://x"}, "--broker: needs the form mqtt://"),
    ({"--broker": f"mqtt://127.0.0.1:{free_port()}"}, "--broker: cannot reach 127.0.0.1"),
    ({"--for": "soon"}, "--for soon: not a duration"),
    ({"--scenario": "party"}, "--scenario party: not known; use one of morning-rush"),
    ({"--registry": "/nowhere"}, "--registry needs enterprises"),
    ({"--jwks": "/nowhere"}, "make it with: weldgate keys public"),
    ({"--jwks": __file__}, "not a JWK Set in JSON"),
    ({"--machines": "100000"}, "ask for fewer"),
)


@pytest.mark.parametrize(("wrong", "says"), WRONG_OPTIONS)
def test_a_wrong_option_is_named_with_its_value_and_remedy(
    county: Path, tmp_path: Path, wrong: dict[str, str], says: str
) -> None:
    jwks = tmp_path / "jwks.json"
    jwks.write_bytes(msgspec.json.encode(JWKS))
    options = {"--registry": str(county), "--jwks": str(jwks), "--machines": "5"} | wrong
    result = CliRunner().invoke(app, ["run", *(word for pair in options.items() for word in pair)])
    assert result.exit_code == 2
    assert says in result.output


def test_a_broker_url_is_read_and_its_password_never_quoted() -> None:
    assert parse_broker("mqtts://me:p%40ss@broker.example") == Broker("broker.example", 8883, True, "me", "p@ss")
    with pytest.raises(BrokerUrlError) as caught:
        parse_broker("mqtt://me:secret@:port")
    assert "secret" not in str(caught.value)


def planned(county: Path, seed: int, *left_alone: str) -> list[Act]:
    from datetime import date

    from simulator.cast import choose

    scenario = SCENARIOS["mixed-faults"]
    cast = choose(load(county), MACHINES - 1, seed, date(2026, 6, 15), faulty=True, besides=left_alone)
    assert {part.machine_id for part in cast.parts} >= set(left_alone) & set(cast.registry.machines)
    return list(Planner(cast, scenario, seed, left_alone).acts(5.0, 200.0))


def test_the_same_seed_plays_the_same_acts_and_every_kind_comes_up(county: Path) -> None:
    acts = planned(county, 1)
    assert acts == planned(county, 1) != planned(county, 2)
    assert {act.kind for act in acts} == set(SCENARIOS["mixed-faults"].weights)
    assert [act.at_s for act in acts] == sorted(act.at_s for act in acts)


def test_what_is_left_alone_is_on_the_air_and_nothing_happens_to_it(county: Path) -> None:
    busiest = Counter(name for act in planned(county, 1) for name in (act.machine_id, act.credential)).most_common()
    registry = load(county)
    machine_id = next(name for name, _ in busiest if name in registry.machines)
    person = next(name for name, _ in busiest if name in registry.operators)
    acts = planned(county, 1, machine_id, person)
    assert acts
    assert {machine_id, person}.isdisjoint({name for act in acts for name in (act.machine_id, act.credential)})


async def test_an_unreachable_broker_is_told_once(county: Path) -> None:
    options = FleetOptions(broker=Broker("127.0.0.1", 1), registry=load(county), jwks=JWKS, machines=1)
    with pytest.raises(FleetError, match="start the broker or correct the address"):
        await Fleet(options).run()


def test_keys_that_cannot_be_used_are_named(county: Path) -> None:
    options = FleetOptions(broker=Broker("127.0.0.1", 1), registry=load(county), jwks={"keys": []}, machines=1)
    with pytest.raises(FleetError, match="--jwks: no usable key"):
        Fleet(options)
