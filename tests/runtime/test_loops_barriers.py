"""Rule 4.15, one thing at a time behind a barrier: no error, record or handler ends a loop of ours, or the program's
own block."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from asyncjobs import BackendClosedError, BackendError, JobStatus, MemoryBackend, current_job, gather
from asyncjobs.clock import SystemClock
from asyncjobs.processor import get_engine
from asyncjobs.runtime import waiting
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.loops import look_forever
from asyncjobs.runtime.outages import Outage
from asyncjobs.safe_logging import SafeLogger
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime.support import PATIENCE, Held, Stores, add, comes_true, fail, nothing, until, within

pytestmark = pytest.mark.anyio


class Odd(Exception):
    """An error that nobody expects of a store."""


# -- the shape of a loop


async def test_an_unexpected_error_is_logged_once_with_its_traceback_and_the_loop_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    looks = 0
    enough = anyio.Event()

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks < 4:
            raise Odd("a row")
        enough.set()

    trouble = Outage(SafeLogger("asyncjobs"), "nothing is looked at")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: look_forever(look, anyio.sleep_forever, trouble, SystemClock(), first=0.001))
        await within(PATIENCE, enough.wait())
        tasks.cancel_scope.cancel()
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in told] == [
        "nothing is looked at, retrying: a row",
        "store available again (was: nothing is looked at)",
    ]
    assert told[0].exc_info is not None
    assert told[0].exc_info[0] is Odd


async def test_a_look_that_did_not_ask_the_store_does_not_call_it_available(caplog: pytest.LogCaptureFixture) -> None:
    answers = iter([BackendError("away"), False, BackendError("away"), None])
    enough = anyio.Event()

    async def look() -> bool | None:
        answer = next(answers)
        if isinstance(answer, BackendError):
            raise answer
        if answer is None:
            enough.set()
        return answer

    async def pause() -> None:
        if enough.is_set():
            await anyio.sleep_forever()

    trouble = Outage(SafeLogger("asyncjobs"), "nothing is looked at")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: look_forever(look, pause, trouble, SystemClock(), first=0.001))
        await within(PATIENCE, enough.wait())
        tasks.cancel_scope.cancel()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "nothing is looked at, retrying: away",
        "store available again (was: nothing is looked at)",
    ]


async def test_a_scheduler_without_a_free_slot_and_a_log_without_listeners_know_nothing_of_the_store(
    stores: Stores,
) -> None:
    held = Held("done")
    async with stores.processor(num_workers=1) as jp:
        handle = await jp.submit_job(held.body, local=True)
        await within(PATIENCE, held.started.wait())
        assert await jp.daemon.runner.scheduler._claim() is False
        held.go.open()
        assert await within(PATIENCE, handle.result()) == "done"
    async with MemoryBackend() as store:
        tail = LogTail(store, SystemClock())
        look = tail._look
        assert await look() is False
        tail.expect(["a"])
        await tail.live()
        tail.changed()
        assert await look() is True


async def test_between_two_failures_the_loop_waits_longer_and_longer() -> None:
    clock = ManualClock()
    looks: list[int] = []

    async def look() -> None:
        looks.append(clock.monotonic())
        raise Odd

    async with anyio.create_task_group() as tasks:
        trouble = Outage(SafeLogger("asyncjobs"), "…")
        tasks.start_soon(lambda: look_forever(look, None, trouble, clock, first=1.0, longest=4.0))
        for seconds in (1.0, 2.0, 4.0, 4.0):
            await within(PATIENCE, clock.wait_for_sleepers(1))
            clock.advance(seconds)
        await within(PATIENCE, clock.wait_for_sleepers(1))
        tasks.cancel_scope.cancel()
    assert len(looks) == 5


async def test_the_loop_ends_when_the_store_is_closed() -> None:
    async def look() -> None:
        raise BackendClosedError

    await within(PATIENCE, look_forever(look, None, Outage(SafeLogger("asyncjobs"), "…"), SystemClock()))


async def test_what_a_pause_raises_is_waited_out_too() -> None:
    pauses = 0
    again = anyio.Event()

    async def look() -> None:
        pass

    async def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 1:
            raise Odd
        again.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        trouble = Outage(SafeLogger("asyncjobs"), "…")
        tasks.start_soon(lambda: look_forever(look, pause, trouble, SystemClock(), first=0.001))
        await within(PATIENCE, again.wait())
        tasks.cancel_scope.cancel()


# -- each loop of a processor


@pytest.mark.parametrize(
    ("method", "when"),
    [
        ("dequeue_jobs", "before"),
        ("update_job_status", "before"),
        ("update_job_status", "after"),
        ("append_events", "before"),
        ("append_events", "after"),
        ("read_events", "before"),
        ("wait", "before"),
        ("extend_leases", "before"),
        ("extend_leases", "after"),
        ("reap", "before"),
        ("prune", "before"),
    ],
)
async def test_an_unexpected_error_of_the_store_ends_neither_the_block_nor_the_work(
    stores: Stores, method: str, when: Any
) -> None:
    store = FaultyBackend(stores.backend())

    async def talks() -> None:
        current_job().log("hello")

    async with stores.processor(backend=store, lease=0.6, heartbeat=0.05, poll_interval=0.02, retention=100.0) as jp:
        calls = store.calls[method]
        store.fail(method, when=when, error=Odd("unexpected"))
        job = await jp.submit_job(talks, local=True, max_retries=0)
        assert (await within(PATIENCE, jp.wait_for_job(job))).status.terminal
        assert await within(PATIENCE, (await jp.submit_job(add, 1, 2))) == 3
        if method in ("wait", "extend_leases", "reap"):  # it was met, and is called again
            with anyio.fail_after(PATIENCE):
                while store.calls[method] < calls + 3:
                    await anyio.sleep(0.01)


@pytest.mark.parametrize("method", ["workers", "get_lanes", "give_up", "find_jobs"])
async def test_nor_does_one_in_the_search_for_jobs_that_nobody_may_run(stores: Stores, method: str) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store, unrunnable_after=0.05) as jp:
        store.fail(method, error=Odd("unexpected"))
        assert await within(PATIENCE, (await jp.submit_job(add, 1, 2))) == 3


async def test_an_outcome_that_the_store_cannot_take_is_its_jobs_failure(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store) as jp:
        store.fail("update_job_status", error=Odd("this outcome has no bytes"))
        job = await within(PATIENCE, jp.wait_for_job(await jp.submit_job(add, 1, 2)))
        assert job.status is JobStatus.FAILED
        assert job.error is not None
        assert "this outcome has no bytes" in job.error.message
        assert await within(PATIENCE, (await jp.submit_job(add, 1, 2))) == 3


@pytest.mark.parametrize("where", ["_start", "functions.get"])
async def test_a_job_that_cannot_be_started_fails_alone_of_its_claim(stores: Stores, where: str) -> None:
    """Whatever raises: the others of the claim would be in progress for ever, and run nowhere."""
    async with stores.processor() as jp:
        assert jp.daemon is not None
        runner: Any = jp.daemon.runner
        owner = runner.executor if where == "_start" else runner.bodies._functions
        real = getattr(owner, where.rpartition(".")[2])

        def poisoned(*args: Any) -> Any:
            job_id = args[0].attempt.job_id if where == "_start" else args[1]
            if job_id == "poison":
                raise Odd("of one job")
            return real(*args)

        setattr(owner, where.rpartition(".")[2], poisoned)
        async with jp.batch() as batch:
            healthy = [batch.submit_job(add, 1, 2), batch.submit_job(nothing, job_id="poison")]
            healthy += [batch.submit_job(add, 3, i) for i in range(3)]
        poison = await within(PATIENCE, jp.wait_for_job(healthy.pop(1)))
        assert poison.status is JobStatus.FAILED
        assert poison.error is not None
        assert poison.error.message == "of one job"
        assert await within(PATIENCE, gather(*healthy)) == [3, 3, 4, 5]
        assert await within(PATIENCE, (await jp.submit_job(add, 1, 2))) == 3


async def test_events_that_cannot_be_stored_together_are_stored_alone(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    held = Held()

    async def says() -> None:
        current_job().log("kept")
        await held.go.wait()

    async with stores.processor(backend=store) as jp:
        store.fail("append_events", error=Odd("something in it cannot be encoded"))
        jobs = [await jp.submit_job(says, local=True) for _ in range(2)]
        for job in jobs:
            (*_, event) = await until(jp, job, "log")
            assert event.data["message"] == "kept"
        held.go.open()
        await gather(*jobs)


async def test_that_it_cannot_be_found_out_why_a_job_waits_keeps_nobody_from_being_warned(
    stores: Stores, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, queues=["default"]) as jp:
        why = waiting.why

        async def odd(backend: Any, clock: Any, job: Any) -> Any:
            if job.id == "x":
                raise Odd
            return await why(backend, clock, job)

        monkeypatch.setattr(waiting, "why", odd)

        def warned() -> bool:
            clock.advance(0.8)
            return "waiting for job 'y'" in caplog.text

        async with anyio.create_task_group() as tasks:
            for job_id in ("x", "y"):
                tasks.start_soon((await jp.submit_job(nothing, job_id=job_id, queue="nobody's")).result)
            await comes_true(warned)
            tasks.cancel_scope.cancel()
        assert "cannot determine why job 'x' waits" in caplog.text


async def test_what_runs_beside_the_jobs_may_fail_alone(stores: Stores) -> None:
    failed = anyio.Event()

    async def beside() -> None:
        failed.set()
        raise Odd

    async with stores.processor() as jp:
        get_engine(jp).start_soon(beside)
        await within(PATIENCE, failed.wait())
        assert await within(PATIENCE, (await jp.submit_job(add, 1, 2))) == 3


async def test_a_listener_that_fails_keeps_nobody_from_the_answer(stores: Stores) -> None:
    def listener(events: object) -> None:
        raise Odd

    async with stores.backend() as backend:
        backend.add_listener(listener)
        async with stores.processor(backend=backend, enable_daemon=False) as jp:
            backend.add_listener(listener)
            job = await within(PATIENCE, jp.submit_job(nothing))
            assert (await jp.get_job(job)).status is JobStatus.PENDING


# -- logging


class Away(logging.Handler):
    """A handler whose server is away: it raises out of the call that logs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def handle(self, record: logging.LogRecord) -> bool:
        self.asked.append(record.name)
        raise ConnectionError("the log server is away")


