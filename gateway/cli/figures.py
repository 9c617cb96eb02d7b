"""``weldgate figures``: what pages count, compared with what it is counted from, and made anew."""

from typing import Annotated

import sqlalchemy as sa
import typer

from gateway.cli.console import bar
from gateway.cli.desk import looking, opened, say
from gateway.cli.options import DatabaseOption
from gateway.store.engine import DEFAULT_URL
from gateway.store.figures import rebuilding
from gateway.store.figures.folding import read_state
from gateway.store.figures.rebuilding import Difference
from gateway.store.figures.tables import UNCOUNTED
from gateway.store.ledger import read_head

app = typer.Typer(help="The figures that pages show: how far they go, whether they are right.", no_args_is_help=True)

SHOWN = 20


@app.command()
def status(database: DatabaseOption = DEFAULT_URL) -> None:
    """How far the figures go, and what is left to count."""
    with looking(database) as connection:
        state, head = read_state(connection), read_head(connection)
        marked = connection.execute(sa.select(sa.func.count()).select_from(UNCOUNTED)).scalar_one()
        last = head.seq if head else 0
        say(f"已统计至记录 counted up to record {state.seq} / {last}，尚余 left {last - state.seq}")
        say(f"用量待统计的会话 sessions with usage to be counted: {marked}")


@app.command()
def verify(
    database: DatabaseOption = DEFAULT_URL,
    show: Annotated[int, typer.Option(min=0, help="How many differences to print.")] = SHOWN,
) -> None:
    """Count everything anew and compare. Exit code 1 if anything differs. Beside running gateways; the folder for
    temporary files (TMPDIR) needs room for the figures."""
    with opened(database) as engine:
        with bar() as progress:
            found = 0
            for difference in rebuilding.verify(engine, progress):
                if (found := found + 1) <= show:
                    say(_line(difference))
        if found:
            say(f"不一致 differ: {found:,} 行 rows; weldgate figures rebuild 重新统计 puts them right")
            raise typer.Exit(1)
        say("一致 equal to what they are counted from")


@app.command()
def rebuild(database: DatabaseOption = DEFAULT_URL) -> None:
    """Count everything anew, put right what differs, and compare again. Beside running gateways, whose pages stand
    still meanwhile. What was purged cannot be counted anew and stays as it is."""
    with opened(database) as engine:
        with bar() as progress:
            done = rebuilding.rebuild(engine, progress)
            left = sum(1 for _ in rebuilding.verify(engine, progress))
        say(f"已更正 put right: {done:,} 行 rows")
        if left:
            say(f"不一致 differ still: {left:,} 行 rows")
            raise typer.Exit(1)
        say("一致 equal to what they are counted from")


def _line(difference: Difference) -> str:
    return f"{difference.table}: 现有 kept {difference.kept or '—'}  应为 expected {difference.expected or '—'}"
