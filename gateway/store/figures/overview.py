"""The first page of a firm, a county, a province: how things stand now."""

from datetime import date

from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.days import Days, up_to
from gateway.core.reach import Reach
from gateway.store.figures.counts import RATED_DAYS, Tally, Usage, tally, usage
from gateway.store.figures.decisions import DecisionEntry, Wanted, decisions
from gateway.store.figures.machines import Fitted, MachineStates, fitted, machine_states
from gateway.store.figures.people import Certified, certified
from gateway.store.figures.reading import WHOLE, Part
from gateway.store.figures.sessions import count_open

REFUSALS_SHOWN = 10


class Overview(Struct, frozen=True):
    """``today`` and the ``month`` of the last 30 days, today included; the latest ``refusals``. Rates are properties of
    what they are rates of."""

    machines: MachineStates
    fitted: Fitted
    people: Certified
    open_sessions: int
    today: Tally
    month: Tally
    usage_today: Usage
    refusals: list[DecisionEntry]


def overview(
    connection: Connection, reach: Reach, today: date, part: Part = WHOLE, refusals: int = REFUSALS_SHOWN
) -> Overview:
    """How things stand within the reach, or a part of it."""
    this_day = Days(today, today)
    refused = Wanted(part.division, part.uscc, outcome="deny")
    return Overview(
        machine_states(connection, reach, part),
        fitted(connection, reach, part),
        certified(connection, reach, today, part),
        count_open(connection, reach, part),
        tally(connection, reach, this_day, part),
        tally(connection, reach, up_to(today, RATED_DAYS), part),
        usage(connection, reach, this_day, part),
        decisions(connection, reach, refused, refusals).rows,
    )
