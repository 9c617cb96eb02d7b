"""No query gives a row out of reach, and none within it is missing: held against the predicates of the core."""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from sqlalchemy import Connection, Engine

from gateway.core.days import Days, up_to
from gateway.core.model import Employment as Work
from gateway.core.model import Machine
from gateway.core.reach import EVERYWHERE, Reach
from gateway.store.figures import counts, decisions, exports, firms, machines, overview, pairs, people, sessions
from gateway.store.figures.decisions import DecisionEntry, Wanted
from gateway.store.figures.machines import MachinesWanted
from gateway.store.figures.reading import Page, Part
from gateway.store.reach import within
from gateway.store.tables import ApiTokenRow, metadata
from gateway.wire.tokens import Signer
from tests.figures.worlds import (
    CODES,
    DIVISIONS,
    FIRMS,
    MACHINES,
    PEOPLE,
    TODAY,
    Employment,
    World,
    build,
    reaches,
    worlds,
)
from tests.store.databases import Databases

ALL_DAYS = up_to(TODAY, 400)
FEW = 3
"""Rows of a page, so that there are several."""


def whole(ask: Callable[[Any], Page[Any]]) -> Iterator[Any]:
    """All pages, one after the other."""
    after: tuple[Any, ...] | None = None
    while True:
        page = ask(after)
        assert len(page.rows) <= FEW
        yield from page.rows
        if page.after is None:
            return
        after = page.after


def all_decisions(connection: Connection, reach: Reach, wanted: Wanted = decisions.ANY) -> list[DecisionEntry]:
    return list(whole(lambda after: decisions.decisions(connection, reach, wanted, FEW, after)))


def holds(reach: Reach, row: Any) -> bool:
    return reach.holds_record(row.division, row.uscc, row.operator_id)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(world=worlds, reaches=reaches)
def test_queries_hold_to_the_reach(world: World, reaches: list[Reach], databases: Databases, signer: Signer) -> None:
    engine = databases.engine()
    build(world, engine, signer)
    with engine.connect() as connection:
        everything = all_decisions(connection, EVERYWHERE)
        assert len(everything) == len(world.acts)
        for reach in reaches:
            check_decisions(connection, reach, everything)
            check_sessions(connection, reach)
            check_machines(connection, reach, world)
            check_people(connection, reach, world)
            check_firms(connection, reach, world)
            check_counts(connection, reach, everything)
            check_usage(connection, reach)
        check_union(connection, everything)
    engine.dispose()


def check_decisions(connection: Connection, reach: Reach, everything: list[DecisionEntry]) -> None:
    mine = [entry for entry in everything if holds(reach, entry)]
    for wanted in filters():
        expected = [entry for entry in mine if fits(entry, wanted)]
        assert all_decisions(connection, reach, wanted) == expected, (reach, wanted)
    for entry in everything:
        expected_entry = entry if entry in mine else None
        assert decisions.decision(connection, reach, entry.seq) == expected_entry
    assert list(decisions.exported(connection.engine, reach)) == mine


def filters() -> Iterator[Wanted]:
    yield decisions.ANY
    yield Wanted(kind="offline")
    yield from (Wanted(outcome=outcome) for outcome in ("allow", "deny"))
    yield from (Wanted(reason=code) for code in CODES)
    yield from (Wanted(machine_id=machine_id) for machine_id in MACHINES[:2])
    yield from (Wanted(operator_id=who) for who in PEOPLE[:2])
    yield from (Wanted(uscc=uscc) for uscc in FIRMS[:2])
    yield from (Wanted(division=code) for code in ("330521", DIVISIONS[1], "33"))
    yield Wanted(division="330521", outcome="deny")
    yield Wanted(uscc=FIRMS[0], reason=CODES[0])
    yield Wanted(machine_id=MACHINES[0], reason=CODES[0], uscc=FIRMS[0], division="330521", operator_id=PEOPLE[0])
    since, until = up_to(TODAY, 30).moments
    yield Wanted(since=since, until=until)
    yield Wanted(reason=CODES[0], since=since, until=until)


def fits(entry: DecisionEntry, wanted: Wanted) -> bool:
    named = ("uscc", "machine_id", "operator_id", "outcome", "kind")
    return (
        all(getattr(wanted, name) in (None, getattr(entry, name)) for name in named)
        and entry.division.startswith(wanted.division)
        and (wanted.reason is None or (entry.outcome == "deny" and wanted.reason in entry.reasons))
        and (wanted.since is None or entry.at >= wanted.since)
        and (wanted.until is None or entry.at < wanted.until)
    )


