"""The ``weldgate`` command: one small module per group of sub-commands.

Modules are loaded when their command is used: a gateway that runs for months need not hold what reads spreadsheets.
"""

import os
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

OWNER_ONLY = 0o077
"""Databases, keys and exports hold personal data: the files that commands make are their owner's alone."""
_COMMANDS = (
    "audit",
    "broker",
    "certificate",
    "demo",
    "enterprise",
    "figures",
    "keys",
    "machine",
    "operator",
    "override",
    "pki",
    "purge",
    "registry",
    "serve",
    "session",
    "token",
    "user",
)
"""Each is the attribute ``app`` of ``gateway.cli.NAME``."""


class _LoadedWhenUsed(TyperGroup):
    def list_commands(self, _context: Any) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _context: Any, name: str) -> Any:
        if name not in _COMMANDS:
            return None
        command = get_command(import_module(f"gateway.cli.{name}").app)
        command.name = name
        return command


app = typer.Typer(
    name="weldgate",
    cls=_LoadedWhenUsed,
    help="WeldGate: only a certified operator of the owning firm starts the machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def weldgate() -> None:
    """WeldGate: only a certified operator of the owning firm starts the machine."""
    os.umask(OWNER_ONLY)
