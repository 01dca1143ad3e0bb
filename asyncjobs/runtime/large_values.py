"""Decode large values off the event loop, so that they do not block it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from asyncjobs.daemon_threads import in_thread

T = TypeVar("T")

LARGE = 256 << 10
"""Stored bytes above which a value is decoded in a thread. Fewer are decoded faster than a thread starts."""


async def decode_beside_loop(stored: bytes | None, decode: Callable[..., T], *args: Any) -> T:
    """Call a function that decodes these stored bytes: in a thread if they are many, else here."""
    if stored is None or len(stored) <= LARGE:
        return decode(*args)
    return await in_thread(decode, *args, abandon_on_cancel=True)  # decoding without a waiting caller does no harm
