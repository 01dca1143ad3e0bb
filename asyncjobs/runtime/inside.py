"""Refuse a body that would wait for the end of the worker that runs it."""

from __future__ import annotations

from asyncjobs.exceptions import JobStateError
from asyncjobs.runtime.context import find_current_job
from asyncjobs.runtime.executor import Executor


def refuse_to_leave_inside(executor: Executor | None) -> None:
    """Refuse to leave a processor from inside one of its own bodies: leaving would wait for the end of that body.

    :raises JobStateError: the calling code belongs to a job that this worker runs.
    """
    hint = "let the body set an event (or return), and leave the block where it was entered"
    _refuse(executor, "the processor that runs it cannot be left inside of it", hint)


def refuse_to_stop_inside(executor: Executor) -> None:
    """Refuse to stop a daemon from inside one of its own bodies.

    :raises JobStateError: as above.
    """
    hint = "jp.daemon.close() stops claiming without waiting; or let the body set an event, and stop the daemon outside"
    _refuse(executor, "the daemon that runs it cannot be stopped inside of it", hint)


def _refuse(executor: Executor | None, wanted: str, hint: str) -> None:
    context = find_current_job()
    if context is not None and executor is not None and executor.runs(context):
        wanted = f"{wanted}: each would wait for the other's end"
        raise JobStateError(context.id, "running here", wanted, hint=hint)
