"""Whoever waits for a job returns when it ends: however the attempt here ended, and whoever ended the job.

One run for each way in which the attempt here ended and each who ended the job. All ways to wait share it; and each way
has a run of its own, because those that follow the log wake the others, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import (
    DaemonConfig,
    JobProcessor,
    SQLiteBackend,
    SQLiteConfig,
    SyncJobs,
    as_completed,
    gather,
)
from asyncjobs.backends.base import ClaimRequest, NewWorker
from asyncjobs.exceptions import JobProcessorError
from asyncjobs.processor import get_engine
from asyncjobs.runtime.attempt import Stop
from tests.runtime import waking
from tests.runtime.support import PATIENCE, Gate

pytestmark = pytest.mark.anyio

ENDED_HERE = ["raised", "timed out", "interrupted", "released", "lost"]
ENDED_BY = ["this process", "another", "a reaper", "a person"]
LEASE = 1.0
TIMEOUT = 2.0
"""Seconds until an attempt that times out does."""
AT_MOST = 2.0
"""Seconds between the stored end and the return of a waiter."""
JOB = "parent/play"


class Waiters:
    """All ways to wait for the job at once, each in a thread of its own, or in a body."""

    def __init__(self, jobs: SyncJobs) -> None:
        self._jobs = jobs
        self._threads: list[threading.Thread] = []
        self.returned: dict[str, tuple[float, Any]] = {}

    def start(self, only: str | None) -> None:
        jobs, jp = self._jobs, self._jobs.processor
        handle = jobs.handle(JOB)

        async def on_the_loop(wait: Callable[[], Awaitable[Any]]) -> Any:
            return await wait()

        async def ends_in_order() -> list[Any]:
            return [one.id async for one in as_completed([jp.handle(JOB)])]

        async def last_event() -> str:
            return [event.type async for event in jp.stream_job(JOB)][-1]

        async def wait() -> Any:
            return await jp.handle(JOB)

        ways: dict[str, Callable[[], Any]] = {
            "await": lambda: jobs.call(on_the_loop, wait),
            "result(timeout=)": lambda: jobs.call(jp.handle(JOB).result, PATIENCE * 3),
            "gather": lambda: jobs.call(on_the_loop, lambda: gather(jp.handle(JOB))),
            "as_completed": lambda: jobs.call(ends_in_order),
            "wait_for_job": lambda: jobs.call(jp.wait_for_job, JOB),
            "drain": lambda: jobs.call(jp.drain, "show"),
            "stream_job": lambda: jobs.call(last_event),
            "SyncHandle.result": handle.result,
            "SyncJobs.gather": lambda: jobs.gather(handle),
            "SyncJobs.wait_for_job": lambda: jobs.wait_for_job(JOB),
            "SyncJobs.drain": lambda: jobs.drain("show"),
            "SyncJobs.stream_job": lambda: [event.type for event in jobs.stream_job(JOB)][-1],
        }
        for name, way in ways.items():
            if only not in (None, name):
                continue
            thread = threading.Thread(target=self._wait, args=(name, way), daemon=True)
            thread.start()
            self._threads.append(thread)

    def start_bodies(self, only: str | None) -> None:
        """Bodies of the same worker that wait: they live only as long as its lease."""

        async def wait() -> Any:
            return await self._jobs.processor.handle(JOB)

        def body_in_a_thread() -> None:
            self._wait("a body in a thread", lambda: self._jobs.processor.handle(JOB).result_sync())

        async def body() -> None:
            try:
                seen = await wait()
            except JobProcessorError as error:
                seen = type(error).__name__
            self.returned["a body"] = (time.time(), seen)

        for name, function in (("a body", body), ("a body in a thread", body_in_a_thread)):
            if only in (None, name):
                self._jobs.submit_job(function, local=True, max_retries=0)

    def _wait(self, name: str, way: Callable[[], Any]) -> None:
        try:
            seen: Any = way()
        except JobProcessorError as error:
            seen = type(error).__name__
        self.returned[name] = (time.time(), seen)

    async def until_all_wait(self, count: int, rest: tuple[int, int] = (2, 2)) -> None:
        """Return once so many await the job, and so many drain and stream."""
        publisher = get_engine(self._jobs.processor)._parts.tail
        with anyio.fail_after(PATIENCE):
            while True:
                waiting = len(publisher._waiters.of(JOB))
                draining = len(publisher._waiters.of(""))
                streaming = len(publisher._subscriptions)
                if (waiting, (draining, streaming)) == (count, rest):
                    return
                await anyio.sleep(0.005)

    async def until_all_returned(self) -> None:
        for thread in self._threads:
            await anyio.to_thread.run_sync(thread.join, PATIENCE)


def claims_no_more(jp: JobProcessor) -> None:
    """Leave later attempts to others. What runs here goes on."""
    assert jp.daemon is not None
    runner: Any = jp.daemon.runner
    runner.slots.may_claim = lambda: False
    runner.claims.request = lambda: ClaimRequest(worker=runner.worker_id, limit=0, functions=frozenset())


async def end_the_attempt(how: str, jobs: SyncJobs, other: JobProcessor, go: Gate) -> None:
    """Have the attempt that runs here end; what its body does is up to ``first``."""
    runner: Any = jobs.processor.daemon.runner
    if how == "released":

        async def release() -> None:
            runner.attempts.running[JOB].stop(Stop.RELEASED)

        await anyio.to_thread.run_sync(jobs.call, release)
    elif how in ("interrupted", "lost"):
        await other.backend.deregister_worker(runner.worker_id)
    go.open()


async def take_it_and_die(path: Path) -> None:
    """Claim the job as a worker that is never heard of again."""
    async with SQLiteBackend(SQLiteConfig(db_path=path, readers=1)) as backend:
        name = await backend.register_worker(NewWorker(name="doomed", slots=1, lease=LEASE))
        claim = ClaimRequest(worker=name, limit=1, functions=frozenset({"tests.runtime.waking:play"}))
        with anyio.fail_after(PATIENCE):
            while not (await backend.dequeue_jobs(claim)).jobs:
                await anyio.sleep(0.01)


ALONE = [
    "await",
    "result(timeout=)",
    "gather",
    "as_completed",
    "wait_for_job",
    "drain",
    "stream_job",
    "SyncHandle.result",
    "SyncJobs.gather",
    "SyncJobs.wait_for_job",
    "SyncJobs.drain",
    "SyncJobs.stream_job",
    "a body",
    "a body in a thread",
    "a body in a process",
]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("way", ALONE)
async def test_each_waiter_alone_returns_when_another_process_ends_the_job(
    tmp_path: Path, way: str, anyio_backend: str
) -> None:
    await run(tmp_path, "raised", "another", only=way)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("ended_by", ENDED_BY)
@pytest.mark.parametrize("ended_here", ENDED_HERE)
async def test_every_waiter_returns_when_the_job_ends(
    tmp_path: Path, ended_here: str, ended_by: str, anyio_backend: str
) -> None:
    await run(tmp_path, ended_here, ended_by)


async def run(tmp_path: Path, ended_here: str, ended_by: str, *, only: str | None = None) -> None:
    path = tmp_path / "jobs.db"
    started, go = threading.Event(), Gate()

    async def first() -> None:
        started.set()
        if ended_here in ("timed out", "lost"):
            await anyio.sleep_forever()
        await go.wait()
        if ended_here == "raised":
            raise ValueError("not here")

    async def later() -> str:
        return "done"

    waking.ATTEMPTS.update(first=first, later=later)
    buried = ended_here in ("interrupted", "lost")  # with it, all that runs here is others', also bodies that wait
    options: dict[str, Any] = {
        "group": "show",
        "max_interruptions": 2 if buried and ended_by == "a reaper" else 1 if ended_by == "a reaper" else 3,
        "timeout": TIMEOUT if ended_here == "timed out" else None,
    }
    config = DaemonConfig(num_workers=4, lease=LEASE, heartbeat=LEASE / 4, allowed_modules=("tests.runtime",))
    settings = SQLiteConfig(db_path=path, readers=2)
    async with AsyncExitStack() as stack:
        portal = stack.enter_context(ExitStack())
        jobs = await anyio.to_thread.run_sync(portal.enter_context, SyncJobs(settings, daemon=config))
        stack.push_async_callback(anyio.to_thread.run_sync, portal.close)
        waiters = Waiters(jobs)
        with_parent = not buried and only in (None, "a body in a process")
        if not with_parent:  # a parent would be interrupted, too, and others would run it
            await anyio.to_thread.run_sync(
                lambda: jobs.submit_job(waking.play, job_id=JOB, retry=waking.SOON, **options)
            )
        else:
            submit = waking.submit_and_wait
            await anyio.to_thread.run_sync(
                lambda: jobs.submit_job(submit, options, job_id="parent", isolation="process", max_retries=0)
            )
        assert await anyio.to_thread.run_sync(started.wait, PATIENCE)
        other = await stack.enter_async_context(
            JobProcessor(settings, daemon=config, enable_daemon=ended_by == "another")
        )
        waiters.start(only)
        if not buried:
            await anyio.to_thread.run_sync(waiters.start_bodies, only)
        if only is None:
            await waiters.until_all_wait(8 if buried else 11)
        else:
            drains, streams = only.endswith("drain"), only.endswith("stream_job")
            await waiters.until_all_wait(int(not drains and not streams), (drains, streams))
        if ended_by != "this process":
            claims_no_more(jobs.processor)
        await end_the_attempt(ended_here, jobs, other, go)
        if ended_by == "a reaper":
            await take_it_and_die(path)
        elif ended_by == "a person":
            await other.cancel_job(JOB)
        with anyio.fail_after(PATIENCE):
            ended = [event async for event in other.stream_job(JOB)][-1]
        await waiters.until_all_returned()
        if with_parent:
            parent = await other.handle("parent").result(timeout=PATIENCE)
            expected = {"completed": "done", "failed": "WorkerLostError", "cancelled": "JobCancelledError"}
            assert parent == expected[ended.type]
        if not buried:
            await other.drain(timeout=PATIENCE)
    assert ended.type == {"a reaper": "failed", "a person": "cancelled"}.get(ended_by, "completed")
    late = {name: at - ended.at.timestamp() for name, (at, _) in waiters.returned.items()}
    if only is None:
        assert len(late) == (12 if buried else 14)
    elif only != "a body in a process":
        assert list(late) == [only]
    assert not {name: seconds for name, seconds in late.items() if seconds > AT_MOST}
