"""``weldgate user``: accounts of people who sign in to the pages."""

from typing import Annotated

import typer
from sqlalchemy import Connection

from gateway.cli.desk import ByOption, opened, print_table, say
from gateway.cli.options import DatabaseOption
from gateway.clock import now_ms
from gateway.core.accounts import ROLES, Account, Role
from gateway.core.model import Millis
from gateway.errors import WeldGateError
from gateway.registry.acts import named, when
from gateway.store import accounts
from gateway.store.engine import DEFAULT_URL, reading
from gateway.store.overview import firm, operator

app = typer.Typer(help="Accounts of people who sign in: add, list, new code, disable.", no_args_is_help=True)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The account's id, as `user list` shows it.")]


@app.command()
def add(
    login: Annotated[str, typer.Argument(help="What they sign in with; of a welder the operator's number.")],
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")],
    name: Annotated[str, typer.Option(help="Whose it is, for people and for the record.")],
    by: ByOption,
    where: Annotated[
        str, typer.Option(help="A firm's credit code; a regulator's or auditor's division (none: everywhere).")
    ] = "",
    database: DatabaseOption = DEFAULT_URL,
) -> None:
    """Make an account and print the code for its first sign-in, which holds for seven days."""
    chosen = next((known for known in ROLES if known == role), None)
    with opened(database) as engine:
        if chosen is None:
            raise WeldGateError(f"--role {role}: use one of: {', '.join(ROLES)}")
        with engine.begin() as connection:
            _known(connection, chosen, login, where)
            place = login if chosen == "welder" else where
            account, code = accounts.add(connection, chosen, login, name, place, named(by), now_ms())
        _tell(account, code)


def _known(connection: Connection, role: Role, login: str, where: str) -> None:
    """A welder's and a firm's account is for one that is registered."""
    if role == "welder" and operator(connection, login) is None:
        raise WeldGateError(f"LOGIN {login}: no operator of this number is registered")
    if role == "firm" and firm(connection, where) is None:
        raise WeldGateError(f"--where {where}: no firm of this credit code is registered")


@app.command("list")
def list_accounts(database: DatabaseOption = DEFAULT_URL) -> None:
    """Show every account."""
    with opened(database) as engine, reading(engine).connect() as connection:
        now = now_ms()
        rows = [
            (one.account_id, one.role, one.login, one.name, _where(one), _state(one, now))
            for one in accounts.everybody(connection)
        ]
        print_table(("id", "角色 role", "登录名 login", "姓名 name", "范围 where", "状态 state"), rows)


@app.command()
def code(account_id: IdArgument, by: ByOption, database: DatabaseOption = DEFAULT_URL) -> None:
    """A new code for one who has forgotten the password or PIN; their sessions end."""
    with opened(database) as engine, engine.begin() as connection:
        given = accounts.give_code(connection, account_id, named(by), now_ms())
        account = accounts.by_id(connection, account_id)
        if account is not None:
            _tell(account, given)


@app.command()
def disable(account_id: IdArgument, by: ByOption, database: DatabaseOption = DEFAULT_URL) -> None:
    """Let nobody sign in with it any more; its sessions end at once."""
    with opened(database) as engine, engine.begin() as connection:
        accounts.disable(connection, account_id, named(by), now_ms())
        say(f"已停用 disabled {account_id}")


@app.command()
def enable(account_id: IdArgument, by: ByOption, database: DatabaseOption = DEFAULT_URL) -> None:
    """Let it be used again."""
    with opened(database) as engine, engine.begin() as connection:
        accounts.enable(connection, account_id, named(by), now_ms())
        say(f"已恢复 enabled {account_id}")


def _tell(account: Account, given: str) -> None:
    page = "/first-use" if account.role == "welder" else "/first-use/staff"
    say(f"账号 account {account.account_id}")
    say(f"登录码 code for the first sign-in: {given}")
    say(f"七天内在 {page} 使用一次 use it once within seven days at {page}")


def _where(account: Account) -> str:
    reach = account.reach
    return reach.uscc or reach.operator_id or reach.division or "全部 everywhere"


def _state(account: Account, now: Millis) -> str:
    if account.disabled_at is not None:
        return f"已停用 disabled {when(account.disabled_at)}"
    if account.waits_until() > now:
        return f"锁定至 waits until {when(account.waits_until())}"
    return "未登录过 not used yet" if account.secret is None else "在用 in use"
