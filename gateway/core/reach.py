"""What an account may see: everything in a division, one firm, or one person. Pure."""

from msgspec import Struct

from gateway.core.model import Machine


class Reach(Struct, frozen=True):
    """One of the three is set. ``division`` is a prefix of GB/T 2260 codes, "" for everywhere.

    INVARIANT: a reach with nothing set sees nothing.
    """

    division: str | None = None
    uscc: str | None = None
    operator_id: str | None = None

    def holds_firm(self, division: str | None, uscc: str) -> bool:
        """Whether a firm in this division lies within it."""
        if self.division is not None:
            return (division or "").startswith(self.division)
        return self.uscc is not None and self.uscc == uscc

    def holds_machine(self, machine: Machine) -> bool:
        return self.holds_firm(machine.division, machine.uscc)


EVERYWHERE = Reach(division="")
