"""Accounts of people who sign in, and their sessions in browsers. What an account does goes on record with it.

Passwords and PINs arrive here hashed (argon2id); codes and cookies are random, so their SHA-256 is kept.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from msgspec import Struct, structs
from sqlalchemy import Connection

from gateway.core.accounts import CODE_LASTS_MS, LOGIN, MINUTE_MS, STAFF, Account, Role, lifetime, reach_of
from gateway.core.model import Millis
from gateway.core.reach import Reach
from gateway.errors import ToldInBoth
from gateway.store.account_tables import AccountRow, WebSessionRow
from gateway.store.ledger import Draft, append_to
from gateway.store.tables import OperatorRow, metadata
from gateway.wire.codec import encode

LONGEST_NAME = 128
BROWSER_CHARACTERS = 256
_CODE_LETTERS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
"""Without what is misread on paper: 0 and O, 1 and I and L."""
_CODE_LENGTH = 10
"""49 bits, for a week, behind the same waits as a PIN."""
_accounts = metadata.tables[AccountRow.__tablename__]
_sessions = metadata.tables[WebSessionRow.__tablename__]
_operators = metadata.tables[OperatorRow.__tablename__]
_REACH = ("division", "uscc", "operator_id")

AccountAct = Literal[
    "added",
    "code_given",
    "secret_set",
    "signed_in",
    "failed",
    "signed_out",
    "sessions_ended",
    "disabled",
    "enabled",
    "did",
]


class AccountError(ToldInBoth):
    """An account cannot be made or changed; the message names field, value and remedy."""


class AccountBody(Struct, frozen=True):
    """The record of kind ``account``: which account, what happened to or by it, who did it, and the particulars."""

    account_id: str
    act: AccountAct
    by: str
    detail: Mapping[str, str] = {}


class SignedIn(Struct, frozen=True):
    """A session that holds."""

    token: str
    account: Account
    made_at: Millis
    seen_at: Millis
    browser: str


def record(connection: Connection, body: AccountBody, now: Millis, operator_id: str | None = None) -> None:
    """INVARIANT: what an account does is on record in the transaction that does it."""
    append_to(connection, Draft("account", now, encode(body), operator_id=operator_id))


# --- making accounts --------------------------------------------------------------------------------------------


def add(
    connection: Connection, role: Role, login: str, name: str, where: str, by: str, now: Millis
) -> tuple[Account, str]:
    """A new account, and the code for its first sign-in, which is kept nowhere. Raises AccountError."""
    _refuse_unusable(role, login, name, where)
    if connection.execute(sa.select(_accounts.c.account_id).where(_accounts.c.login == login)).first():
        raise AccountError(
            f"login = {login!r}: is taken; choose another, or give that account a new code",
            f"用户名 {login} 已被使用；请换一个，或给那个账号发新的登录码。",
        )
    code = _new_code()
    account = Account(
        account_id=secrets.token_hex(8),
        role=role,
        login=login,
        name=name,
        reach=reach_of(role, where),
        secret=None,
        code=_hash(code),
        code_until=now + CODE_LASTS_MS,
        failures=0,
        failed_at=None,
        made_at=now,
        disabled_at=None,
    )
    connection.execute(sa.insert(_accounts).values(_row(account)))
    detail = {"role": role, "login": login, **_where(account.reach)}
    record(connection, AccountBody(account.account_id, "added", by, detail), now, account.reach.operator_id)
    return account, code


def _refuse_unusable(role: Role, login: str, name: str, where: str) -> None:
    if role in STAFF and not LOGIN.fullmatch(login):
        raise AccountError(
            f"login = {login[:64]!r}: use 3 to 32 of a-z, 0-9, '.', '_' and '-', the first a letter or a digit",
            "用户名要 3 到 32 个字符：小写字母、数字、点、下划线或短横线，以字母或数字开头。",
        )
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise AccountError(
            f"name = {name[:LONGEST_NAME]!r}: use 1 to {LONGEST_NAME} printable characters",
            f"请填写姓名，最多 {LONGEST_NAME} 个字。",
        )
    if role in ("welder", "firm") and not where:
        raise AccountError(
            f"a {role} account needs {'an operator' if role == 'welder' else 'a firm'}: name it",
            "请填写单位的统一社会信用代码。" if role == "firm" else "请填写人员编号。",
        )
    if role in ("regulator", "auditor") and where and not (where.isdigit() and len(where) in (2, 4, 6, 9, 12)):
        raise AccountError(
            f"division = {where[:12]!r}: use the 2, 4, 6, 9 or 12 digits of GB/T 2260, or nothing for everywhere",
            "行政区划代码要 2、4、6、9 或 12 位数字；全部区域请留空。",
        )


def give_code(connection: Connection, account_id: str, by: str, now: Millis) -> str:
    """A code for a first sign-in, or for one who has forgotten the secret: the one before no longer does, and every
    session ends. Raises AccountError."""
    account = _in_use(connection, account_id)
    code = _new_code()
    _set(connection, account_id, code=_hash(code), code_until=now + CODE_LASTS_MS, failures=0, failed_at=None)
    end_sessions(connection, account_id)
    record(connection, AccountBody(account_id, "code_given", by), now, account.reach.operator_id)
    return code


def disable(connection: Connection, account_id: str, by: str, now: Millis) -> None:
    """Nobody signs in with it any more, and its sessions end. Raises AccountError."""
    account = _in_use(connection, account_id)
    _set(connection, account_id, disabled_at=now)
    end_sessions(connection, account_id)
    record(connection, AccountBody(account_id, "disabled", by), now, account.reach.operator_id)


def enable(connection: Connection, account_id: str, by: str, now: Millis) -> None:
    """Raises AccountError."""
    account = by_id(connection, account_id)
    if account is None or account.disabled_at is None:
        raise AccountError(f"account = {account_id!r}: none of this id is disabled", "没有这个停用的账号。")
    _set(connection, account_id, disabled_at=None, failures=0, failed_at=None)
    record(connection, AccountBody(account_id, "enabled", by), now, account.reach.operator_id)


# --- finding accounts -------------------------------------------------------------------------------------------


def by_id(connection: Connection, account_id: str) -> Account | None:
    return _first(connection, _accounts.c.account_id == account_id)


def by_login(connection: Connection, login: str) -> Account | None:
    """A staff account by its login."""
    return _first(connection, sa.and_(_accounts.c.login == login, _accounts.c.role.in_(STAFF)))


def of_operator(connection: Connection, operator_id: str) -> Account | None:
    """A welder's account."""
    return _first(connection, sa.and_(_accounts.c.operator_id == operator_id, _accounts.c.role == "welder"))


