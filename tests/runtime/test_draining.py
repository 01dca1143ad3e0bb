"""A drain never fails a job: bodies go on using the library while the processor is left, all others are refused."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import BackendClosedError, JobProcessor, SyncJobs, current_job
from asyncjobs.models import Job
from asyncjobs.processor import get_engine
from tests.runtime.drain_calls import CALLS, ENDED, LATER, WAITS, Call, submit_and_wait
from tests.runtime.support import (
    COMPLETED,
    FAILED,
    PATIENCE,
    PENDING,
    Gate,
    Held,
    Stores,
    comes_true,
    echo,
    nothing,
    types,
)

pytestmark = pytest.mark.anyio

# -- what a body may do: every call, in coroutines and in threads

THREADED = pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])


@asynccontextmanager
async def left(jp: JobProcessor, *gates: Gate) -> AsyncIterator[JobProcessor]:
    """``async with jp``; the gates open once it is being left."""

    async def watch() -> None:
        await comes_true(lambda: not accepts_callers(jp))
        for gate in gates:
            gate.open()

    async with anyio.create_task_group() as tasks:
        async with jp:
            yield jp
            tasks.start_soon(watch)


def accepts_callers(jp: JobProcessor) -> bool:
    try:
        return bool(jp.backend)
    except BackendClosedError:
        return False


def body_of(call: Call, jp: JobProcessor, gate: Gate, started: Gate, *, threaded: bool) -> Callable[[], Any]:
    async def body() -> None:
        started.open()
        await gate.wait()
        await call(jp)

    def body_sync() -> None:
        started.open()
        gate.wait_sync()
        current_job().run_sync(call, jp)

    return body_sync if threaded else body


async def prepare(jp: JobProcessor) -> None:
    await jp.submit_job(echo, 1, job_id=ENDED)
    await jp.submit_job(nothing, job_id=LATER, delay=3600, group="g")
    await jp.submit_job(nothing, job_id="to be cancelled", delay=3600, group="to be cancelled")
    await jp.wait_for_job(ENDED, timeout=PATIENCE)


async def after(stores: Stores, *job_ids: str) -> list[Job]:
    async with stores.processor(enable_daemon=False) as jp:
        return [await jp.get_job(job_id) for job_id in job_ids]


FUNCTIONS: dict[str, Callable[[], Any]] = {}


async def named(name: str) -> Any:
    return await FUNCTIONS[name]()


def named_sync(name: str) -> Any:
    return FUNCTIONS[name]()


async def drain_while(stores: Stores, calls: dict[str, Call], *, threaded: bool, **daemon: Any) -> dict[str, Job]:
    """Leave a processor while a job for each of these calls runs, and makes it then. The jobs as they are afterwards,
    by the name of the call."""
    gate = Gate()
    jp = stores.processor(num_workers=len(calls) + 1, **daemon)
    async with left(jp, gate):
        await prepare(jp)
        for name, call in calls.items():
            started = Gate()
            FUNCTIONS[name] = body_of(call, jp, gate, started, threaded=threaded)
            await jp.submit_job(named_sync if threaded else named, name, job_id=name, max_retries=0)
            await started.wait()
    return dict(zip(calls, await after(stores, *calls), strict=True))


@THREADED
async def test_a_body_may_go_on_using_the_library_while_the_processor_is_left(stores: Stores, threaded: bool) -> None:
    jobs = await drain_while(stores, CALLS, threaded=threaded)
    assert {name: (job.status, job.error) for name, job in jobs.items()} == dict.fromkeys(CALLS, (COMPLETED, None))


@THREADED
async def test_a_job_that_waits_for_an_unfinished_one_is_released_at_once_and_uncounted(
    stores: Stores, threaded: bool
) -> None:
    with anyio.fail_after(PATIENCE):
        jobs = await drain_while(stores, WAITS, threaded=threaded, shutdown_timeout=600)
    for name, job in jobs.items():
        assert (job.status, job.failures, job.interruptions) == (PENDING, 0, 0), (name, job.error)


@THREADED
async def test_what_a_released_body_submitted_is_there_for_its_next_attempt(stores: Stores, threaded: bool) -> None:
    await drain_while(stores, {"parent": submit_and_wait}, threaded=threaded)
    FUNCTIONS["parent"] = body_of(submit_and_wait, stores.processor(), opened(), Gate(), threaded=threaded)
    async with stores.processor(functions=[nothing, named, named_sync]) as jp:
        ended = await jp.wait_for_job("parent", timeout=PATIENCE)
        assert (ended.status, ended.attempt) == (COMPLETED, 2)
        assert (await jp.get_job("parent/1")).status is COMPLETED


def opened() -> Gate:
    gate = Gate()
    gate.open()
    return gate


async def test_a_body_that_runs_in_the_background_of_another_job_is_a_body(stores: Stores) -> None:
    """Tasks and threads that a body starts are that job, as ``current_job()`` is in them."""
    gate, started = Gate(), Gate()
    jp = stores.processor()

    async def body() -> None:
        async def task() -> None:
            await jp.get_job("j")

        def thread() -> None:
            current_job().run_sync(jp.get_job, "j")

        started.open()
        await gate.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(task)
            tasks.start_soon(anyio.to_thread.run_sync, thread)

    async with left(jp, gate):
        await jp.submit_job(body, job_id="j", local=True)
        await started.wait()
    [job] = await after(stores, "j")
    assert (job.status, job.error) == (COMPLETED, None)


# -- all others


async def test_callers_outside_of_jobs_are_refused_while_it_is_left(stores: Stores) -> None:
    held = Held()
    refused: list[str] = []
    jp = stores.processor()
    leaving = Gate()

    async def outside() -> None:
        await leaving.wait()
        for call in (jp.submit_job(nothing), jp.get_job("j"), jp.find_jobs(), jp.handle("j").result(), jp.drain()):
            with pytest.raises(BackendClosedError, match="shutting down") as caught:
                await call
            refused.append(caught.value.hint or "")
        with pytest.raises(BackendClosedError, match="running already"):
            await jp.__aenter__()
        held.go.open()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outside)
        async with left(jp, leaving):
            await jp.submit_job(held.body, job_id="j", local=True)
            await held.started.wait()
    assert len(refused) == 5
    assert all("before the block" in hint for hint in refused)


async def test_a_task_that_an_ended_body_left_behind_is_outside(stores: Stores) -> None:
    held, leaving, ended = Held(), Gate(), anyio.Event()
    jp = stores.processor()
    told: list[type[BaseException]] = []

    async with anyio.create_task_group() as tasks:

        async def left_behind() -> None:
            await leaving.wait()
            try:
                await jp.get_job("j")
            except BackendClosedError as error:
                told.append(type(error))
            ended.set()

        async def body() -> None:
            tasks.start_soon(left_behind)

        async with left(jp, leaving):
            await (await jp.submit_job(body, local=True)).result(timeout=PATIENCE)
            await jp.submit_job(held.body, local=True)
            await held.started.wait()
            tasks.start_soon(open_when, ended, held.go)
    assert told == [BackendClosedError]


async def open_when(event: anyio.Event, gate: Gate) -> None:
    await event.wait()
    gate.open()


# -- bodies that are refused: by a thread that is not known to be theirs, or because the drain is over

Refused = Callable[[BackendClosedError], None]


def plainly(error: BackendClosedError) -> None:
    raise error


def as_a_cause(error: BackendClosedError) -> None:
    raise ValueError("no picture") from error


def in_its_course(error: BackendClosedError) -> None:
    try:
        raise error
    except BackendClosedError:
        raise ValueError("no picture")  # noqa: B904 - as programs do


def in_a_group(error: BackendClosedError) -> None:
    raise ExceptionGroup("two", [ValueError("no picture"), ExceptionGroup("one", [error])])


@pytest.mark.parametrize("raise_it", [plainly, as_a_cause, in_its_course, in_a_group])
@THREADED
async def test_a_body_that_ends_by_a_refusal_is_released_and_does_not_fail(
    stores: Stores, threaded: bool, raise_it: Refused
) -> None:
    gate, started = Gate(), Gate()
    jp = stores.processor()

    def refuse() -> None:
        caught: list[BackendClosedError] = []

        def thread() -> None:  # it has no part in the body's context: for us, this is anybody
            try:
                jp.stream_all()
            except BackendClosedError as error:
                caught.append(error)

        other = threading.Thread(target=thread)
        other.start()
        other.join()
        raise_it(caught[0])

    async def body() -> None:
        started.open()
        await gate.wait()
        refuse()

    def body_sync() -> None:
        started.open()
        gate.wait_sync()
        refuse()

    FUNCTIONS["refused"] = body_sync if threaded else body
    async with left(jp, gate):
        await jp.submit_job(named_sync if threaded else named, "refused", job_id="j", max_retries=0)
        await started.wait()
    [job] = await after(stores, "j")
    assert (job.status, job.failures, job.interruptions, job.error) == (PENDING, 0, 0, None)
    async with stores.processor(enable_daemon=False) as reading:
        assert await types(reading, "j") == ["submitted", "started", "released"]


async def test_a_failure_of_the_bodys_own_stays_one_in_a_drain(stores: Stores) -> None:
    gate, started = Gate(), Gate()

    async def body() -> None:
        started.open()
        await gate.wait()
        raise ValueError("mine")

    async with left(stores.processor(), gate) as jp:
        await jp.submit_job(body, job_id="j", local=True, max_retries=0)
        await started.wait()
    [job] = await after(stores, "j")
    assert job.status is FAILED
    assert job.error is not None
    assert job.error.message == "mine"


# -- plain programs


def use_the_programs_own() -> list[Any]:
    jobs: SyncJobs = PROGRAM["jobs"]
    PROGRAM["started"].open()
    PROGRAM["leaving"].wait_sync()
    return [len(jobs.find_jobs()), jobs.get_job("j").id, str(jobs.submit_job(nothing, job_id="late"))]


PROGRAM: dict[str, Any] = {}


def test_bodies_use_the_syncjobs_of_their_program_while_it_is_left(tmp_path: Path) -> None:
    path = str(tmp_path / "jobs.db")
    PROGRAM.update(jobs=SyncJobs(path), started=Gate(), leaving=Gate())

    def outside() -> None:
        while True:
            try:
                PROGRAM["jobs"].find_jobs()
            except BackendClosedError:
                break
        PROGRAM["leaving"].open()

    watcher = threading.Thread(target=outside)
    with PROGRAM["jobs"] as jobs:
        jobs.submit_job(use_the_programs_own, job_id="j", max_retries=0)
        PROGRAM["started"].wait_sync()
        watcher.start()
    watcher.join(PATIENCE)
    with SyncJobs(path, enable_daemon=False) as later:
        assert later.handle("j").result(timeout=0.1) == [1, "j", "late"]
        assert later.get_job("late").status is PENDING


def interrupt() -> None:
    """Ctrl-C: it reaches the main thread wherever that waits."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def test_a_second_ctrl_c_has_syncjobs_hand_back_what_runs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, held = str(tmp_path / "jobs.db"), Held()
    FUNCTIONS["held"] = held.sync
    jobs = SyncJobs(path)

    def interrupt_again() -> None:
        while "shutting down" not in refusal_of(jobs):
            pass
        interrupt()

    again = threading.Thread(target=interrupt_again)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), jobs:
        jobs.submit_job(named_sync, "held", job_id="j", max_retries=0)
        held.started.wait_sync()
        again.start()
        raise KeyboardInterrupt
    assert time.monotonic() - began < PATIENCE  # and not the 30 s of shutdown_timeout
    held.go.open()
    with SyncJobs(path, enable_daemon=False) as later:
        job = later.get_job("j")
        assert (job.status, job.failures, job.interruptions) == (PENDING, 0, 0)


