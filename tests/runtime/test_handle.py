"""Handles: a job id that can be awaited, passed on and cancelled; and waiting for several of them."""

from __future__ import annotations

import copy
import dataclasses
import logging
import pickle
from typing import Any

import anyio
import pytest

from asyncjobs import (
    BackendClosedError,
    ConfigurationError,
    DuplicateJobError,
    JobCancelledError,
    JobConflictError,
    JobExecutionError,
    JobHandle,
    JobNotCompletedError,
    JobNotFoundError,
    JobProcessor,
    JobRequest,
    JobSkippedError,
    JobStateError,
    JobTimeoutError,
    as_completed,
    current_job,
    gather,
)
from asyncjobs.processor import get_engine
from asyncjobs.runtime.start_command import start_command
from asyncjobs.testing import ManualClock
from tests.runtime.support import (
    COMPLETED,
    PATIENCE,
    PENDING,
    Held,
    Stores,
    add,
    echo,
    fail,
    nothing,
    within,
)

pytestmark = pytest.mark.anyio


# -- a handle is an id


async def test_a_handle_is_a_string_equal_to_the_id(jp: JobProcessor) -> None:
    handle = await jp.submit_job(nothing, job_id="mine")
    assert handle == "mine"
    assert handle.id == "mine"
    assert type(handle.id) is str
    assert hash(handle) == hash("mine")
    assert f"{handle}" == "mine"
    assert repr(handle) == "JobHandle('mine')"
    assert {handle: 1}["mine"] == 1
    elsewhere = pickle.loads(pickle.dumps(handle))
    assert elsewhere == "mine"
    assert type(elsewhere) is str  # there is no processor to ask


@dataclasses.dataclass
class Params:
    page: Any
    pages: list[Any]


async def test_a_copy_of_a_handle_is_the_handle_and_stands_for_the_result(jp: JobProcessor) -> None:
    handle = await jp.submit_job(echo, 42)
    assert copy.copy(handle) is handle
    assert copy.deepcopy(handle) is handle
    assert await copy.copy(handle) == 42
    params = Params(handle, [handle])
    for made, value in (
        (copy.deepcopy({"page": handle}), {"page": 42}),
        (dataclasses.asdict(params), {"page": 42, "pages": [42]}),
        (dataclasses.astuple(params), (42, [42])),
        (copy.deepcopy([(handle,)]), [(42,)]),
        (copy.copy(handle), 42),
    ):
        assert await (await jp.submit_job(echo, made)) == value


async def test_a_copy_of_an_optional_dependency_stays_optional(jp: JobProcessor) -> None:
    optional = jp.optional(await jp.submit_job(echo, 42))
    assert copy.copy(optional) is copy.deepcopy([optional])[0] is optional


async def test_a_copy_of_a_handle_in_a_body_is_the_handle_in_a_process_of_its_own_too(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(_await_a_copy)) == 42
    assert await (await jp.submit_job(_await_a_copy, isolation="process")) == 42


async def _await_a_copy() -> Any:
    child = await current_job().submit_job(echo, 42, key="child")
    return await copy.deepcopy([child])[0]


async def test_a_handle_that_belongs_to_no_processor_says_so() -> None:
    with pytest.raises(BackendClosedError, match="belongs to no JobProcessor"):
        await JobHandle("x")


async def test_wherever_an_id_is_taken_a_handle_is_too(jp: JobProcessor) -> None:
    handle = await jp.submit_job(echo, 1)
    await handle
    assert (await jp.get_job(handle)).id == handle
    assert await jp.get_status(handle) is COMPLETED
    assert await jp.get_result(handle) == 1
    assert (await jp.wait_for_job(handle)).id == handle
    assert (await jp.poll_status(handle)).result == 1
    assert set(await jp.poll_batch([handle])) == {handle}
    assert (await jp.why(handle)).code == "completed"
    assert await jp.cancel_job(handle) is COMPLETED
    from asyncjobs import JobQuery

    assert [job.id for job in await jp.find_jobs(JobQuery(ids=[handle]))] == [handle]
    assert await jp.find_jobs(JobQuery(parent_id=handle)) == []


# -- waiting


async def test_awaiting_gives_the_result_again_and_again(jp: JobProcessor) -> None:
    handle = await jp.submit_job(add, 1, 2)
    assert [await handle, await handle, await handle.result(), await jp.get_result(handle)] == [3, 3, 3, 3]


