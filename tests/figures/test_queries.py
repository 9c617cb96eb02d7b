"""What the queries tell, beyond who may ask them."""

from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from gateway.core.days import HOUR_MS, Days, date_of, day_of, hour_of, month_of
from gateway.core.reach import EVERYWHERE, Reach
from gateway.store.figures import counts, decisions, firms, machines, overview, pairs, people, sessions, tables
from gateway.store.figures.decisions import Wanted
from gateway.store.figures.folding import Folder
from gateway.store.figures.machines import MachinesWanted
from gateway.store.figures.reading import Part
from gateway.store.tables import (
    CertificateRow,
    EmploymentRow,
    EnterpriseRow,
    MachineRow,
    OperatorRow,
)
from gateway.wire.tokens import Signer
from tests.figures.ground import COUNTY, DAY_MS, FIRM, OTHER_COUNTY, OTHER_FIRM, TOWN, Shift, machine
from tests.figures.worlds import CHIPS, CONTROLS, TODAY, certificate, chip, hold
from tests.store.databases import AT

THIS_DAY = Days(TODAY, TODAY)
MACHINE, TOWN_MACHINE = machine("HJ-0001"), machine("HJ-0002", OTHER_FIRM, TOWN)
HELD = {"change": 1, "source": "test"}


@pytest.fixture
def shift(engine: Engine, signer: Signer) -> Shift:
    return Shift(engine, signer)


def insert(engine: Engine, row: Any, *values: dict[str, Any]) -> None:
    table = row if isinstance(row, sa.Table) else tables.table(row)
    held = HELD if "change" in table.c else {}
    with engine.begin() as connection:
        for value in values:
            connection.execute(sa.insert(table).values(value | held))


def fold(engine: Engine) -> None:
    while Folder(engine).step(50, AT).full:
        pass


def a_machine(machine_id: str, uscc: str = FIRM, division: str = COUNTY, **other: Any) -> dict[str, Any]:
    values = {"machine_id": machine_id, "uscc": uscc, "division": division, "process": "fusion", "status": "active"}
    return values | {"chip": None} | other


def a_firm(uscc: str, division: str) -> dict[str, Any]:
    return {"uscc": uscc, "name": f"Firm {uscc[-2:]}", "division": division, "status": "active"}


# --- decisions --------------------------------------------------------------------------------------------------


def test_a_decision_is_listed_with_todays_names(engine: Engine, connection: Connection, shift: Shift) -> None:
    insert(engine, EnterpriseRow, a_firm(FIRM, COUNTY))
    insert(engine, OperatorRow, {"operator_id": "P1", "name": "样例甲", "status": "active"})
    shift.refuse(AT, MACHINE, "P1", ("certificate_expired", "operator_blocked"))
    shift.refuse(AT + 1, None, None, ("machine_unknown",))
    fold(engine)
    unknown, entry = decisions.decisions(connection, EVERYWHERE).rows
    assert (entry.operator, entry.firm, entry.reasons) == (
        "样例甲",
        "Firm 0X",
        ("certificate_expired", "operator_blocked"),
    )
    assert (unknown.operator, unknown.firm, unknown.operator_id, unknown.division) == (None, None, None, "")


def test_a_page_goes_on_where_the_one_before_ended(engine: Engine, connection: Connection, shift: Shift) -> None:
    for number in range(7):
        shift.refuse(AT + number // 2, MACHINE)  # several at the same time
    fold(engine)
    first = decisions.decisions(connection, EVERYWHERE, limit=3)
    second = decisions.decisions(connection, EVERYWHERE, limit=3, after=first.after)
    third = decisions.decisions(connection, EVERYWHERE, limit=3, after=second.after)
    assert [entry.seq for page in (first, second, third) for entry in page.rows] == [7, 6, 5, 4, 3, 2, 1]
    assert third.after is None


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Wanted(), "ix_decisions_at"),
        (Wanted(outcome="deny"), "ix_decisions_refused"),
        (Wanted(kind="offline"), "ix_decisions_offline"),
        (Wanted(kind="offline", uscc=FIRM, division="330521"), "ix_decisions_offline"),
        (Wanted(division="330521"), "ix_decisions_division_at"),
        (Wanted(uscc=FIRM, outcome="deny"), "ix_decisions_uscc_at"),
        (Wanted(machine_id="HJ-0001", uscc=FIRM, operator_id="P1"), "ix_decisions_machine_id_at"),
        (Wanted(operator_id="P1", uscc=FIRM, outcome="deny"), "ix_decisions_operator_id_at"),
        (Wanted(reason="certificate_expired", uscc=FIRM), "decision_reasons USING PRIMARY KEY"),
    ],
)
def test_each_list_is_found_by_the_index_that_leaves_the_fewest(
    wanted: Wanted, index: str, engine: Engine, connection: Connection, shift: Shift
) -> None:
    shift.refuse(AT, MACHINE)
    fold(engine)
    plans: list[str] = []

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        found = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
        plans.extend(row[3] for row in found)

    sa.event.listen(connection, "before_cursor_execute", explain)
    assert len(decisions.decisions(connection, EVERYWHERE, wanted).rows) == (0 if wanted.kind else 1)
    assert any(index in plan for plan in plans), plans
    assert not any(
        plan.startswith(("SCAN decisions", "SCAN decision_reasons")) and "USING" not in plan for plan in plans
    )


