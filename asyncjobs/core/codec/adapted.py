"""Mark the callables that adapters make of factories, so that they are bound and named by what they run."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Signature
from typing import Any

import msgspec

from asyncjobs.core.codec.names import attribute

MARK = "__asyncjobs_adapted__"


class Mark(msgspec.Struct, frozen=True, eq=False):
    """The origin of ``body``: its adapter and factory. ``signature`` is None if Python knows none of the factory."""

    adapter: str
    factory: Callable[..., Any]
    body: Callable[..., Any]
    signature: Signature | None
    heeds_stop: bool = False
    """Whether the body ends when its job is to stop, although it is a plain function."""
    named: str | None = None
    """The stored name of the factory, where this process knows nothing else of it."""


def find_mark(func: Callable[..., Any]) -> Mark | None:
    """Return the mark of a callable that an adapter made; None for any other, also for one that copied a mark."""
    mark = attribute(func, MARK)
    return mark if type(mark) is Mark and mark.body is func else None


def heeds_stop(func: Callable[..., Any]) -> bool:
    """Return whether a plain callable ends when its job is to stop: what an adapter made of a library that can."""
    mark = find_mark(func)
    return mark is not None and mark.heeds_stop