def check_sessions(connection: Connection, reach: Reach) -> None:
    for names in (
        *({"machine_id": machine_id} for machine_id in MACHINES),
        *({"operator_id": who} for who in PEOPLE),
        *({"uscc": uscc} for uscc in FIRMS),
    ):

        def ask(of: Reach, after: Any, names: dict[str, Any] = names) -> Page[Any]:
            return sessions.sessions(connection, of, **names, limit=FEW, after=after)

        everything = list(whole(lambda after: ask(EVERYWHERE, after)))
        assert list(whole(lambda after: ask(reach, after))) == [one for one in everything if holds(reach, one)]
    running = sessions.open_sessions(connection, EVERYWHERE)
    mine = [one for one in running if holds(reach, one)]
    assert sessions.open_sessions(connection, reach) == mine
    if reach.operator_id is None:
        assert sessions.count_open(connection, reach) == len(mine)


def check_machines(connection: Connection, reach: Reach, world: World) -> None:
    mine = {m for m, (uscc, division) in world.machines.items() if reach.holds_machine(a_machine(m, uscc, division))}
    found = list(whole(lambda after: machines.machines(connection, reach, limit=FEW, after=after)))
    assert [row.machine_id for row in found] == sorted(mine)
    assert machines.machine_states(connection, reach).machines == len(mine)
    assert machines.fitted(connection, reach).machines == len(mine)
    unused = {row.machine_id for row in found if row.used_at is None}
    assert {row.machine_id for row in machines.never_used(connection, reach).rows} == unused
    assert {row.machine_id for row in machines.silent(connection, reach, 1).rows} == mine
    for part in (Part("330521"), Part(uscc=FIRMS[0])):
        there = {
            m
            for m in mine
            if world.machines[m][1].startswith(part.division) and part.uscc in (None, world.machines[m][0])
        }
        assert {row.machine_id for row in machines.machines(connection, reach, MachinesWanted(part)).rows} == there
    for machine_id in MACHINES:
        profile = machines.machine(connection, reach, machine_id, TODAY)
        assert (profile is not None) == (machine_id in mine)
        if profile is not None:
            assert all(holds(reach, one) for one in (*profile.sessions, *profile.decisions))
    seen = pairs.sole_operators(connection, reach, at_least=1)
    assert {one.machine_id for one in pairs.sole_operators(connection, EVERYWHERE, at_least=1)} & mine == {
        one.machine_id for one in seen
    }


def a_machine(machine_id: str, uscc: str, division: str) -> Machine:
    return Machine(machine_id, None, uscc, "fusion", division, "active")


def check_people(connection: Connection, reach: Reach, world: World) -> None:
    mine = {who for who in PEOPLE if reach.holds_person(who, world.employers(who))}
    found = list(whole(lambda after: people.people(connection, reach, TODAY, limit=FEW, after=after)))
    assert [row.operator_id for row in found] == sorted(mine)
    at_work = {who for who in mine if any(work.operator_id == who and work.today for work in world.employments)}
    counted = people.certified(connection, reach, TODAY)
    assert (counted.people, counted.certified) == (len(at_work), len(at_work & world.certified))
    for certified in (True, False):
        rows = people.people(connection, reach, TODAY, certified=certified).rows
        assert {row.operator_id for row in rows} == {who for who in mine if (who in world.certified) == certified}
    for who in PEOPLE:
        profile = people.person(connection, reach, who, TODAY)
        assert (profile is not None) == (who in mine)
        if profile is not None:
            assert all(holds(reach, one) for one in (*profile.sessions, *profile.decisions))
            assert all(at_firm(reach, world, who, work) for work, _ in profile.employments)


def at_firm(reach: Reach, world: World, operator_id: str, work: Work) -> bool:
    return (
        reach.operator_id == operator_id
        or reach.division == ""
        or reach.holds_firm(world.firms.get(work.uscc), work.uscc)
    )


def check_firms(connection: Connection, reach: Reach, world: World) -> None:
    mine = {uscc for uscc, division in world.firms.items() if reach.holds_firm(division, uscc)}
    found = list(whole(lambda after: firms.firms(connection, reach, TODAY, limit=FEW, after=after)))
    assert [row.uscc for row in found] == sorted(mine)
    for uscc in FIRMS:
        assert (firms.firm(connection, reach, uscc, TODAY) is not None) == (uscc in mine)
    rows = firms.divisions(connection, reach, TODAY)
    assert sum(row.firms for row in rows) == len(mine)
    placed = [m for m, (uscc, division) in world.machines.items() if reach.holds_firm(division, uscc)]
    assert sum(row.machines for row in rows) == len(placed)
    for row in found:
        theirs = [m for m in placed if world.machines[m][0] == row.uscc]
        assert row.machines == len(theirs)


def check_counts(connection: Connection, reach: Reach, everything: list[DecisionEntry]) -> None:
    placed = [entry for entry in everything if reach.holds_firm(entry.division, entry.uscc)]
    for days in (ALL_DAYS, up_to(TODAY, 30)):
        since, until = days.moments
        mine = [entry for entry in placed if since <= entry.at < until]
        check_counts_of(connection, reach, days, mine)
        own = [entry for entry in everything if holds(reach, entry) and since <= entry.at < until]
        told = counts.tally(connection, reach, days)
        assert (told.allowed, told.refused) == by_outcome(own)
    assert by_outcome(placed) == by_outcome_of(counts.tally(connection, reach, ALL_DAYS)) or reach.operator_id


