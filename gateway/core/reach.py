"""What an account may see: everything in a division, one firm, or one person. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from gateway.core.model import Machine


class Reach(Struct, frozen=True):
    """One of the three is set. ``division`` is a prefix of GB/T 2260 codes, "" for everywhere.

    INVARIANT: a reach with nothing set sees nothing. ``gateway.store.reach`` says the same in SQL.
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

    def holds_person(self, operator_id: str, firms: Iterable[tuple[str | None, str]]) -> bool:
        """Whether a person lies within it whom these firms employ today, given as (division, credit code). A division
        of None is a firm's that is not registered. Everywhere also holds people whom nobody employs."""
        if self.division is None and self.uscc is None:
            return self.operator_id is not None and self.operator_id == operator_id
        return self.division == "" or any(self.holds_firm(division, uscc) for division, uscc in firms)

    def holds_record(self, division: str, uscc: str, operator_id: str | None) -> bool:
        """Whether what happened lies within it: by the machine's division and firm at that time, both "" where the
        machine was not registered, and by the person."""
        if self.division is None and self.uscc is None:
            return self.operator_id is not None and self.operator_id == operator_id
        return self.holds_firm(division, uscc)


EVERYWHERE = Reach(division="")
