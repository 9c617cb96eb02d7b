"""``weldgate purge``: what is past its retention is deleted."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.console import bar
from gateway.cli.desk import ByOption, ReasonOption, opened, print_table, say
from gateway.cli.options import DatabaseOption
from gateway.clock import now_ms
from gateway.registry.acts import author, when
from gateway.settings import load_settings
from gateway.store.engine import DEFAULT_URL
from gateway.store.purge import LEDGER, Due, Ordered, due
from gateway.store.purge import purge as purge_database
from gateway.upkeep import load_policy

app = typer.Typer(add_completion=False)

_KINDS = {
    "usage": "用量 usage",
    "sessions": "会话 ended sessions",
    "lost_evidence": "证据缺口 lost evidence",
    "offline_lists": "离线名单 offline lists",
    "history": "登记历史 registry history",
    "events": "推送 pushed events",
    LEDGER: "台账 ledger",
}


@app.command()
def purge(
    by: ByOption,
    reason: ReasonOption,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what is due, delete nothing.")] = False,
    policy: Annotated[
        Path | None, typer.Option(help="The policy whose section `retention` holds (default: the settings' policy).")
    ] = None,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Delete what is past its retention, beside running gateways. Broken off, it goes on when it is ordered again."""
    with opened(database) as engine:
        who = author(by, reason, now_ms())
        rules = load_policy(load_settings(policy=policy).policy)
        if dry_run:
            _print(due(engine, rules, who.at))
            say("没有删除任何数据 nothing was deleted")
            return
        with bar() as progress:
            done = purge_database(engine, rules, Ordered(who.by, who.reason, who.at), progress)
        _print(done)
        if not done.anything and not done.left:
            say("没有到期的数据 nothing is due")


def _print(found: Due) -> None:
    rows = [(name, *_line(found, kind)) for kind, name in _KINDS.items()]
    print_table(("种类 kind", "早于 before", "条数 rows"), rows)
    if found.cut:
        say(f"台账删除至 the ledger goes up to record {found.cut.seq}, SHA-256 {found.cut.hash}")
    if found.left:
        say(f"上次中断的清除尚余 left by a purge that was broken off: {found.left}")


def _line(found: Due, kind: str) -> tuple[str, str]:
    if kind not in found.before:
        return "永久保存 kept for ever", ""
    rows = (found.cut.count if found.cut else 0) if kind == LEDGER else found.rows[kind]
    return when(found.before[kind]), str(rows)
