"""Warn with the line of the program that calls, not one of this package."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from asyncjobs.core.codec.hints import innermost
from asyncjobs.core.codec.names import attribute

_OURS = __name__.partition(".")[0]
_LOOPS = frozenset({"asyncio", "anyio", "trio", "uvloop", "concurrent", "threading"})
"""Packages whose frames are at the bottom of a task: the code that started the task has moved on."""


def warn(message: str, func: Callable[..., Any]) -> None:
    """Warn with the line that calls this package; if only a task of the package does, with the line of ``func``."""
    frame = _caller()
    code = attribute(innermost(func), "__code__")
    if frame is not None:
        names = frame.f_globals
        registry: dict[Any, Any] = names.setdefault("__warningregistry__", {})
        place = frame.f_code.co_filename, frame.f_lineno
        warnings.warn_explicit(message, RuntimeWarning, *place, str(names.get("__name__", "?")), registry)
    elif isinstance(code, CodeType):
        module = str(attribute(innermost(func), "__module__"))
        place = code.co_filename, code.co_firstlineno
        warnings.warn_explicit(message, RuntimeWarning, *place, module, _shown)
    else:
        warnings.warn(message, RuntimeWarning, stacklevel=3)


_shown: dict[Any, Any] = {}
"""The warnings already shown, like the registry that the ``warnings`` module keeps in each module."""


def _caller() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - as the warnings module does
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package != _OURS:
            return None if package in _LOOPS else frame
        frame = frame.f_back
    return None
