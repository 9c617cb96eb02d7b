"""The ``weldgate`` command: one small module per group of sub-commands."""

import typer

from gateway.cli import audit, keys, registry
from gateway.cli.demo import demo
from gateway.cli.serve import serve

app = typer.Typer(
    name="weldgate",
    help="WeldGate: only a certified operator of the owning firm starts the machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(serve)
app.add_typer(registry.app, name="registry")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