def check_counts_of(connection: Connection, reach: Reach, days: Days, mine: list[DecisionEntry]) -> None:
    for unit in ("hour", "day"):
        bars = counts.decisions_over_time(connection, reach, days, unit)
        assert (sum(bar.allowed for bar in bars), sum(bar.refused for bar in bars)) == by_outcome(mine)
        coded = counts.codes_over_time(connection, reach, days, unit)
        assert sum(bar.decisions for bar in coded) == sum(
            len(entry.reasons) for entry in mine if entry.outcome == "deny"
        )
    for count in counts.codes(connection, reach, days):
        assert count.decisions == sum(count.code in entry.reasons for entry in mine if entry.outcome == "deny")
    ranked = firms.rank_firms(connection, reach, days, "refused")
    assert {rank.key: rank.refused for rank in ranked if rank.refused} == {
        uscc: refused for uscc in FIRMS if (refused := by_outcome([e for e in mine if e.uscc == uscc])[1])
    }
    towns = firms.rank_divisions(connection, reach, days, "decisions")
    assert {rank.key: rank.decisions for rank in towns if rank.decisions} == {
        code: n for code in DIVISIONS if (n := sum(e.division == code for e in mine))
    }


def by_outcome(entries: Iterable[DecisionEntry]) -> tuple[int, int]:
    outcomes = [entry.outcome for entry in entries]
    return outcomes.count("allow"), outcomes.count("deny")


def by_outcome_of(tally: counts.Tally) -> tuple[int, int]:
    return tally.allowed, tally.refused


def check_usage(connection: Connection, reach: Reach) -> None:
    everything = list(exports.exported_usage(connection.engine, EVERYWHERE, ALL_DAYS))
    mine = [one for one in everything if holds(reach, one)]
    assert list(exports.exported_usage(connection.engine, reach, ALL_DAYS)) == mine
    assert counts.usage(connection, reach, ALL_DAYS).arc_s == sum(one.arc_s for one in mine)
    for machine_id in MACHINES:
        days = counts.usage_by_day(connection, reach, ALL_DAYS, machine_id=machine_id)
        assert sum(day.arc_s for day in days) == sum(one.arc_s for one in mine if one.machine_id == machine_id)
    seen = overview.overview(connection, reach, TODAY)
    assert all(holds(reach, entry) for entry in seen.refusals)


def check_union(connection: Connection, everything: list[DecisionEntry]) -> None:
    """All firms, or all divisions, and what happened at machines that were not registered, are all there is."""
    nowhere = [entry for entry in everything if not entry.uscc]
    for parts in (
        [Reach(uscc=uscc) for uscc in FIRMS],
        [Reach(division=code) for code in ("330521", "330522", "330621")],
    ):
        union = [entry for reach in parts for entry in all_decisions(connection, reach)]
        assert sorted(union + nowhere, key=lambda entry: entry.place, reverse=True) == everything


# --- the condition itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "until", "there"),
    [
        (0, None, True),
        (0, 0, True),
        (-9, 9, True),
        (-9, -1, False),
        (1, None, False),
        (None, None, True),
    ],
)
def test_who_is_employed_on_the_day_lies_within_a_firms_reach(
    since: int | None, until: int | None, there: bool, engine: Engine, signer: Signer
) -> None:
    """Days from today; None: not known, or open."""
    first = date.min if since is None else TODAY + timedelta(since)
    work = Employment("P1", FIRMS[0], first, None if until is None else TODAY + timedelta(until))
    build(World({FIRMS[0]: "330521101"}, {}, (work,), frozenset(), ()), engine, signer)
    with engine.connect() as connection:
        for reach in (Reach(uscc=FIRMS[0]), Reach(division="330521")):
            found = people.people(connection, reach, TODAY).rows
            assert [row.operator_id for row in found] == (["P1"] if there else [])
            assert (people.person(connection, reach, "P1", TODAY) is not None) == there
        assert people.certified(connection, EVERYWHERE, TODAY).people == int(there)


def test_a_reach_with_nothing_set_sees_nothing(engine: Engine) -> None:
    for table in ("decisions", "usage_days", "sessions", "operators", "machines", "pairs", "session_index"):
        condition = within(Reach(), metadata.tables[table], TODAY)
        assert str(condition.compile(compile_kwargs={"literal_binds": True})) in ("false", "0 = 1")


def test_a_table_that_is_not_listed_cannot_be_read_through_a_reach() -> None:
    with pytest.raises(KeyError):
        within(EVERYWHERE, metadata.tables[ApiTokenRow.__tablename__], TODAY)
