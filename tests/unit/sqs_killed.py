"""Have an act done by a process of its own, which SIGKILL ends behind one of its writes."""

from __future__ import annotations

import asyncio
import os
import signal
import traceback
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from anyio import to_thread

from asyncjobs.testing import ManualClock

Act = Callable[[Callable[[], None]], Coroutine[Any, Any, None]]
"""Does something, and calls what it is given where the process is to end."""


async def is_killed(act: Act, clock: ManualClock) -> bool:
    """Do an act in a fork; return whether SIGKILL ended it, False if it came to its end.

    :param clock: is moved as far as the process has moved it.
    """
    told, tells = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads run; the child needs none of them
        pid = os.fork()
    if pid == 0:
        _do(act, clock, tells)
    os.close(tells)
    ended: int | None = None
    try:
        _, ended = await to_thread.run_sync(os.waitpid, pid, 0)
    finally:
        if ended is None:
            os.kill(pid, signal.SIGKILL)
        moved_to = os.read(told, 100)
        os.close(told)
    assert ended == 0 or (os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL), "it says why on stderr"
    clock.advance((int(moved_to) - clock.monotonic()) / 1_000_000)
    return ended != 0


def _do(act: Act, clock: ManualClock, tells: int) -> NoReturn:
    def tell() -> None:
        os.write(tells, b"%d" % clock.monotonic())

    def kill() -> None:
        tell()
        os.kill(os.getpid(), signal.SIGKILL)

    try:
        asyncio.run(act(kill))
        tell()
        os._exit(0)
    except BaseException:  # border: the child must never come back to pytest
        traceback.print_exc()
    finally:
        os._exit(1)