async def test_many_may_wait_for_one_job(jp: JobProcessor) -> None:
    held = Held("x")
    handle = await jp.submit_job(held.body, local=True)
    found: list[str] = []

    async def wait() -> None:
        found.append(await handle)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(wait)
        await held.started.wait()
        held.go.open()
    assert found == ["x"] * 20


async def test_each_end_has_its_error(jp: JobProcessor) -> None:
    failed = await jp.submit_job(fail, "why", job_id="failed", max_retries=0)
    skipped = await jp.submit_job(nothing, job_id="skipped", depends_on=failed)
    cancelled = await jp.submit_job(nothing, job_id="cancelled", delay=3600)
    await cancelled.cancel()
    for handle, error in (
        (failed, JobExecutionError),
        (skipped, JobSkippedError),
        (cancelled, JobCancelledError),
    ):
        with pytest.raises(error) as caught:
            await within(PATIENCE, handle)
        assert isinstance(caught.value, JobNotCompletedError)
        assert caught.value.job_id == handle
        with pytest.raises(error):
            await jp.get_result(handle)
        assert (await jp.wait_for_job(handle)).id == handle  # however it ended
    with pytest.raises(JobNotFoundError):
        await jp.handle("nobody")


async def test_a_timeout_of_waiting_leaves_the_job_alone(jp: JobProcessor) -> None:
    held = Held(5)
    handle = await jp.submit_job(held.body, local=True)
    await held.started.wait()
    for wait in (handle.result(timeout=0.01), jp.wait_for_job(handle, timeout=0), gather(handle, timeout=0.01)):
        with pytest.raises(JobTimeoutError) as caught:
            await wait
        assert caught.value.job_id == handle
        assert isinstance(caught.value, TimeoutError)
    held.go.open()
    assert await handle == 5
    assert await handle.result(timeout=0) == 5


async def test_a_cancelled_wait_leaves_the_job_alone(jp: JobProcessor) -> None:
    held = Held(5)
    handle = await jp.submit_job(held.body, local=True)
    with anyio.move_on_after(0.01) as scope:
        await handle
    assert scope.cancelled_caught
    held.go.open()
    assert await handle == 5
    assert not get_engine(jp)._parts.tail._waiters


async def test_get_result_does_not_wait(jp: JobProcessor) -> None:
    handle = await jp.submit_job(nothing, delay=3600)
    with pytest.raises(JobStateError, match="it has no result yet") as caught:
        await jp.get_result(handle)
    assert caught.value.status == "pending"
    with pytest.raises(JobNotFoundError):
        await jp.get_result("nobody")


# -- gather


async def test_gather_keeps_the_order(jp: JobProcessor) -> None:
    held = [Held(i) for i in range(3)]
    handles = [await jp.submit_job(h.body, local=True) for h in held]

    async def release() -> None:
        for i in (2, 0, 1):
            held[i].go.open()
            await handles[i]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(release)
        assert await gather(*handles) == [0, 1, 2]
    assert await gather(handles[1], handles[0], handles[1]) == [1, 0, 1]
    assert await gather() == []


async def test_gather_raises_the_first_failure_and_lets_the_others_go_on(jp: JobProcessor) -> None:
    held = Held("late")
    slow = await jp.submit_job(held.body, local=True)
    bad = await jp.submit_job(fail, "first", max_retries=0)
    with pytest.raises(JobExecutionError, match="first"):
        await within(PATIENCE, gather(slow, bad))
    held.go.open()
    assert await slow == "late"


async def test_gather_may_return_the_errors(jp: JobProcessor) -> None:
    handles = [await jp.submit_job(fail, max_retries=0), await jp.submit_job(echo, 2)]
    error, value = await gather(*handles, return_exceptions=True)
    assert isinstance(error, JobExecutionError)
    assert value == 2
    with pytest.raises(JobNotFoundError):  # not an end of a job, but a mistake
        await gather(handles[1], jp.handle("nobody"), return_exceptions=True)


async def test_gather_and_as_completed_want_handles(jp: JobProcessor) -> None:
    await jp.submit_job(nothing, job_id="x")
    with pytest.raises(ConfigurationError, match="handles"):
        await gather("x")
    with pytest.raises(ConfigurationError, match="handles"):
        async for _ in as_completed(["x"]):
            pass


# -- as_completed


