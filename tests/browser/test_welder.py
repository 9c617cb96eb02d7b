"""A welder's phone: from the label to the open machine in two taps, without a network, and readable by everybody."""

import io
import shutil
from collections.abc import Callable, Iterator

import pytest
import segno
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DESK, PHONE, Demo, Visiting
from tests.browser.journeys import accessible, sign_in_as_welder

SCANNED_WITHIN_MS = 8_000
UNLOCKED_WITHIN_MS = 1_000


@pytest.fixture(scope="module")
def camera(demo: Demo, chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser whose camera sees the label of the welder's machine."""
    film = tmp_path_factory.mktemp("camera") / "label.mjpeg"
    film.write_bytes(_seen(f"https://weld.example.org/w/m/{demo.people['machine_id']}") * 30)
    browser = chromium.browser_type.launch(
        executable_path=shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome"),
        args=[
            *("--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
            f"--use-file-for-fake-video-capture={film}",
        ],
    )
    yield browser
    browser.close()


def _seen(text: str) -> bytes:
    """One picture of a camera, JPEG."""
    code, picture = io.BytesIO(), io.BytesIO()
    segno.make(text, error="m").save(code, kind="png", scale=7, border=4)
    label, scene = Image.open(code).convert("RGB"), Image.new("RGB", (640, 480), "#999")
    scene.paste(label, ((640 - label.width) // 2, (480 - label.height) // 2))
    scene.save(picture, "JPEG", quality=90)
    return picture.getvalue()


def end_work(page: Page) -> None:
    page.goto("/w")
    page.get_by_role("button", name="结束作业，上锁").tap()
    expect(page.locator("[data-phase=locked]")).to_be_visible()


def test_two_taps_after_signing_in_the_machine_is_open(
    camera: Browser, demo: Demo, picture: Callable[[Page, str], None]
) -> None:
    context = camera.new_context(
        base_url=demo.url, viewport={"width": PHONE[0], "height": PHONE[1]}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    elsewhere: list[str] = []
    page.on("request", lambda asked: None if asked.url.startswith(demo.url) else elsewhere.append(asked.url))
    sign_in_as_welder(page, demo.people)
    page.get_by_role("link", name="扫焊机上的码").tap()
    page.wait_for_url(f"**/w/m/{demo.people['machine_id']}", timeout=SCANNED_WITHIN_MS)
    picture(page, "welder-machine")
    page.get_by_role("button", name="解锁这台焊机").tap()
    expect(page.locator("[data-phase=unlocked]")).to_be_visible(timeout=UNLOCKED_WITHIN_MS)
    accessible(page)
    picture(page, "welder-unlocked")
    end_work(page)
    assert elsewhere == []
    context.close()


@pytest.mark.parametrize(("size", "language", "dark"), [(PHONE, "zh", False), (PHONE, "en", True), (DESK, "zh", True)])
def test_every_page_is_accessible(
    visiting: Visiting, demo: Demo, size: tuple[int, int], language: str, dark: bool
) -> None:
    with visiting(size, language, dark) as page:
        sign_in_as_welder(page, demo.people)
        machine = f"/w/m/{demo.people['machine_id']}"
        for path in ("/w", machine, "/w/code", "/w/certificates", "/w/scan", "/w/offline"):
            page.goto(path)
            accessible(page)


def test_a_refusal_is_readable(visiting: Visiting, demo: Demo, picture: Callable[[Page, str], None]) -> None:
    with visiting() as page:
        sign_in_as_welder(page, demo.people)
        page.goto("/w")
        page.fill("#machine", _another_machine(demo))
        page.get_by_role("button", name="打开").tap()
        page.get_by_role("button", name="解锁这台焊机").tap()
        expect(page.get_by_role("alert")).to_contain_text("不能解锁")
        expect(page.get_by_text("本人没有登记为这家企业的人员。")).to_be_visible()
        accessible(page)
        picture(page, "welder-refused")
        page.go_back()
        expect(page.get_by_role("button", name="解锁这台焊机")).to_be_visible()


def _another_machine(demo: Demo) -> str:
    """Of another firm."""
    rows = [line.split(",") for line in (demo.folder / "var/demo/county/machines.csv").read_text().splitlines()]
    column = {name.lstrip("\ufeff"): number for number, name in enumerate(rows[0])}
    own = next(row for row in rows if row[column["machine_id"]] == demo.people["machine_id"])
    uscc = column["uscc"]
    return next(row[column["machine_id"]] for row in rows[1:] if row[uscc] != own[uscc])


def test_without_a_network_it_is_said_and_nothing_is_sent_later(visiting: Visiting, demo: Demo) -> None:
    with visiting() as page:
        sign_in_as_welder(page, demo.people)
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        page.goto(f"/w/m/{demo.people['machine_id']}")
        page.wait_for_function("navigator.serviceWorker.controller !== null")
        sent: list[str] = []
        page.on("request", lambda asked: sent.append(asked.url) if asked.method == "POST" else None)
        page.context.set_offline(True)
        page.get_by_role("button", name="解锁这台焊机").tap()
        expect(page.locator("#said")).to_contain_text("手机没有网络，没有解锁")
        page.goto("/w")
        expect(page.get_by_role("heading", level=1)).to_have_text("手机没有网络")
        page.context.set_offline(False)
        page.goto(f"/w/m/{demo.people['machine_id']}")
        expect(page.get_by_text("空闲，已上锁")).to_be_visible()
        assert sent == []


def test_the_code_is_renewed_and_leaves_the_screen_with_the_sign_in(visiting: Visiting, demo: Demo) -> None:
    with visiting() as page:
        sign_in_as_welder(page, demo.people)
        page.clock.install()
        page.goto("/w/code")
        expect(page.locator(".spelled")).to_contain_text(f"WG1/{demo.people['operator_id']}/")
        with page.expect_response("**/w/code/now"):
            page.clock.fast_forward(31_000)
        expect(page.locator(".spelled")).to_contain_text("WG1/")
        page.context.clear_cookies()
        page.clock.fast_forward(31_000)
        page.wait_for_url("**/sign-in?to=%2Fw%2Fcode")
