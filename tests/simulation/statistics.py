"""What ran and what was done to it, to be added up over runs."""

from collections import Counter

from msgspec import Struct, field


class Statistics(Struct):
    """Counts of one run or of many."""

    runs: int = 0
    machine_ms: int = 0
    closed_ms: int = 0
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    def fault(self, kind: str) -> None:
        self.faults[kind] += 1

    def count(self, what: str, times: int = 1) -> None:
        self.counts[what] += times

    def add(self, other: "Statistics") -> None:
        self.runs += other.runs
        self.machine_ms += other.machine_ms
        self.closed_ms += other.closed_ms
        self.steps += other.steps
        self.counts.update(other.counts)
        self.faults.update(other.faults)

    @property
    def machine_hours(self) -> float:
        return self.machine_ms / 3_600_000

    def lines(self) -> list[str]:
        """A report for people."""
        done = ", ".join(f"{number:,} {what}" for what, number in sorted(self.counts.items()))
        faults = ", ".join(f"{number:,} {kind}" for kind, number in sorted(self.faults.items()))
        return [
            f"{self.machine_hours:,.0f} machine-hours in {self.runs:,} runs and {self.steps:,} steps",
            f"relays closed for {self.closed_ms / 3_600_000:,.0f} hours: {done}",
            f"{self.faults.total():,} faults: {faults}",
        ]
