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


def find_mark(func: Callable[..., Any]) -> Mark | None:
    """Return the mark of a callable that an adapter made; None for any other, also for one that copied a mark."""
    mark = attribute(func, MARK)
    return mark if type(mark) is Mark and mark.body is func else None
