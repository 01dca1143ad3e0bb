"""Waiting for the ends of jobs, at a price that does not grow with how many are waited for.

A job's own event stream, filtered to what ends it, says at once when it has ended. (A long poll would be answered at
every line that the job logs.) It only wakes: what has become of the job is then asked for, and so it is whenever the
stream was cut, or could not be had, for whatever reason, and every 30 s. So nothing has to be remembered through a
restart of the server, and one that has no stream left for us, or a proxy that keeps them back, makes it slower, and
never wrong.

A stream is a connection, and a server has only so many: a client that waits for a thousand jobs takes a few, and asks
for the rest together, now and then.
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
"""Seconds after which what a stream follows is looked at nevertheless."""
_LOOK_EVERY = 0.5
_LOOKED_AT_A_SECOND = 1000
"""Jobs that are asked for together, at most, on average."""
_ENDS = sorted(TERMINAL)


class Waiting:
    """All that one client waits for.

    :param unfinished: asks which of these jobs have not ended yet.
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
        self._left: set[str] = set()  # as of the last look

    async def wait_until_ended(self, job_id: str) -> None:
        """Return when it may have ended: look."""
        if self._streams >= STREAMS and await self._in_line(job_id):
            return
        self._streams += 1
        try:
            with anyio.move_on_after(LOOK_AGAIN):
                async with EventStream(self._transport, self._path_of(job_id), types=_ENDS, lasting=False) as events:
                    async for _ in events:
                        pass  # it may be an end before a retry: only the stream's own end counts
        finally:
            self._streams -= 1

    async def _in_line(self, job_id: str) -> bool:
        """True: it has ended. False: there is a stream for it now."""
        self._line[job_id] += 1
        self._left.add(job_id)  # until the next look
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
        """One look for all; whoever comes first does it."""
        asked = list(self._line)
        try:
            left = await self._unfinished(asked)
        except BackendConnectionError as error:
            logger.warning("the server cannot be reached, still waiting for jobs: %s", error.args[0])
        else:
            self._left = left | (set(self._line) - set(asked))  # those that joined the line meanwhile
        self._looked_at = anyio.current_time()
