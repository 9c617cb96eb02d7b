"""The queries of the pages, each as somebody would ask it, and how long they take."""

import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from gateway.core.days import DAY_MS, date_of, month_of, up_to
from gateway.core.reach import EVERYWHERE, Reach
from gateway.store.engine import reading
from gateway.store.figures import counts, decisions, exports, firms, machines, overview, pairs, people, sessions
from gateway.store.figures.decisions import Wanted
from gateway.store.figures.machines import MachinesWanted
from gateway.store.figures.reading import Part
from gateway.store.proof import proof
from tests.bench.counting.synthetic import NOW, TODAY

DAY = date_of(TODAY)
MONTH, YEAR = up_to(DAY, 30), up_to(DAY, 365)
AT_LEAST, FOR_S = 5, 3.0
"""Each query is asked so many times, and then until this long has passed or 50 times."""


class Asked(NamedTuple):
    """A query by name, to be asked over a connection."""

    name: str
    ask: Callable[[Connection], Any]


class Names(NamedTuple):
    """Whom and what the queries are about."""

    county: Reach
    town: Reach
    firm: Reach
    welder: Reach
    machine_id: str
    rare: str
    frequent: str


def names(connection: Connection) -> Names:
    """The busiest firm and its county, a town, the busiest machine and person; a rare and a frequent reason."""

    def first(sql: str) -> str:
        return str(connection.execute(sa.text(sql)).scalar_one())

    uscc = first(
        f"SELECT uscc FROM firm_days WHERE day > {TODAY - 30} GROUP BY uscc ORDER BY sum(sessions) DESC LIMIT 1"
    )
    machine_id = first("SELECT machine_id FROM pairs GROUP BY machine_id ORDER BY sum(sessions) DESC LIMIT 1")
    who = first("SELECT operator_id FROM pairs WHERE operator_id <> '' GROUP BY 1 ORDER BY sum(sessions) DESC LIMIT 1")
    town = first("SELECT division FROM enterprises WHERE length(division) = 9 GROUP BY 1 ORDER BY count(*) LIMIT 1")
    by_count = "SELECT code FROM decision_days WHERE code <> '' GROUP BY 1 ORDER BY sum(decisions)"
    return Names(
        Reach(division=uscc[4:10]),
        Reach(division=town),
        Reach(uscc=uscc),
        Reach(operator_id=who),
        machine_id,
        first(f"{by_count} LIMIT 1"),
        first(f"{by_count} DESC LIMIT 1"),
    )


def asked(about: Names) -> Iterator[Asked]:
    """Every query, for everybody who may ask it."""
    who: dict[str, Reach] = {"all": EVERYWHERE, "county": about.county, "town": about.town, "firm": about.firm}
    for name, reach in who.items():
        yield from _of_a_reach(name, reach, about)
    everybody: tuple[tuple[str, Reach], ...] = (*who.items(), ("welder", about.welder))
    for name, reach in everybody:
        yield Asked(f"decisions, {name}", _bind(decisions.decisions, reach))
        filters = {
            "refused": Wanted(outcome="deny"),
            "offline (none)": Wanted(kind="offline"),
            "rare reason": Wanted(reason=about.rare),
            "frequent reason": Wanted(reason=about.frequent),
            "of a day half a year ago": Wanted(since=NOW - 180 * DAY_MS, until=NOW - 179 * DAY_MS),
        }
        for what, wanted in filters.items():
            yield Asked(f"decisions {what}, {name}", _bind(decisions.decisions, reach, wanted))
    yield from _single(about)


def _of_a_reach(name: str, reach: Reach, about: Names) -> Iterator[Asked]:
    yield Asked(f"overview, {name}", _bind(overview.overview, reach, DAY))
    yield Asked(f"machine_states, {name}", _bind(machines.machine_states, reach))
    yield Asked(f"divisions, {name}", _bind(firms.divisions, reach, DAY, reach.division or ""))
    yield Asked(f"firms, {name}", _bind(firms.firms, reach, DAY))
    yield Asked(f"machines, {name}", _bind(machines.machines, reach))
    yield Asked(f"never_used, {name}", _bind(machines.never_used, reach))
    yield Asked(f"silent for 30 days, {name}", _bind(machines.silent, reach, NOW - 30 * DAY_MS))
    yield Asked(f"people, {name}", _bind(people.people, reach, DAY))
    yield Asked(f"people not certified, {name}", _bind(people.people, reach, DAY, certified=False))
    yield Asked(f"open_sessions, {name}", _bind(sessions.open_sessions, reach))
    yield Asked(f"reasons of a month, {name}", _bind(counts.codes, reach, MONTH))
    yield Asked(f"reasons of a year, {name}", _bind(counts.codes, reach, YEAR))
    yield Asked(f"reasons by hour, a week, {name}", _bind(counts.codes_over_time, reach, up_to(DAY, 7), "hour"))
    yield Asked(f"decisions by day, a month, {name}", _bind(counts.decisions_over_time, reach, MONTH))
    yield Asked(f"usage_by_day of a month, {name}", _bind(counts.usage_by_day, reach, MONTH))
    yield Asked(f"rank_firms of a month, {name}", _bind(firms.rank_firms, reach, month_of(DAY), "refused"))
    yield Asked(f"rank_divisions of a month, {name}", _bind(firms.rank_divisions, reach, month_of(DAY), "arc_s"))
    yield Asked(f"sole_operators, {name}", _bind(pairs.sole_operators, reach))


