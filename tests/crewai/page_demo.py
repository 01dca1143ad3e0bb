"""The example's page in a process of its own that may be killed, and its model in another one, which lives on."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from asyncjobs.integrations.crewai import recommended_env
from examples.crew.model import Ledger
from tests.browser.served import ROOT, Served


class PageDemo(Served):
    """``make demo-crew`` with a page, on a folder, and with the model that can be held.

    :param quick: the pictures need not be worth looking at.
    """

    def __init__(self, folder: Path, model: str, *, quick: bool = True) -> None:
        module = "tests.crewai.quick_page" if quick else "examples.crew"
        environment = {
            **recommended_env(),
            "OPENAI_BASE_URL": model,
            "OPENAI_API_KEY": "none",
            "CREWAI_STORAGE_DIR": str(folder / "crewai"),
        }
        super().__init__(folder, [module, "--out", str(folder)], environment)

    def hold(self, role: str) -> None:
        """From now on, answers to this agent end half-way."""
        (self.folder / f"hold-{role}").touch()

    def go_on(self, role: str) -> None:
        """Let them be finished."""
        (self.folder / f"hold-{role}").unlink()

    def hold_nobody(self) -> None:
        """Let all answers be finished."""
        for file in self.folder.glob("hold-*"):
            file.unlink()

    def answered(self, story: str) -> Counter[str]:
        """How often the model has answered each request of a story to its end."""
        return Ledger(self.folder).answered(story)


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
