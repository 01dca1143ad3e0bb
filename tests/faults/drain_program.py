"""Programs that are left while their bodies use the library: every call of ``drain_calls``, in coroutines, in threads
and in child processes. ``jp`` is run by a daemon, or by ``main`` with the processor embedded.

All meet at named pipes in the folder ``ASYNCJOBS_TEST_FOLDER``: opening one to read waits until the test has opened it.
Through ``said`` bodies report in lines of JSON: that they have begun, and what came of each call.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig, SyncJobs, current_job
from tests.runtime import drain_calls
from tests.runtime.drain_calls import ENDED, LATER, Known
from tests.runtime.support import echo, nothing

FOLDER = "ASYNCJOBS_TEST_FOLDER"
SLOTS = 200
SHUTDOWN_TIMEOUT = 600.0
"""Seconds of ``shutdown_timeout``: what is to be released at once would be missed before they are over."""

PIPES = SAID, LEAVING, THE_END = "said", "leaving", "the end"

STORE = Path(os.environ.get(FOLDER, ".")) / "jobs.db"
jp = JobProcessor(
    SQLiteConfig(db_path=STORE), daemon=DaemonConfig(num_workers=SLOTS, shutdown_timeout=SHUTDOWN_TIMEOUT)
)


def report(*words: object) -> None:
    """Write a line for the test; it is written whole, however many do so at a time."""
    pipe = os.open(Path(os.environ[FOLDER]) / SAID, os.O_WRONLY)
    os.write(pipe, json.dumps(words).encode() + b"\n")
    os.close(pipe)


def wait_sync(pipe: str) -> None:
    os.close(os.open(Path(os.environ[FOLDER]) / pipe, os.O_RDONLY))


async def wait(pipe: str) -> None:
    limiter = anyio.CapacityLimiter(1)
    await anyio.to_thread.run_sync(wait_sync, pipe, abandon_on_cancel=True, limiter=limiter)


# -- bodies


async def hold() -> None:
    """Run until the test lets it end."""
    report("began", current_job().id)
    await wait(THE_END)


async def make_calls(table: str, names: list[str]) -> None:
    """Make these calls of a table, all at once, while the processor is left."""
    async with what_is_called(table) as subject, anyio.create_task_group() as tasks:
        report("began", current_job().id)
        await wait(LEAVING)
        for name in names:
            tasks.start_soon(make_call, table, name, subject)


async def make_call(table: str, name: str, subject: Any) -> None:
    with reported(name):
        await calls_of(table)[name](subject)


def make_calls_sync(table: str, names: list[str]) -> None:
    """The same in a plain function: one call in its thread, several in threads of its own."""
    if not table.startswith("PLAIN"):
        current_job().run_sync(make_calls, table, names)
        return
    known = submit_known_sync()
    report("began", current_job().id)
    wait_sync(LEAVING)
    if len(names) == 1:
        make_call_sync(table, names[0], known)
        return
    with ThreadPoolExecutor(len(names)) as threads:
        calls = [threads.submit(copy_context().run, make_call_sync, table, name, known) for name in names]
    for call in calls:
        call.result()


def make_call_sync(table: str, name: str, known: Known) -> None:
    with reported(name):
        calls_of(table)[name](known)


def calls_of(table: str) -> dict[str, Any]:
    """The calls of a table of ``drain_calls``; ``OWN_``: made with a processor that the body opens."""
    return getattr(drain_calls, table.removeprefix("OWN_"))


@contextmanager
def reported(name: str) -> Generator[None, None, None]:
    """Report what becomes of a call."""
    try:
        yield
    except BaseException as error:
        report(current_job().id, name, type(error).__name__)
        raise
    report(current_job().id, name, "")


@asynccontextmanager
async def what_is_called(table: str) -> AsyncGenerator[JobProcessor | Known, None]:
    """The module's processor, which runs the body, embedded or in a daemon; one of the body's own; or handles."""
    if table.startswith("OWN_"):
        async with JobProcessor(SQLiteConfig(db_path=STORE), enable_daemon=False) as own:
            yield own
    elif table in ("CALLS", "WAITS"):
        yield jp
    else:
        yield await submit_known()


async def submit_known() -> Known:
    submit = current_job().submit_job
    ended = await submit(nothing, key="ended")
    await ended
    return Known(ended, await submit(nothing, key="later", delay=3600), await submit(hold, key="running"))


def submit_known_sync() -> Known:
    submit = current_job().submit_job_sync
    ended = submit(nothing, key="ended")
    ended.result_sync()
    return Known(ended, submit(nothing, key="later", delay=3600), submit(hold, key="running"))


# -- the jobs of the test

Made = dict[str, list[str]]
"""Ids of jobs, and the calls that each makes."""


def submit_all(jobs: SyncJobs, *, embedded: bool, each_in_a_process: bool) -> tuple[Made, Made]:
    """Submit jobs that make all calls: those that end, and those that cannot, since they wait for others.

    :param embedded: each call that ends has a job of its own. In a daemon, a body makes them all, with the processor
        that runs it, and another with one that it opens.
    :param each_in_a_process: each call that waits has a child process of its own. They are expensive.
    """
    jobs.submit_job(echo, 1, job_id=ENDED)
    jobs.submit_job(nothing, job_id=LATER, delay=3600, group="g")
    jobs.submit_job(nothing, job_id="to be cancelled", delay=3600, group="to be cancelled")
    ending, waiting = Made(), Made()

    def submit(kind: str, table: str, *, each: bool) -> None:
        calls = list(calls_of(table))
        for names in [[name] for name in calls] if each else [calls]:
            job_id = f"{kind}: {names[0] if each else 'all'} ({table})"
            body = make_calls if kind.startswith("async") else make_calls_sync
            isolation = "process" if kind.endswith("in a process") else None
            jobs.submit_job(body, table, names, job_id=job_id, max_retries=0, isolation=isolation)
            (waiting if table.endswith("WAITS") else ending)[job_id] = names

    for kind in ("async", "plain"):
        submit(kind, "CALLS", each=embedded)
        submit(kind, "WAITS", each=True)
        if not embedded:
            submit(kind, "OWN_CALLS", each=False)
            submit(kind, "OWN_WAITS", each=True)
        submit(kind, "ASKS", each=True)
        submit(kind, "ASK_WAITS", each=True)
    for kind in ("async in a process", "plain in a process"):
        table = "ASK" if kind.startswith("async") else "PLAIN_ASK"
        submit(kind, f"{table}S", each=False)
        submit(kind, f"{table}_WAITS", each=each_in_a_process)
    submit("plain in a process", "ASKS", each=False)
    submit("plain", "PLAIN_ASKS", each=True)
    submit("plain", "PLAIN_ASK_WAITS", each=True)
    return ending, waiting


# -- embedded


async def embedded(how: str) -> None:
    """Run the jobs until a signal comes, or until the test says so."""
    async with jp:
        if how == "in peace":
            await anyio.to_thread.run_sync(sys.stdin.readline)
            print("leaving", file=sys.stderr, flush=True)
        else:
            await anyio.sleep_forever()


def main(how: str) -> None:
    anyio.run(embedded, how)