def _single(about: Names) -> Iterator[Asked]:
    firm, who = about.firm.uscc or "", about.welder.operator_id or ""
    yield Asked("machine", _bind(machines.machine, EVERYWHERE, about.machine_id, DAY))
    yield Asked("person", _bind(people.person, EVERYWHERE, who, DAY))
    yield Asked("firm", _bind(firms.firm, EVERYWHERE, firm, DAY))
    yield Asked("machines of a firm", _bind(machines.machines, EVERYWHERE, MachinesWanted(Part(uscc=firm))))
    yield Asked("people of a firm", _bind(people.people, EVERYWHERE, DAY, Part(uscc=firm)))
    yield Asked("sessions of a machine", _bind(sessions.sessions, EVERYWHERE, machine_id=about.machine_id))
    yield Asked("sessions of a person", _bind(sessions.sessions, EVERYWHERE, operator_id=who))
    yield Asked("sessions of a firm", _bind(sessions.sessions, EVERYWHERE, uscc=firm))
    yield Asked(
        "decisions of a machine, rare reason",
        _bind(decisions.decisions, EVERYWHERE, Wanted(machine_id=about.machine_id, reason=about.rare)),
    )
    yield Asked("a record with its proof", lambda connection: proof(connection, 1000))
    yield Asked("together, a firm in a month", _bind(pairs.together, EVERYWHERE, firm, MONTH))
    far = _far(about)
    yield Asked("decisions, a page far back", lambda connection: decisions.decisions(connection, EVERYWHERE, after=far))
    yield Asked("1,000 rows of a usage export", _first_rows(about))


def _far(about: Names) -> tuple[int, int]:
    return NOW - 200 * DAY_MS, 10**9


def _first_rows(about: Names) -> Callable[[Connection], Any]:
    def ask(connection: Connection) -> Any:
        return list(islice(exports.exported_usage(connection.engine, about.county, MONTH), 1000))

    return ask


def _bind(query: Callable[..., Any], *arguments: Any, **named: Any) -> Callable[[Connection], Any]:
    return lambda connection: query(connection, *arguments, **named)


class Took(NamedTuple):
    """Milliseconds; ``cold``: with nothing of the database in the system's memory."""

    name: str
    p50: float
    p95: float
    cold: float


def measure(engine: Engine, path: Path, query: Asked, *, cold: bool = True) -> Took:
    if cold:
        _forget(engine, path)
    first = _timed(engine, query)
    took, began = list[float](), time.monotonic()
    while len(took) < AT_LEAST or (time.monotonic() - began < FOR_S and len(took) < 50):
        took.append(_timed(engine, query))
    took.sort()
    return Took(query.name, median(took), took[max(0, -(-len(took) * 95 // 100) - 1)], first)


def _timed(engine: Engine, query: Asked) -> float:
    """As a page asks: in one transaction of a pooled connection."""
    began = time.perf_counter()
    with reading(engine).connect() as connection, connection.begin():
        query.ask(connection)
    return (time.perf_counter() - began) * 1000


def _forget(engine: Engine, path: Path) -> None:
    """The file's pages go out of the system's memory, SQLite's own with its connections."""
    engine.dispose()
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plans(engine: Engine, query: Asked) -> list[str]:
    """What SQLite does for it, statement by statement."""
    told: list[str] = []

    def explain(_c: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            found = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            told.extend(row[3] for row in found)

    with reading(engine).connect() as connection, connection.begin():
        sa.event.listen(connection, "before_cursor_execute", explain)
        query.ask(connection)
    return told
