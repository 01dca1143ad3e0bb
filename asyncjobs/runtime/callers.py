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
"""Whose frames are at the bottom of a task: who started it has gone on."""


def warn(message: str, func: Callable[..., Any]) -> None:
    """Warn the caller of this package; where a task of its own does, point at the function that it is about."""
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
"""As the registry that the ``warnings`` module keeps in each module: what was shown already."""


def _caller() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - as the warnings module does
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package != _OURS:
            return None if package in _LOOPS else frame
        frame = frame.f_back
    return None
