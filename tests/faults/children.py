"""Child processes of the fault tests: started, listened to, killed."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.faults import bodies, defects
from tests.forked import forked

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 50.0
"""Seconds after which a child that says nothing is taken for stuck."""


class Silent(AssertionError):
    """A child stands still."""


class Child:
    """``python -m MODULE …`` of this repository, in a fork. What it writes to standard output comes line by line."""

    def __init__(self, module: str, *arguments: object, ledger: Path, defect: str = "") -> None:
        environment = {**os.environ, bodies.LEDGER_VARIABLE: str(ledger), defects.VARIABLE: defect}
        environment["PYTHONPATH"] = str(ROOT)
        self._errors = ledger.with_suffix(".stderr")
        self.started = time.monotonic()
        with self._errors.open("ab") as errors:
            self.process = forked(
                [module, *map(str, arguments)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )
        self._buffer = b""
        self.patience = PATIENCE

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> list[str] | None:
        """The next line, in words; None: it has ended (and everything it said was heard)."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + self.patience
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self._ask_where_it_is()
                raise Silent(f"the child said nothing for {self.patience:g} s; its errors: {self.errors()}")
            data = os.read(self.process.stdout.fileno(), 65_536)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode().split()

    def until(self, *words: str) -> list[str]:
        """Skip lines until one begins with these words; returns what follows."""
        while (line := self.line()) is not None:
            if tuple(line[: len(words)]) == words:
                return line[len(words) :]
        raise AssertionError(f"the child ended without saying {' '.join(words)!r}; its errors: {self.errors()}")

    def rest(self) -> list[list[str]]:
        """Everything that is still to be heard, until it has ended."""
        lines: list[list[str]] = []
        while (line := self.line()) is not None:
            lines.append(line)
        return lines

    def say(self, *words: object) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{' '.join(map(str, words))}\n".encode())

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE)

    def end(self) -> int:
        """Wait until it ends by itself; returns its exit code."""
        return self.process.wait(PATIENCE)

    def _ask_where_it_is(self) -> None:
        """Have it write the stacks of its threads to its errors (see ``defects.install``), and end."""
        self.process.send_signal(signal.SIGABRT)
        self.process.wait(PATIENCE)

    def errors(self) -> str:
        return self._errors.read_text(errors="replace")[-8000:]


def first_words(lines: Sequence[Sequence[str]], word: str) -> list[Sequence[str]]:
    """Those lines that begin with this word, without it."""
    return [line[1:] for line in lines if line and line[0] == word]