def test_a_division_with_many_towns_is_listed_in_the_order_of_time(
    engine: Engine, connection: Connection, shift: Shift
) -> None:
    towns = [f"330521{number}" for number in range(101, 101 + decisions.FEW_DIVISIONS + 3)]
    for number, town in enumerate(towns):
        shift.refuse(AT + number, machine(f"HJ-{number:04}", FIRM, town))
    shift.refuse(AT, machine("HJ-9000", FIRM, OTHER_COUNTY))
    fold(engine)
    for few in (decisions.FEW_DIVISIONS, len(towns)):  # one by one, and backwards through all
        some = Reach(division="330521")
        found = decisions.decisions(connection, some, limit=few).rows
        assert [entry.at for entry in found] == sorted((entry.at for entry in found), reverse=True)
        assert len(found) == few
    assert len(decisions.decisions(connection, Reach(division="3305211"), limit=100).rows) == len(towns)


# --- machines ---------------------------------------------------------------------------------------------------


def use(shift: Shift, machine_id: str, operator_id: str, at: int = AT - DAY_MS, *, running: float | None = None) -> str:
    """A session; one that goes on with a current of ``running`` A."""
    session_id = shift.allow(at, machine(machine_id), operator_id)
    if running is None:
        shift.lock(session_id, at + HOUR_MS, machine_id)
    else:
        shift.unlock(session_id, at, machine_id)
        shift.report(session_id, 60, at, machine_id, current_a=running)
    return session_id


def test_every_machine_is_in_one_state(engine: Engine, connection: Connection, shift: Shift) -> None:
    ids = [f"HJ-000{number}" for number in range(1, 9)]
    insert(engine, MachineRow, *(a_machine(one) for one in ids), a_machine("HJ-0009", status="decommissioned"))
    insert(engine, CHIPS, *(chip(one, AT, online=one != "HJ-0003") for one in ids[:7]))
    for machine_id in ("HJ-0002", "HJ-0003", "HJ-0006", "HJ-0007"):
        use(shift, machine_id, f"P-{machine_id}")
    use(shift, "HJ-0004", "P4", running=0.0)
    use(shift, "HJ-0005", "P5", running=120.0)
    insert(
        engine,
        CONTROLS,
        hold("HJ-0006", "out_of_service", 1),
        hold("HJ-0007", "lock", 2),
        hold("HJ-0007", "release", 3),
    )
    fold(engine)
    states = {row.machine_id: row.state for row in machines.machines(connection, EVERYWHERE).rows}
    assert states == {
        "HJ-0001": "never_used",
        "HJ-0002": "online",
        "HJ-0003": "silent",
        "HJ-0004": "unlocked",
        "HJ-0005": "welding",
        "HJ-0006": "out_of_service",
        "HJ-0007": "online",
        "HJ-0008": "never_used",
        "HJ-0009": "out_of_service",
    }
    counted = machines.machine_states(connection, EVERYWHERE)
    assert counted == machines.MachineStates(2, 1, 1, 2, 1, 2)
    assert counted.machines == 9
    assert [
        row.machine_id for row in machines.machines(connection, EVERYWHERE, MachinesWanted(state="silent")).rows
    ] == ["HJ-0003"]
    silent = machines.silent(connection, EVERYWHERE, AT + 1).rows
    assert [row.machine_id for row in silent] == ["HJ-0003", "HJ-0008"]
    assert [row.machine_id for row in machines.silent(connection, EVERYWHERE, AT).rows] == ["HJ-0008"]
    fitted = machines.fitted(connection, EVERYWHERE)
    assert (fitted.machines, fitted.chips, fitted.reporting, fitted.rate) == (8, 7, 7, 7 / 8)


