"""Who asks for a job that is not there is told which one was probably meant."""

from __future__ import annotations

import time

import pytest

from asyncjobs import JobNotFoundError, JobProcessor, MemoryBackend
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.runtime.suggestions import nearest_id
from asyncjobs.testing.faults import FaultyBackend
from tests.runtime.support import Stores

pytestmark = pytest.mark.anyio


async def nothing(_: int = 0) -> None: ...


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("panel_Ana_01", "panel_Anna_01"),
        ("panel_Anna_1", "panel_Anna_01"),
        ("panel_Bob_02", "panel_Bob_03"),
        ("Panel_Anna_01", "panel_Anna_01"),
        ("PAGE/7", "page/7"),
        (" page/7 ", "page/7"),
        ("page/77", "page/7"),
        ("video", None),
        ("p", None),
        ("panel%", None),
        ("", None),
        ("panel_Anna_01" * 20, None),
    ],
)
async def test_the_nearest_id(stores: Stores, asked: str, near: str | None) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        for job_id in ("panel_Anna_01", "panel_Bob_03", "page/7", "zebra"):
            await jp.submit_job(nothing, job_id=job_id)
        assert await nearest_id(jp.backend, asked) == near


async def test_every_question_for_a_job_names_it(jp: JobProcessor) -> None:
    await jp.submit_job(nothing, job_id="panel_Anna_01")
    questions = [jp.get_job, jp.get_status, jp.get_result, jp.get_attempts, jp.poll_status, jp.why]
    for ask in (*questions, jp.wait_for_job, jp.cancel_job, jp.retry_job):
        with pytest.raises(JobNotFoundError) as caught:
            await ask("panel_Ana_01")
        assert (caught.value.job_id, caught.value.near) == ("panel_Ana_01", "panel_Anna_01")
        assert "did you mean 'panel_Anna_01'?" in str(caught.value)
        assert caught.value.__cause__ is None
    with pytest.raises(JobNotFoundError, match="did you mean"):
        await jp.handle("panel_Ana_01")


async def test_it_costs_a_few_short_reads_however_many_jobs_there_are() -> None:
    store = FaultyBackend(MemoryBackend())
    async with JobProcessor(store, enable_daemon=False) as jp:
        await jp.map_jobs(nothing, range(3000))
        first = (await jp.find_jobs()).pop()
        asked = first.id[:-3] + "zzz"
        store.calls.clear()
        began = time.process_time()
        assert await nearest_id(store, asked) is not None
        assert time.process_time() - began < 0.5
        assert store.calls["find_ids"] + store.calls["get_jobs"] <= 10  # what else is called, is called beside it


async def test_a_store_that_cannot_be_asked_gives_no_hint_and_no_other_error() -> None:
    store = FaultyBackend(MemoryBackend())
    async with JobProcessor(store, enable_daemon=False) as jp:
        await jp.submit_job(nothing, job_id="page_1")
        for method, nth in (("get_jobs", 2), ("find_ids", 1)):
            store.fail(method, nth, error=BackendConnectionError("it is away"))
            with pytest.raises(JobNotFoundError) as caught:
                await jp.get_job("page_2")
            assert caught.value.near is None
        with pytest.raises(JobNotFoundError, match="did you mean 'page_1'"):
            await jp.get_job("page_2")
