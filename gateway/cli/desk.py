"""What the commands of authorised people share: who orders, the database, tables."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gateway.cli.console import out, reporting_errors
from gateway.errors import DatabaseUnavailable
from gateway.store.engine import open_engine, reading

ByOption = Annotated[str, typer.Option("--by", help="Name of the person who orders this; goes on record.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, in a few words; goes on record.")]
WIDEST = 10_000
"""A table is as wide as its content: what is cut off at the edge of a terminal cannot be copied."""


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
    table = Table(*headers, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table, width=WIDEST)