def test_a_machine_by_itself(engine: Engine, connection: Connection, shift: Shift) -> None:
    insert(engine, MachineRow, a_machine("HJ-0001", location="一号车间"))
    insert(engine, EnterpriseRow, a_firm(FIRM, COUNTY))
    insert(engine, CHIPS, chip("HJ-0001", AT, online=True))
    session_id = use(shift, "HJ-0001", "P1")
    shift.report(session_id, 60)
    shift.refuse(AT, MACHINE)
    fold(engine)
    profile = machines.machine(connection, EVERYWHERE, "HJ-0001", TODAY)
    assert profile is not None
    assert (profile.facts.location, profile.facts.firm, profile.state) == ("一号车间", "Firm 0X", "online")
    assert profile.used_at == AT - DAY_MS + HOUR_MS - 60_000
    assert profile.chip is not None
    assert [(one.operator_id, one.arc_s, one.end_reason) for one in profile.sessions] == [("P1", 60, "operator")]
    assert [entry.outcome for entry in profile.decisions] == ["deny", "allow"]
    assert [(day.day, day.sessions, day.arc_s, day.energy_wh) for day in profile.usage] == [
        (TODAY - timedelta(1), 1, 60, 6.0)
    ]
    assert machines.machine(connection, EVERYWHERE, "HJ-0404", TODAY) is None


def test_sessions_that_go_on_are_told_as_they_stand(engine: Engine, connection: Connection, shift: Shift) -> None:
    insert(engine, MachineRow, a_machine("HJ-0001"), a_machine("HJ-0002"), a_machine("HJ-0003"))
    use(shift, "HJ-0001", "P1", AT, running=120.0)
    shift.allow(AT + 1, machine("HJ-0002"), "P2")
    use(shift, "HJ-0003", "P3")
    told = sessions.open_sessions(connection, EVERYWHERE)
    assert [(one.machine_id, one.state) for one in told] == [("HJ-0002", "granted"), ("HJ-0001", "welding")]
    assert sessions.count_open(connection, EVERYWHERE) == 2


def test_sessions_want_somebody_to_be_of(connection: Connection) -> None:
    with pytest.raises(ValueError, match="name a machine"):
        sessions.sessions(connection, EVERYWHERE)


# --- people -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("different", "counts_today"),
    [
        ({}, True),
        ({"valid_until": TODAY - timedelta(1)}, False),
        ({"valid_from": TODAY + timedelta(1), "valid_until": TODAY + timedelta(9)}, False),
        ({"status": "suspended"}, False),
        ({"verification": "counterfeit"}, False),
        ({"verification": "unverified"}, True),
    ],
)
def test_who_is_certified(
    different: dict[str, Any], counts_today: bool, engine: Engine, connection: Connection
) -> None:
    insert(engine, OperatorRow, *({"operator_id": who, "status": "active"} for who in ("P1", "P2")))
    insert(engine, EmploymentRow, {"operator_id": "P1", "uscc": FIRM, "since": date.min, "until": None})
    insert(engine, CertificateRow, certificate("P1", **different), certificate("P2"))
    found = people.certified(connection, EVERYWHERE, TODAY)
    assert (found.people, found.certified) == (1, int(counts_today))
    (row,) = people.people(connection, Reach(uscc=FIRM), TODAY).rows
    assert row.certified == counts_today


def test_a_person_by_themselves(engine: Engine, connection: Connection, shift: Shift) -> None:
    insert(engine, OperatorRow, {"operator_id": "P1", "name": "样例甲", "status": "active"})
    insert(
        engine,
        EmploymentRow,
        {"operator_id": "P1", "uscc": FIRM, "since": TODAY, "until": None},
        {"operator_id": "P1", "uscc": OTHER_FIRM, "since": TODAY, "until": None},
    )
    insert(engine, CertificateRow, certificate("P1"))
    use(shift, "HJ-0001", "P1")
    shift.refuse(AT, TOWN_MACHINE, "P1")
    fold(engine)
    profile = people.person(connection, EVERYWHERE, "P1", TODAY)
    assert profile is not None
    assert (profile.facts.name, profile.certified, len(profile.certificates)) == ("样例甲", True, 1)
    assert profile.tally == counts.Tally(1, 1)
    seen_by_firm = people.person(connection, Reach(uscc=FIRM), "P1", TODAY)
    assert seen_by_firm is not None
    assert [work.uscc for work, _ in seen_by_firm.employments] == [FIRM]
    assert seen_by_firm.tally == counts.Tally(1, 0)
    assert len(seen_by_firm.decisions) == 1


