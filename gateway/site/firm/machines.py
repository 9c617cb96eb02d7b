"""The firm's machines: what each is doing, who is at it, when its lock was last heard of."""

from collections import Counter
from collections.abc import Iterable, Mapping

from aiohttp import web
from msgspec import Struct
from sqlalchemy import Connection

from gateway.core.reach import Reach
from gateway.registry.controls import Controls
from gateway.site.firm import words
from gateway.site.visit import Visit
from gateway.store import firms, overview
from gateway.store.firms import OwnMachine
from gateway.store.overview import SessionFacts, Wanted

MOST = 10_000


class Row(Struct, frozen=True):
    """A machine, its state by ``words.MACHINE_STATES``, and its session."""

    machine: OwnMachine
    state: str
    session: SessionFacts | None


class Fleet(Struct, frozen=True):
    """All machines of a firm, those in use first, and the names of its people."""

    rows: list[Row]
    names: Mapping[str, str | None]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many are in which state, in the order of the states."""
        found = Counter(row.state for row in self.rows)
        return [(state, found[state]) for state in words.MACHINE_STATES if found[state]]

    @property
    def sessions(self) -> list[SessionFacts]:
        return [row.session for row in self.rows if row.session is not None]


async def shown(visit: Visit) -> web.StreamResponse:
    """``GET /f/machines``; ``state`` shows one state alone."""
    fleet = await visit.parts.read(fleet_of, visit.reach, visit.parts.state.snapshot.controls)
    state = visit.request.query.get("state", "")
    rows = [row for row in fleet.rows if state in ("", row.state)]
    return visit.page("firm/machines.html", fleet=fleet, rows=rows, state=state, words=words)


def fleet_of(connection: Connection, reach: Reach, controls: Controls) -> Fleet:
    known = firms.machines(connection, reach)
    running = {one.machine_id: one for one in overview.sessions(connection, Wanted("open", uscc=reach.uscc), MOST)}
    rows = [_row(machine, running.get(machine.machine_id), controls) for machine in known]
    rows.sort(key=lambda row: list(words.MACHINE_STATES).index(row.state))
    return Fleet(rows, firms.names_of(connection, reach))


def _row(machine: OwnMachine, session: SessionFacts | None, controls: Controls) -> Row:
    return Row(machine, state_of(machine, session, controls), session)


def state_of(machine: OwnMachine, session: SessionFacts | None, controls: Controls) -> str:
    """What is under way first, then what stands in the way."""
    hold = controls.hold(machine.machine_id)
    stands: Iterable[str | None] = (
        session.state if session is not None else None,
        machine.status if machine.status != "active" else None,
        hold.kind if hold is not None else None,
        "never" if machine.online is None else None,
        None if machine.online else "silent",
    )
    return next((state for state in stands if state is not None), "free")
