"""Redirect the output of a daemon in the background to its log.

What Python code prints becomes records of the log, with the moment and the job. What others write to the descriptors
(C libraries, programs that a job starts, the interpreter when it crashes) goes to the file as it is.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from asyncjobs.observability.logs import PrivateFile
from asyncjobs.runtime.context import find_current_job

_LONGEST = 65_536
"""Characters without a line end after which a record is made nevertheless."""
_UNTIL = 2.0
"""Seconds after which a line that nobody has ended is logged with the next one that is printed."""


@contextmanager
def output_in_log(handlers: Iterable[logging.Handler], *, stderr: bool) -> Generator[None]:
    """Send standard output to the log, and what Python code writes to standard error.

    :param stderr: also the descriptor of standard error. False while the command that started this still reads it.
    """
    listed = list(handlers)
    files = [handler for handler in listed if isinstance(handler, PrivateFile)]
    for file in files:
        _follow(file, (1, 2) if stderr else (1,))
    before = sys.stdout, sys.stderr
    out, err = LogStream("stdout", listed), LogStream("stderr", listed)
    sys.stdout, sys.stderr = out, err
    try:
        yield
    finally:
        out.finish()
        err.finish()
        sys.stdout, sys.stderr = before


def let_go(handlers: Iterable[logging.Handler]) -> None:
    """Send the descriptor of standard error to the log as well: the command that started this reads no more."""
    for handler in handlers:
        if isinstance(handler, PrivateFile):
            _follow(handler, (1, 2))


def _follow(file: PrivateFile, descriptors: tuple[int, ...]) -> None:
    """Have the descriptors point to the log file, also after a rotation."""

    def point(opened: int) -> None:
        for descriptor in descriptors:
            os.dup2(opened, descriptor)

    file.on_open = point
    if file.stream is not None:  # it is None while closed
        point(file.stream.fileno())


class _Begun:
    """What a job has written of a line, and who it is."""

    __slots__ = ("fields", "since", "text")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.text = ""
        self.since = time.monotonic()
        self.fields = fields


class LogStream(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr``: each line is a record of the logger of that name.

    The records go to the handlers and not through the logging tree, where they would become events of the job. A line
    that was begun is its job's, however many print at the same time; if it is not ended, it is logged all the same.
    """

    def __init__(self, name: str, handlers: Iterable[logging.Handler]) -> None:
        super().__init__()
        self.name = name
        self._handlers = list(handlers)
        self._descriptor = 1 if name == "stdout" else 2
        self._lock = threading.Lock()
        self._begun: dict[object, _Begun] = {}
        self._here = threading.local()
        self.buffer = _Bytes(self)

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - typeshed has an attribute
        """Return what programs ask of a standard stream."""
        return "utf-8"

    @property
    def errors(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - typeshed has an attribute
        """Return what becomes of text that has no form in UTF-8."""
        return "backslashreplace"

    def reconfigure(self, **settings: object) -> None:
        """Change nothing: lines are lines."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor that stands behind it, for subprocesses and ``faulthandler``."""
        return self._descriptor

    def write(self, text: str) -> int:
        """Log every line that is complete now."""
        if getattr(self._here, "logging", False):
            # A failing log handler writes to standard error, which is this object.
            os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))
            return len(text)
        job = find_current_job()
        key = threading.get_ident() if job is None else (job.id, job.attempt)
        now = time.monotonic()
        with self._lock:
            begun = self._begun.pop(key, None)
            if begun is None:
                begun = _Begun({} if job is None else {"job_id": job.id, "attempt": job.attempt, "group": job.group})
            *lines, rest = (begun.text + text).split("\n")
            if len(rest) > _LONGEST:
                lines.append(rest)
                rest = ""
            if rest:
                begun.text = rest
                self._begun[key] = begun
            forgotten = [key for key, other in self._begun.items() if other is not begun and now - other.since > _UNTIL]
            left = [self._begun.pop(key) for key in forgotten]
        for other in left:
            self._log(other.text, other.fields)
        for line in lines:
            self._log(line, begun.fields)
        return len(text)

    def finish(self) -> None:
        """Log what was written without a line end."""
        with self._lock:
            left, self._begun = list(self._begun.values()), {}
        for begun in left:
            self._log(begun.text, begun.fields)

    def _log(self, line: str, fields: dict[str, Any]) -> None:
        if not line.strip():
            return
        record = logging.LogRecord(self.name, logging.INFO, "", 0, line.rstrip("\r"), None, None)
        record.__dict__.update(fields)
        self._here.logging = True
        try:
            for handler in self._handlers:
                handler.handle(record)
        finally:
            self._here.logging = False


class _Bytes(io.RawIOBase):
    """``sys.stdout.buffer``, for programs that write bytes."""

    def __init__(self, stream: LogStream) -> None:
        super().__init__()
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._stream.write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)