async def test_as_completed_gives_handles_in_the_order_of_their_ends(jp: JobProcessor) -> None:
    held = {name: Held(name) for name in "abc"}
    handles = [await jp.submit_job(h.body, job_id=name, local=True) for name, h in held.items()]
    order = ["c", "a", "b"]
    seen: list[str] = []
    held["c"].go.open()
    with anyio.fail_after(PATIENCE):
        async for handle in as_completed(handles):
            seen.append(await handle)
            if len(seen) < 3:
                held[order[len(seen)]].go.open()
    assert seen == order


async def test_as_completed_gives_failed_jobs_too_and_each_once(jp: JobProcessor) -> None:
    handles = [await jp.submit_job(fail, max_retries=0), await jp.submit_job(echo, 1)]
    seen = [handle async for handle in as_completed([*handles, handles[0]])]
    assert sorted(seen) == sorted(handles)
    assert [handle async for handle in as_completed([])] == []


async def test_as_completed_over_many_jobs(jp: JobProcessor) -> None:
    handles = await jp.map_jobs(echo, range(300))
    seen = [await handle async for handle in as_completed(handles)]
    assert sorted(seen) == list(range(300))


async def test_as_completed_times_out(jp: JobProcessor) -> None:
    quick, slow = await jp.submit_job(echo, 1), await jp.submit_job(nothing, delay=3600)
    seen: list[str] = []
    with pytest.raises(JobTimeoutError):
        async for handle in as_completed([slow, quick], timeout=0.1):
            seen.append(handle)
    assert seen == [quick]


# -- map_jobs


async def test_map_jobs_is_one_batch(jp: JobProcessor) -> None:
    handles = await jp.map_jobs(add, [1, 2, 3], b=10, group="g", priority=2)
    assert await gather(*handles) == [11, 12, 13]
    assert {(await jp.get_job(handle)).priority for handle in handles} == {2}
    with pytest.raises(Exception, match="which cannot be stored"):
        await jp.map_jobs(echo, [1, object()])
    assert (await jp.get_progress("g")).total == 3
    assert len(await jp.find_jobs()) == 3


# -- after a restart


async def test_a_handle_made_from_an_id_after_reopening(stores: Stores) -> None:
    async with stores.processor() as jp:
        await (await jp.submit_job(add, 1, 2, job_id="sum"))
        await jp.submit_job(add, 3, 4, job_id="later", delay=3600)
    async with stores.processor() as jp:
        handle: JobHandle[int] = jp.handle("sum")
        assert await handle == 3
        assert await jp.handle("later").status() is PENDING
        assert [event.type async for event in handle.events()] == ["submitted", "started", "completed"]


async def test_a_handle_outlives_its_processor_and_says_so(stores: Stores) -> None:
    async with stores.processor() as jp:
        handle = await jp.submit_job(nothing)
        await handle
    with pytest.raises(BackendClosedError):
        await handle


# -- if_exists


async def test_if_exists_return_gives_the_existing_job(jp: JobProcessor) -> None:
    first = await jp.submit_job(add, 1, b=2, job_id="x")
    again = await jp.submit_job(add, 1, 2, job_id="x", if_exists="return")  # the same call, however written
    assert await first == await again == 3
    assert (await jp.get_job("x")).attempt == 1
    for func, args in ((add, (1, 3)), (echo, (1,))):
        with pytest.raises(JobConflictError):
            await jp.submit_job(func, *args, job_id="x", if_exists="return")
    with pytest.raises(DuplicateJobError):
        await jp.submit_job(add, 1, 2, job_id="x")


async def test_a_batch_may_be_submitted_again(jp: JobProcessor) -> None:
    requests = [
        JobRequest(func=echo, args=(1,), job_id="a"),
        JobRequest(func=add, args=(jp.handle("a"), 1), job_id="b"),
    ]
    await jp.submit_jobs(requests)
    handles = await jp.submit_jobs([*requests, JobRequest(func=echo, args=(9,), job_id="c")], if_exists="return")
    assert await gather(*handles) == [1, 2, 9]
    assert len(await jp.find_jobs()) == 3


async def test_an_existing_job_that_is_final_is_returned_with_its_error(jp: JobProcessor) -> None:
    await jp.wait_for_job(await jp.submit_job(fail, job_id="x", max_retries=0))
    again = await jp.submit_job(fail, job_id="x", if_exists="return")
    with pytest.raises(JobExecutionError):
        await within(PATIENCE, again)


