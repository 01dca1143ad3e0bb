"""Bodies for ``test_waiting_matrix``. Also a process of its own imports them, so this imports nothing of the tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asyncjobs import RetryPolicy, current_job

SOON = RetryPolicy(base=0.01, factor=1)

ATTEMPTS: dict[str, Callable[[], Awaitable[Any]]] = {}
"""What the first attempt of the job does, and what later ones do, in the process of the test."""


async def play() -> Any:
    """The job that is waited for."""
    return await ATTEMPTS["first" if current_job().attempt == 1 else "later"]()


async def submit_and_wait(options: dict[str, Any]) -> Any:
    """Submit the job as a child of this one, from a process of its own, and wait for it."""
    try:
        return await (await current_job().submit_job(play, key="play", retry=SOON, **options))
    except Exception as error:
        return type(error).__name__
