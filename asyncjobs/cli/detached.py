"""Redirect the output of a daemon in the background to its log.

Output of Python code becomes records of the log, with time and job. Output that is written to the descriptors directly
(by C libraries, programs that a job starts, the interpreter when it crashes) goes to the file unchanged.
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
"""Length at which text without a line end is logged as a record."""
_UNTIL = 2.0
"""Seconds after which an unfinished line is logged, together with the next output."""


@contextmanager
def output_in_log(handlers: Iterable[logging.Handler], *, stderr: bool) -> Generator[None]:
    """Send standard output to the log, and what Python code writes to standard error.

    :param stderr: whether to redirect the descriptor of standard error, too; not while the starting command reads it.
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
    """Redirect the descriptor of standard error to the log as well; the starting command no longer reads it."""
    for handler in handlers:
        if isinstance(handler, PrivateFile):
            _follow(handler, (1, 2))


def _follow(file: PrivateFile, descriptors: tuple[int, ...]) -> None:
    """Point the descriptors to the log file, also after a rotation."""

    def point(opened: int) -> None:
        for descriptor in descriptors:
            os.dup2(opened, descriptor)

    file.on_open = point
    if file.stream is not None:  # it is None while closed
        point(file.stream.fileno())


class _Begun:
    """An unfinished line, and the job that writes it."""

    __slots__ = ("fields", "since", "text")

    def __init__(self, fields: dict[str, Any]) -> None:
        self.text = ""
        self.since = time.monotonic()
        self.fields = fields


class LogStream(io.TextIOBase):
    """Stands for ``sys.stdout`` or ``sys.stderr``: each line is a record of the logger of that name.

    The records go directly to the handlers: through the logging tree, they would become events of the job. Lines of
    jobs that print at the same time are kept apart; an unfinished line is logged, too.
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
        """Return the encoding, which programs read from standard streams."""
        return "utf-8"

    @property
    def errors(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - typeshed has an attribute
        """Return the error handler for text that UTF-8 cannot encode."""
        return "backslashreplace"

    def reconfigure(self, **settings: object) -> None:
        """Do nothing: output is always handled by lines."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the underlying descriptor, for subprocesses and ``faulthandler``."""
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
        """Log text that was written without a line end."""
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
