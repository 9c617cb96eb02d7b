"""Tables as files: CSV and XLSX, made in a process of its own (see ``gateway.site.exporting``).

``python -m gateway.site.sheets`` reads one ``Job`` as JSON on standard input and writes the file on standard output,
as it goes for CSV. Rows come with the job, or from the database by what the job asks for.
"""

import csv
import io
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Literal

import msgspec
from msgspec import Struct
from sqlalchemy import Engine

from gateway.core.days import Days
from gateway.core.genuine import masked_name
from gateway.core.reach import Reach
from gateway.core.rules import local_time
from gateway.site.divisions import full_name
from gateway.store.engine import reading
from gateway.store.figures.decisions import DecisionEntry, Wanted, exported
from gateway.store.figures.exports import UsageEntry, exported_usage
from gateway.store.figures.machines import MachineRowFacts, MachinesWanted, machines
from gateway.store.figures.reading import Part

Format = Literal["csv", "xlsx"]
Cell = str | int | float | None
ROWS_AT_ONCE = 1000
MEMORY_BYTES = 1 << 30
NICENESS = 10
MOST_XLSX_ROWS = 200_000
"""Of one sheet; a sheet can hold 1,048,576, which takes minutes. CSV has no limit."""
BOM = "\ufeff"
"""Without it Excel takes UTF-8 for something else."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Decisions(Struct, frozen=True, tag=True):
    """All decisions that fit, the latest first."""

    wanted: Wanted


class Machines(Struct, frozen=True, tag=True):
    """All machines that fit, by number."""

    wanted: MachinesWanted


class UsageByDay(Struct, frozen=True, tag=True):
    """What each person did at each machine, by day."""

    days: Days
    part: Part


class Source(Struct, frozen=True):
    """Rows of the database of this URL, within a reach."""

    url: str
    reach: Reach
    what: Decisions | Machines | UsageByDay


class Job(Struct, frozen=True):
    """A file to make: of rows that are given, or of a ``source``. ``too_many`` stands last where the format takes no
    more rows."""

    format: Format
    header: list[str]
    rows: list[list[Cell]] = []
    source: Source | None = None
    too_many: str = ""


def main() -> None:
    """Make one file within bounds of memory."""
    os.nice(NICENESS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    write = write_csv if job.format == "csv" else write_xlsx
    write(job, rows_of(job), sys.stdout.buffer)


def rows_of(job: Job) -> Iterator[Sequence[Cell]]:
    if job.source is None:
        yield from job.rows
        return
    from gateway.store.engine import open_engine

    engine = open_engine(job.source.url, migrate=False, must_exist=True)
    try:
        yield from _rows(engine, job.source)
    finally:
        engine.dispose()


def _rows(engine: Engine, source: Source) -> Iterator[Sequence[Cell]]:
    match source.what:
        case Decisions(wanted):
            yield from map(decision_row, exported(engine, source.reach, wanted))
        case Machines(wanted):
            yield from map(machine_row, _machines(engine, source.reach, wanted))
        case UsageByDay(days, part):
            yield from map(usage_row, exported_usage(engine, source.reach, days, part))


def _machines(engine: Engine, reach: Reach, wanted: MachinesWanted) -> Iterator[MachineRowFacts]:
    """Each lot in a transaction of its own."""
    after: tuple[Any, ...] | None = None
    while True:
        with reading(engine).begin() as connection:
            lot = machines(connection, reach, wanted, ROWS_AT_ONCE, after)
        yield from lot.rows
        if lot.after is None:
            return
        after = lot.after


DECISION_HEADER = (
    "记录号", "时间", "结果", "方式", "行政区划代码", "统一社会信用代码", "单位", "焊机编号", "人员编号", "姓名",
    "凭据", "拒绝原因", "提醒", "临时放行", "请求编号", "作业编号",
)  # fmt: skip
MACHINE_HEADER = (
    "焊机编号", "统一社会信用代码", "单位", "行政区划代码", "行政区划", "位置", "工艺", "登记状态", "现在", "有锁具",
    "最近联系", "上次使用",
)  # fmt: skip
USAGE_HEADER = (
    "日期", "焊机编号", "人员编号", "姓名", "行政区划代码", "统一社会信用代码", "单位", "作业", "解锁秒", "起弧秒",
    "解锁未起弧秒", "起弧次数", "kWh",
)  # fmt: skip


def decision_row(entry: DecisionEntry) -> list[Cell]:
    """The columns of ``DECISION_HEADER``; a person by number and masked name."""
    return [
        *(entry.seq, _when(entry.at), entry.outcome, entry.kind, entry.division, entry.uscc, entry.firm),
        *(entry.machine_id, entry.operator_id, _masked(entry.operator), entry.method),
        *(" ".join(codes) for codes in (entry.reasons, entry.warnings, entry.overridden)),
        *(entry.request_id, entry.session_id),
    ]


def machine_row(row: MachineRowFacts) -> list[Cell]:
    """The columns of ``MACHINE_HEADER``."""
    place = full_name(row.division)
    registered = (row.machine_id, row.uscc, row.firm, row.division, place, row.location, row.process, row.status)
    return [*registered, row.state, "1" if row.fitted else "0", _when(row.heard_at), _when(row.used_at)]


def usage_row(entry: UsageEntry) -> list[Cell]:
    """The columns of ``USAGE_HEADER``."""
    return [
        *(entry.day.isoformat(), entry.machine_id, entry.operator_id, _masked(entry.operator)),
        *(entry.division, entry.uscc, entry.firm, entry.sessions, entry.enabled_s, entry.arc_s, entry.idle_s),
        *(entry.arcs, entry.energy_mwh / 1_000_000),
    ]


def _when(at: int | None) -> str | None:
    return None if at is None else f"{local_time(at):%Y-%m-%d %H:%M:%S}"


def _masked(name: str | None) -> str | None:
    return masked_name(name) if name else None


def safe(cell: Cell) -> Cell:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it (CWE-1236).

    >>> safe("=1+1"), safe("-3"), safe(-3), safe("样例")
    ("'=1+1", "'-3", -3, '样例')
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell


def write_csv(job: Job, rows: Iterable[Sequence[Cell]], out: BinaryIO) -> None:
    """RFC 4180, UTF-8 with a byte order mark."""
    text = io.TextIOWrapper(out, encoding="utf-8", newline="")
    text.write(BOM)
    writer = csv.writer(text)
    writer.writerow([safe(name) for name in job.header])
    writer.writerows([safe(cell) for cell in row] for row in rows)
    text.flush()
    text.detach()  # whoever gave the stream closes it


def write_xlsx(job: Job, rows: Iterable[Sequence[Cell]], out: BinaryIO) -> None:
    """One sheet, kept in a file until it is whole: a ZIP names its members at the end."""
    from openpyxl import Workbook

    book = Workbook(write_only=True)
    sheet = book.create_sheet()
    sheet.append([safe(name) for name in job.header])
    for number, row in enumerate(rows):
        if number == MOST_XLSX_ROWS:
            sheet.append([job.too_many])
            break
        sheet.append([safe(cell) for cell in row])
    with tempfile.TemporaryFile() as file:
        book.save(file)
        file.seek(0)
        shutil.copyfileobj(file, out)


if __name__ == "__main__":
    main()
