"""Interrupt a body where its worker asked it to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from anyio.lowlevel import checkpoint

from asyncjobs.runtime.cancellation import current_asyncio_task
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.runtime.wakeups import LoopHandle

if TYPE_CHECKING:
    from asyncjobs.runtime.context import JobContext


async def interrupt(context: JobContext, loop: LoopHandle) -> NoReturn:
    """Interrupt a body that has been asked to stop, where it calls this.

    :param loop: that of the worker.
    :raises BodyStopped: in a thread, or on another loop than the worker's; otherwise, the cancellation error is raised.
    """
    context.stop_noticed = True
    await checkpoint()  # where every wait is cancelled from now on (trio)
    if loop.is_here() and not context.in_thread and current_asyncio_task() is not None:
        import asyncio  # where it is to be raised, as in ``check_cancelled``

        raise asyncio.CancelledError(f"job {context.id!r} was asked to stop")
    raise BodyStopped