# --- divisions, firms, ranking ----------------------------------------------------------------------------------


@pytest.fixture
def two_counties(engine: Engine, shift: Shift) -> None:
    """A firm in a county, one in a town of it, one in another county."""
    third = "91330522MA2B0CCC2Z"
    insert(engine, EnterpriseRow, a_firm(FIRM, COUNTY), a_firm(OTHER_FIRM, TOWN), a_firm(third, OTHER_COUNTY))
    insert(
        engine,
        MachineRow,
        a_machine("HJ-0001"),
        a_machine("HJ-0002", OTHER_FIRM, TOWN),
        a_machine("HJ-0003", third, OTHER_COUNTY),
    )
    insert(engine, EmploymentRow, *({"operator_id": who, "uscc": OTHER_FIRM, "since": TODAY} for who in ("P1", "P2")))
    for _ in range(3):
        shift.refuse(AT, TOWN_MACHINE)
    shift.refuse(AT, MACHINE)
    shift.refuse(AT, machine("HJ-0003", third, OTHER_COUNTY))
    for number, where in enumerate((TOWN_MACHINE, MACHINE, MACHINE)):
        session_id = shift.allow(AT - number * DAY_MS, where, f"P{number}")
        shift.report(session_id, 600 * (number + 1), AT, where.machine_id)
        shift.lock(session_id, AT + HOUR_MS, where.machine_id)
    fold(engine)


@pytest.mark.usefixtures("two_counties")
def test_from_counties_to_towns_to_firms(connection: Connection) -> None:
    counties = firms.divisions(connection, EVERYWHERE, TODAY)
    assert [(row.division, row.firms, row.machines, row.people) for row in counties] == [
        (COUNTY, 2, 2, 2),
        (OTHER_COUNTY, 1, 1, 0),
    ]
    assert [(row.allowed, row.refused, row.sessions) for row in counties] == [(1, 4, 3), (0, 1, 0)]
    towns = firms.divisions(connection, EVERYWHERE, TODAY, COUNTY)
    assert [(row.division, row.firms, row.refused) for row in towns] == [(COUNTY, 1, 1), (TOWN, 1, 3)]
    assert firms.divisions(connection, EVERYWHERE, TODAY, TOWN) == []
    assert firms.divisions(connection, EVERYWHERE, TODAY, OTHER_COUNTY) == []
    (row,) = firms.firms(connection, EVERYWHERE, TODAY, Part(TOWN)).rows
    assert (row.uscc, row.machines, row.people, row.allowed, row.refused, row.arc_s) == (OTHER_FIRM, 1, 2, 1, 3, 600)
    assert firms.firm(connection, EVERYWHERE, OTHER_FIRM, TODAY) == row


@pytest.mark.usefixtures("two_counties")
def test_who_stands_where_in_a_month(connection: Connection) -> None:
    month = month_of(TODAY)
    ranked = firms.rank_firms(connection, EVERYWHERE, month, "refused")
    assert [(rank.key, rank.refused) for rank in ranked][:1] == [(OTHER_FIRM, 3)]
    assert [rank.refused for rank in ranked] == [3, 1, 1]
    assert ranked[0].name == "Firm 1Y"
    assert [rank.arc_s for rank in firms.rank_firms(connection, EVERYWHERE, month, "arc_s", limit=1)] == [3000]
    rates = [rank.refusal_rate for rank in firms.rank_firms(connection, EVERYWHERE, month, "refusal_rate")]
    assert rates == [1.0, 0.75, 1 / 3]
    counties = firms.rank_divisions(connection, EVERYWHERE, month, "refused", digits=6)
    assert [(rank.key, rank.refused) for rank in counties] == [(COUNTY, 4), (OTHER_COUNTY, 1)]
    assert firms.rank_firms(connection, EVERYWHERE, month_of(TODAY - timedelta(60)), "refused") == []


