"""``python -m tests.soak [shift|revocation|registries|scale] [--minutes N]``: what takes too long for every change."""

import argparse

from rich.console import Console
from rich.progress import Progress as Bar
from rich.table import Table

from simulator.fleet import Progress
from tests.soak import registries, revocation, scale, shift, staff

WHAT = ("shift", "revocation", "registries", "scale")
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
    table, delays = Table("change", "sessions", "first ms", "median ms", "last ms"), revocation.measure()
    for delay in delays:
        table.add_row(
            delay.what, *(f"{value:,}" for value in (delay.sessions, delay.first_ms, delay.median_ms, delay.last_ms))
        )
    console.print(table)
    if late := [delay.what for delay in delays if delay.late]:
        console.print(f"later than {revocation.LIMIT_MS:,} ms: {', '.join(late)}")
        raise SystemExit(1)


def _registries(minutes: float) -> None:
    for_s = minutes * 60
    with Bar(console=console) as bar:
        task = bar.add_task("registries live", total=for_s)

        def show(elapsed_s: float, day: registries.Day) -> None:
            done = f"{day.changes.total()} changes, {day.scans} decisions, {len(day.wrong)} wrong"
            bar.update(task, completed=min(elapsed_s, for_s), description=done)

        day = registries.live(for_s, tell=show)
    for what, counted in (("changes", day.changes), ("faults", day.faults), ("decisions", day.decisions)):
        console.print(f"{what}: {counted.total()}: {dict(counted)}")
    console.print(f"answers while a change was on its way: {dict(day.underway)}; sessions locked: {day.locks}")
    console.print(f"events pushed: {dict(day.outcomes)}; passes that confirmed: {day.passes}")
    console.print(f"longest between two of those: {day.longest_between_passes_ms} ms; worst delays, ms: {day.worst}")
    console.print(f"wrong decisions: {len(day.wrong)}")
    for wrong in day.wrong[:20]:
        console.print(wrong, markup=False)
    if day.wrong:
        raise SystemExit(1)


def _scale() -> None:
    steady, imports = scale.measure(tell=console.print)
    table = Table("", "import s", "rows", "held after s", "delta s", "MiB", "asked", "p50 ms", "p99 ms", "most ms")
    table.add_row("nothing else", "", "", "", "", "", *_delays(steady))
    for one in imports:
        figures = (f"{one.import_s:.1f}", f"{one.rows:,}", f"{one.held_after_s:.2f}", f"{one.delta_s:.2f}")
        table.add_row(one.what, *figures, f"{one.memory_mib:.0f}", *_delays(one.meanwhile))
        table.add_row("  at the delta", "", "", "", "", "", *_delays(one.at_delta))
    console.print(table)


def _delays(delays: scale.Delays) -> tuple[str, ...]:
    return f"{delays.decisions:,}", f"{delays.p50:.1f}", f"{delays.p99:.1f}", f"{delays.most:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("what", nargs="?", choices=(*WHAT, "all"), default="all")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the shift or the registries' day lasts")
    chosen = parser.parse_args()
    if chosen.what in ("revocation", "all"):
        _revocation()
    if chosen.what in ("shift", "all"):
        _shift(chosen.minutes)
    if chosen.what in ("registries", "all"):
        _registries(chosen.minutes)
    if chosen.what in ("scale", "all"):
        _scale()


if __name__ == "__main__":
    main()
