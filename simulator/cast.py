"""Who plays: which machines carry a chip, how those chips are, and which people fit where. Seeded."""

from collections.abc import Sequence
from datetime import date
from random import Random

from msgspec import Struct

from simulator.oracle import Question, registry_codes
from simulator.registry import Registry

GHOSTS_PER_MACHINE = 0.01
SWAPPED_PER_MACHINE = 0.01
CLOCKLESS_PER_MACHINE = 0.1
"""Cheap modems without a wall clock send ``at: null``."""


class Part(Struct, frozen=True):
    """One chip: the serial it reports and whether it has a wall clock."""

    machine_id: str
    serial: str | None
    has_clock: bool


class CastError(Exception):
    """The registry does not hold what the run asks for."""


class Cast:
    """The parts of a run, and the people by how they fit a machine today."""

    def __init__(self, registry: Registry, parts: list[Part], today: date) -> None:
        self.registry = registry
        self.parts = parts
        self._today = today
        self._serials = {part.machine_id: part.serial for part in parts}
        self._staff: dict[str, list[str]] = {}
        self._fit: dict[str, list[str]] = {}
        for person, employments in sorted(registry.employments.items()):
            for employment in employments:
                self._staff.setdefault(employment.uscc, []).append(person)
        self.people = sorted({*registry.operators, *registry.certificates, *registry.employments})

    def staff(self, machine_id: str) -> list[str]:
        """Everybody who ever worked for the machine's firm."""
        machine = self.registry.machines.get(machine_id)
        return self._staff.get(machine.uscc, []) if machine else []

    def fit(self, machine_id: str) -> list[str]:
        """The staff whom nothing on file keeps from this machine and this chip."""
        if machine_id not in self._fit:
            serial = self._serials[machine_id]
            self._fit[machine_id] = [
                person
                for person in dict.fromkeys(self.staff(machine_id))
                if not registry_codes(self.registry, Question(machine_id, person, serial), self._today)
            ]
        return self._fit[machine_id]


def choose(
    registry: Registry, machines: int, seed: int, today: date, *, faulty: bool, besides: Sequence[str] = ()
) -> Cast:
    """``machines`` parts by chance; with ``faulty`` some chips are swapped, unregistered or without a clock. What is
    registered of ``besides`` comes on top, with a chip that is in order."""
    most = len(set(registry.machines).difference(besides))
    if machines > most:
        raise CastError(f"--machines {machines}: the registry holds {most}; ask for fewer")
    random = Random(f"{seed}/cast")  # noqa: S311  (a scenario, not a secret)
    chosen = random.sample(sorted(set(registry.machines).difference(besides)), machines)
    parts = [_part(registry, machine_id, random, faulty=faulty) for machine_id in chosen]
    if faulty:
        for number in range(max(1, round(machines * GHOSTS_PER_MACHINE))):
            parts[-1 - number] = Part(f"GHOST-{number + 1:04d}", f"G{number + 1:07d}", has_clock=True)
    ordinary = [registry.machines[name] for name in besides if name in registry.machines]
    parts += [Part(machine.machine_id, machine.chip, has_clock=True) for machine in ordinary]
    return Cast(registry, parts, today)


def _part(registry: Registry, machine_id: str, random: Random, *, faulty: bool) -> Part:
    serial = registry.machines[machine_id].chip
    if faulty and random.random() < SWAPPED_PER_MACHINE:
        serial = f"X{random.getrandbits(32):08x}"
    return Part(machine_id, serial, has_clock=not (faulty and random.random() < CLOCKLESS_PER_MACHINE))