@pytest.fixture
def away() -> Iterator[Away]:
    handler = Away()
    ours = logging.getLogger("asyncjobs")
    before = ours.level
    ours.setLevel(logging.DEBUG)
    ours.addHandler(handler)
    yield handler
    ours.removeHandler(handler)
    ours.setLevel(before)


async def test_a_handler_that_raises_on_every_record_of_ours_stops_nothing(stores: Stores, away: Away) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store, lease=0.6, heartbeat=0.1, poll_interval=0.02) as jp:
        for method in ("dequeue_jobs", "extend_leases", "wait", "append_events"):
            store.fail(method)
        job = await within(PATIENCE, jp.wait_for_job(await jp.submit_job(fail, max_retries=0)))
        assert job.status is JobStatus.FAILED
        assert await within(PATIENCE, (await jp.submit_job(add, 1, 2))) == 3
        await until(jp, await jp.submit_job(nothing), "completed")
    assert "asyncjobs.jobs" in away.asked


def test_that_records_are_lost_is_written_once_to_standard_error(
    away: Away, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = SafeLogger("asyncjobs.jobs")
    for _ in range(3):
        logger.warning("lost")
    assert capsys.readouterr().err.count("ConnectionError for a record of asyncjobs.jobs") == 1


def test_a_record_names_the_place_that_logged_it(caplog: pytest.LogCaptureFixture) -> None:
    logger = SafeLogger("asyncjobs.jobs")
    caplog.set_level(logging.DEBUG, "asyncjobs")
    logger.debug("a")
    logger.info("b")
    logger.warning("c")
    logger.error("d")
    logger.log(logging.INFO, "e")
    assert {record.filename for record in caplog.records} == {"test_loops_barriers.py"}


def test_an_error_of_the_store_is_logged_without_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    trouble = Outage(SafeLogger("asyncjobs"), "nothing is looked at")
    assert trouble.failed(BackendError("away"))
    assert not trouble.failed(BackendError("away"))
    assert [record.exc_info for record in caplog.records] == [None]
