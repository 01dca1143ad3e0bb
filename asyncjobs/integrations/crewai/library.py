"""Find CrewAI, in a version that is supported. It is imported here, and when a run needs it."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import re
import sys
import threading
from typing import Any

from asyncjobs.exceptions import ConfigurationError, MissingExtraError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

SUPPORTED = "crewai>=1.15.3,<2"
_LOWEST, _BEYOND = (1, 15, 3), (2,)


def crewai_module(name: str = "crewai") -> Any:
    """Import a module of CrewAI, and return it.

    :raises MissingExtraError: CrewAI is not installed. ConfigurationError: this version of it is not supported.
    """
    check_version()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if "crewai" not in sys.modules:
            raise
        problem = f"crewai {_installed()} has no {name}: {error}"
        raise ConfigurationError("crewai", _installed(), problem=problem, hint=f"{SUPPORTED} is supported") from error


@functools.cache
def check_version() -> None:
    """Make sure that a supported version is installed, without importing it.

    :raises: as ``crewai_module``.
    """
    try:
        version = _installed()
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtraError("crewai", what="a job that runs a crew or a flow") from None
    numbers = tuple(int(number) for number in re.findall(r"\d+", version.partition("+")[0])[:3])
    if not _LOWEST <= numbers < _BEYOND:
        problem = f"crewai {version} is installed, and {SUPPORTED} is supported"
        raise ConfigurationError("crewai", version, problem=problem, hint=f'pip install "{SUPPORTED}"')


_EXECUTORS = ("crewai.agents.agent_executor", "crewai.experimental.agent_executor")
"""Where the class of executors is: in new versions, and in old ones."""
_defining = threading.Lock()


def define_executors() -> None:
    """Have CrewAI describe the flow in which an agent runs, once in a process.

    It does so at the first kickoff, on the class: of several first kickoffs at once, some would fail with "dictionary
    changed size during iteration".
    """
    with _defining:
        _define_executors()


@functools.cache
def _define_executors() -> None:
    for name in _EXECUTORS:
        try:
            importlib.import_module(name).AgentExecutor.flow_definition()
            return
        except Exception as error:  # border: other versions may do without it
            logger.debug("no flow of executors in %s: %s", name, error)


def _installed() -> str:
    return importlib.metadata.version("crewai")
