"""Set what CrewAI reads from the environment when it is imported.

Importing asyncjobs changes nothing. The command ``asyncjobs daemon`` does, before it imports CrewAI; programs that
embed a processor do it themselves: ``os.environ.update(recommended_env())`` before they import CrewAI.
"""

from __future__ import annotations

import importlib
import os
import sys

from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.daemon")

_SWITCH_INTERVAL = 0.001


def recommended_env() -> dict[str, str]:
    """Return variables with which CrewAI sends nothing to its makers, and leaves the handlers of signals alone.

    ``OTEL_SDK_DISABLED`` is not among them: it would switch off the tracing of the program, too.
    """
    return {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}


def set_up() -> None:
    """Prepare a process that runs jobs and nothing else, before it imports CrewAI.

    Its threads take turns five times as often as Python has them do: the event loop is held up for less long.
    """
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


def apply_env() -> None:
    """Set those variables that are not set, unless CrewAI is imported already and has read them."""
    if "crewai" not in sys.modules:
        for name, value in recommended_env().items():
            os.environ.setdefault(name, value)