def by_phone(connection: Connection, phone_index: str) -> Sequence[Account]:
    """Welders' accounts by the keyed index of a telephone number as the registries hold it: people may share one."""
    holders = sa.select(_operators.c.operator_id).where(_operators.c.phone_index == phone_index)
    query = sa.select(_accounts).where(_accounts.c.role == "welder", _accounts.c.operator_id.in_(holders))
    return [_account(row) for row in connection.execute(query.order_by(_accounts.c.account_id).limit(8)).mappings()]


def everybody(connection: Connection) -> Sequence[Account]:
    """Every account, by role and login."""
    query = sa.select(_accounts).order_by(_accounts.c.role, _accounts.c.login)
    return [_account(row) for row in connection.execute(query).mappings()]


# --- signing in -------------------------------------------------------------------------------------------------


def code_fits(account: Account, code: str, now: Millis) -> bool:
    """Whether it is the account's code, however it is typed, and still holds."""
    typed = "".join(character for character in code.upper() if character.isalnum())
    fits = secrets.compare_digest(account.code or "", _hash(typed))
    return fits and account.code_until is not None and now < account.code_until


def set_secret(connection: Connection, account: Account, secret: str, now: Millis) -> None:
    """After a first sign-in: the code is used up."""
    _set(connection, account.account_id, secret=secret, code=None, code_until=None, failures=0, failed_at=None)
    end_sessions(connection, account.account_id)
    body = AccountBody(account.account_id, "secret_set", account.account_id)
    record(connection, body, now, account.reach.operator_id)


def failed(connection: Connection, account: Account, address: str, now: Millis) -> None:
    """Count a wrong secret. INVARIANT: the count is the database's, so that guesses sent at once are counted each."""
    counted = sa.update(_accounts).where(_accounts.c.account_id == account.account_id)
    connection.execute(counted.values(failures=_accounts.c.failures + 1, failed_at=now))
    body = AccountBody(account.account_id, "failed", account.account_id, {"address": address})
    record(connection, body, now, account.reach.operator_id)


