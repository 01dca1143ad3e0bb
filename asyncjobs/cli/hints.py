"""Write hints so that the commands in them work as printed, with the flags of the command that prints them.

Hints of errors name calls of a program; they are turned into commands here.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TextIO

from asyncjobs.core.codec.names import module_of
from asyncjobs.exceptions import (
    DuplicateJobError,
    JobCancelledError,
    JobExecutionError,
    JobNotFoundError,
    JobProcessorError,
    JobSkippedError,
    JobStateError,
    JobTimeoutError,
    NotSerializableError,
)

AT_LEAST = 4
"""Shortest prefix of an id, so that it does not match another one by chance."""
_COMMAND = re.compile(
    r"\basyncjobs (?=(?:aws|backup|bench|compact|config|daemon|dag|demo|doctor|events|groups|jobs|version|web)\b)"
)


def with_flags(hint: str, root: Sequence[str]) -> str:
    """Insert the flags in use after ``asyncjobs``, wherever a hint names a command."""
    if not root:
        return hint
    return _COMMAND.sub(lambda _: f"asyncjobs {shlex.join(root)} ", hint)


def render_hint(error: JobProcessorError) -> str | None:
    """Return the hint of an error, as a command where it is a call in a program."""
    match error:
        case JobSkippedError(because=str(because)):
            return f"fix the cause, then retry it: asyncjobs jobs retry {shlex.quote(because)}"
        case JobExecutionError() | JobCancelledError():
            return f"asyncjobs jobs retry {shlex.join([*error.retry_first, error.job_id])}"
        case JobTimeoutError():
            return _while_it_continues(error.job_id)
        case DuplicateJobError():
            return f"choose another --id, or inspect that job: asyncjobs jobs show {shlex.quote(error.job_id)}"
        case JobNotFoundError() if "did you mean" not in (error.hint or ""):
            return f"{error.hint}; an id may be shortened to a prefix of {AT_LEAST} characters or more"
        case JobStateError(hint=str(hint)):
            return re.sub(r"^retry_job\b", lambda _: f"asyncjobs jobs retry {shlex.quote(error.job_id)}", hint)
        case NotSerializableError(hint=str(hint)):
            return re.sub(r", or (?:submit it with|use) local=True.*", "", hint)  # it would need a running program
        case _:
            return error.hint


def _while_it_continues(job_id: str | None) -> str:
    if job_id is None:
        return "the jobs continue"
    quoted = shlex.quote(job_id)
    return f"the job continues: asyncjobs jobs watch {quoted}, or end it with asyncjobs jobs cancel {quoted}"


def can_ask() -> bool:
    """Return whether a command can ask for confirmation: standard input is a terminal."""
    stdin: TextIO | None = sys.stdin  # None: it was closed
    return stdin is not None and stdin.isatty()


def retry_command(*, group: str | None, function: str | None) -> str:
    """Return the command that retries the failed jobs of a group or function, as it works here."""
    given = (("--group", group), ("--function", function))
    flags = "".join(f" {option} {shlex.quote(value)}" for option, value in given if value)
    return f"asyncjobs jobs retry --failed{flags}{'' if can_ask() else ' --yes'}"


def start_command(allowed: Iterable[str], *, name: str | None = None) -> str:
    """Return the command that starts a daemon; ``allowed`` modules are those that no setting names."""
    words = ["asyncjobs", "daemon", "start", "-d", *(word for module in allowed for word in ("--allow", module))]
    return shlex.join(words if name is None else [*words, "--name", name])


def find_modules(functions: Iterable[str]) -> list[str]:
    """Return the modules of these stored functions that can be found from here: a daemon refuses others."""
    folder = str(Path.cwd())
    found: dict[str, None] = {}
    for function in functions:
        module = module_of(function)
        if module.endswith(".py"):  # a script: a daemon runs its functions by the name of the file
            module = Path(module).stem
        if module not in found and _is_there(module, folder):
            found[module] = None
    return list(found)


def _is_there(module: str, folder: str) -> bool:
    if not all(part.isidentifier() for part in module.split(".")):
        return False
    before = sys.path[:]
    sys.path.insert(0, folder)
    try:
        return find_spec(module) is not None
    except Exception:  # border: searching for a module runs the code of its package
        return False
    finally:
        sys.path[:] = before
