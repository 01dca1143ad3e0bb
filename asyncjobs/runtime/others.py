"""Noticing what other processes change, and that the store is gone."""

from __future__ import annotations

import logging

from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.clock import Clock
from asyncjobs.exceptions import BackendClosedError, BackendError
from asyncjobs.runtime.daemon import JobDaemon
from asyncjobs.runtime.events import EventPublisher
from asyncjobs.runtime.troubles import Trouble

logger = logging.getLogger("asyncjobs")

_INTERVAL = 0.25


async def watch_others(backend: JobBackend, publisher: EventPublisher, daemon: JobDaemon | None, clock: Clock) -> None:
    """Have the readers of the log and the scheduler look, whenever another process changed something.

    A store that fails is looked at again for as long as this runs. Those who wait for an event would wait for ever, so
    they are woken: they look at the store, and are told what is the matter with it.
    """
    interval = daemon.config.poll_interval if daemon is not None else _INTERVAL
    trouble = Trouble(logger, "changes by other processes cannot be seen")
    while True:
        try:
            changed = await backend.wait(interval, urgent=publisher.listened_to)
            if changed:
                publisher.changed()
                if daemon is not None:
                    daemon.scheduler.nudge()
                    await daemon.hear_cancel_requests()
            trouble.over()
        except BackendClosedError:
            return
        except BackendError as error:
            if trouble.tell(error):
                publisher.close()
            await clock.sleep(interval)
