"""Count the slots of a worker exactly: which bodies hold one, which lend theirs, which wait to get it back.

A body that waits for another job lends its slot meanwhile. Once the wait is over, it gets the slot back before it
continues, ahead of any new job. A body whose wait was cut short, by a timeout or a cancellation, continues at once:
then more bodies are busy than there are slots, and no job is claimed until that is no longer so.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import anyio

from asyncjobs.runtime.attempt import RunningAttempt, Stop
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.lending import Interruptible
from asyncjobs.runtime.wakeups import LoopHandle


class Slots:
    """A number of slots, and a token of ``limiter`` for each body in a thread. Call all methods on the event loop.

    An attempt's ``has_slot`` is true while it is counted here as busy; only a counted slot is ever given back.

    :param freed: called when a slot is free that no pending claim may fill.
    """

    def __init__(self, count: int, freed: Callable[[], None]) -> None:
        self.count = count
        self.busy: int = 0
        """Bodies that hold a slot; for a while, these may be more than there are slots."""
        self.reserved: int = 0
        """Slots that pending claims may fill."""
        self.limiter: anyio.CapacityLimiter = anyio.CapacityLimiter(count)
        """Threads of bodies. A thread keeps its token while its body waits: each slot that one lends comes with one."""
        self.settled: int = 0
        """How often the last pending claim was settled."""
        self.freed = freed
        self._asked = False
        self._returning: dict[RunningAttempt, anyio.Event] = {}  # in the order in which they came

    @property
    def free(self) -> int:
        """Slots that neither a body nor a pending claim holds."""
        return max(0, self.count - self.busy - self.reserved)

    def may_claim(self) -> bool:
        """Whether a slot is free. If pending claims hold the rest, ``freed`` is called once one is back."""
        if self.free > 0:
            return True
        self._asked = self.reserved > 0
        return False

    # -- claims

    def reserve(self) -> int:
        """Reserve every free slot for a claim; return their number."""
        wanted = max(0, self.count - self.busy - self.reserved)  # ``free``
        self.reserved += wanted
        return wanted

    def settle(self, reserved: int) -> None:
        """End a reservation, after the claimed jobs have begun."""
        self.reserved -= reserved
        self.settled += not self.reserved
        if self._returning:
            self._hand_over()
        if self._asked and self.free > 0:
            self._asked = False
            self.freed()

    # -- attempts

    def begin(self, running: RunningAttempt) -> None:
        """Count an attempt that begins."""
        self.busy += 1
        running.has_slot = True

    def end(self, running: RunningAttempt) -> None:
        """Stop counting an attempt. A wait that it left behind neither takes a slot nor gives one back."""
        running.over = True
        if self._returning:
            self._pass_by(running)
        if running.has_slot:
            self._give(running)
            if self._returning:
                self._hand_over()
        elif running.threaded or running.lends_token:
            self._count_threads(running)

    @asynccontextmanager
    async def lent(self, running: RunningAttempt, *, at_once: bool = False) -> AsyncGenerator[None, None]:
        """Lend the attempt's slot around a wait of its body; of several waits at once, the last one takes it back.

        :param at_once: take it back without waiting for a free one, as after a wait that was cut short.
        """
        self.lend(running)
        try:
            yield
        except BaseException:
            self.take_back(running)
            raise
        running.waits -= 1
        if at_once or running.stop_reason is not None or self.free > 0:
            self._take_back(running)
        elif not running.waits and not running.has_slot and not running.over:
            await self._wait_for_slot(running)

    def lend(self, running: RunningAttempt) -> None:
        """Lend the attempt's slot until ``take_back``."""
        running.waits += 1
        self._pass_by(running)
        if running.has_slot:
            self._give(running)
            self._hand_over()
            if self.free > 0:
                self.freed()

    def take_back(self, running: RunningAttempt) -> None:
        """End a wait; after the last one the attempt has a slot at once, whether one is free or not."""
        running.waits -= 1
        self._take_back(running)

    async def _wait_for_slot(self, running: RunningAttempt) -> None:
        event = self._returning[running] = anyio.Event()
        try:
            await event.wait()
        except BaseException:
            if not event.is_set():
                del self._returning[running]
                self._take_back(running)
            raise

    def _pass_by(self, running: RunningAttempt) -> None:
        """Let an attempt continue that waits to get its slot back: it waits for another job again, or is over."""
        event = self._returning.pop(running, None)
        if event is not None:
            event.set()

    def _hand_over(self) -> None:
        while self._returning and self.free > 0:
            running = next(iter(self._returning))
            event = self._returning.pop(running)
            self._take(running)
            event.set()

    def _take_back(self, running: RunningAttempt) -> None:
        if not running.waits and not running.has_slot and not running.over:
            self._take(running)

    def _take(self, running: RunningAttempt) -> None:
        self.busy += 1
        running.has_slot = True
        if running.threaded or running.lends_token:
            self._count_threads(running)

    def _give(self, running: RunningAttempt) -> None:
        self.busy -= 1
        running.has_slot = False
        if running.threaded or running.lends_token:
            self._count_threads(running)

    def _count_threads(self, running: RunningAttempt) -> None:
        """Add a token for an attempt that lends its slot while its thread keeps a token."""
        lends = running.threaded and not running.has_slot and not running.over
        if lends != running.lends_token:
            running.lends_token = lends
            self.limiter.total_tokens += 1 if lends else -1


class Lending:
    """Lends slots to the waits of bodies, wherever these wait; a ``Lender``. Once a worker closes, they are released.

    :param loop: the event loop of the worker.
    :param bodies: returns the attempts that run.
    """

    def __init__(self, slots: Slots, loop: LoopHandle, bodies: Callable[[], Iterable[RunningAttempt]]) -> None:
        self._closed = False
        self._slots = slots
        self._loop = loop
        self._bodies = bodies

    def close(self) -> None:
        """Release bodies that wait from now on: the worker closes."""
        self._closed = True

    @asynccontextmanager
    async def lent(self, running: RunningAttempt, *, at_once: bool = False) -> AsyncGenerator[None, None]:
        """Surround a body's wait for another job: its slot (and its thread's token) is free for others meanwhile."""
        async with self._slots.lent(running, at_once=at_once):
            if self._closed:
                running.stop(Stop.RELEASED)
            yield

    def lend(self, context: JobContext, wait: Interruptible) -> None:
        """See ``Lender``."""
        if self._loop.is_here():
            self._lend(context, wait, elsewhere=False)
        else:
            self._loop.call_soon(partial(self._lend, context, wait, elsewhere=True))

    def _lend(self, context: JobContext, wait: Interruptible, *, elsewhere: bool) -> None:
        running = self._attempt_of(context)
        if running is None:
            return
        if running.threaded or elsewhere:
            running.wait_scopes.add(wait)
        self._slots.lend(running)
        if self._closed or running.stop_reason is not None:
            running.stop(Stop.RELEASED)

    def take_back(self, context: JobContext, wait: Interruptible) -> None:
        """See ``Lender``."""
        if self._loop.is_here():
            self._take_back(context, wait)
        else:
            self._loop.call_soon(self._take_back, context, wait)

    def _take_back(self, context: JobContext, wait: Interruptible) -> None:
        running = self._attempt_of(context)
        if running is not None:
            running.wait_scopes.discard(wait)
            self._slots.take_back(running)

    def _attempt_of(self, context: JobContext) -> RunningAttempt | None:
        return next((running for running in self._bodies() if running.context is context), None)
