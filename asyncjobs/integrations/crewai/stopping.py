"""End a run whose job is to stop: at the next token of a stream, else before the next call, task or flow method.

CrewAI passes on one exception of those that a hook or a listener raises: ``HookAborted``.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from asyncjobs.integrations.crewai.library import crewai_module
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.final_errors import causes_of
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

_PROVIDERS = ("crewai.llm", "crewai.llms.", "litellm.")
"""Modules, whose frames read the streams of language models."""


class Brake:
    """What ends a run: its job is to stop, or something happened that CrewAI must not try again. For any thread."""

    def __init__(self, job: JobContext) -> None:
        self._job = job
        self.error: BaseException | None = None
        """What the job is to fail with, whatever CrewAI makes of it."""

    def pull(self, error: BaseException) -> None:
        """End the run with this error. The first one is kept."""
        if self.error is None:
            self.error = error

    def check(self) -> None:
        """Raise what ends the run, if it is to end."""
        if self._job.stopped:
            raise crewai_module("crewai.hooks").HookAborted(f"job {self._job.id!r} was asked to stop", "asyncjobs")
        if self.error is not None:
            raise crewai_module("crewai.hooks").HookAborted(f"the run has failed: {self.error}", "asyncjobs")

    def hook(self, context: object) -> None:
        """``check``, as a hook of CrewAI's."""
        self.check()


@contextmanager
def hooked(hooks: Mapping[Any, Callable[[Any], Any]]) -> Generator[None]:
    """Have these hooks called in this context, after all that are registered for the process.

    In this context alone: other runs are not touched, and ``clear_all_hooks()`` does not remove them.

    :param hooks: by interception point.
    """
    dispatch = crewai_module("crewai.hooks.dispatch")
    scope: dict[Any, list[Any]] = {point: dispatch.get_scoped_hooks(point) for point in dispatch.InterceptionPoint}
    for point, hook in hooks.items():
        scope[point].append(hook)
    with dispatch.scoped_hooks(scope):
        yield


def close_streams(error: BaseException) -> None:
    """Close the streams of the calls that an error has ended, which the frames of CrewAI's providers hold.

    CrewAI leaves them to the garbage collector. Until that finds them, the model would go on writing, and be paid.
    """
    for one in causes_of(error):
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if str(frame.f_globals.get("__name__")).startswith(_PROVIDERS):
                for value in list(frame.f_locals.values()):
                    _close_stream(value)


def _close_stream(value: object) -> None:
    close: Any = getattr(value, "close", None)
    if not isinstance(value, type) and hasattr(value, "__iter__") and callable(close):
        try:
            close()
        except Exception as error:  # border: the connection may be gone, or the generator may be running
            logger.debug("a stream could not be closed: %s", error)
