"""What commands print: results on stdout, everything else on stderr, an expected error as one line."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import Progress as Bar

from gateway.errors import WeldGateError
from gateway.store.writing import Progress

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turns a WeldGateError into one line on stderr and exit code 1."""
    try:
        yield
    except WeldGateError as error:
        err.print(f"weldgate: {error}", markup=False)
        raise typer.Exit(1) from None


@contextmanager
def bar() -> Iterator[Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    with Bar(console=err, transient=True, disable=not err.is_terminal) as shown:
        task = shown.add_task("", total=None)
        yield lambda what, done, of: shown.update(task, description=what, completed=done, total=of)
