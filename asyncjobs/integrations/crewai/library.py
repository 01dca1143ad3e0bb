"""Find CrewAI, in a version that is supported. It is imported here, and when a run needs it."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import re
import sys
from typing import Any

from asyncjobs.exceptions import ConfigurationError, MissingExtraError

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


def _installed() -> str:
    return importlib.metadata.version("crewai")
