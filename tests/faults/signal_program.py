"""A program with processors embedded in it, for tests that send it signals: ``signal_program.py SCENARIO STORE``.

It prints ``ready`` once its jobs run. What it does then is printed, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NoReturn, cast

import anyio
import anyio.to_thread

from asyncjobs import DaemonConfig, JobProcessor, MemoryBackend, SQLiteConfig, SyncJobs
from asyncjobs.processor import get_engine

_STARTED = threading.Semaphore(0)


async def nap(seconds: float = 60.0) -> str:
    """Long enough to be running when the signal comes."""
    _STARTED.release()
    await anyio.sleep(seconds)
    return "slept"


def work(seconds: float = 60.0) -> str:
    """The same in a thread that heeds nothing."""
    _STARTED.release()
    time.sleep(seconds)
    return "worked"


def processor(path: str, shutdown_timeout: float = 30.0, **options: Any) -> JobProcessor:
    return JobProcessor(SQLiteConfig(db_path=path), daemon=DaemonConfig(shutdown_timeout=shutdown_timeout), **options)


def say(what: str) -> None:
    print(what, flush=True)


async def ready(jobs: int = 1) -> None:
    """Say so once so many jobs have started."""
    for _ in range(jobs):
        while not _STARTED.acquire(blocking=False):
            await anyio.sleep(0.01)  # an idle thread of anyio's keeps a process whose loop was interrupted
    say("ready")


async def jobs_that_end(path: str) -> None:
    try:
        async with processor(path) as jp:
            jobs = [await jp.submit_job(nap, 1.0, job_id="nap"), await jp.submit_job(work, 1.0, job_id="work")]
            await ready(len(jobs))
            await anyio.sleep_forever()
    finally:
        print("left the block around it")  # not flushed: that is the end's business


async def a_job_that_does_not_end(path: str, shutdown_timeout: float = 0.2) -> None:
    async with processor(path, shutdown_timeout) as jp:
        await jp.submit_job(nap, job_id="nap")
        await ready()
        await anyio.sleep_forever()


async def patient(path: str) -> None:
    async with processor(path, 600.0) as jp:
        for job_id in ("nap", "work"):
            await jp.submit_job(nap if job_id == "nap" else work, job_id=job_id)
        await ready(2)
        await anyio.sleep_forever()


async def nested(path: str) -> None:
    async with processor(path) as outer, processor(f"{path}.second") as inner:
        await outer.submit_job(nap, 1.0, job_id="nap")
        await inner.submit_job(nap, 0.5, job_id="nap")
        await ready(2)
        await anyio.sleep_forever()


async def in_two_tasks(path: str) -> None:
    async def one(where: str, seconds: float) -> None:
        async with processor(where) as jp:
            await jp.submit_job(nap, seconds, job_id="nap")
            await anyio.sleep_forever()

    tasks = [asyncio.create_task(one(path, 1.5)), asyncio.create_task(one(f"{path}.second", 0.2))]
    await ready(2)
    await asyncio.wait(tasks)
    await anyio.sleep_forever()


async def entered_by_a_task_that_has_ended(path: str) -> None:
    jp = processor(path)
    await asyncio.create_task(jp.__aenter__())
    await jp.submit_job(nap, 1.0, job_id="nap")
    await ready()
    await anyio.sleep_forever()


async def a_task_that_swallows_its_cancellation(path: str) -> None:
    try:
        async with processor(path) as jp:
            await jp.submit_job(nap, 0.5, job_id="nap")
            await ready()
            await anyio.sleep_forever()
    except asyncio.CancelledError:
        say("swallowed")
        await anyio.sleep_forever()


async def a_handler_of_the_programs_own(path: str) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with processor(path) as jp:
        await jp.submit_job(nap, 0.5, job_id="nap")
        await ready()
        await told.wait()
        say("the program was told")
    say("and goes on")


async def a_handler_installed_later(path: str) -> None:
    def told(*_: object) -> None:
        say("the program was told")

    async with processor(path) as jp:
        signal.signal(signal.SIGTERM, told)
        await jp.submit_job(nap, 1.0, job_id="nap")
        await ready()
        await jp.drain()
    assert signal.getsignal(signal.SIGTERM) is told
    say("and goes on")


async def restored(path: str) -> None:
    """By default, SIGTERM does what it did before as soon as the last processor is left."""
    async with processor(path):
        async with processor(f"{path}.second"):
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # it runs no jobs
    say("ready")
    await anyio.sleep_forever()


async def a_forked_child(path: str) -> None:
    async with processor(path) as jp:
        await jp.submit_job(nap, 0.5, job_id="nap")
        await ready()
        child = os.fork()
        if not child:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)  # noqa: ASYNC251 - it has no loop
            os._exit(0)
        _, status = await anyio.to_thread.run_sync(os.waitpid, child, 0)
        say(f"the child ended with {os.waitstatus_to_exitcode(status)}")
        await jp.drain()


async def an_error(path: str) -> None:
    async with processor(path, 600.0) as jp:
        await jp.submit_job(nap, job_id="nap")
        await ready()
        raise ValueError("of the program")


async def left_in_peace(path: str) -> None:
    async with processor(path, 600.0) as jp:
        await jp.submit_job(nap, job_id="nap")
        await ready()
    say("and goes on")


async def uvicorn_within(path: str) -> None:
    import uvicorn

    async with processor(path) as jp:
        await jp.submit_job(nap, 1.0, job_id="nap")
        await ready()
        server = uvicorn.Server(uvicorn.Config(jp.asgi_app(), port=0, lifespan="off", log_level="critical"))
        while True:
            await server.serve()
            say("the server has stopped")
            await anyio.sleep_forever()


async def uvicorn_around(path: str) -> None:
    import uvicorn

    jp = processor(path, 600.0)

    class Server(uvicorn.Server):
        async def startup(self, *args: Any, **options: Any) -> None:
            await super().startup(*args, **options)
            await jp.submit_job(nap, job_id="nap")
            await ready()

    await Server(uvicorn.Config(jp.asgi_app(), port=0, lifespan="on", log_level="critical")).serve()


async def on_trio(path: str) -> None:
    async with JobProcessor(MemoryBackend(), daemon=DaemonConfig(shutdown_timeout=30.0)) as jp:

        async def watch() -> None:
            async for event in job.events():
                if event.type == "completed":
                    say("slept")

        job = await jp.submit_job(nap, 1.0, job_id="nap")
        get_engine(jp).start_soon(watch)
        await ready()
        await anyio.sleep_forever()


# -- jobs that are run at their submit


def at_the_submit(path: str, shutdown_timeout: float = 600.0) -> JobProcessor:
    return processor(path, shutdown_timeout, enable_daemon=False, fallback="sync")


async def fallback_jobs_that_end(path: str) -> None:
    async with at_the_submit(path) as jp:
        submits = [
            asyncio.create_task(jp.submit_job(nap, 1.0, job_id="nap")),
            asyncio.create_task(jp.submit_job(work, 1.0, job_id="work")),
        ]
        await ready(len(submits))
        await anyio.sleep_forever()


async def fallback_patient(path: str) -> None:
    async with at_the_submit(path) as jp:
        submit = asyncio.create_task(jp.submit_job(nap, job_id="nap"))
        await ready()
        await asyncio.shield(submit)


async def fallback_in_the_submit(path: str) -> None:
    async with at_the_submit(path) as jp:
        announced = asyncio.create_task(ready())
        await jp.submit_job(nap, job_id="nap")
        await announced


async def nap_once_ready() -> None:
    say("ready")
    await anyio.sleep_forever()


def work_once_ready() -> None:
    say("ready")
    time.sleep(60)


def _submit_in_the_caller(path: str, body: Callable[[], Any]) -> None:
    options: dict[str, Any] = {"enable_daemon": False, "fallback": "sync"}
    with SyncJobs(SQLiteConfig(db_path=path), daemon=DaemonConfig(shutdown_timeout=600.0), **options) as jobs:
        jobs.submit_job(body, job_id="job")


def sync_fallback_nap(path: str) -> None:
    _submit_in_the_caller(path, nap_once_ready)


def sync_fallback_work(path: str) -> None:
    _submit_in_the_caller(path, work_once_ready)


# -- what only the third signal ends


def sleep_forever() -> NoReturn:
    """Sleep again and again: Python handles a signal that comes just before it begins to sleep when it has slept."""
    while True:
        time.sleep(0.05)


def say_and_sleep(what: str) -> None:
    """Block the thread that calls this, through every exception, for ever."""
    say(what)
    while True:
        with contextlib.suppress(BaseException):
            sleep_forever()


async def block() -> None:
    say_and_sleep("ready")


async def block_when_cancelled() -> None:
    say("ready")
    try:
        await anyio.sleep_forever()
    finally:
        say_and_sleep("blocks")


async def hang_when_cancelled() -> None:
    say("ready")
    while True:
        with contextlib.suppress(BaseException), anyio.CancelScope(shield=True):
            await anyio.sleep_forever()


async def a_body_that_blocks_the_loop(path: str) -> None:
    async with processor(path) as jp:
        await jp.submit_job(block)
        await anyio.sleep_forever()


async def a_body_that_blocks_the_loop_of_trio(path: str) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        await jp.submit_job(block)
        await anyio.sleep_forever()


async def a_clean_up_that_blocks_the_loop(path: str) -> None:
    async with processor(path, 0.1) as jp:
        await jp.submit_job(block_when_cancelled)
        await anyio.sleep_forever()


async def a_body_that_heeds_no_cancellation(path: str) -> None:
    async with processor(path, 600.0) as jp:
        await jp.submit_job(hang_when_cancelled)
        await anyio.sleep_forever()


async def a_shielded_clean_up_around_the_block(path: str) -> None:
    try:
        await a_job_that_does_not_end(path, 600.0)
    finally:
        await hang_when_cancelled()


async def a_shielded_clean_up_inside_of_the_block(path: str) -> None:
    async with processor(path) as jp:
        await jp.submit_job(nap, job_id="nap")
        try:
            await ready()
            await anyio.sleep_forever()
        finally:
            await hang_when_cancelled()


async def a_thread_of_the_loops_executor(path: str) -> None:
    asyncio.get_running_loop().run_in_executor(None, say_and_sleep, "sleeps")
    await a_job_that_does_not_end(path, 600.0)


async def a_thread_of_the_program(path: str) -> None:
    threading.Thread(target=say_and_sleep, args=["sleeps"]).start()
    await a_job_that_does_not_end(path, 600.0)


def sync_body_that_blocks_the_loop(path: str) -> None:
    with SyncJobs(SQLiteConfig(db_path=path)) as jobs:
        jobs.submit_job(block)
        sleep_forever()


def sync_patient(path: str) -> None:
    with SyncJobs(SQLiteConfig(db_path=path), daemon=DaemonConfig(shutdown_timeout=600.0)) as jobs:
        jobs.submit_job(hang_when_cancelled)
        sleep_forever()


def sync_thread_of_the_program(path: str) -> None:
    threading.Thread(target=say_and_sleep, args=["sleeps"]).start()
    sync_patient(path)


async def goes_on(path: str) -> None:
    """Programs that leave processors, and take Ctrl-C for something else, are ended by none of them."""
    say("ready")
    for store in (path, f"{path}.second"):
        async with processor(store):
            for _ in range(3):
                with contextlib.suppress(KeyboardInterrupt):
                    signal.raise_signal(signal.SIGINT)
                with contextlib.suppress(asyncio.CancelledError):
                    await anyio.sleep(0.05)
    say("and goes on")


Scenario = Callable[[str], Coroutine[Any, Any, None]]


def _in_order(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, None]) -> None:
    """As programs did before ``asyncio.run``."""
    task = loop.create_task(work)
    try:
        loop.run_until_complete(task)
    except KeyboardInterrupt:
        if task.cancel():  # it was not in the task itself that the signal came
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
    finally:
        loop.close()


def main(name: str, path: str, how: str) -> None:
    scenario: Scenario = globals()[name]
    match how:
        case "sync":
            cast("Any", scenario)(path)
        case "asyncio":
            asyncio.run(scenario(path))
        case "anyio":
            anyio.run(scenario, path)
        case "trio":
            anyio.run(scenario, path, backend="trio")
        case "loop":
            asyncio.new_event_loop().run_until_complete(scenario(path))
        case "loop in order":
            _in_order(asyncio.new_event_loop(), scenario(path))
        case _:
            raise SystemExit(f"how is {how}?")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main(*sys.argv[1:])
