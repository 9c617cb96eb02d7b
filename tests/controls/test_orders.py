"""Orders on a real database: checked and carried out as one step, whoever else orders at the same moment."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from gateway.core.model import Control
from gateway.errors import DatabaseUnavailable
from gateway.registry import orders
from gateway.registry.acts import MINUTE_MS, author
from gateway.registry.snapshot import Snapshot, read_delta
from gateway.store.controls import ControlError, acts, carry_out
from gateway.store.engine import open_engine
from gateway.store.ledger import check, read_head, rows_in_order
from tests.controls.conftest import Office
from tests.store.databases import locked

NOW = 1_790_000_000_000
WANG, LI = author("Wang An", "his papers are on their way", NOW), author("Li Bo", "leaks no more", NOW + 1000)


def everything(engine: Engine) -> list[Control]:
    with engine.connect() as connection:
        return acts(connection)


def snapshot_of(engine: Engine) -> Snapshot:
    snapshot = Snapshot()
    snapshot.apply(read_delta(engine, 0))
    return snapshot


def asked(office: Office) -> str:
    done = orders.ask_override(office.engine, "P-NEVER", "HJ-0001", ["operator_not_employed"], 30, WANG)
    assert done.override_id is not None
    return done.override_id


def test_an_approved_override_is_what_gateways_go_by(office: Office) -> None:
    override_id = asked(office)
    controls = snapshot_of(office.engine).controls
    assert controls.override("HJ-0001", "P-NEVER", NOW + 1) is None
    orders.approve_override(office.engine, override_id, "Li Bo", "supervisor", NOW + 60_000)
    held = snapshot_of(office.engine).controls.override("HJ-0001", "P-NEVER", NOW + 60_000)
    assert held is not None
    assert (held.override_id, held.codes, held.level) == (override_id, ("operator_not_employed",), "supervisor")
    assert (held.since, held.until) == (NOW + 60_000, NOW + 31 * MINUTE_MS)
    orders.end_override(office.engine, override_id, author("Zhao", "no longer needed", NOW + 2 * MINUTE_MS))
    assert snapshot_of(office.engine).controls.override("HJ-0001", "P-NEVER", NOW + 3 * MINUTE_MS) is None


def test_a_hold_and_its_release_reach_gateways(office: Office) -> None:
    orders.hold_machine(office.engine, "lock", "HJ-0001", WANG)
    orders.hold_machine(office.engine, "out_of_service", "hj-0001", WANG)
    held = snapshot_of(office.engine).controls.hold("HJ-0001")
    assert held is not None
    assert held.kind == "out_of_service"
    orders.release_machine(office.engine, "HJ-0001", LI)
    assert snapshot_of(office.engine).controls.hold("HJ-0001") is None


@pytest.mark.parametrize("field", ["machine", "operator"])
def test_nothing_is_asked_for_whom_or_what_nobody_registered(office: Office, field: str) -> None:
    operator, machine = ("P0001", "HJ-9999") if field == "machine" else ("P-9999", "HJ-0001")
    with pytest.raises(ControlError, match=rf"{field} = '.*-9999': no.* of this number is registered"):
        orders.ask_override(office.engine, operator, machine, ["operator_not_employed"], 30, WANG)
    assert everything(office.engine) == []


def test_an_override_that_nobody_asked_for_is_not_approved(office: Office) -> None:
    with pytest.raises(ControlError, match="override = 'xxxx': nobody asked for it"):
        orders.approve_override(office.engine, "xxxx", "Li Bo", "supervisor", NOW)


def test_whose_name_is_that_of_the_operator_does_not_approve(office: Office) -> None:
    with pytest.raises(ControlError, match="is the operator"):
        orders.approve_override(office.engine, asked(office), " 样例 甲 ", "supervisor", NOW)


def test_what_the_check_raises_leaves_nothing_behind(office: Office) -> None:
    before = snapshot_of(office.engine).version

    def refuse(connection: Connection) -> Control:
        connection.exec_driver_sql("DELETE FROM machines")
        raise ControlError("no")

    with pytest.raises(ControlError, match="no"):
        carry_out(office.engine, refuse)
    snapshot = snapshot_of(office.engine)
    assert (snapshot.version, "HJ-0001" in snapshot.machines) == (before, True)


def test_a_database_that_is_busy_is_told_in_words(office: Office) -> None:
    impatient = open_engine(office.url, migrate=False)
    with impatient.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=20")
    with locked(office.database), pytest.raises(DatabaseUnavailable, match="not carried out: database is locked"):
        orders.hold_machine(impatient, "lock", "HJ-0001", WANG)
    impatient.dispose()


# --- at the same moment -----------------------------------------------------------------------------------------


def at_once(office: Office, *tasks: Callable[[Engine], Any]) -> list[object]:
    """What each gives, run at the same moment over an engine of its own."""
    results: list[object] = []
    start = threading.Barrier(len(tasks))

    def run(task: Callable[[Engine], Any]) -> None:
        engine = open_engine(office.url, migrate=False)
        start.wait()
        try:
            results.append(task(engine))
        except ControlError as error:
            results.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def approve(override_id: str, by: str) -> Callable[[Engine], Control]:
    return lambda engine: orders.approve_override(engine, override_id, by, "supervisor", NOW + 1000)


def end(override_id: str) -> Callable[[Engine], Control]:
    return lambda engine: orders.end_override(engine, override_id, author("Zhao", "not needed", NOW + 1000))


def is_whole(engine: Engine) -> bool:
    with engine.connect() as connection:
        return list(check(rows_in_order(connection), read_head(connection))) == []


def test_invariant_of_many_who_approve_at_once_one_does(office: Office) -> None:
    override_id = asked(office)

    results = at_once(office, *(approve(override_id, f"Approver {number}") for number in range(8)))
    assert sorted(type(result).__name__ for result in results) == ["Control", *["ControlError"] * 7]
    assert [act.act for act in everything(office.engine)] == ["override_approved", "override_asked"]
    assert is_whole(office.engine)


@pytest.mark.parametrize("round_number", range(5))
def test_invariant_an_approval_and_an_end_at_once_leave_no_override_in_force(office: Office, round_number: int) -> None:
    override_id = asked(office)
    at_once(office, approve(override_id, "Li Bo"), end(override_id))
    assert snapshot_of(office.engine).controls.overrides(NOW + 1001) == 0
    assert "override_ended" in [act.act for act in everything(office.engine)]


def test_invariant_two_overrides_for_the_same_person_and_machine_are_not_approved_at_once(office: Office) -> None:
    first, second = asked(office), asked(office)
    results = at_once(office, approve(first, "Li Bo"), approve(second, "Zhao"))
    assert sorted(type(result).__name__ for result in results) == ["Control", "ControlError"]


def test_a_machine_that_two_lock_at_once_is_locked_once(office: Office) -> None:
    results = at_once(office, *[lambda engine: orders.hold_machine(engine, "lock", "HJ-0001", WANG)] * 4)
    assert sorted(type(result).__name__ for result in results) == ["Control", *["ControlError"] * 3]
    assert len(everything(office.engine)) == 1
