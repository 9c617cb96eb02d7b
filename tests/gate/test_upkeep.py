"""What decisions rest on, kept up to date while the gateway runs: registries and policy."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic

import pytest
from sqlalchemy import Engine

from gateway.core.model import Control
from gateway.errors import WeldGateError
from gateway.gate.state import GateState
from gateway.observe.events import Observed, PolicyAdopted, Recovered, RegistryLoaded, Trouble
from gateway.registry.snapshot import Snapshot
from gateway.store.changes import Origin
from gateway.store.controls import enact
from gateway.store.entries import (
    CertificateEntry,
    EmploymentEntry,
    EnterpriseEntry,
    Entry,
    MachineEntry,
    OperatorEntry,
)
from gateway.store.journal import policy_document
from gateway.store.registry import apply_entries
from gateway.store.vault import Vault, open_vault
from gateway.upkeep import REGISTRY_POLL_S, Upkeep, load_policy, read_rulebook
from tests.core.matrix import ALL_GOOD, enterprise
from tests.gate.gates import MACHINES, NOW, WELDERS, Clock, Gate, commands
from tests.store.databases import Databases

WITHIN_S = 20.0
FIRM = enterprise().uscc


class Kept:
    """A gate whose registries and policy are kept up to date."""

    def __init__(self, engine: Engine, vault: Vault, policy: Path) -> None:
        self.engine, self.vault, self.policy = engine, vault, policy
        clock = Clock()
        self.gate = Gate(clock, GateState(Snapshot(), read_rulebook(engine, policy), clock))
        self.observed: list[Observed] = []
        self.woken = 0
        self.upkeep = Upkeep(engine, self.gate.state, self._wake, self._observe)
        self._happened = asyncio.Event()

    def _wake(self) -> None:
        self.woken += 1

    def _observe(self, event: Observed) -> None:
        self.observed.append(event)
        self._happened.set()

    async def until(self, there: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not there():
                self._happened.clear()
                await self._happened.wait()

    async def looks_twice(self) -> None:
        """Two changes of the registries, seen one after the other: the policy is looked at as often."""
        for status in ("blocked", "active"):
            seen = len(self.of(RegistryLoaded))
            self.bring_in(operators=[operator_entry("P000999", status)])
            await self.until(lambda seen=seen: len(self.of(RegistryLoaded)) > seen)  # type: ignore[misc]

    def of(self, kind: type[Observed]) -> list[Observed]:
        return [event for event in self.observed if isinstance(event, kind)]

    def bring_in(self, **rows: list[Entry]) -> None:
        apply_entries(self.engine, self.vault, rows, Origin("files", "test", NOW), NOW)

    def write(self, text: str) -> None:
        """Put a new policy file in place, as an editor does."""
        partial = self.policy.with_suffix(".new")
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, self.policy)  # noqa: PTH105  (the same moment for whoever looks)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self.upkeep.watch_registry(), name="registry watch"),
            asyncio.create_task(self.upkeep.watch_policy(self.policy), name="policy watch"),
        ]
        await asyncio.sleep(0)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def operator_entry(welder: str, status: str = "active") -> OperatorEntry:
    return OperatorEntry(welder, status)  # type: ignore[arg-type]


@pytest.fixture
def kept(databases: Databases, tmp_path: Path) -> Kept:
    """The all-good county in a real database."""
    policy = tmp_path / "policy.toml"
    policy.write_text('version = "one"\n', encoding="utf-8")
    made = Kept(databases.engine(), open_vault(tmp_path / "keys"), policy)
    good, until = ALL_GOOD.certificate, ALL_GOOD.certificate["valid_until"]
    made.bring_in(
        enterprises=[EnterpriseEntry(FIRM, "330521", "active")],
        operators=[operator_entry(welder) for welder in WELDERS],
        certificates=[
            CertificateEntry(f"number-{welder}", welder, good["item"], until, "valid", "verified") for welder in WELDERS
        ],
        employments=[EmploymentEntry(welder, FIRM) for welder in WELDERS],
        machines=[MachineEntry(machine_id, FIRM, "fusion", "330521", "active") for machine_id in MACHINES],
    )
    return made


async def working(kept: Kept) -> None:
    """Each welder at a machine."""
    await kept.upkeep.load_registry()
    for welder, machine_id in zip(WELDERS, MACHINES, strict=True):
        kept.gate.running(welder, machine_id)
    kept.gate.work_off()
    kept.observed.clear()


# --- registries -------------------------------------------------------------------------------------------------


async def test_a_change_of_the_registries_is_taken_over_and_concerns_those_it_names(kept: Kept) -> None:
    await working(kept)
    async with kept.watching():
        kept.bring_in(operators=[operator_entry("P000456", "blocked")])
        await kept.until(lambda: bool(kept.of(RegistryLoaded)))
    assert len(kept.gate.state.agenda) == 1
    assert [command.aud for command in commands(kept.gate.work_off())] == ["HJ-0002"]
    assert kept.woken > 0


async def test_whoever_is_in_a_hurry_does_not_wait_for_the_next_look(kept: Kept) -> None:
    """A change comes right after a look: without hurry it is seen a whole interval later, every time."""
    took_s = []
    await kept.upkeep.load_registry()
    async with kept.watching():
        for number in range(5):
            seen, began = len(kept.of(RegistryLoaded)), monotonic()
            kept.bring_in(operators=[operator_entry("P000456", ("blocked", "active")[number % 2])])
            kept.upkeep.hurry.set()
            await kept.until(lambda seen=seen: len(kept.of(RegistryLoaded)) > seen)  # type: ignore[misc]
            took_s.append(monotonic() - began)
    assert min(took_s) < REGISTRY_POLL_S / 2


async def test_an_order_of_somebody_is_taken_over_the_same_way(kept: Kept) -> None:
    await working(kept)
    async with kept.watching():
        enact(kept.engine, Control("control-1", NOW, "lock", "supervisor-1", "nobody there", machine_id="HJ-0003"))
        await kept.until(lambda: bool(kept.of(RegistryLoaded)))
    assert [(one.aud, one.reason) for one in commands(kept.gate.work_off())] == [("HJ-0003", "remote")]


@pytest.mark.parametrize("what", ["firm", "machine", "nobody"])
async def test_whom_a_change_concerns_is_on_the_agenda_and_nobody_else(kept: Kept, what: str) -> None:
    await working(kept)
    if what == "firm":
        kept.bring_in(enterprises=[EnterpriseEntry(FIRM, "330521", "closed")])
    elif what == "machine":
        kept.bring_in(machines=[MachineEntry("HJ-0001", FIRM, "fusion", "330521", "suspended")])
    else:
        kept.bring_in(operators=[operator_entry("P000999")])
    await kept.upkeep.load_registry()
    expected = {"firm": list(MACHINES), "machine": ["HJ-0001"], "nobody": []}[what]
    assert sorted(session.machine_id for session in kept.gate.state.agenda.take_reviews(10)) == expected


async def test_a_version_is_told_once_to_whoever_publishes_it(kept: Kept) -> None:
    versions: list[int] = []
    kept.upkeep.on_registry = lambda: versions.append(kept.gate.state.snapshot.version)
    await kept.upkeep.load_registry()
    await kept.upkeep.load_registry()
    kept.bring_in(operators=[operator_entry("P000456", "blocked")])
    await kept.upkeep.load_registry()
    assert versions == [1, 2]


# --- policy -----------------------------------------------------------------------------------------------------

CLOSED = 'rules.outside_permitted_hours = "enforce"\nhours = { from = "12:00", until = "13:00" }\n'


async def test_a_policy_that_changes_holds_from_then_on_for_running_sessions_too(kept: Kept) -> None:
    await working(kept)
    async with kept.watching():
        kept.write(f'version = "two"\n{CLOSED}')
        await kept.until(lambda: bool(kept.of(PolicyAdopted)))
    rulebook = kept.gate.state.rulebook
    assert kept.of(PolicyAdopted) == [PolicyAdopted("two", rulebook.hash)]
    assert [command.reason for command in commands(kept.gate.work_off())] == ["revoked"] * 3
    with kept.engine.connect() as connection:
        assert policy_document(connection, rulebook.hash) is not None


async def test_a_policy_that_cannot_be_used_is_told_once_and_changes_nothing_until_it_is_repaired(kept: Kept) -> None:
    await working(kept)
    before = kept.gate.state.rulebook
    async with kept.watching():
        kept.write("[lease]\nlease_s = 0\n")
        await kept.until(lambda: bool(kept.of(Trouble)))
        kept.write("[leases]\nlease_s = 900\n")
        await kept.looks_twice()
        assert kept.gate.state.rulebook is before
        kept.write('version = "three"\n')
        await kept.until(lambda: bool(kept.of(PolicyAdopted)))
    [trouble] = kept.of(Trouble)
    assert isinstance(trouble, Trouble)
    assert trouble.where == "policy"
    assert "line 2" in trouble.problem
    assert [event.where for event in kept.of(Recovered) if isinstance(event, Recovered)] == ["policy"]
    assert kept.gate.state.rulebook.policy.version == "three"


async def test_a_policy_file_that_is_gone_is_told_and_changes_nothing(kept: Kept) -> None:
    await working(kept)
    before = kept.gate.state.rulebook
    async with kept.watching():
        kept.policy.unlink()
        await kept.until(lambda: bool(kept.of(Trouble)))
        assert kept.gate.state.rulebook is before
        kept.write('version = "one"\n')
        await kept.until(lambda: bool(kept.of(Recovered)))
    assert kept.of(PolicyAdopted) == []  # it says what it said before


async def test_a_file_that_only_looks_new_is_adopted_by_nobody(kept: Kept) -> None:
    await working(kept)
    async with kept.watching():
        kept.write('# in words\nversion = "one"\n')
        await kept.looks_twice()
        kept.write(f'version = "two"\n{CLOSED}')
        await kept.until(lambda: bool(kept.of(PolicyAdopted)))
    assert len(kept.of(PolicyAdopted)) == 1


def test_a_policy_that_cannot_be_used_stops_a_start_with_file_line_and_reason(tmp_path: Path) -> None:
    path = tmp_path / "county.toml"
    path.write_text("[lease]\nlease_s = 0\n", encoding="utf-8")
    with pytest.raises(WeldGateError, match=r"--policy .*county\.toml, line 2"):
        load_policy(path)
    with pytest.raises(WeldGateError, match="--policy"):
        load_policy(tmp_path / "missing.toml")
    assert load_policy(None).version == "default"
