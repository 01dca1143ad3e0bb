"""Report failures of commands: the problem, the fix, and an exit code for scripts.

====  ======================================================
0     all is well
1     the thing itself failed: a job, a check, a target
2     the command or the configuration is wrong
3     not found, or not running
4     the store cannot be reached
5     waited for too long
6     refused: a cycle, a wrong status
130   ended by Ctrl-C; 143: by SIGTERM
====  ======================================================
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from itertools import takewhile
from typing import Any

import click
from msgspec import json

from asyncjobs.cli.hints import render_hint, with_flags
from asyncjobs.exceptions import (
    BackendConnectionError,
    BackendError,
    ConfigurationError,
    JobNotCompletedError,
    JobNotFoundError,
    JobProcessorError,
    JobStateError,
    JobTimeoutError,
    MissingExtraError,
    SubmissionError,
)

FAILED, USAGE, NOT_FOUND, UNREACHABLE, TIMED_OUT, REFUSED = 1, 2, 3, 4, 5, 6

_JSON = re.compile(r"--json|--output=(nd)?json|-[qv]*o(nd)?json")
_OUTPUT = re.compile(r"--output|-[qv]*o")

_CODES: dict[type[JobProcessorError], int] = {
    ConfigurationError: USAGE,
    MissingExtraError: USAGE,
    JobNotFoundError: NOT_FOUND,
    BackendError: UNREACHABLE,
    JobTimeoutError: TIMED_OUT,
    JobStateError: REFUSED,
    SubmissionError: REFUSED,
    JobNotCompletedError: FAILED,
}


class Failure(click.ClickException):
    """Ends a command with a message, a hint, and an exit code."""

    def __init__(
        self,
        message: str,
        *,
        exit_code: int = FAILED,
        hint: str | None = None,
        code: str = "failed",
        as_json: bool = False,
    ) -> None:
        super().__init__(message)
        self._as_json = as_json
        self.exit_code = exit_code  # pyright: ignore[reportAttributeAccessIssue] - click reads it of the instance
        self.code = code
        self._context = click.get_current_context(silent=True)  # it is closed by the time when the failure is shown
        root = getattr(self._context.find_root().obj, "root_arguments", ()) if self._context is not None else ()
        self.hint = None if hint is None else with_flags(hint, root)

    def show(self, file: Any = None) -> None:
        """Print the failure to standard error, as JSON if that is the output format."""
        stream = file or sys.stderr
        if self._as_json or (self._context is not None and getattr(self._context.find_root().obj, "json", False)):
            problem: dict[str, Any] = {"code": self.code, "detail": self.message, "exit_code": self.exit_code}
            click.echo(json.encode(problem | ({"hint": self.hint} if self.hint else {})).decode(), file=stream)
            return
        click.echo(f"{click.style('✖', fg='red')} {self.message}", file=stream)
        if self.hint:
            click.echo(f"  → {self.hint}", file=stream)


def render_usage(error: click.UsageError, arguments: Iterable[str]) -> click.ClickException:
    """Return the error of a wrong command line: as JSON, if the line asks for that anywhere."""
    if not _asks_for_json(arguments) or type(error).__name__ == "NoArgsIsHelpError":  # which is the help
        return error
    return Failure(error.format_message(), exit_code=error.exit_code, code="usage", as_json=True)


def _asks_for_json(arguments: Iterable[str]) -> bool:
    before = ""
    for argument in takewhile(lambda argument: argument != "--", arguments):
        if _JSON.fullmatch(argument) or (_OUTPUT.fullmatch(before) and argument in ("json", "ndjson")):
            return True
        before = argument
    return False


def exit_code_of(kind: type[JobProcessorError]) -> int:
    """Return the exit code of a command that ends with an error of this class."""
    return next((_CODES[base] for base in kind.__mro__ if base in _CODES), FAILED)


def render_failure(error: JobProcessorError) -> Failure:
    """Return the failure for an error of this package."""
    message = str(error.args[0]) if error.args else error.code
    if isinstance(error, BackendConnectionError):
        error.request = None  # useless on the command line, so the hint must not name it
    more = f"asyncjobs explain {error.code}"
    hint = render_hint(error)
    if hint is None:
        hint = more
    elif isinstance(error, BackendError):
        hint = f"{hint}; {more}"
    return Failure(message, exit_code=exit_code_of(type(error)), hint=hint, code=error.code)
