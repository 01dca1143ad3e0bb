"""A processor and its handles belong to one event loop: from elsewhere they are refused before anything is stored."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from asyncjobs import BackendClosedError, JobHandle, JobProcessor, JobRequest, as_completed, current_job, gather
from tests.runtime.support import Stores, add, nothing

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]


async def _batch(jp: JobProcessor, _: JobHandle[Any]) -> None:
    async with jp.batch() as batch:
        batch.submit_job(nothing)


async def _as_completed(_: JobProcessor, handle: JobHandle[Any]) -> None:
    async for _done in as_completed([handle]):
        pass


async def _stream(events: Any) -> None:
    async for _event in events:
        pass


CALLS: dict[str, Callable[[JobProcessor, JobHandle[Any]], Awaitable[Any]]] = {
    "submit_job": lambda jp, _: jp.submit_job(nothing),
    "submit_jobs": lambda jp, _: jp.submit_jobs([JobRequest(func=nothing)]),
    "map_jobs": lambda jp, _: jp.map_jobs(str, [1]),
    "batch": _batch,
    "get_job": lambda jp, handle: jp.get_job(handle),
    "get_result": lambda jp, handle: jp.get_result(handle),
    "find_jobs": lambda jp, _: jp.find_jobs(),
    "wait_for_job": lambda jp, handle: jp.wait_for_job(handle),
    "wait_for_results": lambda jp, handle: jp.wait_for_results([handle]),
    "get_arguments": lambda jp, handle: jp.get_arguments(handle),
    "get_dependencies": lambda jp, handle: jp.get_dependencies(handle),
    "cancel_job": lambda jp, handle: jp.cancel_job(handle),
    "cancel_jobs": lambda jp, _: jp.cancel_jobs(group="g"),
    "retry_job": lambda jp, handle: jp.retry_job(handle),
    "remove_jobs": lambda jp, handle: jp.remove_jobs(handle),
    "poll_batch": lambda jp, handle: jp.poll_batch([handle]),
    "get_progress": lambda jp, _: jp.get_progress("g"),
    "why": lambda jp, handle: jp.why(handle),
    "drain": lambda jp, _: jp.drain(),
    "workers": lambda jp, _: jp.workers(),
    "await handle": lambda _, handle: handle.result(),
    "handle.status": lambda _, handle: handle.status(),
    "handle.cancel": lambda _, handle: handle.cancel(),
    "handle.retry": lambda _, handle: handle.retry(),
    "gather": lambda _, handle: gather(handle),
    "as_completed": _as_completed,
}
STREAMS: dict[str, Callable[[JobProcessor, JobHandle[Any]], Any]] = {
    "stream_job": lambda jp, handle: jp.stream_job(handle),
    "stream_all": lambda jp, _: jp.stream_all(),
    "handle.events": lambda _, handle: handle.events(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_another_loop_is_refused_before_anything_is_stored(jp: JobProcessor, call: str) -> None:
    handle = await jp.submit_job(add, 1, 2)
    await handle

    def elsewhere() -> BaseException | None:
        async def run() -> BaseException | None:
            try:
                await CALLS[call](jp, handle)
            except BackendClosedError as error:
                return error
            return None

        return asyncio.run(run())

    error = await anyio.to_thread.run_sync(elsewhere)
    assert "another event loop or thread" in str(error)
    assert "run_coroutine_threadsafe" in str(error)
    assert [job.id for job in await jp.find_jobs()] == [handle]
    assert await CALLS["get_job"](jp, handle)  # and here it goes on


@pytest.mark.parametrize("stream", STREAMS)
async def test_streams_are_refused_elsewhere_too(jp: JobProcessor, stream: str) -> None:
    handle = await jp.submit_job(add, 1, 2)

    def elsewhere() -> str:
        try:
            STREAMS[stream](jp, handle)  # no loop runs here at all
        except BackendClosedError as error:
            return str(error)
        return ""

    assert "another event loop or thread" in await anyio.to_thread.run_sync(elsewhere)


async def test_a_loop_inside_a_plain_body_is_refused_with_the_way_that_works(jp: JobProcessor) -> None:
    def body() -> list[str]:
        said: list[str] = []
        child = current_job().submit_job_sync(nothing, key="there")
        for make in (lambda: current_job().submit_job(nothing, key="lost"), child.result, lambda: jp.get_job(child)):

            async def run(make: Callable[[], Awaitable[Any]] = make) -> None:
                await make()

            try:
                asyncio.run(run())
            except BackendClosedError as error:
                said.append(str(error.hint))
        return said

    said = await (await jp.submit_job(body, job_id="p", local=True))
    assert len(said) == 3
    assert all("submit_job_sync" in hint and "result_sync" in hint for hint in said)
    assert [job.id for job in await jp.find_jobs()] == ["p", "p/there"]


async def test_a_thread_that_calls_through_the_loop_is_at_home(jp: JobProcessor) -> None:
    handle = await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(jp.submit_job, add, 1, 2))
    assert await handle == 3


async def test_a_processor_that_is_entered_again_belongs_to_the_new_loop(stores: Stores) -> None:
    jp = stores.processor()
    async with jp:
        await jp.submit_job(nothing)
    if stores.kind == "sqlite":

        async def again() -> int:
            async with jp:
                await jp.submit_job(nothing)
                return len(await jp.find_jobs())

        assert await anyio.to_thread.run_sync(lambda: asyncio.run(again())) == 2


# -- SyncJobs: threads are welcome, forked children are not

FORKED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from asyncjobs import BackendClosedError, JobRequest, SyncJobs
from tests.runtime.support import add, nothing

CALLS = {{
    "submit_job": lambda jobs, handle: jobs.submit_job(nothing),
    "submit_jobs": lambda jobs, handle: jobs.submit_jobs([JobRequest(func=nothing)]),
    "map_jobs": lambda jobs, handle: jobs.map_jobs(str, [1]),
    "result": lambda jobs, handle: handle.result(),
    "status": lambda jobs, handle: handle.status(),
    "cancel": lambda jobs, handle: handle.cancel(),
    "retry": lambda jobs, handle: handle.retry(),
    "events": lambda jobs, handle: list(handle.events()),
    "gather": lambda jobs, handle: jobs.gather(handle),
    "handle": lambda jobs, handle: jobs.handle("x"),
    "find_jobs": lambda jobs, handle: jobs.find_jobs(),
    "drain": lambda jobs, handle: jobs.drain(),
}}
with SyncJobs({path!r}) as jobs:
    handle = jobs.submit_job(add, 1, 2)
    assert handle.result(10) == 3
    stream = iter(handle.events())
    next(stream)
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        said = []
        for name, call in CALLS.items():
            try:
                call(jobs, handle)
                said.append(name)
            except BackendClosedError as error:
                if "open a new SyncJobs" not in str(error):
                    said.append(name)
        stream.close()
        os.write(1, repr(said).encode())
    else:
        _, status = os.waitpid(pid, 0)
        assert status == 0, status
        assert len(jobs.find_jobs()) == 1
        assert jobs.submit_job(add, 2, 2).result(10) == 4
if pid == 0:
    os.write(1, b" left")
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_sync_jobs_in_a_forked_child_are_refused_and_do_not_hang(tmp_path: Path) -> None:
    program = textwrap.dedent(FORKED.format(root=str(ROOT), path=str(tmp_path / "jobs.db")))
    end = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (end.returncode, end.stdout) == (0, "[] left"), end.stderr
    assert signal.SIGALRM  # a call that hangs would end the child by it


def test_sync_jobs_are_entered_once(tmp_path: Path) -> None:
    from asyncjobs import SyncJobs

    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        with pytest.raises(BackendClosedError, match="running already"):
            jobs.__enter__()
        results: list[int] = []
        threads = [threading.Thread(target=lambda: results.append(jobs.submit_job(add, 1, 2).result(20)))] * 1
        for thread in threads:
            thread.start()
            thread.join()
        assert results == [3]
