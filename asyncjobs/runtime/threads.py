"""Run plain functions in threads of our own.

Daemon threads, because a body that does not end must not keep the process alive (anyio's worker threads are joined at
exit). The limiter, not the pool, bounds how many run at a time.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from queue import SimpleQueue
from typing import Generic, TypeVar

import anyio

from asyncjobs.runtime.anyio_internals import forget_loop, worker_thread
from asyncjobs.runtime.context import check_cancelled
from asyncjobs.runtime.wakeups import LoopHandle

T = TypeVar("T")


class _Call(Generic[T]):
    """A function call for a thread. The function must not raise: it returns errors as values."""

    def __init__(self, function: Callable[[], T], context: Context) -> None:
        self.function = function
        self.context = context
        self.done = anyio.Event()
        self.value: T


class Threads:
    """A pool that grows on demand; idle threads are reused, and end with ``close``."""

    def __init__(self, limiter: anyio.CapacityLimiter) -> None:
        self.limiter = limiter
        self._loop = LoopHandle()
        self._idle: deque[SimpleQueue[_Call[object] | None]] = deque()
        self._closed = False
        self.started: int = 0

    async def run(self, function: Callable[[], T], context: Context) -> T:
        """Run a function in a thread, inside ``context``. If cancelled, the thread continues; its result is dropped."""
        async with self.limiter:
            call = _Call(function, context)
            self._queue().put(call)  # type: ignore[arg-type] - a call of T is one of object
            await call.done.wait()
            return call.value

    def close(self) -> None:
        """Let idle threads end; busy ones end after their call."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)

    def _queue(self) -> SimpleQueue[_Call[object] | None]:
        if self._idle:
            return self._idle.pop()
        queue: SimpleQueue[_Call[object] | None] = SimpleQueue()
        self.started += 1
        name = f"asyncjobs-{self.started}"
        threading.Thread(target=self._work, args=(queue,), name=name, daemon=True).start()
        return queue

    def _work(self, queue: SimpleQueue[_Call[object] | None]) -> None:
        with worker_thread(self._loop.token, check_cancelled):
            while (call := queue.get()) is not None:
                call.context.run(forget_loop)
                call.value = call.context.run(call.function)
                done = call.done
                del call
                if not self._loop.call_soon(self._finished, done, queue):
                    return

    def _finished(self, done: anyio.Event, queue: SimpleQueue[_Call[object] | None]) -> None:
        if self._closed:
            queue.put(None)
        else:
            self._idle.append(queue)
        done.set()
