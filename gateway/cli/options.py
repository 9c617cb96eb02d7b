"""Options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

DatabaseOption = Annotated[str, typer.Option("--database", envvar="WELDGATE_DATABASE", help="The database's URL.")]
KeysOption = Annotated[
    Path, typer.Option("--keys", envvar="WELDGATE_KEYS", help="Folder of the signing keys and the vault.")
]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", envvar="WELDGATE_POLICY", help="The policy; without it, the default one.")
]
DEFAULT_KEYS = Path("var/keys")