@pytest.mark.usefixtures("two_counties")
def test_the_first_page(connection: Connection) -> None:
    seen = overview.overview(connection, EVERYWHERE, TODAY, refusals=2)
    assert seen.today == counts.Tally(1, 5)
    assert seen.month == counts.Tally(3, 5)
    assert seen.today.refusal_rate == 5 / 6
    assert len(seen.refusals) == 2
    assert seen.usage_today.arc_s == 600
    county = overview.overview(connection, Reach(division=OTHER_COUNTY), TODAY)
    assert (county.today, county.machines.machines) == (counts.Tally(0, 1), 1)
    assert overview.overview(connection, Reach(division="4"), TODAY).today.refusal_rate is None


# --- over time --------------------------------------------------------------------------------------------------


def test_refusals_by_reason_hour_and_day(engine: Engine, connection: Connection, shift: Shift) -> None:
    for at, code in ((AT, "certificate_expired"), (AT + 1, "certificate_expired"), (AT + HOUR_MS, "operator_blocked")):
        shift.refuse(at, MACHINE, reasons=(code,))
    shift.refuse(AT - DAY_MS, MACHINE, reasons=("operator_blocked",))
    shift.allow(AT, MACHINE, warnings=("certificate_unverified",))
    fold(engine)
    days = Days(TODAY - timedelta(1), TODAY)
    assert counts.codes(connection, EVERYWHERE, days) == [
        counts.CodeCount("certificate_expired", 2),
        counts.CodeCount("operator_blocked", 2),
    ]
    assert counts.codes(connection, EVERYWHERE, days, "allow") == [counts.CodeCount("certificate_unverified", 1)]
    hours = counts.decisions_over_time(connection, EVERYWHERE, THIS_DAY, "hour")
    assert [(hour_of(bar.since) - hour_of(AT), bar.allowed, bar.refused) for bar in hours] == [(0, 1, 2), (1, 0, 1)]
    by_day = counts.codes_over_time(connection, EVERYWHERE, days, "day")
    assert [(date_of(day_of(bar.since)) == TODAY, bar.code, bar.decisions) for bar in by_day] == [
        (False, "operator_blocked", 1),
        (True, "certificate_expired", 2),
        (True, "operator_blocked", 1),
    ]


# --- always together --------------------------------------------------------------------------------------------


def test_machines_that_one_person_alone_ever_unlocked(engine: Engine, connection: Connection, shift: Shift) -> None:
    insert(engine, MachineRow, a_machine("HJ-0001"), a_machine("HJ-0002"), a_machine("HJ-0003"))
    for number in range(3):
        use(shift, "HJ-0001", "P1", AT + number * DAY_MS)
        use(shift, "HJ-0002", f"P{number}", AT + number * DAY_MS)
    use(shift, "HJ-0003", "P1", AT + 9 * DAY_MS)
    fold(engine)
    (sole,) = pairs.sole_operators(connection, EVERYWHERE, at_least=2)
    assert (sole.machine_id, sole.operator_id, sole.sessions, sole.staff) == ("HJ-0001", "P1", 3, 3)


def test_people_who_always_unlock_within_minutes_of_each_other(
    engine: Engine, connection: Connection, shift: Shift
) -> None:
    for number in range(4):
        at = AT - number * DAY_MS
        use(shift, "HJ-0001", "P1", at)
        use(shift, "HJ-0002", "P2", at + 4 * 60_000)
        use(shift, "HJ-0003", "P3", at + 10 * 60_000)  # never within five minutes
    fold(engine)
    days = Days(TODAY - timedelta(30), TODAY + timedelta(1))
    (found,) = pairs.together(connection, EVERYWHERE, FIRM, days, at_least=4)
    assert (found.first, found.second, found.times, found.unlocks) == ("P1", "P2", (4, 4), (4, 4))
    assert pairs.together(connection, EVERYWHERE, FIRM, days, at_least=5) == []
    assert pairs.together(connection, Reach(uscc=OTHER_FIRM), FIRM, days, at_least=4) == []


def test_now_and_then_is_not_always() -> None:
    def unlock(number: int, who: str, where: str, minute: int) -> pairs.Unlock:
        return pairs.Unlock(number * DAY_MS + minute * 60_000, who, where)

    often = [unlock(n, "P1", "HJ-1", 0) for n in range(10)] + [unlock(n, "P2", "HJ-2", 1) for n in range(8)]
    assert pairs.pairs_of(sorted(often), at_least=5, share=0.9) == []
    assert [one.times for one in pairs.pairs_of(sorted(often), at_least=5, share=0.8)] == [(8, 8)]
    same = [unlock(n, who, "HJ-1", 0) for n in range(10) for who in ("P1", "P2")]
    assert pairs.pairs_of(sorted(same), at_least=5, share=0.9) == []