def refusal_of(jobs: SyncJobs) -> str:
    try:
        jobs.find_jobs()
    except BackendClosedError as error:
        return str(error)
    return ""


def test_ctrl_c_while_syncjobs_is_left_in_peace_is_raised_when_it_is_left(tmp_path: Path) -> None:
    held = Held()
    FUNCTIONS["held"] = held.sync
    jobs = SyncJobs(str(tmp_path / "jobs.db"))
    beyond = False

    def interrupt_once() -> None:
        while "shutting down" not in refusal_of(jobs):
            pass
        interrupt()

    with pytest.raises(KeyboardInterrupt):
        with jobs:
            jobs.submit_job(named_sync, "held", job_id="j")
            held.started.wait_sync()
            threading.Thread(target=interrupt_once).start()
        beyond = True
    assert not beyond
    held.go.open()


@pytest.mark.serial
@pytest.mark.parametrize("ctrl_c", [interrupt, _thread.interrupt_main], ids=["in the wait", "just before it begins"])
def test_a_call_that_ctrl_c_interrupts_is_cancelled(tmp_path: Path, ctrl_c: Callable[[], None]) -> None:
    """The system interrupts no wait for a signal that comes just before it begins, and neither does the second one."""
    with SyncJobs(str(tmp_path / "jobs.db")) as jobs:
        later = jobs.submit_job(nothing, delay=3600)
        watches: set[Any] = get_engine(jobs.processor)._parts.waiting._watches

        def interrupt_once() -> None:
            while not watches:
                pass
            ctrl_c()

        threading.Thread(target=interrupt_once).start()
        with pytest.raises(KeyboardInterrupt):
            later.result()
        deadline = time.monotonic() + PATIENCE
        while watches:
            assert time.monotonic() < deadline
            jobs.get_job(later)