def sign_in(connection: Connection, account: Account, address: str, browser: str, now: Millis) -> str:
    """Open a session; what its cookie holds, which is kept nowhere."""
    _set(connection, account.account_id, failures=0, failed_at=None)
    token = secrets.token_urlsafe(32)
    row = {
        "token": _hash(token),
        "account_id": account.account_id,
        "made_at": now,
        "seen_at": now,
        "expires_at": now + lifetime(account.role).whole_ms,
        "browser": browser[:BROWSER_CHARACTERS],
    }
    connection.execute(sa.insert(_sessions).values(row))
    body = AccountBody(account.account_id, "signed_in", account.account_id, {"address": address})
    record(connection, body, now, account.reach.operator_id)
    return token


def signed_in(connection: Connection, token: str, now: Millis) -> SignedIn | None:
    """Whose session a cookie is, where it holds now."""
    query = sa.select(_sessions).where(_sessions.c.token == _hash(token), _sessions.c.expires_at > now)
    session = connection.execute(query).mappings().first()
    account = by_id(connection, session["account_id"]) if session else None
    if session is None or account is None or account.disabled_at is not None:
        return None
    if now - session["seen_at"] > lifetime(account.role).idle_ms:
        return None
    return SignedIn(session["token"], account, session["made_at"], session["seen_at"], session["browser"])


def stale(session: SignedIn, now: Millis) -> bool:
    """Whether its last use is to be noted: once a minute is enough."""
    return now - session.seen_at > MINUTE_MS


def seen(connection: Connection, session: SignedIn, now: Millis) -> None:
    connection.execute(sa.update(_sessions).where(_sessions.c.token == session.token).values(seen_at=now))


def sign_out(connection: Connection, session: SignedIn, now: Millis) -> None:
    connection.execute(sa.delete(_sessions).where(_sessions.c.token == session.token))
    account = session.account
    record(
        connection, AccountBody(account.account_id, "signed_out", account.account_id), now, account.reach.operator_id
    )


def end_other_sessions(connection: Connection, session: SignedIn, now: Millis) -> int:
    """End every other session of the same account; how many there were."""
    account = session.account
    others = sa.and_(_sessions.c.account_id == account.account_id, _sessions.c.token != session.token)
    ended = connection.execute(sa.delete(_sessions).where(others)).rowcount
    body = AccountBody(account.account_id, "sessions_ended", account.account_id, {"count": str(ended)})
    record(connection, body, now, account.reach.operator_id)
    return ended


def end_sessions(connection: Connection, account_id: str) -> None:
    connection.execute(sa.delete(_sessions).where(_sessions.c.account_id == account_id))


def sessions_of(connection: Connection, account: Account, now: Millis) -> Sequence[SignedIn]:
    """The account's sessions that hold, the latest used first."""
    holds = sa.and_(_sessions.c.account_id == account.account_id, _sessions.c.expires_at > now)
    rows = connection.execute(sa.select(_sessions).where(holds).order_by(_sessions.c.seen_at.desc())).mappings()
    return [SignedIn(row["token"], account, row["made_at"], row["seen_at"], row["browser"]) for row in rows]


# --- rows -------------------------------------------------------------------------------------------------------


def _in_use(connection: Connection, account_id: str) -> Account:
    account = by_id(connection, account_id)
    if account is None or account.disabled_at is not None:
        raise AccountError(
            f"account = {account_id!r}: none of this id is in use; `weldgate user list` shows all",
            "没有这个在用的账号。",
        )
    return account


def _set(connection: Connection, account_id: str, **values: Any) -> None:
    connection.execute(sa.update(_accounts).where(_accounts.c.account_id == account_id).values(**values))


def _first(connection: Connection, where: sa.ColumnElement[bool]) -> Account | None:
    row = connection.execute(sa.select(_accounts).where(where)).mappings().first()
    return None if row is None else _account(row)


def _row(account: Account) -> dict[str, Any]:
    columns = structs.asdict(account)
    del columns["reach"]
    return columns | structs.asdict(account.reach)


def _account(row: Mapping[Any, Any]) -> Account:
    columns = dict(row)
    reach = Reach(**{name: columns.pop(name) for name in _REACH})
    return msgspec.convert(columns | {"reach": reach}, Account)


def _where(reach: Reach) -> dict[str, str]:
    return {name: value for name, value in structs.asdict(reach).items() if value is not None}


def _new_code() -> str:
    return "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
