"""``weldgate registry holds|confirm|reject``: changes that wait, since they would take the right to weld from many."""

from typing import Annotated

import typer

from gateway.cli.desk import ByOption, ReasonOption, looking, opened, print_table, say
from gateway.cli.options import DatabaseOption
from gateway.clock import now_ms
from gateway.registry.acts import author, when
from gateway.store.engine import DEFAULT_URL
from gateway.store.guard import Hold, HoldError, decide_hold
from gateway.store.guard import holds as all_holds

HoldArgument = Annotated[str, typer.Argument(help="The hold, as `weldgate registry holds` lists it.")]
HEADERS = (
    "状态 state",
    "编号 hold",
    "自 since",
    "来源 source",
    "失去资格 lose",
    "全部 of",
    "内容 what",
    "决定 decided",
)


def holds(
    operators: Annotated[str | None, typer.Option("--operators", help="List the people of this hold.")] = None,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Changes that were held back, the latest first, and what became of them."""
    with looking(database) as connection:
        found = all_holds(connection)
        if operators is None:
            print_table(HEADERS, map(_cells, found))
            return
        chosen = next((hold for hold in found if hold.hold_id == operators), None)
        if chosen is None:
            raise HoldError(f"hold = {operators!r}: there is none; `weldgate registry holds` shows all")
        for operator_id in chosen.operators:
            say(operator_id)


def _cells(hold: Hold) -> tuple[str, ...]:
    decided = f"{when(hold.decided_at)} {hold.by}: {hold.reason}" if hold.decided_at else "—"
    counts = f"{hold.people:,}", f"{hold.of_people:,}"
    return (hold.state, hold.hold_id, when(hold.at), hold.source, *counts, hold.note, decided)


def confirm(hold: HoldArgument, by: ByOption, reason: ReasonOption, database: DatabaseOption = DEFAULT_URL) -> None:
    """Let a held change through: it holds for the same people (or fewer), from the same source, once."""
    with opened(database) as engine:
        who = author(by, reason, now_ms())
        done = decide_hold(engine, hold, "confirmed", (who.by, who.reason), who.at)
        say(f"已确认 confirmed  {done.hold_id}  {done.people:,} 人 people  {who.by}: {who.reason}")
        say("请再次导入；自动同步的来源会自行再次提交 bring it in again; a source that is synced does so by itself")


def reject(hold: HoldArgument, by: ByOption, reason: ReasonOption, database: DatabaseOption = DEFAULT_URL) -> None:
    """Say that a held change is a mistake. Brought in again it is held again."""
    with opened(database) as engine:
        who = author(by, reason, now_ms())
        done = decide_hold(engine, hold, "rejected", (who.by, who.reason), who.at)
        say(f"已驳回 rejected  {done.hold_id}  {who.by}: {who.reason}")
