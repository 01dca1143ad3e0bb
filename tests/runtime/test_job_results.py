"""The error of a job that waited for another in vain names what is to be retried first."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs import JobExecutionError, JobProcessor, JobStatus, current_job, gather
from tests.runtime.support import PATIENCE, nothing

pytestmark = pytest.mark.anyio

broken: set[str] = set()


async def leaf() -> str:
    if "leaf" in broken:
        raise RuntimeError("503 from the model")
    return "fine"


async def middle() -> str:
    return await (await current_job().submit_job(leaf, key="leaf", max_retries=0))


async def top() -> str:
    return await (await current_job().submit_job(middle, key="mid", max_retries=0))


async def gathering() -> list[Any]:
    children = [await current_job().submit_job(one, key=f"{i}", max_retries=0) for i, one in enumerate((leaf, leaf))]
    return list(await gather(*children))


def in_a_thread() -> Any:
    return current_job().submit_job_sync(leaf, key="leaf", max_retries=0).result_sync()


async def of_a_cancelled_child() -> Any:
    child = await current_job().submit_job(nothing, key="c", delay=3600)
    await child.cancel()
    return await child


async def of_a_skipped_child() -> Any:
    child = await current_job().submit_job(leaf, key="bad", max_retries=0)
    after = await current_job().submit_job(nothing, key="after", depends_on=child)
    return await after


@pytest.fixture(autouse=True)
def _broken() -> Any:
    broken.add("leaf")
    yield
    broken.clear()


async def failed(jp: JobProcessor, body: Any) -> JobExecutionError:
    handle = await jp.submit_job(body, job_id="root", max_retries=0)
    with pytest.raises(JobExecutionError) as caught:
        await handle.result(timeout=PATIENCE)
    return caught.value


@pytest.mark.parametrize("body", [middle, in_a_thread])
async def test_the_hint_names_the_child_and_is_there_once(jp: JobProcessor, body: Any) -> None:
    error = await failed(jp, body)
    assert str(error).splitlines() == [
        "job 'root' failed after 1 attempt: asyncjobs.exceptions.JobExecutionError: "
        "job 'root/leaf' failed after 1 attempt: RuntimeError: 503 from the model",
        "  hint: await jp.handle('root/leaf').retry(), then await handle.retry()",
    ]
    assert error.retry_first == ("root/leaf",)


async def test_what_is_stored_names_it_too_for_why_and_for_other_programs(jp: JobProcessor) -> None:
    await failed(jp, middle)
    job = await jp.get_job("root")
    assert job.error is not None
    text = (
        "job 'root/leaf' failed after 1 attempt: RuntimeError: 503 from the model\n"
        "  hint: await jp.handle('root/leaf').retry(), then retry this job"
    )
    assert job.error.message == text
    assert (await jp.why("root")).sentence.endswith(text)
    assert "await handle.retry()" not in (job.error.traceback_text or "")


async def test_of_a_chain_the_innermost_comes_first(jp: JobProcessor) -> None:
    error = await failed(jp, top)
    assert error.retry_first == ("root/mid/leaf", "root/mid")
    assert str(error).count("hint:") == 1
    assert str(error.hint) == (
        "await jp.handle('root/mid/leaf').retry(), await jp.handle('root/mid').retry(), then await handle.retry()"
    )


@pytest.mark.parametrize("body", [middle, top])
async def test_the_hint_works(jp: JobProcessor, body: Any) -> None:
    error = await failed(jp, body)
    broken.clear()
    for job_id in error.retry_first:
        assert await jp.handle(job_id).retry() in (JobStatus.PENDING, JobStatus.IN_PROGRESS)
    handle = jp.handle("root")
    await handle.retry()
    assert await handle.result(timeout=PATIENCE) == "fine"


async def test_gather_names_the_child_that_failed(jp: JobProcessor) -> None:
    error = await failed(jp, gathering)
    assert len(error.retry_first) == 1
    assert error.retry_first[0] in ("root/0", "root/1")


async def test_of_a_cancelled_child_it_is_the_child(jp: JobProcessor) -> None:
    assert (await failed(jp, of_a_cancelled_child)).retry_first == ("root/c",)


async def test_of_a_skipped_child_it_is_the_cause(jp: JobProcessor) -> None:
    assert (await failed(jp, of_a_skipped_child)).retry_first == ("root/bad",)


@pytest.mark.persistent
async def test_a_body_in_a_child_process_names_it_too(jp: JobProcessor) -> None:
    handle = await jp.submit_job(of_a_cancelled_child, job_id="root", max_retries=0, isolation="process")
    with pytest.raises(JobExecutionError) as caught:
        await handle.result(timeout=PATIENCE)
    assert caught.value.retry_first == ("root/c",)


async def test_an_id_with_quotes_is_read_back(jp: JobProcessor) -> None:
    handle = await jp.submit_job(middle, job_id='it\'s "x" \\ y', max_retries=0)
    with pytest.raises(JobExecutionError) as caught:
        await handle.result(timeout=PATIENCE)
    assert caught.value.retry_first == ('it\'s "x" \\ y/leaf',)


async def test_an_error_of_its_own_that_looks_like_one_is_left_as_it_is(jp: JobProcessor) -> None:
    error = await failed(jp, leaf)
    assert (error.retry_first, error.hint) == ((), "await handle.retry() runs it again")
