"""Accounts on the command line: made for people and firms that are there, listed, given a new code, taken away."""

import re

import pytest

from gateway.clock import now_ms
from gateway.core.accounts import FREE_FAILURES
from gateway.store import accounts
from tests.controls.conftest import Office
from tests.service import county

BY = ("--by", "Wang An")
KEEPER = ("user", "add", "keeper", "--role", "gateway_operator", "--name", "管理员", *BY)


def test_the_first_account_is_made_here_and_its_code_fits_once_listed(office: Office) -> None:
    account, code, _ = office.does(*KEEPER)
    account_id, given = account.split()[-1], code.split()[-1]
    assert re.fullmatch(r"[0-9A-Z]{10}", given)
    with office.engine.begin() as connection:
        made = accounts.by_login(connection, "keeper")
        assert made is not None
        assert accounts.code_fits(made, given, now_ms())
        record = bytes(connection.exec_driver_sql("SELECT record FROM ledger WHERE kind = 'account'").scalar_one())
        for _ in range(FREE_FAILURES):
            accounts.failed(connection, made, "192.0.2.1", now_ms())
    assert b'"act":"added"' in record
    assert b'"by":"Wang An"' in record
    assert given.encode() not in record
    (listed,) = [line for line in office.does("user", "list") if account_id in line]
    assert "全部 everywhere" in listed
    assert "waits until" in listed
    office.does("user", "code", account_id, *BY)
    office.does("user", "disable", account_id, *BY)
    assert "disabled" in office.does("user", "list")[-1]
    assert "none of this id is in use" in office.refuses("user", "code", account_id, *BY)
    office.does("user", "enable", account_id, *BY)
    assert "none of this id is disabled" in office.refuses("user", "enable", account_id, *BY)


def test_a_welder_and_a_firm_have_to_be_registered(office: Office) -> None:
    welder = county.welder(1)
    office.does("user", "add", welder, "--role", "welder", "--name", "样例", *BY)
    assert "is taken" in office.refuses("user", "add", welder, "--role", "welder", "--name", "样例", *BY)
    assert "no operator" in office.refuses("user", "add", "P-NOBODY", "--role", "welder", "--name", "样例", *BY)
    firm = ("user", "add", "firm-1", "--role", "firm", "--name", "样例", *BY)
    assert "no firm of this credit code" in office.refuses(*firm, "--where", "91990000000000000X")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("K", "--role", "auditor", "--name", "样例"), "login = 'K': use 3 to 32"),
        (("keeper", "--role", "king", "--name", "样例"), "--role king: use one of: welder, firm"),
        (("keeper", "--role", "regulator", "--name", "样例", "--where", "33x"), "division = '33x': use the 2, 4"),
        (("keeper", "--role", "regulator", "--name", "a\tb"), "name = 'a\\tb': use 1 to 128 printable"),
    ],
)
def test_what_cannot_be_an_account_is_told_with_its_remedy(office: Office, words: tuple[str, ...], said: str) -> None:
    assert said in office.refuses("user", "add", *words, *BY)
