"""``weldgate registry``: bring registry files into the database; make sample files."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace
from rich.table import Table

from gateway.cli import holds, versions
from gateway.cli.console import bar, err, out, reporting_errors
from gateway.cli.desk import opened
from gateway.cli.options import DEFAULT_KEYS, DatabaseOption, KeysOption
from gateway.cli.sources import sources_command, sync_command
from gateway.clock import now_ms
from gateway.core.rules import local_time
from gateway.registry.importer import Report, Store, import_files
from gateway.registry.preview import Preview, in_words, preview
from gateway.registry.sample import PROFILES, generate
from gateway.registry.sheets import write_files
from gateway.registry.sources import load_sources
from gateway.store.engine import DEFAULT_URL, open_engine
from gateway.store.guard import Guard
from gateway.store.reseal import reseal
from gateway.store.vault import open_vault
from gateway.store.writing import How, Summary

app = typer.Typer(help="Registries of firms, people, certificates, employments and machines.", no_args_is_help=True)
app.command("sync")(sync_command)
app.command("sources")(sources_command)

SHOWN = 50
"""Bad rows that are printed; the others are counted."""


for name, command in (
    ("versions", versions.versions),
    ("history", versions.history_command),
    ("as-of", versions.as_of),
    ("rollback", versions.rollback),
    ("conflicts", versions.conflicts),
    ("holds", holds.holds),
    ("confirm", holds.confirm),
    ("reject", holds.reject),
):
    app.command(name)(command)


class ProfileName(StrEnum):
    county = "county"
    city = "city"
    province = "province"


class FormatName(StrEnum):
    csv = "csv"
    xlsx = "xlsx"


@app.command("import")
def import_command(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders whose CSV and XLSX files are read.")],
    database: Annotated[str, typer.Option(envvar="WELDGATE_DATABASE", help="Database URL.")] = DEFAULT_URL,
    keys: Annotated[Path, typer.Option(envvar="WELDGATE_KEYS", help="Folder of the keys.")] = Path("var/keys"),
    skip_bad_rows: Annotated[bool, typer.Option("--skip-bad-rows", help="Import the other rows.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")] = False,
    registry: Annotated[
        Path | None,
        typer.Option(envvar="WELDGATE_REGISTRY", help="The file that describes the sources: precedence and guard."),
    ] = None,
) -> None:
    """Bring registry files into the database: all rows or, if one is bad, none. What would take the right to weld from
    many people waits for confirmation (weldgate registry holds)."""
    with reporting_errors():
        store = Store(open_engine(database), open_vault(keys))
        try:
            with bar() as progress:
                how = replace(_how(registry), progress=progress)
                if dry_run:
                    _print_preview(preview(store, paths, now_ms(), how))
                    return
                report = import_files(store, paths, now_ms(), skip_bad_rows=skip_bad_rows, how=how)
        finally:
            store.engine.dispose()
    _print_report(report)
    if report.summary is None:
        err.print("nothing was imported")
    if report.summary is None or report.summary.overtaken:
        raise typer.Exit(1)


def _how(registry: Path | None) -> How:
    return load_sources(registry).how() if registry else How(guard=Guard())


def _print_report(report: Report) -> None:
    for warning in report.warnings:
        err.print(f"warning: {warning}", markup=False)
    for end in report.loose_ends:
        err.print(f"warning: {end.table}: {end.count} rows name a {end.column} that is not in {end.registry}")
    for bad in report.bad.kept[:SHOWN]:
        err.print(str(bad), markup=False)
    if report.bad.complaints > SHOWN:
        err.print(f"and {report.bad.complaints - SHOWN} more")
    if report.bad.lines:
        err.print(f"{report.bad.lines} bad rows {'were left out' if report.summary else 'were found'}")
    if report.summary:
        _print_summary(report.summary)
        _print_overtaken(report.summary)


def _print_overtaken(summary: Summary) -> None:
    """Nothing is left as it was unseen: a clock that was set back would look like this for good."""
    if summary.overtaken:
        err.print(
            f"{summary.overtaken:,} rows were left as they are: imports that began later have changed them; compare "
            "the clock (date) with `weldgate registry versions`, and import again"
        )


def _print_preview(found: Preview) -> None:
    _print_report(found.report)
    for difference in found.differences[:SHOWN]:
        out.print(in_words(difference), markup=False)
    if len(found.differences) > SHOWN:
        out.print(f"以及另外 and {len(found.differences) - SHOWN:,} more")
    losing, gaining = len(found.shift.losing), len(found.shift.gaining)
    out.print(f"将变更 would change: {len(found.differences):,} 行 rows")
    out.print(f"将失去焊接资格 would lose the right to weld: {losing:,} / {found.people:,} 人 people")
    out.print(f"将获得焊接资格 would gain it: {gaining:,} 人 people")
    if found.held:
        out.print("将被暂缓 would be held until somebody confirms it (weldgate registry holds)")
    out.print("未作任何更改 nothing was changed")


def _print_summary(summary: Summary) -> None:
    table = Table(box=None)
    for header in ("", "added", "changed", "unchanged"):
        table.add_column(header, justify="right" if header else "left")
    for name, count in summary.counts.items():
        table.add_row(name, f"{count.added:,}", f"{count.changed:,}", f"{count.unchanged:,}")
    out.print(table)
    out.print(f"registry version {summary.version}")


@app.command("sample")
def sample_command(
    folder: Annotated[Path, typer.Option("--out", help="Folder for the five files; files in it are replaced.")],
    profile: Annotated[ProfileName, typer.Option(help="How large.")] = ProfileName.county,
    seed: Annotated[int, typer.Option(help="The same seed and day make the same files.")] = 1,
    today: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The sample's day.")] = None,
    chinese: Annotated[bool, typer.Option("--chinese", help="Chinese headers and values.")] = False,
    form: Annotated[FormatName, typer.Option("--format", help="CSV or XLSX.")] = FormatName.csv,
) -> None:
    """Make a county (or city, or province) of made-up people and firms as registry files."""
    day = (today or local_time(now_ms())).date()
    with reporting_errors():
        tables = generate(PROFILES[profile.value], seed, day)
        for path in write_files(tables, folder, form=form.value, chinese=chinese):
            out.print(str(path), markup=False)


@app.command("reseal")
def reseal_command(database: DatabaseOption = DEFAULT_URL, keys: KeysOption = DEFAULT_KEYS) -> None:
    """Seal all personal numbers with the newest key of the vault, beside running gateways and imports. Broken off, it
    goes on when it is run again."""
    with opened(database) as engine:
        vault = open_vault(keys, must_exist=True)
        with bar() as progress:
            done = reseal(engine, vault, progress)
    out.print(f"{done.resealed} of {done.rows} rows sealed anew with key version {vault.newest}")
    if done.overtaken:
        out.print(f"{done.overtaken} rows were changed by somebody else meanwhile; run it again")
    if done.unreadable:
        err.print(f"{done.unreadable} rows do not open with any key of the vault; restore vault.json from a backup")
        raise typer.Exit(1)
