"""Bodies that ignore their cancellation are left behind, so that leaving has a bound (ADR 26)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import (
    BackendClosedError,
    JobProcessor,
    JobProcessorError,
    JobQuery,
    JobStateError,
    JobStatus,
    current_job,
)
from asyncjobs.runtime import crew, draining
from tests.runtime import isolated
from tests.runtime.support import COMPLETED, PATIENCE, PENDING, Gate, Stores, nothing, types, until, within

pytestmark = pytest.mark.anyio

SHORT: dict[str, Any] = {"shutdown_timeout": 0.01, "cancel_grace": 0.01}


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "_LAST_WORDS", 0.2)
    monkeypatch.setattr(crew, "_MOMENT", 0.2)


@pytest.fixture
def store(tmp_path: Path) -> Stores:
    return Stores("sqlite", tmp_path)


class Endless:
    """A body that shields an endless wait: it goes on when the test lets it."""

    def __init__(self) -> None:
        self.started = Gate()
        self.go = anyio.Event()
        self.ended = anyio.Event()
        self.seen: list[str] = []
        self.last: Callable[[], Awaitable[None]] | None = None
        """What it does at the end of its wait."""

    async def body(self) -> str:
        self.started.open()
        try:
            await self.wait()
            return "late"
        finally:
            self.ended.set()

    async def wait(self) -> None:
        with anyio.CancelScope(shield=True):
            await self.go.wait()
            if self.last is not None:
                await self.last()
            self.seen.append("shielded to the end")
        try:
            await anyio.sleep(0)
        except anyio.get_cancelled_exc_class():
            self.seen.append("cancelled")
            raise


class Deaf(Endless):
    """Catches every cancellation, and goes on."""

    async def wait(self) -> None:
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                continue


class Cleaning(Endless):
    """Is cancelled, and shields its clean-up."""

    async def wait(self) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await super().wait()


class Inner(Endless):
    """Waits for a task of its own that shields itself."""

    async def wait(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(super().wait)


class Quick:
    """A body of the same job that ends."""

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self) -> str:
        self.runs += 1
        return "value"


BODIES: dict[str, Callable[[], Awaitable[Any]]] = {}


async def named(name: str) -> Any:
    """For jobs that outlive their processor: those that are local do not."""
    return await BODIES[name]()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def begin(store: Stores, it: Endless) -> JobProcessor:
    """A processor that runs it as job 'held'."""
    BODIES["it"] = it.body
    jp = await store.processor(**SHORT).__aenter__()
    await jp.submit_job(named, "it", job_id="held", max_retries=0)
    await it.started.wait()
    return jp


async def leave(jp: JobProcessor) -> None:
    with anyio.fail_after(PATIENCE):
        await jp.__aexit__(None, None, None)


async def state(store: Stores) -> tuple[JobStatus, int, int]:
    async with store.processor(enable_daemon=False) as jp:
        job = await jp.get_job("held")
        return job.status, job.failures, job.interruptions


@pytest.mark.parametrize("kind", [Endless, Deaf, Cleaning, Inner])
async def test_a_body_that_does_not_end_is_given_back_and_left_behind(
    kind: type[Endless], store: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    it = kind()
    jp = await begin(store, it)
    daemon = jp.daemon
    assert daemon is not None
    await leave(jp)
    assert daemon.left_behind
    assert not it.ended.is_set()
    assert "leaving these jobs behind" in caplog.text
    assert "held (tests.runtime.test_crew_left_behind:named)" in caplog.text
    assert await state(store) == (PENDING, 0, 0)
    it.go.set()
    await within(PATIENCE, it.ended.wait())
    assert await state(store) == (PENDING, 0, 0)  # what it returns now counts for nothing


async def test_what_a_left_behind_body_shields_is_not_interrupted(store: Stores) -> None:
    it = Endless()
    jp = await begin(store, it)
    await leave(jp)
    it.go.set()
    await within(PATIENCE, it.ended.wait())
    assert it.seen == ["shielded to the end", "cancelled"]


async def test_what_a_left_behind_body_writes_late_is_refused(store: Stores) -> None:
    it = Endless()
    late: list[object] = []

    async def last_words() -> None:
        context = current_job()
        context.log("late")
        context.progress(1, 1, "late")
        for submit in (context.submit_job, jp.submit_job):
            try:
                late.append(await submit(nothing))
            except JobProcessorError as error:
                late.append(type(error))

    it.last = last_words
    jp = await begin(store, it)
    await leave(jp)
    BODIES["it"] = another = Quick()
    async with store.processor(functions=[named]) as later:
        assert (await later.wait_for_job("held", timeout=PATIENCE)).status is COMPLETED
        it.go.set()
        await within(PATIENCE, it.ended.wait())
        assert another.runs == 1
        assert late == [JobStateError, BackendClosedError]
        assert await later.get_result("held") == "value"
        assert await types(later, "held") == ["submitted", "started", "released", "started", "completed"]
        assert [job.id for job in await later.find_jobs(JobQuery())] == ["held"]


async def test_the_other_jobs_of_the_processor_end_as_in_any_drain(store: Stores) -> None:
    it, other = Endless(), Cleaning()
    other.go.set()
    BODIES["other"] = other.body
    jp = await begin(store, it)
    await jp.submit_job(named, "other", job_id="other")
    await other.started.wait()
    await leave(jp)
    assert other.ended.is_set()
    assert not it.ended.is_set()
    it.go.set()
    await within(PATIENCE, it.ended.wait())


async def test_a_processor_may_be_entered_again_while_a_body_is_left_behind(store: Stores) -> None:
    it = Endless()
    jp = await begin(store, it)
    await leave(jp)
    BODIES["it"] = Quick()
    async with jp:
        assert (await jp.wait_for_job("held", timeout=PATIENCE)).status is COMPLETED
    it.go.set()
    await within(PATIENCE, it.ended.wait())


async def test_an_attempt_that_was_lost_is_left_behind_too(store: Stores) -> None:
    it = Endless()
    jp = await begin(store, it)
    assert jp.daemon is not None
    jp.daemon.runner.executor.lose()
    await leave(jp)
    assert not it.ended.is_set()
    it.go.set()
    await within(PATIENCE, it.ended.wait())


async def test_a_body_in_a_process_is_killed_and_nothing_is_left_behind(store: Stores) -> None:
    async with store.processor(**SHORT) as jp:
        daemon = jp.daemon
        await jp.submit_job(isolated.ignore_async, job_id="held", isolation="process")
        pid = int((await until(jp, "held", "progress"))[-1].data["message"])
    assert daemon is not None
    assert not daemon.left_behind
    assert not alive(pid)
    assert await state(store) == (PENDING, 0, 0)


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_it_is_given_back_and_holds_the_processor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Stores("memory", tmp_path)
    it = Endless()
    backend = store.backend()
    given_back: list[JobStatus] = []
    async with anyio.create_task_group() as tasks:
        jp = await begin(store, it)

        async def let_go() -> None:
            try:
                with anyio.fail_after(PATIENCE):
                    while (await backend.get_jobs(["held"]))[0].status is not PENDING:
                        await anyio.sleep(0.001)  # the processor is closed, and a second one on it takes its events
                given_back.append(PENDING)
            finally:
                it.go.set()

        tasks.start_soon(let_go)
        await jp.__aexit__(None, None, None)
    assert it.ended.is_set()
    assert given_back == [PENDING]
    assert "cannot leave before these jobs end" in caplog.text


# -- programs


PROGRAM = """
import anyio, asyncio, sys
from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig, SyncJobs
from asyncjobs.runtime import crew, draining

