"""Steps of bodies that are asked to stop, of attempts that are over, and while the store is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from asyncjobs import (
    JobCancelledError,
    JobExecutionError,
    JobHandle,
    JobProcessor,
    JobStateError,
    RetryPolicy,
    current_job,
)
from asyncjobs.exceptions import BackendError
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.runtime.step_values import StepNotKeptError
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime.step_bodies import AT_ONCE, ONCE, Work, fail_first, run
from tests.runtime.support import Gate, Held, Stores, comes_true, within

pytestmark = pytest.mark.anyio


# -- bodies that are asked to stop


async def stopped(jp: JobProcessor, handle: JobHandle[Any], how: str) -> None:
    match how:
        case "cancel":
            await handle.cancel()
        case "lost":
            assert jp.daemon is not None
            jp.daemon.runner.executor.lose()
        case _:
            pass  # its timeout


@pytest.mark.parametrize("how", ["cancel", "timeout", "lost"])
async def test_once_a_body_is_asked_to_stop_no_step_begins(jp: JobProcessor, how: str) -> None:
    work, held, raised = Work(), Held(), list[str]()

    async def body() -> None:
        try:
            await held.body()
        finally:
            try:
                await current_job().step("k", work.awaited)
            except BaseException as error:
                raised.append(type(error).__name__)
                raise

    options = {"timeout": 0.05} if how == "timeout" else {}
    handle = await jp.submit_job(body, local=True, retry=ONCE, **options)
    await held.started.wait()
    await stopped(jp, handle, how)
    await comes_true(lambda: raised)
    assert raised[0] in ("CancelledError", "Cancelled"), "what an interrupted wait raises"
    assert work.calls == []
    await jp.handle(handle).cancel()


@pytest.mark.filterwarnings("ignore:timeout= cannot stop")
@pytest.mark.parametrize("how", ["cancel", "timeout", "lost"])
async def test_a_thread_that_is_asked_to_stop_begins_no_step_either(jp: JobProcessor, how: str) -> None:
    work, started, raised, noticed = Work(), Gate(), list[type[BaseException]](), Gate()

    def body() -> None:
        job = current_job()
        started.open()
        while not job._stopped:  # ``cancelled`` would be noticed
            threading.Event().wait(0.001)
        try:
            job.step_sync("k", work.plain)
        except BaseException as error:
            raised.append(type(error))
            if job.stop_noticed:
                noticed.open()
            raise

    options = {"timeout": 0.05} if how == "timeout" else {}
    handle = await jp.submit_job(body, local=True, retry=ONCE, **options)
    await started.wait()
    await stopped(jp, handle, how)
    await comes_true(lambda: raised)
    assert raised == [BodyStopped]
    assert noticed.is_open
    assert work.calls == []
    await jp.handle(handle).cancel()


async def test_a_step_that_has_begun_may_finish_and_is_kept(jp: JobProcessor) -> None:
    """The body waits for its thread, although it is cancelled; the value is kept while the attempt is in progress."""
    held = Held("drawn")

    async def body() -> None:
        await current_job().step("draw", held.sync)
        await anyio.sleep(60)

    handle = await jp.submit_job(body, local=True, retry=ONCE)
    await held.started.wait()
    await handle.cancel()
    assert await handle.status() == "in_progress"
    held.go.open()
    with pytest.raises(JobCancelledError):
        await within(10, handle)
    assert [step.key for step in (await jp.backend.read_steps(handle)).steps] == ["draw"]


async def test_a_step_of_a_thread_that_has_begun_is_kept_too(jp: JobProcessor) -> None:
    held = Held("drawn")

    def body() -> None:
        current_job().step_sync("draw", held.sync)
        current_job().step_sync("next", held.sync)

    handle = await jp.submit_job(body, local=True, retry=ONCE)
    await held.started.wait()
    await handle.cancel()
    held.go.open()
    with pytest.raises(JobCancelledError):
        await within(10, handle)
    assert [step.key for step in (await jp.backend.read_steps(handle)).steps] == ["draw"]
    assert held.starts == 1


async def test_a_value_whose_commit_is_under_way_is_kept_although_the_body_is_cancelled(stores: Stores) -> None:
    class Slow(FaultyBackend):
        """Holds the first write until it is let go."""

        began, go = anyio.Event(), anyio.Event()

        async def write_steps(self, changes: Any) -> Any:
            self.began.set()
            await self.go.wait()
            return await super().write_steps(changes)

    work, backend = Work(), Slow(stores.backend())
    async with stores.processor(backend=backend) as jp:

        async def body() -> None:
            await current_job().step("k", work.awaited)
            await anyio.sleep(60)

        handle = await jp.submit_job(body, local=True, retry=ONCE)
        await within(10, backend.began.wait())
        await handle.cancel()
        await anyio.wait_all_tasks_blocked()
        backend.go.set()
        with pytest.raises(JobCancelledError):
            await within(10, handle)
        assert await jp.backend.count_steps(handle) == 1


async def test_a_body_that_is_given_back_may_keep_how_far_it_is(stores: Stores) -> None:
    held = Held()

    async def body() -> Any:
        job = current_job()
        if job.attempt == 2:
            return await job.recall("page")
        try:
            await held.body()
        finally:
            with anyio.CancelScope(shield=True):
                await job.keep("page", 17)

    async with stores.processor(shutdown_timeout=0, functions=[given_back]) as jp:
        handle = await jp.submit_job(given_back, retry=ONCE)
        GIVEN_BACK.append(body)
        await held.started.wait()
    if stores.kind == "memory":
        return  # gone with its processor
    async with stores.processor(functions=[given_back]) as jp:
        assert await within(10, jp.handle(handle)) == 17


GIVEN_BACK: list[Callable[[], Any]] = []


async def given_back() -> Any:
    await comes_true(lambda: GIVEN_BACK)
    return await GIVEN_BACK[-1]()


# -- attempts that are over, and stores that are away


@pytest.mark.parametrize("way", ["step", "step_sync", "keep", "forget"])
async def test_a_stale_attempt_keeps_and_forgets_nothing(jp: JobProcessor, way: str) -> None:
    """A zombie, which has lost its lease: the function of its step had begun, and its value is not kept."""
    raised: list[BaseException] = []

    async def lose() -> None:
        assert jp.daemon is not None
        await jp.backend.deregister_worker(jp.daemon.runner.worker_id)

    async def change() -> None:
        job = current_job()
        if way == "step":
            await job.step("k", lose)
        elif way == "step_sync":
            await anyio.to_thread.run_sync(job.step_sync, "k", lambda: anyio.from_thread.run(lose))
        else:
            await lose()
            await (job.keep("k", 1) if way == "keep" else job.forget(""))

    async def body() -> None:
        if current_job().attempt == 1:
            await current_job().keep("before", 1)
            with anyio.CancelScope(shield=True):
                try:
                    await change()
                except BaseException as error:
                    raised.append(error)
                    raise

    handle = await jp.submit_job(body, local=True, retry=AT_ONCE)
    await comes_true(lambda: raised)
    assert isinstance(raised[0], JobStateError), repr(raised[0])
    assert "no longer held by this attempt; it can no longer keep or forget values" in str(raised[0])
    assert [step.key for step in (await jp.backend.read_steps(handle)).steps] == ["before"]


async def test_while_the_store_is_away_a_step_waits_and_its_function_runs_once(stores: Stores) -> None:
    """20 seconds, of a clock that is moved."""
    clock, work = ManualClock(), Work()
    backend = FaultyBackend(stores.backend(clock))
    for i in range(1, 9):
        backend.fail("write_steps", i, when="before" if i % 2 else "after")

    async def body() -> Any:
        return await current_job().step("k", work.plain)

    async with stores.processor(clock=clock, backend=backend) as jp:
        handle = await jp.submit_job(body, local=True, retry=ONCE)
        began = clock.monotonic()
        while backend.calls["write_steps"] < 9:
            await anyio.sleep(0.001)
            clock.advance(0.5)
        assert await within(10, handle) == "done"
        assert (clock.monotonic() - began) / 1e6 > 5
        assert await jp.backend.count_steps(handle) == 1
    assert len(work.calls) == 1


@pytest.mark.parametrize("way", ["async", "thread"])
async def test_a_keep_that_waits_for_the_store_ends_when_its_body_is_asked_to_stop(stores: Stores, way: str) -> None:
    clock = ManualClock()
    backend = FaultyBackend(stores.backend(clock))
    backend.fail("write_steps")
    raised: list[str] = []

    async def body() -> None:
        try:
            await current_job().keep("k", 1)
        except BaseException as error:
            raised.append(type(error).__name__)
            raise

    def body_sync() -> None:
        try:
            current_job().keep_sync("k", 1)
        except BaseException as error:
            raised.append(type(error).__name__)
            raise

    async with stores.processor(clock=clock, backend=backend) as jp:
        handle = await jp.submit_job(body if way == "async" else body_sync, local=True, retry=ONCE)
        await comes_true(lambda: backend.calls["write_steps"] == 1)
        await handle.cancel()
        with pytest.raises(JobCancelledError):
            await within(10, handle)
        assert await jp.backend.count_steps(handle) == 0
    assert raised in ((["CancelledError"], ["Cancelled"]) if way == "async" else (["BodyStopped"],))


async def test_a_write_that_hangs_ends_soon_after_its_body_is_asked_to_stop(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncjobs.runtime.step_access._LAST_TRY", 0.05)

    class Hanging(FaultyBackend):
        hangs = anyio.Event()

        async def write_steps(self, changes: Any) -> Any:
            self.hangs.set()
            await anyio.sleep_forever()

    backend = Hanging(stores.backend())

    async def body() -> None:
        await current_job().keep("k", 1)

    async with stores.processor(backend=backend) as jp:
        handle = await jp.submit_job(body, local=True, retry=ONCE)
        await within(10, backend.hangs.wait())
        await handle.cancel()
        with pytest.raises(JobCancelledError):
            await within(5, handle)


async def test_a_read_waits_for_the_store_too(stores: Stores) -> None:
    backend = FaultyBackend(stores.backend())
    backend.fail("read_steps")

    async def body() -> Any:
        fail_first()
        return await current_job().recall("k", "nothing")

    async with stores.processor(backend=backend) as jp:
        assert await run(jp, body, retry=RetryPolicy(max_retries=1, base=0.001)) == "nothing"
        assert backend.calls["read_steps"] == 2


async def test_an_error_that_waiting_does_not_mend_is_raised(stores: Stores) -> None:
    work, backend = Work(), FaultyBackend(stores.backend())
    too_big = BackendError("the store takes no value of this size")
    too_big.code = "too-big"
    backend.fail("write_steps", 1, error=too_big)
    backend.fail("write_steps", 2, error=too_big)
    backend.fail("read_steps", error=BackendError("damaged"))

    async def body() -> list[str]:
        job = current_job()
        with pytest.raises(BackendError):
            await job.keep("k", 1)
        with pytest.raises(StepNotKeptError, match=r"the function of the step has run") as error:
            await job.step("k", work.plain)
        return [str(error.value)]

    async def reads_damage() -> None:
        fail_first()
        await current_job().recall("k")

    async with stores.processor(backend=backend) as jp:
        (message,) = await run(jp, body)
        assert "takes no value of this size" in message
        handle = await jp.submit_job(reads_damage, local=True, retry=RetryPolicy(max_retries=1, base=0.001))
        with pytest.raises(JobExecutionError, match="damaged"):
            await within(10, handle)
    assert len(work.calls) == 1


async def test_a_step_whose_read_failed_can_be_forgotten_and_used_again(stores: Stores) -> None:
    backend = FaultyBackend(stores.backend())
    backend.fail("read_steps", error=BackendError("damaged"))
    work = Work()

    async def body() -> Any:
        fail_first()
        with pytest.raises(BackendError, match="damaged"):
            await current_job().step("k", work.plain)
        await current_job().forget("k")
        return await current_job().step("k", work.plain)

    async with stores.processor(backend=backend) as jp:
        assert await run(jp, body, retry=RetryPolicy(max_retries=1, base=0.001)) == "done"
