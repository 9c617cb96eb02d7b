"""Who gets in, who does not, and what is told to whom."""

import re

import msgspec
import pytest
import sqlalchemy as sa

from gateway.core.accounts import FREE_FAILURES, weak_password, weak_pin
from gateway.store import accounts
from gateway.store.tables import LedgerRow, metadata
from tests.registry.people import PHONE
from tests.site.served import PASSWORD, PIN, Town, Visitor

_ledger = metadata.tables[LedgerRow.__tablename__]


def on_record(site: Town) -> list[str]:
    """What accounts did, by the ledger."""
    with site.engine.connect() as connection:
        records = connection.execute(sa.select(_ledger.c.record).where(_ledger.c.kind == "account")).scalars()
        return [msgspec.json.decode(record)["body"]["act"] for record in records]


async def sign_in(visitor: Visitor, password: str = PASSWORD) -> int:
    return (await visitor.post("/sign-in/staff", login="hall", password=password, to="/account")).status


async def first_use(site: Town, visitor: Visitor) -> str:
    _, code = site.account("regulator", "hall")
    shown = await visitor.post(
        "/first-use/staff", login="HALL", code=f"{code[:5].lower()}-{code[5:]}", password=PASSWORD, again=PASSWORD
    )
    assert shown.status == 200, shown.text
    return code


async def test_a_welder_sets_a_pin_with_the_firm_s_code_and_signs_in_with_it(site: Town) -> None:
    _, code = site.account("welder")
    async with site.visitor() as visitor:
        shown = await visitor.post("/first-use", phone=f" {PHONE[:3]}-{PHONE[3:]} ", code=code, pin=PIN, again=PIN)
        assert shown.status == 200
        assert (await visitor.get("/account")).status == 200
    async with site.visitor() as visitor:
        assert (await visitor.post("/sign-in", phone=PHONE, pin="190735", to="/account")).status == 422
        shown = await visitor.post("/sign-in", phone=PHONE, pin=PIN, to="/account")
        assert (shown.status, shown.path) == (200, "/account")
    assert on_record(site) == ["added", "secret_set", "signed_in", "failed", "signed_in"]


async def test_a_code_works_once_and_for_a_week(site: Town) -> None:
    async with site.visitor() as visitor:
        code = await first_use(site, visitor)
    async with site.visitor() as visitor:
        again = {"code": code, "password": PASSWORD, "again": PASSWORD}
        assert (await visitor.post("/first-use/staff", login="hall", **again)).status == 422
        _, late = site.account("auditor", "late")
        site.clock.pass_s(7 * 86_400)
        assert (await visitor.post("/first-use/staff", login="late", **again | {"code": late})).status == 422


async def test_a_wrong_password_an_unknown_name_and_a_disabled_account_are_told_alike(site: Town) -> None:
    async with site.visitor() as visitor:
        await first_use(site, visitor)
    gone, _ = site.account("auditor", "gone")
    with site.engine.begin() as connection:
        accounts.disable(connection, gone.account_id, "test", site.clock.now)
    async with site.visitor() as visitor:
        shown = [
            await visitor.post("/sign-in/staff", login=login, password="wrong wrong wrong", to="/")
            for login in ("hall", "nobody", "gone")
        ]
    assert {page.status for page in shown} == {422}
    assert len({re.sub(r"\d\d:\d\d:\d\d", "", page.text) for page in shown}) == 1


async def test_invariant_after_five_wrong_ones_even_the_right_one_waits_ever_longer(site: Town) -> None:
    async with site.visitor() as visitor:
        await first_use(site, visitor)
    async with site.visitor() as visitor:
        for _ in range(FREE_FAILURES):
            assert await sign_in(visitor, "wrong wrong wrong") == 422
        assert await sign_in(visitor) == 422
        site.clock.pass_s(59)
        assert await sign_in(visitor) == 422
        site.clock.pass_s(2)
        assert await sign_in(visitor, "wrong wrong wrong") == 422
        site.clock.pass_s(61)
        assert await sign_in(visitor) == 422, "the sixth waits two minutes"
        site.clock.pass_s(60)
        assert await sign_in(visitor) == 200
    assert on_record(site).count("failed") == FREE_FAILURES + 1, "what waits is not looked at"


async def test_a_session_ends_when_signed_out_when_disabled_when_unused_and_when_it_is_old(site: Town) -> None:
    async with site.visitor("regulator", "one") as visitor:
        assert (await visitor.get("/account")).path == "/account"
        assert (await visitor.post("/sign-out")).path == "/sign-in"
        assert (await visitor.get("/account")).path.startswith("/sign-in")
    async with site.visitor("regulator", "two") as visitor:
        with site.engine.begin() as connection:
            account = accounts.by_login(connection, "two")
            assert account is not None
            accounts.disable(connection, account.account_id, "test", site.clock.now)
        assert (await visitor.get("/account")).path.startswith("/sign-in")
    async with site.visitor("regulator", "three") as visitor:
        for _ in range(11):
            site.clock.pass_s(3_500)
            assert (await visitor.get("/account")).path == "/account", "it is in use"
        site.clock.pass_s(3_601)
        assert (await visitor.get("/account")).path.startswith("/sign-in")
    async with site.visitor("regulator", "four") as visitor:
        for _ in range(12):
            site.clock.pass_s(3_599)
            assert (await visitor.get("/account")).path == "/account"
        site.clock.pass_s(20)
        assert (await visitor.get("/account")).path.startswith("/sign-in"), "twelve hours are over"


async def test_a_changed_password_ends_every_other_session(site: Town) -> None:
    async with site.visitor() as visitor, site.visitor() as other:
        await first_use(site, visitor)
        assert await sign_in(other) == 200
        await visitor.get("/account")
        new = {"old": PASSWORD, "new": PASSWORD[::-1], "again": PASSWORD[::-1]}
        assert (await visitor.post("/account/secret", **new | {"old": "wrong"})).status == 422
        assert (await visitor.post("/account/secret", **new)).status == 200
        assert (await other.get("/account")).path.startswith("/sign-in")
        assert (await visitor.get("/account")).path == "/account"


async def test_a_cookie_tells_nothing_and_the_database_holds_none(site: Town) -> None:
    async with site.visitor("regulator") as visitor:
        (cookie,) = visitor.client.cookie_jar
        with site.engine.connect() as connection:
            held = connection.exec_driver_sql("SELECT * FROM web_sessions").fetchall()
    assert held
    assert cookie.value not in str(held)


@pytest.mark.parametrize("to", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:1"])
async def test_nobody_is_led_elsewhere_after_signing_in(site: Town, to: str) -> None:
    async with site.visitor() as visitor:
        await first_use(site, visitor)
    async with site.visitor() as visitor:
        shown = await visitor.post("/sign-in/staff", login="hall", password=PASSWORD, to=to)
        assert shown.status == 200


def test_secrets_that_are_guessed_first_are_refused() -> None:
    assert [
        pin for pin in ("000000", "234567", "765432", "12345", "1234567", "19073x", "190734") if not weak_pin(pin)
    ] == ["190734"]
    weak = ("short", "aaaaaaaaaaaaaaaa", "the.hall is my password")
    assert all(weak_password(password, "hall") for password in weak)
    assert not weak_password("a sentence that nobody knows", "hall")
