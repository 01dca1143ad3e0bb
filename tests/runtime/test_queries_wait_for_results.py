"""``wait_for_results``: all ends, in the order that was asked for, whatever they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncjobs import (
    ConfigurationError,
    CyclicDependencyError,
    JobNotFoundError,
    JobProcessor,
    JobResult,
    JobStatus,
    JobTimeoutError,
    SyncJobs,
    current_job,
)
from asyncjobs.models import OutcomeKind
from tests.runtime.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    PATIENCE,
    SKIPPED,
    Held,
    Stores,
    add,
    echo,
    fail,
    nothing,
)

pytestmark = pytest.mark.anyio


async def every_end(jp: JobProcessor) -> list[str]:
    """One job for each way to end."""
    await jp.submit_job(fail, job_id="failed", max_retries=0)
    await jp.submit_job(echo, 1, job_id="skipped", depends_on="failed")
    await jp.submit_job(echo, 1, job_id="cancelled", delay=3600)
    await jp.cancel_job("cancelled")
    await jp.submit_job(add, 1, 2, job_id="completed")
    return ["skipped", "completed", "cancelled", "failed"]


async def test_all_ends_come_in_the_order_of_the_ids_and_none_is_raised(jp: JobProcessor) -> None:
    ids = await every_end(jp)
    results = await jp.wait_for_results(ids, timeout=PATIENCE)
    assert [result.job_id for result in results] == ids
    assert [result.status for result in results] == [SKIPPED, COMPLETED, CANCELLED, FAILED]
    skipped, _, _, failed = results
    assert skipped.because == "failed"
    assert failed.error is not None
    assert (failed.error.error_type, failed.error_kind) == ("ValueError", OutcomeKind.FAILED)


async def test_results_are_what_the_store_has_also_of_jobs_that_ended_here_just_now(jp: JobProcessor) -> None:
    ids = await every_end(jp)
    at_once = await jp.wait_for_results(ids, timeout=PATIENCE)
    later = await jp.wait_for_results(ids)
    stored = await jp.backend.get_results(ids)
    assert at_once == later == [stored[job_id] for job_id in ids]
    completed = at_once[1]
    assert completed.function.endswith(":add")
    assert completed.attempt == 1


async def test_a_value_is_had_by_get_result(jp: JobProcessor) -> None:
    job = await jp.submit_job(add, 1, 2)
    [result] = await jp.wait_for_results([job], timeout=PATIENCE)
    assert isinstance(result.value, bytes)
    assert await jp.get_result(result.job_id) == 3


async def test_handles_ids_duplicates_and_any_iterable_are_taken(jp: JobProcessor) -> None:
    one, two = await jp.map_jobs(echo, [1, 2])
    results = await jp.wait_for_results((job for job in (two, one.id, two)), timeout=PATIENCE)
    assert [result.job_id for result in results] == [two, one, two]
    assert results[0] == results[2]
    assert await jp.wait_for_results([]) == []


async def test_more_jobs_than_a_page_are_waited_for(jp: JobProcessor) -> None:
    jobs = await jp.map_jobs(echo, range(1100))
    results = await jp.wait_for_results(jobs, timeout=6 * PATIENCE)
    assert [result.job_id for result in results] == jobs
    assert {result.status for result in results} == {COMPLETED}


async def test_time_is_for_all_of_them_and_what_has_ended_is_no_matter_of_time(jp: JobProcessor) -> None:
    done = await jp.submit_job(echo, 1)
    await done.result(timeout=PATIENCE)
    later = await jp.submit_job(echo, 1, delay=3600)
    with pytest.raises(JobTimeoutError):
        await jp.wait_for_results([done, later], timeout=0.01)
    assert [result.status for result in await jp.wait_for_results([done], timeout=0)] == [COMPLETED]


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_an_unknown_id_is_refused_with_the_nearest_one(jp: JobProcessor, place: int) -> None:
    ids: list[str] = [await jp.submit_job(echo, 1, job_id="page-1", delay=3600), await jp.submit_job(echo, 1)]
    ids.insert(place, "pgae-1")
    with pytest.raises(JobNotFoundError, match="page-1") as caught:
        await jp.wait_for_results(ids, timeout=PATIENCE)
    assert caught.value.job_id == "pgae-1"


@pytest.mark.parametrize("wrong", ["one", 5, None, [5], [None], [["a"]]], ids=repr)
async def test_what_is_no_list_of_ids_is_refused(jp: JobProcessor, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="job_ids?"):
        await jp.wait_for_results(wrong)


async def test_a_job_that_is_cancelled_while_it_is_waited_for_has_ended(jp: JobProcessor) -> None:
    held = Held()
    job = await jp.submit_job(held.body, local=True)
    found: list[JobResult] = []

    async def wait() -> None:
        found.extend(await jp.wait_for_results([job], timeout=PATIENCE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await held.started.wait()
        await jp.cancel_job(job)
    assert [result.status for result in found] == [CANCELLED]


async def test_another_process_s_ends_are_seen(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as submitter:
        jobs = [await submitter.submit_job(fail, max_retries=0), await submitter.submit_job(add, 1, 2)]
        if stores.kind == "memory":
            pytest.skip("a store in memory has one processor")
        async with stores.processor(functions=[fail, add]):
            results = await submitter.wait_for_results(jobs, timeout=PATIENCE)
    assert [result.status for result in results] == [FAILED, COMPLETED]


async def _in_a_coroutine(jp: JobProcessor) -> list[JobStatus]:
    children = [await current_job().submit_job(nothing), await current_job().submit_job(fail, max_retries=0)]
    return [result.status for result in await jp.wait_for_results(children)]


async def test_a_body_that_waits_lends_its_only_slot(stores: Stores) -> None:
    async with stores.processor(num_workers=1) as jp:

        async def body() -> list[str]:
            return [str(status) for status in await _in_a_coroutine(jp)]

        job = await jp.submit_job(body, local=True)
        assert await job.result(timeout=PATIENCE) == ["completed", "failed"]


async def test_a_body_that_waits_for_itself_is_refused(jp: JobProcessor) -> None:
    async def body() -> str:
        try:
            await jp.wait_for_results(["other", "me"])
        except CyclicDependencyError as error:
            return "refused: " + " ".join(error.path)
        return "waited"

    await jp.submit_job(echo, 1, job_id="other")
    job = await jp.submit_job(body, job_id="me", local=True, max_retries=0)
    assert (await job.result(timeout=PATIENCE)).startswith("refused: me")


def test_sync_jobs_wait_for_all_ends(tmp_path: Any) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        bad, good = jobs.submit_job(fail, max_retries=0), jobs.submit_job(add, 1, 2)
        results = jobs.wait_for_results([bad, good.id], timeout=PATIENCE)
        assert [result.status for result in results] == [FAILED, COMPLETED]
        assert jobs.get_result(results[1].job_id) == 3
        with pytest.raises(JobNotFoundError):
            jobs.wait_for_results(["nobody"])
        wait: Callable[..., Any] = jobs.wait_for_results
        with pytest.raises(ConfigurationError):
            wait("one")
