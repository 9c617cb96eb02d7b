"""The demo as anybody starts it, and Chromium with a fresh profile for each visitor."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

READY_WITHIN_S = 60.0
MACHINES = 40
PHONE, DESK = (390, 844), (1280, 800)
PICTURES = Path(os.environ.get("WELDGATE_PICTURES", "")) if os.environ.get("WELDGATE_PICTURES") else None
"""Where screenshots are kept to be looked at; without it they go with the test's folder."""


class Demo(Struct, frozen=True):
    """Where the demo runs, and who signs in to it."""

    url: str
    folder: Path
    people: dict[str, Any]

    @property
    def database(self) -> str:
        return f"sqlite:///{self.folder / 'var/demo/weldgate.db'}"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "gateway", "demo", "--machines", str(MACHINES)]
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, start_new_session=True)
    try:
        yield _ready(process, folder)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(40)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _ready(process: "subprocess.Popen[bytes]", folder: Path) -> Demo:
    """Once it has told where it is and answers there."""
    told = folder / "var/demo/sign-ins.json"
    give_up = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up and process.poll() is None:
        time.sleep(0.2)
        if told.exists():
            people = json.loads(told.read_bytes())
            if _answers(people["url"] + "/readyz"):
                return Demo(people["url"], folder, people)
    raise AssertionError(f"the demo is not ready: {(folder / 'output').read_text()}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Debian's. Missing: skipped on a laptop, failed in CI.

    It lasts no longer than these tests: while it is open, Playwright runs an event loop in this thread, and no other
    can begin."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        missing = "Chromium is not installed: run `make test`, or as root `apt-get install chromium`"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


Visiting = Callable[..., AbstractContextManager[Page]]


@pytest.fixture
def visiting(chromium: Browser, demo: Demo) -> Visiting:
    """A visitor's page. What goes wrong in the console, and what is asked of another site, fails the test."""

    @contextmanager
    def visit(size: tuple[int, int] = PHONE, language: str = "zh", dark: bool = False, **how: Any) -> Iterator[Page]:
        wrong: list[str] = []
        context = chromium.new_context(
            base_url=demo.url,
            viewport={"width": size[0], "height": size[1]},
            has_touch=size == PHONE,
            is_mobile=size == PHONE,
            color_scheme="dark" if dark else "light",
            **how,
        )
        context.add_cookies([{"name": "language", "value": language, "url": demo.url}])
        page = context.new_page()
        page.on("console", lambda said: wrong.append(_told(said)) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: wrong.append(request.url) if _elsewhere(request, demo.url) else None)
        page.set_default_timeout(10_000)
        yield page
        context.close()
        assert wrong == []

    return visit


def _told(message: ConsoleMessage) -> str:
    return f"{message.type}: {message.text} at {message.location}"


def _elsewhere(request: Request, url: str) -> bool:
    return not request.url.startswith((url, "data:", "blob:"))


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[Page, str], None]:
    """Keeps a picture of the whole page to be looked at."""
    folder = PICTURES or tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return lambda page, name: (page.screenshot(path=folder / f"{name}.png", full_page=True), None)[1]
