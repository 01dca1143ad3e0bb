"""Notice what other processes change, and that the store is gone."""

from __future__ import annotations

from asyncjobs.backends.base import JobBackend, Seen
from asyncjobs.clock import Clock
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.runner import Runner
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_INTERVAL = 0.25


async def watch_others(backend: JobBackend, tail: LogTail, runner: Runner | None, clock: Clock) -> None:
    """Have the readers of the log and the scheduler look, whenever another process changed something.

    Nothing here waits for the store's writer, which a lock of another process may hold up.

    A store that fails is looked at again for as long as this runs. Those who wait for an event would wait for ever, so
    they are woken: they look at the store, and get its error.
    """
    interval = runner.config.poll_interval if runner is not None else _INTERVAL
    trouble = Outage(logger, "changes by other processes cannot be seen")

    seen = Seen()

    async def look() -> None:
        changed = await backend.wait(interval, urgent=tail.listened_to, seen=seen)
        if changed:
            tail.changed()
            if runner is not None:
                runner.scheduler.nudge()
                runner.check_cancel_requests()

    await look_forever(look, None, trouble, clock, first=interval, longest=interval, outage=tail.wake_all)
