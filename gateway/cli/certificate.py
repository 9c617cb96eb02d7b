"""``weldgate certificate``: is a certificate that somebody shows the one on record?"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.console import err
from gateway.cli.desk import opened, say
from gateway.cli.options import DEFAULT_KEYS, DatabaseOption, KeysOption
from gateway.clock import now_ms
from gateway.registry.checks import check_certificate, in_words
from gateway.registry.claims import LONGEST_CLAIM, ClaimError, read_claim
from gateway.store.engine import DEFAULT_URL
from gateway.store.vault import open_vault

app = typer.Typer(help="Certificates: check whether one is genuine.", no_args_is_help=True)
MOST_BYTES = 4 * LONGEST_CLAIM


@app.callback()
def certificate() -> None:
    """Certificates: check whether one is genuine."""


@app.command()
def check(
    claim: Annotated[
        str,
        typer.Option(
            help="File with what the certificate says, or - for standard input: its scanned text, a JSON object or "
            "lines of label: value, Chinese or English."
        ),
    ],
    by: Annotated[str, typer.Option("--by", help="Name of the person who checks; goes on record.")],
    keys: KeysOption = DEFAULT_KEYS,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Compare a certificate with the registry: verified, unverified or counterfeit. Every check is recorded. Exit code
    1 unless it is verified. Numbers are never options: other users of a computer can read those."""
    with opened(database) as engine:
        plain = read_claim(_text(claim))
        for label in plain.passed_over:
            err.print(f"passed over: {label}", markup=False)
        found = check_certificate(engine, open_vault(keys, must_exist=True), plain, by, now_ms())
        for line in in_words(found):
            say(line)
        if found.verdict != "verified":
            raise typer.Exit(1)


def _text(claim: str) -> str:
    """UTF-8, or GB18030 as Chinese programs save it."""
    try:
        raw = sys.stdin.buffer.read(MOST_BYTES) if claim == "-" else Path(claim).read_bytes()[:MOST_BYTES]
    except OSError as error:
        raise ClaimError(f"--claim {claim}: {error.strerror}; name a file, or - for standard input") from None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ClaimError(f"--claim {claim}: is neither UTF-8 nor GB18030; save it as text")
