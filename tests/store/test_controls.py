"""Orders of authorised people: on record, with a new registry version, seen by every gateway, whoever else writes."""

import json
import threading
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.core.model import Control, Hold, Override
from gateway.errors import DatabaseUnavailable
from gateway.registry.snapshot import Snapshot, read_delta
from gateway.store.changes import Origin
from gateway.store.controls import ControlError, about_machine, about_override, acts, enact, new_control_id
from gateway.store.entries import MachineEntry
from gateway.store.journal import Batch, Journal
from gateway.store.ledger import check
from gateway.store.registry import apply_entries
from gateway.store.vault import open_vault
from gateway.wire.tokens import Signer
from tests.store.databases import AT, Databases, decision, session, whole_chain


def control(number: int, act: Any = "lock", **different: Any) -> Control:
    fields: dict[str, Any] = {"machine_id": "HJ-0001", "by": "supervisor-1", "reason": "看不到人 nobody there"}
    return Control(f"control-{number:04}", AT + number, act, **fields | different)


OVERRIDE: dict[str, Any] = {
    "operator_id": "P000123",
    "override_id": "override-1",
    "codes": ("operator_not_employed", "employment_ended"),
    "level": "supervisor",
    "until": AT + 3_600_000,
    "minutes": 60,
}


@pytest.fixture
def engine(databases: Databases, tmp_path: Any) -> Engine:
    """With registries: version 1."""
    engine = databases.engine()
    machine = MachineEntry("HJ-0001", "91330521MA00000017", "fusion", "330521", "active")
    apply_entries(engine, open_vault(tmp_path / "keys"), {"machines": [machine]}, Origin("files", "test", AT), AT)
    return engine


def snapshot_of(engine: Engine) -> Snapshot:
    snapshot = Snapshot()
    snapshot.apply(read_delta(engine, 0))
    return snapshot


# --- on record --------------------------------------------------------------------------------------------------


def test_invariant_an_order_is_in_the_ledger_with_who_gave_it_and_why(engine: Engine) -> None:
    enact(engine, control(1))
    [_, row] = whole_chain(engine)[0]
    assert (row.kind, row.machine_id, row.message_id, row.operator_id) == ("control", "HJ-0001", "control-0001", None)
    assert json.loads(row.record)["body"] == {
        "act": "lock",
        "at": AT + 1,
        "by": "supervisor-1",
        "control_id": "control-0001",
        "machine_id": "HJ-0001",
        "reason": "看不到人 nobody there",
    }
    assert list(check(*whole_chain(engine))) == []


def test_invariant_an_order_that_cannot_be_recorded_takes_no_effect(engine: Engine) -> None:
    enact(engine, control(1, "release"))
    with pytest.raises(DatabaseUnavailable, match="UNIQUE"):
        enact(engine, control(1, "lock"))
    snapshot = snapshot_of(engine)
    assert (snapshot.version, snapshot.controls.hold("HJ-0001")) == (2, None)
    assert [row.kind for row in whole_chain(engine)[0]] == ["registry", "control"]


def test_before_the_first_import_there_is_nothing_to_order(databases: Databases) -> None:
    engine = databases.engine()
    with pytest.raises(ControlError, match="weldgate registry import"):
        enact(engine, control(1))
    assert whole_chain(engine) == ([], None)


def test_ids_are_unguessable_and_never_the_same() -> None:
    assert len({new_control_id() for _ in range(1000)}) == 1000


# --- seen by gateways -------------------------------------------------------------------------------------------


def test_each_order_is_a_version_that_a_gateway_takes_over(engine: Engine) -> None:
    snapshot = snapshot_of(engine)
    assert enact(engine, control(1, "out_of_service")) == control(1, "out_of_service")
    changed = snapshot.apply(read_delta(engine, snapshot.version))
    assert (changed.machines, changed.sessions, changed.operators) == ({"HJ-0001"}, set(), set())
    assert snapshot.version == 2
    assert snapshot.controls.hold("HJ-0001") == Hold("out_of_service", AT + 1)
    enact(engine, control(2, "release"))
    snapshot.apply(read_delta(engine, snapshot.version))
    assert snapshot.version == 3
    assert snapshot.controls.hold("HJ-0001") is None
    assert read_delta(engine, snapshot.version).rows == []


def test_an_order_confirms_no_registry(engine: Engine) -> None:
    before = snapshot_of(engine).confirmed_at
    enact(engine, control(1))
    assert snapshot_of(engine).confirmed_at == before == AT