# -- drain


async def test_drain_waits_for_all(jp: JobProcessor) -> None:
    await jp.drain()  # nothing to wait for
    held = Held()
    first = await jp.submit_job(held.body, local=True)
    await jp.submit_job(nothing, depends_on=first)
    await held.started.wait()
    with pytest.raises(JobTimeoutError, match="draining took longer than 0.01 s"):
        await jp.drain(timeout=0.01)
    held.go.open()
    await jp.drain(timeout=PATIENCE)
    assert {job.status for job in await jp.find_jobs()} == {COMPLETED}


async def test_drain_of_a_group_does_not_wait_for_others(jp: JobProcessor) -> None:
    await jp.submit_job(nothing, delay=3600, group="other")
    await jp.submit_job(nothing, group="mine")
    await jp.drain("mine", timeout=PATIENCE)
    with pytest.raises(JobTimeoutError, match="draining group 'other'"):
        await jp.drain("other", timeout=0.01)


async def test_drain_waits_for_children_and_retries(jp: JobProcessor) -> None:
    from asyncjobs import RetryPolicy, current_job

    async def body() -> None:
        await current_job().submit_job(nothing)
        if current_job().attempt < 3:
            raise ValueError

    job = await jp.submit_job(body, retry=RetryPolicy(base=0.0), local=True)
    await jp.drain(timeout=PATIENCE)
    assert await job.status() is COMPLETED


# -- warnings


async def test_leaving_with_unfinished_jobs_warns_with_their_number(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        for _ in range(3):
            await jp.submit_job(nothing)
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.name == "asyncjobs"
    said = record.getMessage()
    assert said.startswith("3 jobs are left unfinished, and no worker is alive to run them: unfinished jobs ")
    assert "'await jp.drain()' before leaving waits for them" in said
    # A store in memory is not one that waits, and no daemon reaches it.
    assert ("stay in the store" in said) == ("a daemon on the same store" in said) == (stores.kind == "sqlite")
    assert ("end with this program" in said) == (stores.kind == "memory")
    async with stores.processor() as jp:  # what the message says is left, is
        await jp.drain(timeout=PATIENCE)
        assert [job.status for job in await jp.find_jobs()] == [COMPLETED] * 3


async def test_leaving_with_one_unfinished_job_speaks_of_one(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        await jp.submit_job(nothing)
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith("1 job is left unfinished, and no worker is alive to run it: ")


async def test_leaving_with_nothing_unfinished_does_not_warn(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    async with stores.processor() as jp:
        await (await jp.submit_job(nothing))
    async with stores.processor() as jp:
        pass
    assert caplog.records == []


async def test_who_submitted_nothing_is_not_warned(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        await jp.submit_job(nothing)
    caplog.clear()
    async with stores.processor(enable_daemon=False) as jp:
        assert len(await jp.find_jobs()) == 1
    assert caplog.records == []


@pytest.mark.persistent
async def test_no_warning_while_another_worker_lives(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    async with stores.processor(queues=("other",)):
        async with stores.processor(enable_daemon=False) as jp:
            await jp.submit_job(nothing)
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_waiting_for_a_job_that_nobody_can_run_warns_once_with_the_mend(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        handle = await jp.submit_job(nothing, job_id="x")

        async def wait() -> None:
            await handle

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(wait)
            while len(get_engine(jp)._parts.waiting._watches) < 2:
                await anyio.sleep(0)
            with anyio.fail_after(PATIENCE):
                for _ in range(4):
                    clock.advance(1.5)
                    while not caplog.records:
                        await anyio.sleep(0)
                    for _ in range(20):
                        await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        messages = [record.getMessage() for record in caplog.records]
        command = start_command(jp.backend, [(await jp.get_job("x")).func])
        run = "" if command is None else f"run '{command}', or "
        assert messages == [
            f"waiting for job 'x', but no worker is alive; {run}open a JobProcessor with enable_daemon=True"
        ]
        await handle.cancel()


async def test_waiting_for_a_job_that_is_only_slow_does_not_warn(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        held: Any = Held(1)
        handle = await jp.submit_job(held.body, local=True)
        await held.started.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handle.result)
            for _ in range(3):
                await clock.wait_for_sleepers(2)
                clock.advance(1.5)
                for _ in range(20):
                    await anyio.sleep(0)
            held.go.open()
        assert caplog.records == []
