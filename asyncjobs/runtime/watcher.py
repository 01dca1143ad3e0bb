"""Notice changes by other processes, and the loss of the store."""

from __future__ import annotations

from collections.abc import Callable

from asyncjobs.backends.base import JobBackend, Seen
from asyncjobs.clock import Clock
from asyncjobs.config import DaemonConfig
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.runtime.runner import Runner
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs")

_INTERVAL = 0.25


async def watch_others(
    backend: JobBackend,
    tail: LogTail,
    clock: Clock,
    config: DaemonConfig | None = None,
    runner: Callable[[], Runner | None] = lambda: None,
) -> None:
    """Have the readers of the log and the scheduler look whenever another process has changed something.

    Nothing here waits for the store's writer, which a lock of another process may hold up.

    A store that fails is checked again for as long as this runs. Readers that wait for an event would wait forever, so
    they are woken: they query the store, and get its error.

    :param config: settings of the worker that runs jobs here.
    :param runner: returns the worker that runs jobs here, while there is one.
    """
    interval = _INTERVAL if config is None else config.poll_interval
    trouble = Outage(logger, "changes by other processes cannot be detected")

    seen = Seen()

    async def look() -> None:
        changed = await backend.wait(interval, urgent=tail.listened_to, seen=seen)
        if changed:
            tail.changed()
            if (running := runner()) is not None:
                running.scheduler.nudge()
                running.check_cancel_requests()

    await look_forever(look, None, trouble, clock, first=interval, longest=interval, outage=tail.wake_all)
