"""What the commands of authorised people share: who orders, the database, tables."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.cells import cell_len, set_cell_size
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gateway.cli.console import out, reporting_errors
from gateway.errors import DatabaseUnavailable
from gateway.store.engine import open_engine, reading

ByOption = Annotated[str, typer.Option("--by", help="Name of the person who orders this; goes on record.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, in a few words; goes on record.")]


@contextmanager
def opened(database: str) -> Iterator[Engine]:
    """An existing database of this version."""
    with reporting_errors():
        engine = open_engine(database, migrate=False, must_exist=True)
        try:
            yield engine
        except DBAPIError as error:
            raise DatabaseUnavailable(
                f"--database: {error.orig}; is it a WeldGate database of this version?"
            ) from error
        finally:
            engine.dispose()


@contextmanager
def looking(database: str) -> Iterator[Connection]:
    """A reading connection, in one transaction: one consistent view."""
    with opened(database) as engine, reading(engine).connect() as connection, connection.begin():
        yield connection


def say(line: str) -> None:
    """A line as it stands: brackets and colons in it are no markup."""
    out.print(line, markup=False, emoji=False)


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """As wide as its content: what is cut off at the edge of a terminal cannot be copied."""
    lines = [headers, *rows]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(map(set_cell_size, line, widths)).rstrip())
