"""Keeps what decisions rest on up to date while the gateway runs: registries and policy."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from gateway.clock import monotonic_ns, now_ms
from gateway.core.model import Millis
from gateway.core.policy import Policy, PolicyError, Rulebook, document, parse
from gateway.errors import WeldGateError
from gateway.gate.state import GateState
from gateway.observe.events import Observer, PolicyAdopted, Recovered, RegistryLoaded, Trouble
from gateway.registry.snapshot import Changed, Delta, read_delta
from gateway.store.engine import reading
from gateway.store.journal import keep_policy
from gateway.store.sources import source_ages

REGISTRY_POLL_S = 0.25
"""A change is seen within a second: this, plus reading and taking over what changed."""
POLICY_POLL_S = 0.25


def load_policy(path: Path | None) -> Policy:
    """The policy in a file, or the default one; raises WeldGateError with line and reason."""
    if path is None:
        return Policy()
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except PolicyError as error:
        raise WeldGateError(f"--policy {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise WeldGateError(f"--policy {path}: {error}") from error


def read_rulebook(engine: Engine, path: Path | None) -> Rulebook:
    """The policy ready for use, and kept in the database: records name it by its hash."""
    policy = load_policy(path)
    rulebook = Rulebook(policy)
    with engine.connect() as connection:
        keep_policy(connection, rulebook.hash, document(policy), now_ms())
    return rulebook


class Upkeep:
    """``wake`` tells the pipeline that sessions have to be looked at; ``on_registry`` is called at a new version;
    ``required`` names the sources that have to be fresh.

    Whoever changes the registries from within this process sets ``hurry``, to have that taken over at once.
    """

    def __init__(
        self,
        engine: Engine,
        state: GateState,
        wake: Callable[[], None],
        observe: Observer,
        required: frozenset[str] = frozenset(),
    ) -> None:
        self._engine = engine
        self._state = state
        self._wake = wake
        self._observe = observe
        self._required = required
        self._failing: set[str] = set()
        self._one_at_a_time = asyncio.Lock()
        self.on_registry: Callable[[], None] = lambda: None
        self.hurry = asyncio.Event()

    async def load_registry(self) -> None:
        """Take over what has changed since the last time."""
        async with self._one_at_a_time:
            await self._load_registry()

    async def _load_registry(self) -> None:
        snapshot, began = self._state.snapshot, monotonic_ns()
        version, known = snapshot.version, snapshot.confirmed_at
        delta, snapshot.source_confirmed = await asyncio.to_thread(self._read, version)
        changed = Changed()
        for _ in snapshot.take_over(delta, changed):
            await asyncio.sleep(0)
        self._state.concern(changed)
        self._wake()
        if delta.rows or snapshot.confirmed_at != known:
            took_s = (monotonic_ns() - began) / 1e9
            self._observe(RegistryLoaded(snapshot.version, delta.confirmed_at, len(delta.rows), took_s))
        if snapshot.version != version:
            self.on_registry()

    def _read(self, version: int) -> tuple[Delta, dict[str, Millis]]:
        """What has changed, and when each source that has to be fresh confirmed its registries (0: never)."""
        engine = reading(self._engine)
        delta = read_delta(engine, version)
        if not self._required:
            return delta, {}
        with engine.connect() as connection:
            known = source_ages(connection)
        return delta, {source: known.get(source) or 0 for source in sorted(self._required)}

    async def watch_registry(self) -> None:
        """Take over each change within a second."""
        while True:
            await self._until_due()
            try:
                await self.load_registry()
            except SQLAlchemyError as error:
                self._fails("registry", str(getattr(error, "orig", error)))
            else:
                self._works("registry", f"version {self._state.snapshot.version}")

    async def _until_due(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(REGISTRY_POLL_S):
                await self.hurry.wait()
        self.hurry.clear()

    async def watch_policy(self, path: Path | None) -> None:
        """Go by a changed policy file within a second or two. One that cannot be used changes nothing."""
        seen = _stamp(path)
        while path is not None:
            await asyncio.sleep(POLICY_POLL_S)
            stamp = _stamp(path)
            if stamp == seen:
                continue
            try:
                rulebook = await asyncio.to_thread(read_rulebook, self._engine, path)
            except (WeldGateError, SQLAlchemyError) as error:
                self._fails("policy", str(getattr(error, "orig", error)))
                seen = stamp if isinstance(error, WeldGateError) else seen
                continue
            seen = stamp
            self._works("policy", rulebook.hash)
            if rulebook.hash != self._state.rulebook.hash:
                self._state.adopt(rulebook)
                self._observe(PolicyAdopted(rulebook.policy.version, rulebook.hash))
                self._wake()

    def _fails(self, what: str, problem: str) -> None:
        if what not in self._failing:
            self._failing.add(what)
            self._observe(Trouble(what, problem))

    def _works(self, what: str, detail: str) -> None:
        if what in self._failing:
            self._failing.remove(what)
            self._observe(Recovered(what, detail))


def _stamp(path: Path | None) -> tuple[int, int] | None:
    """What changes with the file."""
    try:
        stat = path.stat() if path else None
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size) if stat else None
