"""Signing in, and what whoever runs the gateway does with accounts, in a browser."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESK, PHONE, Demo, Visiting
from tests.browser.journeys import accessible, sign_in_as_staff

PUBLIC = ("/sign-in", "/sign-in/staff", "/first-use", "/first-use/staff")


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_pages_before_signing_in_are_accessible(visiting: Visiting, size: tuple[int, int], language: str) -> None:
    for dark in (False, True):
        with visiting(size, language, dark) as page:
            for path in PUBLIC:
                page.goto(path)
                accessible(page)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_a_gateway_operator_makes_an_account_and_its_owner_signs_in(
    visiting: Visiting, demo: Demo, picture: Callable[[Page, str], None]
) -> None:
    with visiting(DESK) as page:
        sign_in_as_staff(page, demo.people, "keeper", "/accounts")
        page.select_option("#role", "auditor")
        page.fill("#login", "audit-1")
        page.fill("#name", "样例审计")
        page.get_by_role("button", name="添加").click()
        code = page.locator(".code").inner_text()
        accessible(page)
        picture(page, "accounts")
    assert re.fullmatch(r"[0-9A-Z]{5}-[0-9A-Z]{5}", code)
    with visiting(PHONE, "en") as page:
        page.goto("/first-use/staff")
        for field, value in (("login", "audit-1"), ("code", code), ("password", "a sentence of one's own")):
            page.fill(f"#{field}", value)
        page.fill("#again", "a sentence of one's own")
        page.get_by_role("button", name="Set it and sign in").click()
        page.goto("/accounts")
        expect(page.get_by_role("cell", name="audit-1")).to_be_visible()
        expect(page.get_by_role("button", name="Disable")).to_have_count(0)
        page.goto("/account")
        accessible(page)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("status")).to_have_text("You have signed out.")


def test_everything_can_be_reached_with_the_keyboard_alone(visiting: Visiting, demo: Demo) -> None:
    with visiting(DESK) as page:
        page.goto("/sign-in/staff?to=/account")
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        expect(page.locator("#login")).to_be_focused()
        page.keyboard.type(demo.people["keeper"]["login"])
        page.keyboard.press("Tab")
        page.keyboard.type(demo.people["keeper"]["secret"])
        page.keyboard.press("Enter")
        page.wait_for_url("**/account")
