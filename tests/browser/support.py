"""The web app in a process of its own that may be killed, and somebody who looks at it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page

ROOT = Path(__file__).parents[2]
SHORT = ROOT / "tests" / "examples" / "short_story.toml"
PATIENCE = 20_000
"""Milliseconds after which a test gives up on what should happen at once."""


class Demo:
    """The web app on a folder, drawing the short story (three panels), held after its first panel.

    :param quick: the pictures need not be worth looking at.
    """

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.quick = quick
        self.folder = folder
        self.script = SHORT
        self.log = folder / "server.log"
        self.port = "0"
        self.go_on_file = folder / "go-on"
        self.start()

    def start(self) -> None:
        """Start it, or start it again on the same port and files."""
        environment = {
            **os.environ,
            "PORT": self.port,
            "COMIC_OUT": str(self.folder / "out"),
            "COMIC_SCRIPT": str(self.script),
            "HELD_UNTIL": str(self.go_on_file),
            "HELD_QUICK": "1" if self.quick else "0",
        }
        command = [sys.executable, "-m", "tests.browser.held"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        if found is None:
            self.end(signal.SIGKILL)
            raise AssertionError(said + self.log.read_text())
        self.url, self.port = found[0], found[1]

    def hold(self) -> None:
        """From the next comic on, draw one panel and wait."""
        self.go_on_file.unlink(missing_ok=True)

    def go_on(self) -> None:
        """Let the other panels be drawn."""
        self.go_on_file.touch()

    def end(self, number: int) -> int:
        """Send a signal, and return how the process ended."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE / 1000)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


class Visitor:
    """A window in which every complaint of the browser, and every request to somewhere else, is noted."""

    def __init__(self, browser: Browser, url: str) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
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
