"""A part as a process of its own in a folder of its own, which are both gone afterwards, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from msgspec import DecodeError, json

from benchmarks.long.child import INTERRUPTED
from benchmarks.long.report import Taken
from benchmarks.long.work import Said, Size
from benchmarks.machine import ROOT

_PATIENCE = 30.0
"""Seconds that a part has to end once it should."""


def take(name: str, size: Size, keep: Callable[[Taken], None]) -> None:
    """Run a part, and keep what it told, also if it fails or the user has had enough.

    :raises KeyboardInterrupt: the user has.
    """
    began, load = time.monotonic(), os.getloadavg()[0]
    said: list[Said] = []
    failed = "interrupted"
    try:
        code = _run(name, size, said)
        failed = "" if code == 0 else "interrupted" if code == INTERRUPTED else f"it ended with {code}, see above"
    finally:
        figures = [line.figure for line in said if line.figure is not None]
        notes = [line.note for line in said if line.note]
        keep(Taken(name, time.monotonic() - began, load, figures, notes, failed))


def _run(name: str, size: Size, said: list[Said]) -> int:
    """Run the program to its end, and add each line of its; the exit code."""
    with tempfile.TemporaryDirectory(prefix="asyncjobs-bench-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-m", "benchmarks.long.child", name, folder, json.encode(size).decode()]
        # In a session of its own: Ctrl-C comes to this process alone, which then ends the other by closing its input.
        process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert process.stdout is not None
        # In a thread: an interrupted read would lose a part of a line.
        reading = threading.Thread(target=_listen, args=(process.stdout, said), daemon=True)
        reading.start()
        try:
            process.wait()
        finally:
            _end(process)
            reading.join(_PATIENCE)
    return process.returncode


def _listen(lines: IO[bytes], said: list[Said]) -> None:
    with lines:
        said.extend(map(_read, lines))


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read(line: bytes) -> Said:
    try:
        return json.decode(line, type=Said)
    except DecodeError:
        return Said(note=line.decode(errors="replace").strip())
