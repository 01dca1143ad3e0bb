"""Wait for jobs to end, at a cost that does not grow with their number.

The event stream of a job, filtered to terminal events, reports at once that it has ended. (A long poll would return at
every line that the job logs.) The stream only wakes the waiter, which then fetches the status; it also does so whenever
the stream is lost or cannot be opened, and every 30 s. So no state has to survive a restart of the server, and a server
without free streams, or a buffering proxy, makes waiting slower but never wrong.

Each stream takes a connection, whose number is limited on the server: a client that waits for a thousand jobs opens a
few streams, and polls the other jobs together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import anyio

from asyncjobs.client.streams import EventStream
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.models import TERMINAL
from asyncjobs.safe_logging import SafeLogger

if TYPE_CHECKING:
    from asyncjobs.client.transport import Transport

logger = SafeLogger("asyncjobs.client")

STREAMS = 32
LOOK_AGAIN = 30.0
"""Seconds after which a job is polled although a stream follows it."""
_LOOK_EVERY = 0.5
_LOOKED_AT_A_SECOND = 1000
"""Jobs that are polled per second, at most, on average."""
_ENDS = sorted(TERMINAL)


class Waiting:
    """The jobs that one client waits for.

    :param unfinished: returns which of these jobs have not ended yet.
    """

    def __init__(
        self,
        transport: Transport,
        path_of: Callable[[str], str],
        unfinished: Callable[[Sequence[str]], Awaitable[set[str]]],
    ) -> None:
        self._transport = transport
        self._path_of = path_of
        self._unfinished = unfinished
        self._streams = 0
        self._line: Counter[str] = Counter()
        self._looking = anyio.Lock()
        self._looked_at = 0.0
        self._left: set[str] = set()  # unfinished jobs, as of the last poll

    async def wait_until_ended(self, job_id: str) -> None:
        """Wait until the job may have ended; the caller fetches its status."""
        if self._streams >= STREAMS and await self._in_line(job_id):
            return
        self._streams += 1
        try:
            with anyio.move_on_after(LOOK_AGAIN):
                async with EventStream(self._transport, self._path_of(job_id), types=_ENDS, lasting=False) as events:
                    async for _ in events:
                        pass  # a terminal event may be followed by a retry: only the end of the stream counts
        finally:
            self._streams -= 1

    async def _in_line(self, job_id: str) -> bool:
        """Poll until the job has ended (return True) or a stream is free for it (return False)."""
        self._line[job_id] += 1
        self._left.add(job_id)  # until the next poll
        try:
            while self._streams >= STREAMS:
                async with self._looking:
                    if anyio.current_time() >= self._looked_at + self._pause():
                        await self._look()
                if job_id not in self._left:
                    return True
                await anyio.sleep(self._pause())
            return False
        finally:
            self._line[job_id] -= 1
            if not self._line[job_id]:
                del self._line[job_id]

    def _pause(self) -> float:
        return max(_LOOK_EVERY, len(self._line) / _LOOKED_AT_A_SECOND)

    async def _look(self) -> None:
        """Poll all queued jobs together, on behalf of all waiters."""
        asked = list(self._line)
        try:
            left = await self._unfinished(asked)
        except BackendConnectionError as error:
            logger.warning("the server cannot be reached, still waiting for jobs: %s", error.args[0])
        else:
            self._left = left | (set(self._line) - set(asked))  # and jobs that were queued meanwhile
        self._looked_at = anyio.current_time()
