"""``weldgate session``: who is at work at which machine, and ending it."""

from typing import Annotated

import msgspec
import typer
from msgspec import structs

from gateway.cli.console import err
from gateway.cli.desk import ByOption, ReasonOption, looking, opened, print_table, say
from gateway.cli.options import DatabaseOption
from gateway.clock import now_ms
from gateway.errors import WeldGateError
from gateway.registry import orders
from gateway.registry.acts import author, when
from gateway.store import overview
from gateway.store.engine import DEFAULT_URL
from gateway.store.overview import SessionFacts, Wanted

app = typer.Typer(help="Sessions: list, end.", no_args_is_help=True)

HEADERS = (
    *("状态 state", "设备 machine", "人员 operator", "自 since", "租约至 lease until", "最近用量 last usage"),
    *("结束 end", "会话 session"),
)


@app.command("list")
def list_command(
    machine: Annotated[str | None, typer.Option(help="Only this machine.")] = None,
    operator: Annotated[str | None, typer.Option(help="Only this person.")] = None,
    division: Annotated[str | None, typer.Option(help="Only machines of this division, six digits.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Open and ended ones.")] = False,
    ended: Annotated[bool, typer.Option("--ended", help="Ended ones.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most, the latest first.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Sessions, the latest first; without --all or --ended those that are open."""
    with looking(database) as connection:
        if every and ended:
            raise WeldGateError("--all, --ended: give one of them")
        which = Wanted("all" if every else "ended" if ended else "open", machine, operator, division)
        found = overview.sessions(connection, which, limit + 1)
        if as_json:
            for session in found[:limit]:
                say(msgspec.json.encode({"state": session.state, **structs.asdict(session)}).decode())
        else:
            print_table(HEADERS, map(_cells, found[:limit]))
        if len(found) > limit:
            err.print(f"there are more than {limit}: use --limit, or ask for a machine, a person or a division")


def _cells(session: SessionFacts) -> tuple[str, ...]:
    usage = f"{when(session.reported_at)} arc {session.arc_s} s" if session.reported_at else "—"
    end = f"{when(session.ended_at)} {session.end_reason}" if session.ended_at else session.drain_reason or "—"
    return (
        session.state,
        session.machine_id,
        session.operator_id or "—",
        when(session.granted_at),
        when(session.lease_until),
        usage,
        end,
        session.session_id,
    )


@app.command()
def end(
    session: Annotated[str, typer.Argument(help="The session's id, as `session list` shows it.")],
    by: ByOption,
    reason: ReasonOption,
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """End a running session: its chip gets a signed lock. The same person may scan again."""
    with opened(database) as engine:
        done = orders.end_session(engine, session, author(by, reason, now_ms()))
        say(
            f"会话正在结束 session is being ended  {session}  {done.machine_id}  {when(done.at)} (Asia/Shanghai)  "
            f"{done.by}: {done.reason}  [{done.control_id}]"
        )
