"""Cache the kept values of a job for one attempt: read once, at the first use."""

from __future__ import annotations

import threading

import anyio

from asyncjobs.backends.bounds import SMALL_VALUE
from asyncjobs.runtime.step_access import StepAccess
from asyncjobs.runtime.wakeups import LoopHandle

_MOST_BYTES = 4 << 20
"""Bytes of values that one attempt has in memory. Further values are read when they are used."""


class StepCache:
    """The keys that a job keeps, and their small values. May be used from any thread, and on any event loop.

    The first attempt knows that nothing is kept.
    """

    def __init__(self, access: StepAccess) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._values: dict[str, bytes | None] = {}
        """The values by key; None: the value must be read."""
        self._size = 0
        self.complete: bool = access.attempt.attempt == 1
        """Whether what earlier attempts kept is known."""
        self._waiting: list[tuple[LoopHandle, anyio.Event]] | None = None
        """The callers that wait for the pending read."""
        self._forgotten: list[str] = []
        """Prefixes that were forgotten since that read began."""

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._values

    def find(self, key: str) -> bytes | None:
        """Return a value that is in memory, or None: there is none, or it must be read."""
        with self._lock:
            return self._values.get(key)

    async def get(self, key: str) -> bytes | None:
        """Return the value under a key, or None."""
        await self.fill()
        with self._lock:
            value = self._values.get(key)
            if value is not None or key not in self._values:
                return value
        return await self._access.read_value(key)

    def put(self, key: str, value: bytes) -> None:
        """Record a value that the attempt has kept."""
        with self._lock:
            self._drop(key)
            self._add(key, value)

    def let_go(self, key: str) -> None:
        """Drop the value: it has been used, and is seldom used again."""
        with self._lock:
            if key in self._values:
                self._drop(key)
                self._values[key] = None

    def forget(self, prefix: str) -> None:
        """Record that the attempt has forgotten all keys with this prefix."""
        with self._lock:
            for key in [key for key in self._values if key.startswith(prefix)]:
                self._drop(key)
            if self._waiting is not None:
                self._forgotten.append(prefix)

    def _add(self, key: str, value: bytes | None) -> None:
        if value is not None and (len(value) > SMALL_VALUE or self._size + len(value) > _MOST_BYTES):
            value = None
        self._values[key] = value
        self._size += len(value or b"")

    def _drop(self, key: str) -> None:
        self._size -= len(self._values.pop(key, None) or b"")

    # -- what earlier attempts kept

    async def fill(self) -> None:
        """Read what earlier attempts kept, once; callers that arrive meanwhile wait for that."""
        while not self.complete:
            waiter = self._join()
            if waiter is not None:
                await waiter.wait()
                continue
            try:
                await self._read()
            finally:
                self._wake()

    def _join(self) -> anyio.Event | None:
        """Return what to wait for, or None if this caller has to read."""
        with self._lock:
            if self._waiting is None:
                self._waiting = []
                return None
            waiter = anyio.Event()
            self._waiting.append((LoopHandle(), waiter))
            return waiter

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting or [], None
            self._forgotten.clear()
        for loop, waiter in waiting:
            loop.call_soon(waiter.set)

    async def _read(self) -> None:
        after: str | None = None
        while True:
            page = await self._access.read_page(after, values=self._size < _MOST_BYTES)
            with self._lock:
                for step in page.steps:
                    # Changes of this attempt meanwhile are newer.
                    if step.key not in self._values and not any(map(step.key.startswith, self._forgotten)):
                        self._add(step.key, step.value)
                if page.next is None:
                    self.complete = True
                    return
            after = page.next
