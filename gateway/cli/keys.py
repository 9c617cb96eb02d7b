"""``weldgate keys``: the signing keys, the secret of rolling codes, and the keys that seal personal numbers."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.console import bar, out, reporting_errors
from gateway.cli.desk import opened
from gateway.cli.options import DEFAULT_KEYS, DatabaseOption, KeysOption
from gateway.clock import now_ms
from gateway.keys import open_keys, rotate_code_key
from gateway.store import reseal, vault
from gateway.store.engine import DEFAULT_URL

PUBLIC_FILE = 0o644

app = typer.Typer(
    help="Signing keys: the public set for chips, rotation; also of rolling codes' secret and of the vault.",
    no_args_is_help=True,
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


@app.command("rotate-vault")
def rotate_vault(keys: KeysOption = DEFAULT_KEYS) -> None:
    """Add a key that seals personal numbers from now on, without a restart. Older ones still open theirs."""
    with reporting_errors():
        version = vault.rotate(keys, now_ms())
        out.print(f"key version {version} seals from now on; running processes know it within {vault.LOOK_AGAIN_S} s")
        out.print("back up vault.json before anything else, then: weldgate registry reseal")


@app.command("retire-vault")
def retire_vault(
    version: Annotated[int, typer.Argument(help="Version of a key that nothing is sealed with any more.")],
    database: DatabaseOption = DEFAULT_URL,
    keys: KeysOption = DEFAULT_KEYS,
) -> None:
    """Drop an old key of the vault. Refused while anything in the database is sealed with it."""
    with opened(database) as engine, bar() as progress:
        reseal.retire(engine, keys, version, now_ms(), progress)
    out.print(f"retired key version {version}; backups of the database that hold its seals need it still")
