"""What the tests of the runtime share: processors on one store, gates to hold bodies at, small jobs."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from asyncjobs import (
    DaemonConfig,
    JobEvent,
    JobProcessor,
    JobStatus,
    MemoryBackend,
    SQLiteBackend,
    SQLiteConfig,
    current_job,
)
from asyncjobs.backends.base import JobBackend
from asyncjobs.clock import Clock, SystemClock
from asyncjobs.processor import get_engine
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.testing import FaultyBackend
from tests.new_files import lay_out
from tests.runtime.sparse import Sparse

T = TypeVar("T")

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, SKIPPED = JobStatus

STORES = [("asyncio", "sqlite"), ("asyncio", "memory"), ("trio", "memory")]
"""(event loop, kind of store)."""

PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""


class Stores:
    """Processors on one store: as often as one is wanted, at the same time or one after the other."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.path = folder / "jobs.db"
        self._memory: JobBackend | None = None

    def backend(self, clock: Clock | None = None, **settings: Any) -> JobBackend:
        if self.kind in ("memory", "sparse"):
            if self._memory is None:
                self._memory = (MemoryBackend if self.kind == "memory" else Sparse)(clock=clock or SystemClock())
            return self._memory
        config = SQLiteConfig(db_path=lay_out(self.path), readers=1, **settings)
        return SQLiteBackend(config, clock=clock or SystemClock())

    def processor(
        self,
        *,
        clock: Clock | None = None,
        enable_daemon: bool = True,
        functions: Sequence[Callable[..., Any]] = (),
        backend: JobBackend | None = None,
        **daemon: Any,
    ) -> JobProcessor:
        """A processor, not entered yet. ``daemon``: settings of ``DaemonConfig``."""
        return JobProcessor(
            backend or self.backend(clock),
            enable_daemon=enable_daemon,
            daemon=DaemonConfig(**daemon) if daemon else None,
            functions=functions,
            clock=clock,
        )


class WatchedBackend(FaultyBackend):
    """Says when everybody has got the answers they asked the store for, which threads bring."""

    def __init__(self, inner: JobBackend) -> None:
        super().__init__(inner)
        self._asked = 0

    async def _pass(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        if method == "wait":  # it is asked all the time
            return await super()._pass(method, call)
        self._asked += 1
        try:
            return await super()._pass(method, call)
        finally:
            self._asked -= 1

    async def settled(self) -> None:
        """Wait until every task waits, and none of them for the store."""
        await anyio.wait_all_tasks_blocked()
        while self._asked:
            await comes_true(lambda: not self._asked)
            await anyio.wait_all_tasks_blocked()


class Gate:
    """Closed at first. Opened from anywhere, waited for by coroutines of any loop and by threads."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    @property
    def is_open(self) -> bool:
        return self._event.is_set()

    def wait_sync(self, timeout: float = PATIENCE) -> None:
        assert self._event.wait(timeout), "nobody opened the gate"

    async def wait(self) -> None:
        if not self._event.is_set():
            opened = await anyio.to_thread.run_sync(self._event.wait, PATIENCE, abandon_on_cancel=True)
            assert opened, "nobody opened the gate"


class Held:
    """A body that says when it has started and ends when it is let go; async, or ``sync`` in a thread."""

    def __init__(self, value: Any = None) -> None:
        self.started = Gate()
        self.go = Gate()
        self.value = value
        self.was_cancelled = False
        self.starts = 0

    async def body(self) -> Any:
        self.starts += 1
        self.started.open()
        try:
            await self.go.wait()
        except anyio.get_cancelled_exc_class():
            self.was_cancelled = True
            raise
        return self.value

    def sync(self) -> Any:
        self.starts += 1
        self.started.open()
        self.go.wait_sync()
        self.was_cancelled = current_job().cancelled
        return self.value


async def within(seconds: float, awaitable: Awaitable[T]) -> T:
    """The same, and a failure if it takes longer."""
    with anyio.fail_after(seconds):
        return await awaitable


async def comes_true(condition: Callable[[], object]) -> None:
    """Wait until ``condition`` returns something true, for what has no event of its own.

    A loop of mere checkpoints never sleeps: threads get the interpreter once in 5 ms, and each hop to one takes that.
    """
    with anyio.fail_after(PATIENCE):
        while not condition():
            await anyio.sleep(0.001)


async def until(jp: JobProcessor, job_id: str, *types: str, after: str | None = None) -> list[JobEvent]:
    """Read the job's events until these types have come, in this order; returns what was read."""
    seen: list[JobEvent] = []
    wanted = list(types)
    with anyio.fail_after(PATIENCE):
        stream: Any = jp.stream_job(job_id, after)
        try:
            async for event in stream:
                seen.append(event)
                if event.type == wanted[0]:
                    wanted.pop(0)
                    if not wanted:
                        return seen
        finally:
            await stream.aclose()
    raise AssertionError(f"{job_id} ended without {wanted}: {[event.type for event in seen]}")


async def types(jp: JobProcessor, job_id: str) -> list[str]:
    """The event types that are stored of a job."""
    page = await get_engine(jp).backend.read_events(job_id=job_id)
    return [event.type for event in page.events]


async def take(stream: AsyncIterator[T], count: int) -> list[T]:
    """The next ``count`` items."""
    items: list[T] = []
    with anyio.fail_after(PATIENCE):
        while len(items) < count:
            items.append(await anext(stream))
    return items


async def everything(stream: AsyncIterator[T]) -> list[T]:
    """All items of a stream that ends."""
    with anyio.fail_after(PATIENCE):
        return [item async for item in stream]


def publisher_of(jp: JobProcessor) -> LogTail:
    return get_engine(jp)._parts.tail


@contextmanager
def unnoticed(jp: JobProcessor) -> Iterator[None]:
    """Commits in this block are those of another process: the processor is not notified of them."""
    engine: Any = get_engine(jp)
    engine._stop_listening()
    yield
    engine._stop_listening = engine.backend.add_listener(engine._committed)


# -- small jobs


async def add(a: Any, b: Any) -> Any:
    return a + b


async def echo(value: Any) -> Any:
    return value


def echo_sync(value: Any) -> Any:
    return value


async def nothing() -> None:
    pass


async def collect(*values: Any, **named: Any) -> Any:
    return [list(values), named]


async def fail(message: str = "boom") -> None:
    raise ValueError(message)


def fail_sync(message: str = "boom") -> None:
    raise ValueError(message)
