"""``python -m tests.bench figures``: the pages' queries at the size of ten counties, and what counting costs."""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from rich.console import Console
from rich.table import Table

from gateway.store.engine import open_engine
from tests.bench.counting import keeping, queries
from tests.bench.counting.queries import Took
from tests.bench.counting.synthetic import Size, make

LIMIT_MS = 200.0
QUICK_SHARE = 0.002
PARTS = ("queries", "keeping", "beside")
TABLE_WIDTH = 120


def main(arguments: list[str]) -> int:
    """1 where a query took longer than the limit."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench figures", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of ten counties' work in a year")
    parser.add_argument("--quick", action="store_true", help="a few seconds: shows that it runs, measures nothing")
    parser.add_argument("--part", choices=PARTS, action="append", help="only this (may be given several times)")
    parser.add_argument("--only", default="", help="only queries with this in their name")
    parser.add_argument("--plans", action="store_true", help="print what SQLite does for each query")
    parser.add_argument("--warm", action="store_true", help="do not forget the file between queries")
    chosen = parser.parse_args(arguments)
    share = QUICK_SHARE if chosen.quick else chosen.share
    path = Path(gettempdir()) / "weldgate-bench" / f"figures-{share:g}.db"
    path.parent.mkdir(exist_ok=True)
    console = Console(width=max(Console().width, TABLE_WIDTH))
    if not path.exists():
        console.print(f"making {path}: an hour for the whole, once")
        make(path, Size() if share == 1 else Size().scaled(share))
    console.print(f"{path}: {path.stat().st_size / 1e9:.1f} GB")
    parts = chosen.part or PARTS
    slow = _queries(console, path, chosen) if "queries" in parts else 0
    if "keeping" in parts:
        _keeping(console, path, 1.0 if chosen.quick else keeping.FOLDED_FOR_S)
    if "beside" in parts and not chosen.quick:
        _beside(console)
    return int(slow > 0)


def _queries(console: Console, path: Path, chosen: argparse.Namespace) -> int:
    if chosen.quick:
        queries.FOR_S = 0.0
    engine, took = open_engine(f"sqlite:///{path}", migrate=False), list[Took]()
    try:
        with engine.connect() as connection:
            about = queries.names(connection)
        for query in queries.asked(about):
            if chosen.only in query.name:
                took.append(queries.measure(engine, path, query, cold=not chosen.warm))
                if chosen.plans:
                    console.print(query.name, *queries.plans(engine, query), sep="\n    ", markup=False)
    finally:
        engine.dispose()
    table = Table(box=None)
    for header in ("query", "p50 ms", "p95 ms", "first, cold"):
        table.add_column(header, justify="left" if header == "query" else "right")
    for one in took:
        late = "  *" if one.p95 > LIMIT_MS else ""
        table.add_row(one.name + late, f"{one.p50:.1f}", f"{one.p95:.1f}", f"{one.cold:.1f}")
    console.print(table)
    return sum(one.p95 > LIMIT_MS for one in took)


def _keeping(console: Console, path: Path, seconds: float) -> None:
    table = Table(box=None)
    for header in ("", "records/s", "sessions/s", "lock held p50 ms", "p95", "max"):
        table.add_column(header, justify="right" if header else "left")
    for one in (keeping.counted_bare(path, seconds), keeping.counted_by_the_task(path, seconds)):
        table.add_row(one.name, *(f"{value:,.0f}" for value in one[1:3]), *(f"{value:.1f}" for value in one[3:]))
    console.print(table)


def _beside(console: Console) -> None:
    table = Table(box=None)
    for header in ("", "devices", "requests/s", "p50 ms", "p95", "p99"):
        table.add_column(header, justify="right" if header else "left")
    work = Path("var")
    work.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="bench-", dir=work) as folder:
        for one in keeping.beside_the_gate(Path(folder)):
            table.add_row(one.name, str(one.devices), f"{one.rate:,.0f}", *(f"{value:.2f}" for value in one[3:]))
    console.print(table)
