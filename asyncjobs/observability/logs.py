"""Set up the log of the command line and the daemon, in three formats with the same fields.

The fields are ``job_id``, ``attempt``, ``group``, ``worker_id`` where a record is about a job, from the record itself
(``extra=``) or from the job whose body logs it.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from msgspec import json

from asyncjobs.config import LoggingConfig
from asyncjobs.observability.last_lines import LastLines
from asyncjobs.runtime.context import find_log_fields

FIELDS = ("job_id", "attempt", "group", "worker_id")
_LEVELS = {logging.DEBUG: "DEBUG", logging.INFO: "INFO", logging.WARNING: "WARN", logging.ERROR: "ERROR"}
_COLOURS = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}


def set_up(
    config: LoggingConfig,
    stream: TextIO | None = None,
    *,
    console: bool = True,
    colour: bool = False,
    keep: Path | None = None,
) -> list[logging.Handler]:
    """Send every record of the program to ``stream`` (default: standard error; not without ``console``) and to
    ``config.file``.

    :param keep: where the last lines are kept, as ``config.file`` has them, for operators of this process.
    :returns: the handlers, which are the root logger's only ones from now on.
    """
    to: TextIO = sys.stderr if stream is None else stream
    form = config.format
    if form == "auto":
        form = "text" if to.isatty() else "logfmt"
    # Lines that are read later and elsewhere carry their date.
    in_files = _Once(_formatter("text" if config.format == "auto" else config.format, dated=True))
    handlers: list[logging.Handler] = []
    if console:
        handlers.append(logging.StreamHandler(to))
        handlers[0].setFormatter(_formatter(form, colour=colour))
    if config.file is not None:
        handlers.append(PrivateFile(Path(config.file).expanduser(), config.max_bytes, config.backups))
        handlers[-1].setFormatter(in_files)
    if keep is not None:
        handlers.append(LastLines(keep))
        handlers[-1].setFormatter(in_files)
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.addFilter(_add_fields)
        root.addHandler(handler)
    # The configured level for the program; at least INFO for other libraries, unless DEBUG is configured.
    level = getattr(logging, config.level.upper())
    root.setLevel(level if level <= logging.DEBUG else max(level, logging.INFO))
    logging.getLogger("asyncjobs").setLevel(level)
    logging.getLogger("aiosqlite").setLevel(max(level, logging.INFO))  # at DEBUG it logs every statement
    for name in ("botocore", "aiobotocore"):  # at INFO they log where credentials were found, at DEBUG every call
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    return handlers


def _add_fields(record: logging.LogRecord) -> bool:
    for name, value in find_log_fields().items():
        if not hasattr(record, name):
            setattr(record, name, value)
    return True


def get_fields(record: logging.LogRecord) -> Iterator[tuple[str, Any]]:
    """Yield the context fields of a record."""
    for name in FIELDS:
        value = getattr(record, name, None)
        if value is not None:
            yield name, value


def _formatter(form: str, *, colour: bool = False, dated: bool = False) -> logging.Formatter:
    match form:
        case "json":
            return JsonFormatter()
        case "logfmt":
            return LogfmtFormatter()
        case _:
            return TextFormatter(colour=colour, dated=dated)


class TextFormatter(logging.Formatter):
    """``02:22:09.123 INFO  job 'page_1' completed in 3.1 s  attempt=2``, and a traceback below.

    :param dated: for files: ``2026-03-01 02:22:09.123+01:00 INFO  …``, and every field, also what the message names.
    """

    def __init__(self, *, colour: bool = False, dated: bool = False) -> None:
        super().__init__()
        self._colour = colour
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a line."""
        at = datetime.fromtimestamp(record.created).astimezone()
        level = f"{_LEVELS.get(record.levelno, record.levelname):5}"
        if self._colour and record.levelno in _COLOURS:
            level = f"\x1b[{_COLOURS[record.levelno]}m{level}\x1b[0m"
        message = _one_line(record.getMessage())
        fields = " ".join(
            f"{name}={_quoted(value)}" for name, value in get_fields(record) if self._adds(value, message)
        )
        moment = at.isoformat(" ", "milliseconds") if self._dated else f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"
        line = f"{moment} {level} {message}" + (f"  {fields}" if fields else "")
        trace = _traceback(self, record)
        return f"{line}\n{trace}" if trace else line

    def _adds(self, value: Any, message: str) -> bool:
        """Return whether a field adds to the message. Numbers always do: one in the message may be something else."""
        return self._dated or not isinstance(value, str) or value not in message


class _Once(logging.Formatter):
    """Formats a record once for several handlers of one thread."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner
        self._last: tuple[tuple[int, float, int | None], str] | None = None

    def format(self, record: logging.LogRecord) -> str:
        # The record itself is not kept: it may hold a traceback, and with it all that a job's body had.
        key, last = (id(record), record.created, record.thread), self._last
        if last is not None and last[0] == key:
            return last[1]
        line = self._inner.format(record)
        self._last = (key, line)
        return line


class JsonFormatter(logging.Formatter):
    """One object a line: ``ts``, ``level``, ``logger``, ``message``, the fields, ``error`` with the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as a JSON object."""
        return json.encode(_record(self, record), enc_hook=str).decode()


class LogfmtFormatter(logging.Formatter):
    """``ts=… level=info msg="…" job_id=page_1``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as logfmt."""
        return " ".join(f"{name}={_quoted(value)}" for name, value in _record(self, record).items())


def _record(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    values: dict[str, Any] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
        **dict(get_fields(record)),
    }
    trace = _traceback(formatter, record)
    if trace:
        values["error"] = trace
    return values


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str | None:
    """Return the traceback of the record's exception, or that of a job's body, which is stored as text."""
    text: str | None = getattr(record, "traceback_text", None)
    if text:
        return text.rstrip()
    return formatter.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else None


def _one_line(message: str) -> str:
    # A job's message must not look like a line of ours.
    return message.replace("\r", "\\r").replace("\n", "\n    ")


def _quoted(value: object) -> str:
    text = str(value)
    if text and text.isprintable() and not any(c in text for c in ' "='):
        return text
    return json.encode(text).decode()


class PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotated log file that only this user can read.

    ``on_open`` is called with the descriptor whenever the file is opened: at first, after a rotation, after SIGHUP.
    """

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.on_open: Callable[[int], None] | None = None
        super().__init__(path, maxBytes=max_bytes, backupCount=backups, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> Any:
        stream: Any = open(  # noqa: SIM115 - the handler closes it
            self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=_private
        )
        if self.on_open is not None:
            self.on_open(stream.fileno())
        return stream


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
