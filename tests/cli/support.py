"""The command line as people run it: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asyncjobs.backends.sqlite.rows import STATUS_OF
from tests.forked import forked

PATIENCE = 40.0
INTERPRETER = {"PYTHONIOENCODING": "utf-8", "PYTHONWARNINGS": "error"}


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Shell:
    """A folder to work in, with a store, an application module, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "app.py").write_text(APP)
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ASYNCJOBS_")},
            "HOME": str(folder / "home"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "NO_COLOR": "1",
            "COLUMNS": "80",
            **INTERPRETER,
        }

    def arguments(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "asyncjobs", *arguments]

    def run(self, *arguments: str, timeout: float = PATIENCE, **environment: str) -> Ran:
        """Run ``asyncjobs …`` to its end, in a fork unless it is to have another interpreter."""
        new = any(name.startswith("PYTHON") for name in environment)
        with (subprocess.Popen if new else forked)(
            self.arguments(*arguments) if new else ["asyncjobs", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except BaseException:
                process.kill()
                raise
        return Ran(process.returncode, out, err)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Run it in the background, in a fork."""
        return forked(
            ["asyncjobs", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def stored(self, job: str, store: str = "jobs.db") -> str:
        """The status in the store: for those who ask again and again, since a command takes its time to start."""
        with closing(sqlite3.connect(self.folder / store)) as connection:
            [code] = connection.execute("SELECT status FROM jobs WHERE id = ?", (job,)).fetchone()
        return STATUS_OF[code]

    def good(self, *arguments: str, **environment: str) -> Ran:
        """Run it; it must succeed."""
        ran = self.run(*arguments, **environment)
        assert ran.code == 0, f"exit {ran.code}\n{ran.out}\n{ran.err}"
        return ran


def until(what: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Ask until the answer is yes: other processes announce nothing."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if answer := what():
            return answer
        time.sleep(0.05)
    raise AssertionError("it did not happen")


APP = '''
"""An application of the tests."""
import time
from pathlib import Path

import anyio
from asyncjobs import JobProcessor, SQLiteConfig, RetryPolicy, current_job, job


async def add(a, b=1):
    return a + b


@job(retry=RetryPolicy(max_retries=0))
async def fail(message="no"):
    raise ValueError(message)


async def slow(seconds=30.0):
    await anyio.sleep(seconds)
    return "slept"


async def held(path):
    """Until there is a file: the test says when it ends."""
    while not Path(path).exists():
        await anyio.sleep(0.02)
    return "let go"


def blocking(seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not current_job().cancelled:
        time.sleep(0.01)
    return "worked"


async def talk(lines=3):
    for i in range(lines):
        current_job().log(f"line {i}")
        current_job().progress(i + 1, lines, "talking")


jp = JobProcessor(SQLiteConfig(db_path="jobs.db"), functions=[add, fail, slow, held, blocking, talk])
'''
