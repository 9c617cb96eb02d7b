"""A batch that failed never happened: handled again on what the database holds, it leads to the same."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from gateway.core.policy import Lease, Policy
from gateway.gate.entry import Entry
from gateway.gate.leases import OVERDUE_MS
from gateway.store.journal import Batch, Journal
from gateway.wire.tokens import Command, Signer
from tests.core.matrix import operator
from tests.gate.gates import NOW, Gate, alerts, commands, event_of, make_gate
from tests.store.databases import Databases, book


def blocked(gate: Gate) -> list[Entry]:
    gate.change(operator(status="blocked"))
    return gate.work_off()


def tampered(gate: Gate) -> list[Entry]:
    return [gate.event("tamper", gate.session().session_id, event_id="event-again", seq=2), *gate.work_off()]


def idle(gate: Gate) -> list[Entry]:
    return [gate.usage(seq=90, at=gate.clock.now), *gate.work_off()]


def ordered_to_end(gate: Gate) -> list[Entry]:
    gate.control("end_session", session_id=gate.session().session_id)
    return gate.work_off()


LOCKED: dict[str, Callable[[Gate], list[Entry]]] = {
    "its operator is blocked": blocked,
    "its chip was tampered with": tampered,
    "it idles": idle,
    "somebody ordered its end": ordered_to_end,
}


def idling() -> tuple[Gate, tuple[Any, ...]]:
    """A session that has idled for almost as long as it may, and its row."""
    gate = make_gate(Policy(lease=Lease(idle_lock_s=60)))
    gate.running()
    gate.usage(seq=80)
    gate.sessions.take_changes()
    row = gate.session().row()
    gate.clock.pass_s(60)
    return gate, row


def what(command: Command) -> tuple[Any, ...]:
    return command.cmd, command.aud, command.sid, command.reason, command.when, command.n


@pytest.mark.parametrize("why", LOCKED)
def test_the_same_lock_comes_of_it(why: str) -> None:
    gate, row = idling()
    first = commands(LOCKED[why](gate))
    assert [command.cmd for command in first] == ["lock"]
    gate.recorded.clear()
    gate.read_back(row)
    assert gate.session().state != "draining"
    again = commands(LOCKED[why](gate))
    assert [what(command) for command in again] == [what(command) for command in first]
    assert again[0].jti != first[0].jti  # the first was never sent
    assert gate.session().state == "draining"


def test_a_lock_that_only_the_agenda_knew_of_is_found_again_by_looking_at_everybody() -> None:
    gate, row = idling()
    gate.change(operator(status="blocked"))
    gate.read_back(row)
    assert [command.reason for command in commands(gate.work_off())] == ["revoked"]


def test_the_same_renewal_comes_of_it(gate: Gate) -> None:
    gate.running()
    gate.sessions.take_changes()
    row = gate.session().row()
    gate.clock.pass_s(300)
    [first] = commands([gate.usage(seq=7, at=gate.clock.now)])
    gate.read_back(row)
    [again] = commands([gate.usage(seq=7, at=gate.clock.now)])
    assert (first.cmd, again.cmd, first.n, again.n) == ("renew", "renew", 1, 1)


def test_a_session_that_was_over_is_ended_again(gate: Gate) -> None:
    session = gate.opened()
    gate.sessions.take_changes()
    row = session.row()
    gate.clock.now = session.open_until + 1
    first = gate.tick()
    gate.read_back(row)
    again = gate.tick()
    assert [entry.draft.kind for entry in (*first, *again) if entry.draft] == ["session_end"] * 2


def test_an_overdue_lock_is_told_all_the_same(gate: Gate) -> None:
    gate.running()
    gate.control("lock")
    gate.work_off()
    gate.sessions.take_changes()
    row = gate.session().row()
    gate.clock.now += 120_000 + OVERDUE_MS + 1
    assert len(alerts(gate.tick())) == 1
    gate.read_back(row)
    gate.clock.pass_s(1)
    assert len(alerts(gate.tick())) == 1


def test_an_end_told_by_the_chip_is_taken_again(gate: Gate) -> None:
    session = gate.running()
    gate.sessions.take_changes()
    row = session.row()
    ends = []
    for _ in range(2):
        gate.read_back(row)
        gate.recorded.clear()
        entry = gate.event("locked", session.session_id, event_id="event-again", seq=9, reason="operator")
        ends.append(event_of(entry).ends)
    assert ends == [session.session_id] * 2


def test_a_stray_is_locked_in_the_end(gate: Gate) -> None:
    sent = []
    for _ in range(4):
        sent += commands([gate.usage("session-of-before", at=gate.clock.now)])
        gate.read_back()
        gate.clock.pass_s(10)
    assert [command.reason for command in sent[:1]] == ["no_session"]


# --- numbers of events through a real database ----------------------------------------------------------------------


def written(engine: Engine, signer: Signer, entries: list[Entry]) -> dict[str, int]:
    """What the database knows of event numbers after these."""
    with engine.connect() as connection:
        batch = Batch(
            [entry.draft for entry in entries if entry.draft],
            seqs=[entry.seq for entry in entries if entry.seq],
            lost=[entry.lost for entry in entries if entry.lost],
        )
        Journal(engine.dialect, signer).commit(connection, batch)
        return book(connection).seqs


def test_numbers_that_began_anew_at_a_boot_are_counted_from_there_also_after_a_restart(
    databases: Databases, signer: Signer
) -> None:
    engine, gate = databases.engine(), make_gate()
    written(engine, signer, [gate.event("clock_reset", seq=100)])
    seqs = written(engine, signer, [gate.event("boot", seq=1), gate.event("clock_reset", seq=2)])
    restarted = make_gate()
    restarted.clock.now = NOW + 1000
    restarted.read_back(whole=True, seqs=seqs)
    assert event_of(restarted.event("clock_reset", seq=5)).lost == (3, 4)
