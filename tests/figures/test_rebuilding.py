"""What is kept is what counting anew comes to; what is not is found and put right; what was purged stays gone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from msgspec.structs import replace
from sqlalchemy import Engine

from gateway.core.policy import Policy, Retention
from gateway.store.beside import Pace
from gateway.store.figures import tables
from gateway.store.figures.folding import Folder, read_state
from gateway.store.figures.rebuilding import FiguresError, rebuild, verify
from gateway.store.journal import Batch
from gateway.store.purge import Ordered, purge
from gateway.wire.tokens import Signer
from tests.figures.ground import DAY_MS, FIRM, HOUR_MS, Shift, machine
from tests.figures.worlds import World, build, worlds
from tests.store.databases import AT, Databases
from tests.support.gateway import weldgate

QUICK = Pace(rows=3, pause_s=0)
KEPT_FOR_EVER = Retention(0, 0, 0, 0, 0, 0, 0)


def days_of_work(engine: Engine, signer: Signer, days: int) -> Shift:
    """A session and a refusal a day, counted."""
    shift = Shift(engine, signer)
    for day in range(days):
        at = AT + day * DAY_MS
        session_id = shift.allow(at, machine("HJ-0001"), f"P{day % 3}")
        shift.report(session_id, 60, at + 1000)
        shift.lock(session_id, at + HOUR_MS)
        shift.refuse(at + 2 * HOUR_MS, machine("HJ-0002"))
    fold(engine)
    return shift


def fold(engine: Engine) -> None:
    while Folder(engine).step(50, AT).full:
        pass


def rows(engine: Engine, table: sa.Table) -> list[Any]:
    with engine.connect() as connection, connection.begin():
        return connection.execute(sa.select(table).order_by(*table.primary_key.columns)).all()  # type: ignore[return-value]


def everything(engine: Engine) -> dict[str, list[Any]]:
    return {table.name: rows(engine, table) for table in tables.MADE}


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(world=worlds)
def test_counting_anew_comes_to_the_same(world: World, databases: Databases, signer: Signer) -> None:
    engine = databases.engine()
    build(world, engine, signer)
    assert list(verify(engine)) == []
    engine.dispose()


def _delete(table: sa.Table) -> Callable[[Any], None]:
    return lambda connection: connection.execute(sa.delete(table))


WRONGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    **{f"no {table.name}": (table.name, _delete(table)) for table in tables.MADE},
    "another outcome": ("decisions", lambda c: c.execute(sa.update(tables.DECISIONS).values(outcome="allow"))),
    "counted twice": ("decision_days", lambda c: c.execute(sa.update(tables.DAYS).values(decisions=2))),
    "arcs of nobody": (
        "usage_days",
        lambda c: c.execute(
            sa.insert(tables.USAGE_DAYS).values(
                day=1,
                machine_id="X",
                operator_id="",
                division="",
                uscc=FIRM,
                sessions=0,
                enabled_s=0,
                arc_s=9,
                idle_s=0,
                arcs=0,
                energy_mwh=0,
            )
        ),
    ),
    "less energy": ("firm_days", lambda c: c.execute(sa.update(tables.FIRM_DAYS).values(energy_mwh=1))),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_what_is_wrong_is_found_and_put_right(wrong: str, engine: Engine, signer: Signer) -> None:
    shift = days_of_work(engine, signer, 4)
    right = everything(engine)
    name, do = WRONGS[wrong]
    with engine.begin() as connection:
        do(connection)
    assert {difference.table for difference in verify(engine)} == {name}
    assert rebuild(engine) > 0
    assert list(verify(engine)) == []
    assert everything(engine) == right
    shift.refuse(AT + 9 * DAY_MS)
    fold(engine)
    assert len(rows(engine, tables.DECISIONS)) == 9
    assert list(verify(engine)) == []


def test_from_nothing_everything_is_made(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 4)
    right = everything(engine)
    with engine.begin() as connection:
        for table in (*tables.MADE, tables.STATE):
            connection.execute(sa.delete(table))
    fold(engine)
    assert everything(engine) == right


def test_what_is_left_to_count_is_counted_first(engine: Engine, signer: Signer) -> None:
    shift = days_of_work(engine, signer, 2)
    shift.refuse(AT + 5 * DAY_MS)
    shift.report("session-000001", 99, AT + 6 * DAY_MS)
    assert list(verify(engine)) == []
    assert len(rows(engine, tables.DECISIONS)) == 5


def test_two_cannot_make_them_anew_at_once(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 1)
    with engine.begin() as connection:
        connection.execute(sa.update(tables.STATE).values(held_by="somebody", held_until=10**15))
    with pytest.raises(FiguresError, match="somebody else"):
        rebuild(engine)


def test_nobody_is_held_up_afterwards(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 1)
    rebuild(engine)
    with engine.connect() as connection:
        state = read_state(connection)
    assert (state.held_by, state.held_until) == (None, None)


# --- purge ------------------------------------------------------------------------------------------------------


def purged(engine: Engine, at: int, **days: int) -> None:
    retention = replace(KEPT_FOR_EVER, **{f"{kind}_days": number for kind, number in days.items()})
    purge(engine, Policy(retention=retention), Ordered("Wang An", "保存期满", at), pace=QUICK)
    fold(engine)


def test_what_names_a_person_goes_with_what_is_purged_and_counts_stay(engine: Engine, signer: Signer) -> None:
    days_of_work(engine, signer, 30)
    before = everything(engine)
    purged(engine, AT + 29 * DAY_MS + 3 * HOUR_MS, usage=10, sessions=10, ledger=10)
    after = everything(engine)
    for name in ("decision_hours", "decision_days", "firm_days"):
        assert after[name] == before[name]
    first = min(row.at for row in after["decisions"])
    assert first >= AT + 19 * DAY_MS
    assert {row.seq for row in after["decision_reasons"]} <= {row.seq for row in after["decisions"]}
    assert min(row.granted_at for row in after["session_index"]) >= AT + 18 * DAY_MS
    assert len(after["usage_days"]) <= 12
    assert list(verify(engine)) == []


def test_that_a_machine_was_used_is_known_when_nobody_knows_by_whom(engine: Engine, signer: Signer) -> None:
    shift = days_of_work(engine, signer, 3)
    shift.refuse(AT + 100 * DAY_MS)
    purged(engine, AT + 100 * DAY_MS, sessions=10)
    (pair,) = rows(engine, tables.PAIRS)
    assert (pair.operator_id, pair.sessions) == ("", 3)


def test_a_session_whose_usage_is_purged_still_counts(engine: Engine, signer: Signer) -> None:
    shift = days_of_work(engine, signer, 20)
    before = rows(engine, tables.FIRM_DAYS)
    purged(engine, AT + 20 * DAY_MS, usage=10)
    shift.write(Batch([shift.event("session-000001", "HJ-0001", "tamper", AT + 30 * DAY_MS)]))
    fold(engine)
    assert rows(engine, tables.FIRM_DAYS) == before


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_tells_finds_and_puts_right(databases: Databases, signer: Signer) -> None:
    path: Path = databases.file()
    engine = databases.engine(path)
    days_of_work(engine, signer, 2)
    database = ("--database", f"sqlite:///{path}")
    assert "left 0" in weldgate("figures", "status", *database).stdout
    assert "equal" in weldgate("figures", "verify", *database).stdout
    with engine.begin() as connection:
        connection.execute(sa.delete(tables.DAYS).where(tables.DAYS.c.outcome == "deny"))
    told = weldgate("figures", "verify", *database)
    assert (told.returncode, told.stdout.count("decision_days:")) == (1, 4)
    assert "put right: 4" in weldgate("figures", "rebuild", *database).stdout
    assert weldgate("figures", "verify", *database).returncode == 0
