"""What of the policy each chip was told to go by, in memory: idle lock and drain deadline."""

from msgspec import Struct, structs

from gateway.core.lease import CLOCK_ERROR_S, COMMAND_TTL_S
from gateway.core.model import Millis

TAKEN_WITHIN_MS = (COMMAND_TTL_S + CLOCK_ERROR_S) * 1000
"""A chip takes no command that may be late after this."""


class Setting(Struct, frozen=True):
    """Seconds."""

    idle_lock_s: int
    drain_deadline_s: int


class Asked(Struct, frozen=True):
    """A ``config`` that was sent for the chip's challenge of that moment."""

    command_id: str
    setting: Setting
    at: Millis


class ChipSettings:
    """``held``: what a chip seems to go by since it connected; ``asked``: what it was told last; ``due``: when to."""

    def __init__(self) -> None:
        self.held: dict[str, Setting] = {}
        self.asked: dict[str, Asked] = {}
        self.due: dict[str, Millis] = {}

    def under_way(self, machine_id: str, now: Millis) -> bool:
        """Whether the chip's present challenge may be used up by it."""
        asked = self.asked.get(machine_id)
        return asked is not None and self.held.get(machine_id) != asked.setting and now - asked.at <= TAKEN_WITHIN_MS

    def show_fresh(self, machine_id: str, now: Millis) -> None:
        """The chip shows a fresh challenge: it has used up the one that its setting went with, if that was just now."""
        if self.under_way(machine_id, now):
            self.held[machine_id] = self.asked[machine_id].setting
            self.due.pop(machine_id, None)

    def withdraw(self, machine_id: str, due: Millis) -> None:
        """Something else uses up the chip's challenge: tell it again."""
        if self.asked.pop(machine_id, None) is not None:
            self.due[machine_id] = due

    def begin_anew(self, machine_id: str, due: Millis) -> None:
        """The chip is back, perhaps without its memory, perhaps another one."""
        self.held.pop(machine_id, None)
        self.due[machine_id] = due

    def refuse(self, machine_id: str, command_id: object, due: Millis) -> None:
        """The chip refused a command; if it was its setting, it is told again then, or when it is back."""
        asked = self.asked.get(machine_id)
        if asked is not None and asked.command_id == command_id:
            self.asked.pop(machine_id)
            self.begin_anew(machine_id, due)

    def tell_everybody(self, now: Millis) -> None:
        """The policy has changed."""
        self.due |= dict.fromkeys((*self.held, *self.asked), now)

    def take_back(self) -> None:
        """Memory has been read anew: what went with a batch that failed was never sent."""
        self.due |= dict.fromkeys(self.asked, 0)
        self.asked.clear()

    def shift(self, by_ms: int) -> None:
        """The wall clock was set."""
        self.due = {machine_id: at + by_ms for machine_id, at in self.due.items()}
        self.asked = {machine_id: structs.replace(one, at=one.at + by_ms) for machine_id, one in self.asked.items()}
