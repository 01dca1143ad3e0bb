"""Programs that help a body: watched while they run, killed when the body is to stop, hangs or is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

GUARD = str(Path(__file__).with_name("guard.py"))
PATIENCE = 30.0
"""Seconds without any progress after which a program is taken to hang."""
_LOOK = 0.1

Stop = Callable[[], bool]


def go_on() -> bool:
    """Answer that nobody wants the program to stop."""
    return False


class ProgramError(RuntimeError):
    """A program died, hung, or did not do its work; the text ends with what it said."""


class StoppedError(Exception):
    """The body was asked to stop; its program is gone."""


class Program:
    """A running program, with its guard, in a process group of its own: Ctrl-C is for the one who started it."""

    def __init__(self, command: Sequence[str], *, stop: Stop, patience: float, feeds: bool, reads: bool) -> None:
        self.name = Path(command[0]).name
        self._stop, self._patience = stop, patience
        self._reason: str | None = None
        self._moved = time.monotonic()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
        life, self._life = os.pipe()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", GUARD, str(life), *command],
                stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
                stdout=subprocess.PIPE if reads else subprocess.DEVNULL,
                stderr=self._words,
                pass_fds=(life,),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._life)
            self._words.close()
            raise
        finally:
            os.close(life)
        self._watcher = threading.Thread(target=self._watch, name=f"watches {self.name}", daemon=True)
        self._watcher.start()

    def moved(self) -> None:
        """Note that there was progress."""
        self._moved = time.monotonic()

    def _watch(self) -> None:
        """Look ten times a second whether the program has ended, is to stop, or hangs."""
        while True:
            try:
                self.process.wait(_LOOK)
                return
            except subprocess.TimeoutExpired:
                pass
            if self._stop():
                self._reason = "stop"
            elif time.monotonic() - self._moved > self._patience:
                self._reason = "hang"
            if self._reason:
                self.kill()
                return

    def kill(self) -> None:
        """Kill the program and its guard."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def finish(self) -> None:
        """Wait for the end of the program.

        :raises StoppedError: the body is to stop. ProgramError: the program failed.
        """
        code = self.process.wait()
        self._watcher.join()
        if self._reason == "stop":
            raise StoppedError
        if self._reason == "hang":
            raise ProgramError(f"{self.name} made no progress for {self._patience:g} seconds and was killed")
        if code != 0:
            raise ProgramError(f"{self.name} failed (exit code {code}): {self._told()}")

    def _told(self) -> str:
        self._words.seek(0)
        lines = self._words.read(100_000).decode(errors="replace").split("\n")
        told = [line.strip() for line in lines if line.strip()]
        told = told if len(told) <= 4 else [*told[:2], "…", *told[-2:]]  # the first ones say what was wrong
        return "; ".join(line[:300] for line in told) or "it said nothing"

    def close(self) -> None:
        """End everything that is still there, and close the pipes."""
        if self.process.poll() is None:
            self.kill()
        self.process.wait()
        self._watcher.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                _close(pipe)
        os.close(self._life)
        self._words.close()


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:  # what was not read by it is lost with it
        pass


@contextmanager
def started(
    command: Sequence[str], *, stop: Stop = go_on, patience: float = PATIENCE, feeds: bool = False, reads: bool = False
) -> Iterator[Program]:
    """Run a program for a block of code; nothing of it is left behind, however the block is left."""
    program = Program(command, stop=stop, patience=patience, feeds=feeds, reads=reads)
    try:
        yield program
    finally:
        program.close()


def feed(
    command: Sequence[str],
    pieces: Iterable[bytes],
    tell: Callable[[int], object],
    stop: Stop = go_on,
    patience: float = PATIENCE,
) -> None:
    """Run a program that reads from a pipe, telling after each piece how many it has taken."""
    with started(command, stop=stop, patience=patience, feeds=True) as program:
        assert program.process.stdin is not None
        try:
            for number, piece in enumerate(pieces, 1):
                program.process.stdin.write(piece)
                program.moved()
                if stop():
                    program.kill()
                    raise StoppedError
                tell(number)
            program.process.stdin.close()
        except BrokenPipeError:
            pass  # it is gone: its end says why
        program.finish()


def follow(
    command: Sequence[str], tell: Callable[[bytes], object], stop: Stop = go_on, patience: float = PATIENCE
) -> None:
    """Run a program, handing on each line that it writes."""
    with started(command, stop=stop, patience=patience, reads=True) as program:
        assert program.process.stdout is not None
        for line in program.process.stdout:
            program.moved()
            tell(line)
        program.finish()


def ask(command: Sequence[str], question: bytes, stop: Stop = go_on, patience: float = PATIENCE) -> bytes:
    """Run a program on some bytes, and return what it writes."""
    with started(command, stop=stop, patience=patience, feeds=True, reads=True) as program:
        assert program.process.stdin is not None
        assert program.process.stdout is not None
        try:
            program.process.stdin.write(question)
            program.process.stdin.close()
        except BrokenPipeError:
            pass
        answer = program.process.stdout.read()
        program.finish()
        return answer
