"""Set what CrewAI reads from the environment when it is imported.

Importing asyncjobs changes nothing. The command ``asyncjobs daemon`` does, before it imports CrewAI; programs that
embed a processor do it themselves: ``os.environ.update(recommended_env())`` before they import CrewAI.
"""

from __future__ import annotations

import functools
import gc
import importlib
import os
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.daemon")

P = ParamSpec("P")
T = TypeVar("T")

_SWITCH_INTERVAL = 0.001
_ours = False
"""Whether this process runs jobs and nothing else."""


def recommended_env() -> dict[str, str]:
    """Return variables with which CrewAI sends nothing to its makers, and leaves the handlers of signals alone.

    ``OTEL_SDK_DISABLED`` is not among them: it would switch off the tracing of the program, too.
    """
    return {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}


def set_up() -> None:
    """Prepare a process that runs jobs and nothing else, before it imports CrewAI.

    Its threads take turns five times as often as Python has them do: the event loop is held up for less long.
    """
    global _ours
    _ours = True
    apply_env()
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_INTERVAL))


def warm_up() -> None:
    """Load what the first call of a model would, once CrewAI is imported, in a process that runs jobs and nothing else.

    The library of OpenAI, which CrewAI's default provider uses, loads most of itself when a client is used: fifty
    thousand objects, which collections of garbage are not to go through while runs go on. Nothing is sent.
    """
    try:
        client = importlib.import_module("openai").OpenAI(api_key="none")
        _ = client.chat.completions.create, client.beta.chat.completions
    except Exception as error:  # border: the library of others, which runs with other models do not need
        logger.debug("what the first call of a model needs is not loaded yet: %s", error)


def collecting(body: Callable[P, T]) -> Callable[P, T]:
    """Return a body that collects what its run has left behind, in its thread, where the process is ours.

    Crews are full of cycles, and hold clients that take long to be freed. Those of one run hold up all threads for some
    ms; those of twenty, which Python would let come together, for a fifth of a second. Where the process is the
    program's, so are its garbage and the time that it takes to go through it.
    """

    @functools.wraps(body)
    def collected(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return body(*args, **kwargs)
        finally:
            if _ours:
                gc.collect()

    return collected


def apply_env() -> None:
    """Set those variables that are not set, unless CrewAI is imported already and has read them."""
    if "crewai" not in sys.modules:
        for name, value in recommended_env().items():
            os.environ.setdefault(name, value)
