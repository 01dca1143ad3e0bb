"""The web app in a process of its own that may be killed, and somebody who looks at it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.browser import chromium
from tests.browser.served import ROOT, Served

SHORT = ROOT / "tests" / "examples" / "short_story.toml"
PATIENCE = 20_000
"""Milliseconds after which a test gives up on what should happen at once."""


class Demo(Served):
    """The web app on a folder, drawing the short story (three panels), held after its first panel.

    :param quick: the pictures need not be worth looking at.
    """

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.go_on_file = folder / "go-on"
        environment = {
            "COMIC_OUT": str(folder / "out"),
            "COMIC_SCRIPT": str(SHORT),
            "HELD_UNTIL": str(self.go_on_file),
            "HELD_QUICK": "1" if quick else "0",
        }
        super().__init__(folder, ["tests.browser.held"], environment)

    def hold(self) -> None:
        """From the next comic on, draw one panel and wait."""
        self.go_on_file.unlink(missing_ok=True)

    def go_on(self) -> None:
        """Let the other panels be drawn."""
        self.go_on_file.touch()


@contextmanager
def launched_browser() -> Generator[Browser]:
    """Launch Chromium; without one, skip the test or fail it."""
    path = chromium.find()
    if path is None:
        if chromium.required():
            pytest.fail(chromium.HINT)
        pytest.skip(chromium.HINT)
    with launched_from(path) as launched:
        yield launched


@contextmanager
def launched_from(path: str) -> Generator[Browser]:
    """Launch the Chromium of a path."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=["--disable-dev-shm-usage"])
        yield launched
        launched.close()


class Visitor:
    """A window in which every complaint of the browser, and every request to somewhere else, is noted.

    :param options: of the window, for Playwright.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce", **options)
        self.context.set_default_timeout(PATIENCE)
        self.url = url
        self.complaints: list[str] = []
        self.server_is_gone = False

    def tab(self, path: str = "") -> Page:
        """Open a tab."""
        page = self.context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self._request(request.url))
        page.goto(self.url + path, wait_until="load")
        return page

    def _console(self, message: ConsoleMessage) -> None:
        # A refused connection is written to the console by the browser itself, and is what that test is about.
        if message.type in ("error", "warning") and not (self.server_is_gone and "ERR_" in message.text):
            self.complaints.append(f"{message.type}: {message.text}")

    def _request(self, url: str) -> None:
        if urlsplit(url).netloc != urlsplit(self.url).netloc:
            self.complaints.append(f"request to elsewhere: {url}")
