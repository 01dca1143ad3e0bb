"""Capture the log records and printed lines of a body, as the log of its job.

Both are captured for the whole process: by a handler of the root logger, and by stand-ins for ``sys.stdout`` and
``sys.stderr``. These are installed once, while at least one worker that wants them runs; each record or
line belongs to the current job.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from typing import Any

from asyncjobs.config import DaemonConfig
from asyncjobs.runtime.context import JobContext, find_current_job
from asyncjobs.runtime.event_data import LONGEST_TEXT, capped, printable

_OURS = "asyncjobs"
_FORMATTER = logging.Formatter()


@contextmanager
def capture(config: DaemonConfig) -> Generator[None, None, None]:
    """Capture the records and lines of bodies while open, for jobs whose context asks for it."""
    with ExitStack() as stack:
        if config.capture_level is not None:
            stack.enter_context(_logs.used())
        if config.capture_print:
            stack.enter_context(_prints.used())
        yield


def watch() -> None:
    """Attach the handler again if a worker needs it: logging may have been configured again, without it."""
    _logs.watch()


class _Shared:
    """Something of the process that is installed while at least one worker wants it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0

    @contextmanager
    def used(self) -> Generator[None, None, None]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._install()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._remove()

    def _install(self) -> None: ...

    def _remove(self) -> None: ...


# -- the logging module


class JobLogHandler(logging.Handler):
    """Gives records to the job that emits them. Never blocks, never raises, changes no logger's level."""

    def createLock(self) -> None:  # noqa: N802 - the name is logging's
        """Make no lock: jobs have their own."""
        self.lock = None  # a forked child must not find one held

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep a record as an event of the job whose body logs it."""
        job = find_current_job()
        name = str(record.name)
        if (
            job is not None
            and job.capture_level is not None
            and record.levelno >= job.capture_level
            and not job.forked
            and not _is_ours(name)
        ):
            job.append_log(printable(logging.getLevelName(record.levelno).lower())[:64], name, _message_fields(record))
        if len(logging.root.handlers) == 1:
            self._stand_in(record, name)
        return True

    def _stand_in(self, record: logging.LogRecord, name: str) -> None:
        """Write a record that no other handler takes to standard error, as Python does without this handler."""
        last = logging.lastResort
        if last is None or record.levelno < last.level:
            return
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return
            logger = logger.parent
        Context().run(last.handle, record)  # outside of the job, which has the record already


class _Logs(_Shared):
    """The handler on the root logger."""

    def __init__(self) -> None:
        super().__init__()
        self._handler: JobLogHandler | None = None

    def watch(self) -> None:
        handler = self._handler
        if handler is not None and handler not in logging.root.handlers:
            logging.root.addHandler(handler)

    def _install(self) -> None:
        self._handler = JobLogHandler()
        logging.root.addHandler(self._handler)

    def _remove(self) -> None:
        if self._handler is not None:
            logging.root.removeHandler(self._handler)
            self._handler = None


def _is_ours(name: str) -> bool:
    return name == _OURS or name.startswith(_OURS + ".")


def _message_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the message and the traceback, even if the arguments of the call are wrong."""
    fields: dict[str, Any]
    try:
        fields = capped("message", str(record.getMessage()))
    except Exception:
        fields = {**capped("message", _raw(record.msg)), "unformatted": True}
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        text = _traceback(record.exc_info[1])
        # The end of a traceback explains most.
        fields |= capped("traceback", text[-LONGEST_TEXT:], len(text), mark="traceback_cut")
    return fields


def _raw(message: object) -> str:
    try:
        return str(message)
    except Exception:
        return f"<{type(message).__name__} that cannot be printed>"


def _traceback(error: BaseException) -> str:
    try:
        return _FORMATTER.formatException((type(error), error, error.__traceback__))
    except Exception:
        return "".join(traceback.format_tb(error.__traceback__))


# -- print


class _Line:
    """An unfinished line. Text beyond the size of an event is counted, not kept."""

    def __init__(self) -> None:
        self.text = ""
        self.length = 0
        self._returned = False

    def add(self, text: str) -> None:
        for i, piece in enumerate(text.split("\r")):
            self._returned |= i > 0
            if piece:
                if self._returned:  # as on a terminal: a progress bar leaves only what stood there last
                    self.text, self.length, self._returned = "", 0, False
                self.text += piece[: max(0, LONGEST_TEXT - len(self.text))]
                self.length += len(piece)


class PrintedStream:
    """Stands in for ``sys.stdout`` or ``sys.stderr``: everything goes to the stream itself, lines to the job as well.

    Bytes that are written to its ``buffer`` are not captured.
    """

    def __init__(self, stream: Any, name: str) -> None:
        self._stream = stream
        self._name = name
        self._listening = True

    def write(self, text: str) -> int:
        """Write to the stream, and keep the lines as events of the job whose body prints."""
        job = find_current_job() if self._listening else None
        if job is not None and job.capture_print and isinstance(text, str) and not job.forked:
            record_printed(job, self._name, text)
        return self._stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of these lines."""
        for line in lines:
            self.write(line)

    def let_go(self) -> Any:
        """Keep no more lines, since the program may hold on to this object, and return the stream."""
        self._listening = False
        return self._stream

    @property
    def bare(self) -> Any:
        """The stream itself."""
        return self._stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def __enter__(self) -> Any:
        return self._stream.__enter__()

    def __exit__(self, *raised: Any) -> Any:
        return self._stream.__exit__(*raised)

    def __repr__(self) -> str:
        return repr(self._stream)


def bare_stream(name: str) -> Any:
    """Return the present ``sys.stdout`` or ``sys.stderr``, without the stand-in that makes events of lines."""
    stream = getattr(sys, name)
    return stream.bare if isinstance(stream, PrintedStream) else stream


def record_printed(job: JobContext, name: str, text: str) -> None:
    """Keep a piece of the output of the body to the stream ``name``: its lines become events of the job."""
    *ended, rest = text.split("\n")
    with job.body_events.lock:
        for part in ended:
            line: _Line = job.unfinished_lines.pop(name, None) or _Line()
            line.add(part)
            _print(job, name, line)
        if rest:
            job.unfinished_lines.setdefault(name, _Line()).add(rest)


def _print(job: JobContext, name: str, line: _Line) -> None:
    job.append_log("warning" if name == "stderr" else "info", name, capped("message", line.text, line.length))


def end_lines(job: JobContext) -> None:
    """Keep the line that a body left unfinished when it ended."""
    for name in list(job.unfinished_lines):
        _print(job, name, job.unfinished_lines.pop(name))


class _Prints(_Shared):
    """The stand-ins for the standard streams."""

    def __init__(self) -> None:
        super().__init__()
        self._standing_in: dict[str, PrintedStream] = {}

    def _install(self) -> None:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None:  # as in a program without a console
                self._standing_in[name] = PrintedStream(stream, name)
                setattr(sys, name, self._standing_in[name])

    def _remove(self) -> None:
        while self._standing_in:
            name, ours = self._standing_in.popitem()
            stream = ours.let_go()
            if getattr(sys, name) is ours:  # else the program put something else there, and will put this back
                setattr(sys, name, stream)


_logs = _Logs()
_prints = _Prints()
