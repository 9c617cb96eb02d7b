"""``weldgate token``: tokens of the HTTP API."""

import os
import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from gateway.cli.desk import opened, print_table, say
from gateway.cli.options import DatabaseOption
from gateway.clock import now_ms
from gateway.errors import WeldGateError
from gateway.observe import logs
from gateway.registry.acts import when
from gateway.store.api_tokens import SCOPES, ApiToken, add_token, read_tokens, revoke_token
from gateway.store.engine import DEFAULT_URL

app = typer.Typer(help="Tokens of the HTTP API: make, list, revoke.", no_args_is_help=True)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Whose it is, for people.")],
    scope: Annotated[list[str], typer.Option("--scope", help=f"What it is for: {', '.join(SCOPES)}; may be repeated.")],
    days: Annotated[int | None, typer.Option("--days", help="How long it holds; without: until it is revoked.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="New file for it, mode 0600, not printed.")] = None,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Make a token. It is shown this once: the database keeps only its SHA-256."""
    with opened(database) as engine:
        if out is not None and out.exists():
            raise WeldGateError(f"--out {out}: is there already; name a file that is not")
        token, text = add_token(engine, name, scope, now_ms(), days)
        _log("token.added", token)
        if out is None:
            say(text)
        else:
            _write_new(out, text, token)


def _write_new(path: Path, text: str, token: ApiToken) -> None:
    """For its owner alone, from the first moment on."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(text + "\n")
    except OSError as error:
        raise WeldGateError(
            f"--out {path}: {error.strerror}; the token is lost: revoke {token.token_id}, add another"
        ) from error


@app.command("list")
def list_tokens(database: DatabaseOption = DEFAULT_URL) -> None:
    """Show every token that was ever made, without the tokens themselves."""
    with opened(database) as engine:
        now = now_ms()
        rows = [
            (token.token_id, token.name, " ".join(token.scopes), when(token.made_at), _state(token, now))
            for token in read_tokens(engine).values()
        ]
        print_table(("id", "名称 name", "权限 scopes", "创建 made", "状态 state"), rows)


def _state(token: ApiToken, now: int) -> str:
    if token.revoked_at is not None:
        return f"已吊销 revoked {when(token.revoked_at)}"
    if token.expires_at is None:
        return "有效 holds"
    return f"{'有效至 holds until' if token.holds_at(now) else '已过期 expired'} {when(token.expires_at)}"


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, as `token list` shows it.")],
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Revoke a token: running gateways refuse it from within a second on."""
    with opened(database) as engine:
        token = revoke_token(engine, token_id, now_ms())
        say(f"已吊销 revoked {token.token_id} {token.name}")
        _log("token.revoked", token)


def _log(event: str, token: ApiToken) -> None:
    """Who has which token is no decision and no order, so it goes to the log and not to the ledger."""
    logs.configure("info", sys.stderr)
    structlog.get_logger().info(event, token_id=token.token_id, name=token.name, scopes=token.scopes)
