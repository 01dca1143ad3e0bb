"""Run a background loop: look, pause, look again; log repeated failures once, and wait them out."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from asyncjobs.clock import Clock
from asyncjobs.exceptions import BackendClosedError
from asyncjobs.runtime.outages import Outage


async def look_forever(
    look: Callable[[], Awaitable[object]],
    pause: Callable[[], Awaitable[object]] | None,
    trouble: Outage,
    clock: Clock,
    *,
    first: float = 0.1,
    longest: float = 10.0,
    outage: Callable[[], None] | None = None,
) -> None:
    """Call ``look``, then ``pause``, for as long as the store is open.

    Nothing that they raise ends the loop, or reaches the task group that it runs in, which would cancel the program's
    own ``async with``. They are called again after a delay that doubles, from ``first`` to ``longest`` seconds.

    :param look: returns False if it did not query the store, so that nothing is known of its state.
    :param pause: waits for a reason to look again. Default: ``look`` itself waits.
    :param outage: called when an error of the store is news.
    """
    delay = first
    while True:
        try:
            if await look() is not False:
                trouble.recovered()
            delay = first
            if pause is not None:
                await pause()
        except BackendClosedError:
            return
        except Exception as error:  # border: a row, a callable or a defect of asyncjobs must not end the program
            if trouble.failed(error) and outage is not None:
                outage()
            await clock.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(longest, delay * 2)