def test_a_gateway_that_starts_later_sees_the_same_whatever_came_before(engine: Engine) -> None:
    running = snapshot_of(engine)
    for number, act in enumerate(("lock", "release", "out_of_service", "lock"), 1):
        enact(engine, control(number, act))
        running.apply(read_delta(engine, running.version))
    started = snapshot_of(engine)
    assert started.controls.hold("HJ-0001") == running.controls.hold("HJ-0001") == Hold("locked", AT + 4)


def test_a_session_to_end_concerns_that_session(engine: Engine) -> None:
    enact(engine, control(1, "end_session", session_id="session-1"))
    snapshot = Snapshot()
    changed = snapshot.apply(read_delta(engine, 1))
    assert changed.sessions == {"session-1"}
    assert snapshot.controls.is_ended("session-1")
    assert not snapshot.controls.is_ended("session-2")


def test_an_override_is_in_force_once_it_is_approved_and_until_it_ends(engine: Engine) -> None:
    def held(now: int) -> Override | None:
        return snapshot_of(engine).controls.override("HJ-0001", "P000123", now)

    enact(engine, control(1, "override_asked", **OVERRIDE))
    assert held(AT + 10) is None
    enact(engine, control(2, "override_approved", **OVERRIDE))
    expected = Override("override-1", OVERRIDE["codes"], "supervisor", AT + 2, OVERRIDE["until"])
    assert [held(now) for now in (AT + 1, AT + 2, OVERRIDE["until"] - 1, OVERRIDE["until"])] == [
        None,
        expected,
        expected,
        None,
    ]
    controls = snapshot_of(engine).controls
    assert controls.override("HJ-0001", "P000456", AT + 10) is None
    assert controls.override("HJ-0002", "P000123", AT + 10) is None
    assert (controls.overrides(AT + 10), controls.overrides(OVERRIDE["until"])) == (1, 0)
    enact(engine, control(3, "override_ended", **OVERRIDE))
    assert held(AT + 10) is None


def test_an_override_that_ends_leaves_the_one_that_took_its_place(engine: Engine) -> None:
    enact(engine, control(1, "override_approved", **OVERRIDE))
    enact(engine, control(2, "override_approved", **OVERRIDE | {"override_id": "override-2"}))
    enact(engine, control(3, "override_ended", **OVERRIDE))
    held = snapshot_of(engine).controls.override("HJ-0001", "P000123", AT + 10)
    assert held is not None
    assert held.override_id == "override-2"


def test_what_was_ordered_is_found_the_latest_first(engine: Engine) -> None:
    enact(engine, control(1))
    enact(engine, control(2, machine_id="HJ-0002"))
    enact(engine, control(3, "override_asked", **OVERRIDE))
    with engine.connect() as connection:
        assert [one.control_id for one in acts(connection, about_machine("HJ-0001"))] == [
            "control-0003",
            "control-0001",
        ]
        assert acts(connection, about_override("override-1")) == [control(3, "override_asked", **OVERRIDE)]


# --- beside the gateway that writes all the time ------------------------------------------------------------------


def test_invariant_the_chain_stays_whole_while_the_scribe_and_several_people_write(
    engine: Engine, databases: Databases, signer: Signer
) -> None:
    path, rounds = engine.url.database, 40
    assert path is not None
    failed: list[BaseException] = []

    def scribe() -> None:
        own = databases.engine(path)  # type: ignore[arg-type]
        journal = Journal(own.dialect, signer)
        with own.connect() as connection:
            for number in range(rounds):
                opened = session(f"session-{number}", f"HJ-{number + 10:04}", f"P{number:06}")
                journal.commit(connection, Batch([decision(f"request-{number:04}")], opened=[opened]))

    def person(which: int) -> None:
        own = databases.engine(path)  # type: ignore[arg-type]
        for number in range(rounds // 2):
            enact(own, control(1000 * which + number))

    def run(what: Any, *given: Any) -> None:
        try:
            what(*given)
        except BaseException as error:  # noqa: BLE001  (told by the test)
            failed.append(error)

    threads = [threading.Thread(target=run, args=given) for given in ((scribe,), (person, 1), (person, 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    rows, head = whole_chain(engine)
    assert list(check(rows, head)) == []
    assert len(rows) == 1 + 2 * rounds
    assert snapshot_of(engine).version == 1 + rounds
