"""``weldgate registry sync`` and ``sources``: registries on the network."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.table import Table

from gateway.cli.console import err, out, reporting_errors
from gateway.cli.options import DEFAULT_KEYS, DatabaseOption, KeysOption
from gateway.clock import now_ms
from gateway.core.model import Millis
from gateway.observe import logs
from gateway.registry.importer import Store
from gateway.registry.remote import Client, open_client
from gateway.registry.sources import Sources, SourcesError, load_sources
from gateway.registry.sync import Books, Pass, run_source, sync_once
from gateway.store.engine import DEFAULT_URL, open_engine, reading
from gateway.store.registry import apply_entries
from gateway.store.sources import SourceState, source_states
from gateway.store.vault import open_vault

RegistryOption = Annotated[
    Path, typer.Option("--registry", envvar="WELDGATE_REGISTRY", help="The file that describes the sources.")
]
DEFAULT_REGISTRY = Path("registry.toml")


def sync_command(
    registry: RegistryOption = DEFAULT_REGISTRY,
    once: Annotated[bool, typer.Option("--once", help="One pass of each source; exit code 1 if one failed.")] = False,
    source: Annotated[list[str] | None, typer.Option("--source", help="Only these sources.")] = None,
    database: DatabaseOption = DEFAULT_URL,
    keys: KeysOption = DEFAULT_KEYS,
) -> None:
    """Bring in what the sources on the network say, again and again: a process of its own beside the gateway."""
    with reporting_errors():
        sources = load_sources(registry)
        names = _chosen(sources, source or [])
        store = Store(open_engine(database), open_vault(keys))
        logs.configure("info")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            passes = runner.run(_sync(sources, names, store, once=once))
        store.engine.dispose()
    for done in passes:
        _print_pass(done)
    if any(done.problems for done in passes):
        raise typer.Exit(1)


def _chosen(sources: Sources, names: Sequence[str]) -> list[str]:
    for name in names:
        if name not in sources.sources:
            raise SourcesError(f"--source {name}: is not described; use some of {', '.join(sources.sources)}")
    if not sources.sources:
        raise SourcesError("--registry: describes no source; add a section [sources.NAME]")
    return list(names or sources.sources)


async def _sync(sources: Sources, names: Sequence[str], store: Store, *, once: bool) -> list[Pass]:
    how = sources.how()
    books = Books(
        store.engine,
        lambda rows, origin: apply_entries(store.engine, store.vault, rows, origin, now_ms(), how),
    )
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(open_client(name, sources.sources[name])) for name in names]
        if once:
            return [await sync_once(client, books) for client in clients]
        await _until_stopped(clients, books)
        return []


async def _until_stopped(clients: Sequence[Client], books: Books) -> None:
    """One task per source; one that dies ends the process."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log = logs.Log()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run_source(client, books, log), name=f"source {client.name}") for client in clients]
        await stop.wait()
        for task in tasks:
            task.cancel()


def _print_pass(done: Pass) -> None:
    rows = ", ".join(f"{count:,} {registry}" for registry, count in done.rows.items()) or "nothing new"
    changed = (
        f"; {done.summary.touched:,} changed, registry version {done.summary.version}"
        if done.rows and done.summary
        else ""
    )
    out.print(f"{done.source}: {rows}{changed} ({done.took_s:.1f} s)", markup=False)
    for problem in done.problems:
        err.print(f"{done.source}: {problem}", markup=False)


def sources_command(registry: RegistryOption = DEFAULT_REGISTRY, database: DatabaseOption = DEFAULT_URL) -> None:
    """How the sources stand: how old what they say is, and what is wrong."""
    with reporting_errors():
        sources = load_sources(registry)
        engine = open_engine(database, migrate=False, must_exist=True)
        with reading(engine).connect() as connection:
            states = source_states(connection)
        engine.dispose()
    out.print(_table(sources, states, now_ms()))


def _table(sources: Sources, states: dict[str, SourceState], now: Millis) -> Table:
    table = Table(box=None)
    for header in ("source", "age", "state", "problem"):
        table.add_column(header, justify="right" if header == "age" else "left")
    for name in [*sources.sources, *(name for name in states if name not in sources.sources)]:
        state = states.get(name, SourceState(name))
        table.add_row(name, _age(state.age_s(now)), _state(state, known=name in sources.sources), state.problem or "")
    return table


def _age(age_s: float | None) -> str:
    """
    >>> _age(None), _age(59.4), _age(3600), _age(200_000)
    ('never', '59 s', '60 min', '55 h')
    """
    if age_s is None:
        return "never"
    for unit, length, up_to in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 259_200)):
        if age_s < up_to:
            return f"{age_s // length:.0f} {unit}"
    return f"{age_s // 86_400:.0f} days"


def _state(state: SourceState, *, known: bool) -> str:
    if not known:
        return "not described"
    if state.tried_at is None:
        return "never asked"
    return "failing" if state.failing_since is not None else "confirmed"