draining._LAST_WORDS = crew._MOMENT = 0.2
STORE, SHORT = SQLiteConfig(db_path=sys.argv[1]), DaemonConfig(shutdown_timeout=0.01, cancel_grace=0.01)
started = __import__("threading").Event()

async def shield():
    started.set()
    with anyio.CancelScope(shield=True):
        await anyio.sleep_forever()

async def embedded():
    async with JobProcessor(STORE, daemon=SHORT) as jp:
        await jp.submit_job(shield, job_id="held")
        await asyncio.to_thread(started.wait)
    print("left", flush=True)

def sync():
    with SyncJobs(STORE, daemon=SHORT) as jobs:
        jobs.submit_job(shield, job_id="held")
        started.wait()
    print("left", flush=True)

asyncio.run(embedded()) if sys.argv[2] == "embedded" else sync()
print("ended")
"""


@pytest.mark.parametrize("how", ["embedded", "SyncJobs"])
async def test_a_program_with_such_a_body_ends(how: str, store: Stores, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with anyio.fail_after(3 * PATIENCE):
        ran = await anyio.run_process([sys.executable, str(program), str(store.path), how], check=False)
    assert (ran.returncode, ran.stdout) == (0, b"left\nended\n"), ran.stderr.decode()
    assert await state(store) == (PENDING, 0, 0)
