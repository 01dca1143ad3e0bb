"""The example's page in a process of its own that may be killed, and its model in another one, which lives on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from asyncjobs.integrations.crewai import recommended_env
from examples.crew.model import Ledger
from tests.browser.support import PATIENCE, ROOT


class PageDemo:
    """``make demo-crew`` with a page, on a folder, and with the model that can be held.

    :param quick: the pictures need not be worth looking at.
    """

    def __init__(self, folder: Path, model: str, *, quick: bool = True) -> None:
        self.folder = folder
        self._module = "tests.crewai.quick_page" if quick else "examples.crew"
        self.log = folder / "server.log"
        self.port = "0"
        self._model = model
        self.start()

    def start(self) -> None:
        """Start it, or start it again on the same port and files."""
        environment = {
            **os.environ,
            **recommended_env(),
            "PORT": self.port,
            "OPENAI_BASE_URL": self._model,
            "OPENAI_API_KEY": "none",
            "CREWAI_STORAGE_DIR": str(self.folder / "crewai"),
        }
        command = [sys.executable, "-m", self._module, "--out", str(self.folder)]
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

    def hold(self, role: str) -> None:
        """From now on, answers to this agent end half-way."""
        (self.folder / f"hold-{role}").touch()

    def go_on(self, role: str) -> None:
        """Let them be finished."""
        (self.folder / f"hold-{role}").unlink()

    def answered(self, story: str) -> Counter[str]:
        """How often the model has answered each request of a story to its end."""
        return Ledger(self.folder).answered(story)

    def end(self, number: int) -> int:
        """Send a signal, and return how the process ended."""
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE / 1000)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


@contextmanager
def held_model(folder: Path) -> Generator[str]:
    """Run the model that can be held."""
    command = [sys.executable, "-m", "tests.crewai.held_model", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()
