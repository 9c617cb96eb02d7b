"""What people do first, whoever they are."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def accessible(page: Page) -> None:
    """No violation that axe can find, and nothing to scroll sideways."""
    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), page.url


def sign_in_as_welder(page: Page, people: dict[str, Any]) -> None:
    page.goto("/w")
    page.fill("#phone", people["welder"]["login"])
    page.fill("#pin", people["welder"]["secret"])
    page.click("main button")


def sign_in_as_staff(page: Page, people: dict[str, Any], who: str, path: str) -> None:
    page.goto(path)
    page.fill("#login", people[who]["login"])
    page.fill("#password", people[who]["secret"])
    page.click("main button")
