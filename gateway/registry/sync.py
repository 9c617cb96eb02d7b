"""Brings what remote registries say into the database, pass by pass. A source that fails makes data old, not wrong."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct, field
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import monotonic_ns, now_ms
from gateway.core.model import Millis
from gateway.errors import WeldGateError
from gateway.observe.events import Observer, Recovered, SourceSynced, Trouble
from gateway.registry.pages import FetchFailed
from gateway.registry.remote import Client, Position
from gateway.registry.rows import KIND_OF
from gateway.registry.sources import Source
from gateway.store.changes import Origin
from gateway.store.engine import reading
from gateway.store.entries import Entry
from gateway.store.sources import SourceState, confirmed, failed, keep_source, source_state
from gateway.store.writing import Summary

JITTER = 0.1
"""Share of the interval that is left to chance, so that passes of many gateways do not meet."""

Apply = Callable[[Mapping[str, Sequence[Entry]], Origin], Summary]
"""Writes entries by table, all or nothing; called in a thread. WeldGateError: nothing was taken in (for one, it is held
until somebody confirms it), and the same rows are to come again."""
NOTE = "sync"


class Positions(Struct, frozen=True):
    """From where the next pass of a source goes on, by registry. ``of`` tells what its description was: positions of
    another one lead nowhere."""

    of: str = ""
    registries: dict[str, Position] = {}


class Pass(Struct, frozen=True):
    """What came of one pass. ``rows`` were read by registry; ``summary`` is None where none were taken in; ``problems``
    say why it is no confirmation."""

    source: str
    at: Millis
    rows: dict[str, int]
    summary: Summary | None
    problems: list[str]
    took_s: float


class Books(Struct, frozen=True):
    """Where passes are written: ``apply`` takes the rows, one source after the other; ``engine`` how sources stand."""

    engine: Engine
    apply: Apply
    wall_ms: Callable[[], Millis] = now_ms
    one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)


class _Gathered(Struct):
    """What one pass has read so far. ``as_of``: the earliest moment that any of the rows may be of."""

    as_of: Millis
    entries: dict[str, dict[Any, Entry]] = {}
    positions: dict[str, Position] = {}
    problems: list[str] = []


async def sync_once(client: Client, books: Books) -> Pass:
    """One pass of one source: everything that was read is taken in; what was not read whole is asked for again, and
    the pass is no confirmation. Raises DatabaseUnavailable and database errors."""
    at, began = books.wall_ms(), monotonic_ns()
    state = await asyncio.to_thread(_read_state, books.engine, client.name)
    held = positions(client.source, state)
    gathered = await _gather(client, held, at)
    try:
        summary = await _take_in(books, Origin(client.name, NOTE, gathered.as_of), gathered)
        _ask_again(summary, held, gathered)
    except WeldGateError as error:
        summary, gathered.positions = None, dict(held.registries)
        gathered.problems.append(str(error))
    await asyncio.to_thread(_keep, books.engine, _after(state, at, client.source, gathered))
    rows = {registry: len(entries) for registry, entries in gathered.entries.items()}
    return Pass(client.name, at, rows, summary, gathered.problems, (monotonic_ns() - began) / 1e9)


async def _gather(client: Client, held: Positions, at: Millis) -> _Gathered:
    gathered = _Gathered(at, positions=dict(held.registries))
    for registry in client.registries:
        try:
            await _gather_registry(client, registry, gathered)
        except FetchFailed as error:
            gathered.problems.append(f"{registry}: {error}")
    return gathered


async def _gather_registry(client: Client, registry: str, gathered: _Gathered) -> None:
    """Of rows with the same key the later page's holds: it was read later."""
    key = attrgetter(*KIND_OF[registry].key)
    async for page in client.fetch(registry, gathered.positions.get(registry, Position())):
        if page.entries:
            gathered.entries.setdefault(registry, {}).update((key(entry), entry) for entry in page.entries)
        if page.as_of is not None and client.source.max_lag_s:  # else its clock need not agree with ours
            gathered.as_of = min(gathered.as_of, page.as_of)
        if page.complete:
            gathered.positions[registry] = page.position
        if page.problem:
            gathered.problems.append(f"{registry}: {page.problem}")


async def _take_in(books: Books, origin: Origin, gathered: _Gathered) -> Summary | None:
    """Also nothing, where the source said that nothing is new: that confirms the registries. None where it did not."""
    entries = {registry: list(found.values()) for registry, found in gathered.entries.items()}
    if gathered.problems and not entries:
        return None
    async with books.one_at_a_time:
        return await asyncio.to_thread(books.apply, entries, origin)


def _ask_again(summary: Summary | None, held: Positions, gathered: _Gathered) -> None:
    """INVARIANT: no row is lost. One that a push overtook may hold something else that is new: it is read once more."""
    for registry, counts in summary.counts.items() if summary else ():
        if counts.overtaken:
            gathered.positions[registry] = held.registries.get(registry, Position())
            gathered.problems.append(f"{registry}: {counts.overtaken} rows were overtaken by a push; read again")


def _after(state: SourceState, at: Millis, source: Source, gathered: _Gathered) -> SourceState:
    """INVARIANT: only a pass that read everything, and whose rows were taken in, confirms what we hold."""
    position = msgspec.json.encode(Positions(_described(source), gathered.positions)).decode()
    if not gathered.problems:
        return confirmed(state, at, position)
    telling = [problem for problem in gathered.problems if "left_alone" not in problem]
    problem = "; ".join(telling) or state.problem or gathered.problems[0]
    return failed(state, at, problem, position)


def positions(source: Source, state: SourceState) -> Positions:
    """Where a source goes on; from the start where its description has changed since."""
    try:
        held = msgspec.json.decode(state.position, type=Positions)
    except msgspec.MsgspecError:
        held = Positions()
    return held if held.of == _described(source) else Positions()


def _described(source: Source) -> str:
    """A short hash of what a position depends on."""
    rests_on = (source.base_url, source.paths, source.fields, source.values, source.names, source.paging)
    content = msgspec.json.encode([*rests_on, source.incremental, source.since_as], order="sorted")
    return hashlib.sha256(content).hexdigest()[:16]


def _read_state(engine: Engine, source: str) -> SourceState:
    with reading(engine).connect() as connection:
        return source_state(connection, source)


def _keep(engine: Engine, state: SourceState) -> None:
    with engine.begin() as connection:
        keep_source(connection, state)


# --- again and again --------------------------------------------------------------------------------------------


async def run_source(
    client: Client,
    books: Books,
    observe: Observer,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    chance: random.Random | None = None,
) -> None:
    """Passes at the source's interval, until cancelled. A database that is away is tried again with the next."""
    chance = chance or random.Random()  # noqa: S311  (not a secret)
    failing = False
    while True:
        try:
            done = await sync_once(client, books)
            problem = "; ".join(done.problems)
            observe(SourceSynced(client.name, sum(done.rows.values()), done.took_s))
        except (WeldGateError, SQLAlchemyError) as error:
            problem = f"database: {getattr(error, 'orig', error)}"
        if problem and not failing:
            observe(Trouble(f"source {client.name}", problem))
        elif failing and not problem:
            observe(Recovered(f"source {client.name}", "confirmed"))
        failing = bool(problem)
        await sleep(client.source.interval_s * chance.uniform(1 - JITTER, 1 + JITTER))
