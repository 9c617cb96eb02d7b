"""A chip as far as offline lists go, for the tests of lists."""

from typing import Any

from msgspec import UNSET

from gateway.core.credential import offline_digest
from gateway.core.policy import Offline, Policy
from gateway.gate.entry import Entry
from gateway.wire.tokens import Command
from tests.gate.gates import WELDERS, Gate, commands

FOR_S = 7200
POLICY = Policy(offline=Offline(for_s=FOR_S, operators=20, recent_days=30, lease_s=600))


class Chip:
    """The chip of one machine as far as lists go: a challenge, and what it has taken."""

    def __init__(self, gate: Gate, machine_id: str = "HJ-0001") -> None:
        self.gate, self.machine_id = gate, machine_id
        self.challenges = 0
        self.fresh()

    def fresh(self, **different: Any) -> None:
        """A new challenge, told."""
        self.challenges += 1
        self.tell(**different)

    def tell(self, **different: Any) -> None:
        self.gate.status(self.machine_id, **{"challenge": f"c-{self.challenges}"} | different)

    def gets(self, seconds: int = 3) -> list[Entry]:
        """The lists that it is sent within a while. A setting it takes at once, which shows; then its list follows."""
        mine = [entry for entry in self.gate.ticks(seconds) if entry.command and entry.command.aud == self.machine_id]
        if any(entry.command and entry.command.cmd == "config" for entry in mine):
            self.fresh()
            return self.gets(seconds)
        return [entry for entry in mine if entry.command and entry.command.cmd == "offline_list"]

    def works(self, *welders: str) -> None:
        """People begin and end work here."""
        for welder in welders:
            session = self.gate.running(welder, self.machine_id, challenge=f"c-{self.challenges}")
            self.fresh(session_id=session.session_id)
            self.gate.event("locked", session.session_id, self.machine_id)
            self.tell()


def chip_with_a_list(gate: Gate, *welders: str) -> Chip:
    """It has taken the list of these welders."""
    chip = Chip(gate)
    chip.works(*welders)
    [entry] = chip.gets()
    chip.fresh()
    assert chip.gets() == []
    assert gate.state.offline.taken["HJ-0001"] == (entry.command.list_version if entry.command else None)
    return chip


def only(entries: list[Entry]) -> Command:
    [command] = commands(entries)
    return command


def listed(command: Command) -> dict[str, int]:
    """Until when each of the three welders is on it."""
    digests = {offline_digest(command.aud, welder): welder for welder in WELDERS}
    assert command.entries is not UNSET
    return {digests[digest]: until for digest, until in command.entries}
