"""``python -m tests.soak [shift|revocation] [--minutes N]``: what takes too long for every change."""

import argparse

from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from simulator.fleet import Progress
from tests.soak import revocation, shift, staff

console = Console()


def _shift(minutes: float) -> None:
    for_s = minutes * 60
    with Bar(console=console) as bar:
        task = bar.add_task(f"{staff.MACHINES} machines at work", total=for_s)

        def show(progress: Progress) -> None:
            done = f"{progress.stage}: {progress.decisions} decisions, {progress.mismatches} mismatches"
            bar.update(task, completed=min(progress.elapsed_s, for_s), description=done)

        result = shift.work(for_s, on_progress=show)
    report = result.report
    console.print(f"{report.decisions} decisions, {report.mismatches} mismatches, {result.renewals} renewals")
    console.print(f"gateway killed and ready again after {result.outage_s:.1f} s; {result.records} ledger records")
    console.print(f"sessions ended: {result.ended}; still open: {result.still_open}")
    for mismatch in report.mismatch_details[:20]:
        console.print(mismatch)
    if report.mismatches or result.still_open:
        raise SystemExit(1)


def _revocation() -> None:
    table = Table("change", "sessions", "first ms", "median ms", "last ms")
    for delay in revocation.measure():
        table.add_row(
            delay.what, *(f"{value:,}" for value in (delay.sessions, delay.first_ms, delay.median_ms, delay.last_ms))
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("shift", "revocation", "all"), default="all")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the shift lasts")
    chosen = parser.parse_args()
    if chosen.what in ("revocation", "all"):
        _revocation()
    if chosen.what in ("shift", "all"):
        _shift(chosen.minutes)


if __name__ == "__main__":
    main()
