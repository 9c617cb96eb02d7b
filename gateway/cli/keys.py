"""``weldgate keys``: the signing keys, and the secret of rolling codes."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.console import out, reporting_errors
from gateway.cli.options import DEFAULT_KEYS, KeysOption
from gateway.keys import open_keys, rotate_code_key

PUBLIC_FILE = 0o644

app = typer.Typer(
    help="Signing keys: the public set for chips, rotation; also of rolling codes' secret.", no_args_is_help=True
)


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
def announce(keys: KeysOption = DEFAULT_KEYS) -> None:
    """Make a key that signs nothing yet, so that chips can be given it first. Then: rotate --to."""
    with reporting_errors():
        out.print(f"announced {open_keys(keys).announce()}")
        out.print("give chips the new public set; when all have it: weldgate keys rotate --to, with this id")


@app.command()
def rotate(
    to: Annotated[str | None, typer.Option(help="Id of an announced key; without it a new key is made.")] = None,
    keys: KeysOption = DEFAULT_KEYS,
) -> None:
    """Change the signing key from the gateway's next start on. The old one is accepted until it is retired."""
    with reporting_errors():
        out.print(f"new signing key {open_keys(keys).rotate(to)}")
        out.print("chips need the public set that holds it before the gateway starts again")


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="Id of a key that no longer signs, as `keys list` shows it.")],
    keys: KeysOption = DEFAULT_KEYS,
) -> None:
    """Take an old key out of the public set."""
    with reporting_errors():
        open_keys(keys).retire(kid)
        out.print(f"retired {kid}")


@app.command("rotate-codes")
def rotate_codes(keys: KeysOption = DEFAULT_KEYS) -> None:
    """Change the secret of rolling codes from the gateways' next start on. Codes by the one before are still taken."""
    with reporting_errors():
        rotate_code_key(keys)
        out.print("made a new secret of rolling codes; those of the one before are still taken")
        out.print("start every gateway that uses this folder again: until then it refuses codes of the new secret")


@app.command("list")
def list_keys(keys: KeysOption = DEFAULT_KEYS) -> None:
    """Show key ids, the signing one first."""
    with reporting_errors():
        for position, kid in enumerate(open_keys(keys).kids):
            out.print(f"{kid}  {'signs' if position == 0 else 'accepted'}")
