"""``weldgate keys``: the signing keys."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.console import out, reporting_errors
from gateway.cli.options import DEFAULT_KEYS, KeysOption
from gateway.keys import open_keys

PUBLIC_FILE = 0o644

app = typer.Typer(help="Signing keys: the public set for chips, rotation.", no_args_is_help=True)


@app.command()
def public(
    target: Annotated[Path, typer.Option("--out", help="File to write the JWK Set to; - for standard output.")],
    keys: KeysOption = DEFAULT_KEYS,
) -> None:
    """Write the public keys as a JWK Set (RFC 7517): what chips are provisioned with."""
    with reporting_errors():
        jwks = open_keys(keys).public()
        if str(target) == "-":
            typer.echo(jwks, nl=False)
        else:
            target.write_bytes(jwks)
            target.chmod(PUBLIC_FILE)


@app.command()
def rotate(keys: KeysOption = DEFAULT_KEYS) -> None:
    """Make a new signing key. The old one stays in the public set until it is retired."""
    with reporting_errors():
        ring = open_keys(keys)
        out.print(f"new signing key {ring.rotate()}")
        out.print("give chips the new public set, then restart the gateway: it signs with the new key from then on")


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="Id of a key that no longer signs, as `keys list` shows it.")],
    keys: KeysOption = DEFAULT_KEYS,
) -> None:
    """Take an old key out of the public set."""
    with reporting_errors():
        open_keys(keys).retire(kid)
        out.print(f"retired {kid}")


@app.command("list")
def list_keys(keys: KeysOption = DEFAULT_KEYS) -> None:
    """Show key ids, the signing one first."""
    with reporting_errors():
        for position, kid in enumerate(open_keys(keys).kids):
            out.print(f"{kid}  {'signs' if position == 0 else 'accepted'}")
