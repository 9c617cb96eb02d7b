"""The firm's portal in a browser: every page accessible, wide and narrow; a machine out of service and back; labels."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESK, PHONE, Demo, Visiting
from tests.browser.journeys import accessible, sign_in_as_staff

NARROW = (360, 740)


@pytest.mark.parametrize(("size", "language", "dark"), [(NARROW, "en", True), (PHONE, "zh", False), (DESK, "zh", True)])
def test_every_page_is_accessible(
    visiting: Visiting,
    demo: Demo,
    size: tuple[int, int],
    language: str,
    dark: bool,
    picture: Callable[[Page, str], None],
) -> None:
    with visiting(size, language, dark) as page:
        sign_in_as_staff(page, demo.people, "firm", "/f")
        person, machine = f"/f/people/{demo.people['operator_id']}", f"/f/machines/{demo.people['machine_id']}"
        for path in (
            *("/f", "/f/people", person, "/f/hire", "/f/machines", machine),
            *("/f/grants", "/f/refusals", "/f/labels"),
        ):
            page.goto(path)
            accessible(page)
            picture(page, f"firm{path[2:].replace('/', '-')}-{size[0]}-{language}")


def test_a_machine_is_taken_out_of_service_and_released(visiting: Visiting, demo: Demo) -> None:
    with visiting() as page:
        sign_in_as_staff(page, demo.people, "firm", f"/f/machines/{demo.people['machine_id']}")
        page.get_by_label("为什么停用").fill("绝缘破损，待修")
        page.get_by_role("button", name="停用这台焊机").tap()
        expect(page.get_by_role("status")).to_contain_text("焊机已停用")
        expect(page.get_by_role("heading", level=1)).to_contain_text("已停用")
        accessible(page)
        page.get_by_label("为什么可以恢复").fill("修好并测过了")
        page.get_by_role("button", name="解除停用").tap()
        expect(page.get_by_role("status")).to_contain_text("已解除停用")


def test_a_code_for_a_welder_is_shown_to_be_printed(visiting: Visiting, demo: Demo) -> None:
    with visiting(DESK, "en") as page:
        sign_in_as_staff(page, demo.people, "firm", "/f/people")
        others = page.locator(f"tbody th a:not([href$='{demo.people['operator_id']}'])")
        others.first.click()
        page.get_by_role("button", name="New code").click()
        expect(page.locator(".code")).to_have_text(re.compile(r"[0-9A-Z]{5}-[0-9A-Z]{5}"))
        expect(page.get_by_role("button", name="Print")).to_be_visible()
        accessible(page)


def test_labels_come_down_as_a_file(visiting: Visiting, demo: Demo, tmp_path: Path) -> None:
    with visiting(DESK) as page:
        sign_in_as_staff(page, demo.people, "firm", "/f/labels")
        page.get_by_label(re.compile(demo.people["machine_id"])).check()
        with page.expect_download() as download:
            page.get_by_role("button", name="打印选中的").click()
        download.value.save_as(tmp_path / "labels.pdf")
        assert (tmp_path / "labels.pdf").read_bytes().startswith(b"%PDF-")
