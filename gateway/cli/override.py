"""``weldgate override``: two people let pass named checks for one person at one machine, for a while."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer
from msgspec import Struct
from sqlalchemy import Connection

from gateway.cli.desk import ByOption, ReasonOption, looking, opened, print_table, say
from gateway.cli.options import DatabaseOption
from gateway.clock import now_ms
from gateway.core.model import Millis
from gateway.errors import WeldGateError
from gateway.gate.explain import decision_of
from gateway.registry import orders
from gateway.registry.acts import (
    APPROVED_WITHIN_MINUTES,
    LONGEST_MINUTES,
    MINUTE_MS,
    OverrideState,
    Overriding,
    author,
    overridings,
    when,
)
from gateway.store import overview
from gateway.store.controls import acts, asked_since
from gateway.store.engine import DEFAULT_URL
from gateway.store.ledger import decode_record

app = typer.Typer(help="Overrides: ask, approve, end, list.", no_args_is_help=True)
OverrideArgument = Annotated[str, typer.Argument(help="The override's id, as `override ask` printed it.")]

DAY_MS = 86_400_000
DEFAULT_DAYS = 30
ACTIVE_WITHIN_MS = (APPROVED_WITHIN_MINUTES + LONGEST_MINUTES) * MINUTE_MS
"""What was asked for earlier is over: lapsed, or approved within its hour and in force for another at most."""
MOST_COUNTED = 10
_STATES: dict[OverrideState, str] = {
    "asked": "待批准 asked",
    "lapsed": "未批准过期 lapsed",
    "in_force": "有效 in force",
    "ended": "已终止 ended",
    "over": "已到期 over",
}


class LevelName(StrEnum):
    supervisor = "supervisor"
    regulator = "regulator"


# --- orders -----------------------------------------------------------------------------------------------------


@app.command()
def ask(
    operator: Annotated[str, typer.Argument(help="The person to let pass.")],
    machine: Annotated[str, typer.Argument(help="The machine where.")],
    code: Annotated[list[str], typer.Option(help="Reason code to let pass; may be given several times.")],
    minutes: Annotated[int, typer.Option(help=f"For how long from its approval on, 1 to {LONGEST_MINUTES}.")],
    by: ByOption,
    reason: ReasonOption,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Ask for an override, and print its id. A second person has to approve it within an hour."""
    with opened(database) as engine:
        asked = orders.ask_override(engine, operator, machine, code, minutes, author(by, reason, now_ms()))
        what = f"{asked.operator_id} at {asked.machine_id}, {', '.join(asked.codes)}, {minutes} min"
        say(asked.override_id or "")
        say(f"待批准 asked: {what}")
        say(
            f"请另一人在 {APPROVED_WITHIN_MINUTES} 分钟内批准 a second person approves it within that time: "
            f"weldgate override approve {asked.override_id}"
        )


@app.command()
def approve(
    override: OverrideArgument,
    by: Annotated[str, typer.Option("--by", help="Name of the second person; goes on record.")],
    level: Annotated[LevelName, typer.Option(help="What the second person is.")] = LevelName.supervisor,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Approve an override that somebody else asked for; it is in force from now on."""
    with opened(database) as engine:
        done = orders.approve_override(engine, override, by, level.value, now_ms())
        say(
            f"已批准 approved  {override}  {done.operator_id} at {done.machine_id}, {', '.join(done.codes)}  "
            f"至 until {when(done.until or done.at)} (Asia/Shanghai)"
        )


@app.command()
def end(override: OverrideArgument, by: ByOption, reason: ReasonOption, database: DatabaseOption = DEFAULT_URL) -> None:
    """End an override, or withdraw one that nobody has approved yet. Work that rests on it is locked."""
    with opened(database) as engine:
        done = orders.end_override(engine, override, author(by, reason, now_ms()))
        say(f"已终止 ended  {override}  {done.operator_id} at {done.machine_id}  {done.by}: {done.reason}")


# --- list -------------------------------------------------------------------------------------------------------


class Use(Struct):
    """Decisions that an override let pass something in, and how many of them were allows."""

    decisions: int = 0
    allows: int = 0


@app.command("list")
def list_command(
    active: Annotated[bool, typer.Option("--active", help="Only those in force or waiting for approval.")] = False,
    since: Annotated[
        int | None, typer.Option(min=1, metavar="DAYS", help=f"Asked for within so many days (default {DEFAULT_DAYS}).")
    ] = None,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Overrides with who made them and how often they were used; counted by firm, machine and person."""
    with looking(database) as connection:
        if active and since is not None:
            raise WeldGateError("--active, --since: give one of them")
        now = now_ms()
        reach_ms = ACTIVE_WITHIN_MS if active else (since or DEFAULT_DAYS) * DAY_MS
        stories = overridings(acts(connection, asked_since(now - reach_ms)))
        if active:
            stories = [story for story in stories if story.state(now) in ("asked", "in_force")]
        uses = [_uses(connection, story) for story in stories]
        print_table(HEADERS, (_cells(story, use, now) for story, use in zip(stories, uses, strict=True)))
        _print_counts(connection, stories, uses, now)


HEADERS = (
    *("状态 state", "编号 id", "人员 operator", "设备 machine", "放行 codes", "申请 asked", "批准 approved"),
    *("至 until", "使用 used", "放行 let in", "事由 reason"),
)


def _uses(connection: Connection, story: Overriding) -> Use:
    """Counted in the ledger: what was decided while it was in force, and names it."""
    use, until = Use(), story.until()
    if story.approved is None or until is None:
        return use
    about = (story.asked.machine_id or "", story.asked.operator_id or "")
    for row in overview.decisions_between(connection, *about, story.approved.at, until):
        body = decision_of(decode_record(row.record))
        override = body.facts.override
        if body.decision.overridden and override is not None and override.override_id == story.override_id:
            use.decisions += 1
            use.allows += body.decision.outcome == "allow"
    return use


def _cells(story: Overriding, use: Use, now: Millis) -> tuple[str, ...]:
    asked, approved, until = story.asked, story.approved, story.until()
    return (
        _STATES[story.state(now)],
        story.override_id,
        asked.operator_id or "—",
        asked.machine_id or "—",
        " ".join(asked.codes),
        f"{when(asked.at)} {asked.by}",
        f"{when(approved.at)} {approved.by} ({approved.level})" if approved else "—",
        when(until) if until else "—",
        str(use.decisions),
        str(use.allows),
        asked.reason,
    )


def _print_counts(connection: Connection, stories: list[Overriding], uses: list[Use], now: Millis) -> None:
    states = Counter(story.state(now) for story in stories)
    by_state = ", ".join(f"{name} {states[state]}" for state, name in _STATES.items() if states[state])
    used = sum(use.decisions for use in uses)
    say(f"共 overrides {len(stories)}: {by_state or '无 none'}; 使用 used {used}")
    machines = [story.asked.machine_id or "" for story in stories]
    firms = overview.firms_of(connection, set(machines))
    _print_counted("按企业 by firm", (firms.get(machine, "—") for machine in machines))
    _print_counted("按设备 by machine", machines)
    _print_counted("按人员 by person", (story.asked.operator_id or "" for story in stories))


def _print_counted(what: str, names: Iterable[str]) -> None:
    """The most frequent; the others as one number."""
    counts = Counter(names)
    shown = counts.most_common(MOST_COUNTED)
    rest = len(counts) - len(shown)
    if shown:
        say(
            f"{what}: "
            + ", ".join(f"{name} {number}" for name, number in shown)
            + (f", 其他 {rest} others" if rest else "")
        )
