"""Jobs that are submitted from inside a job."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asyncjobs import (
    ConfigurationError,
    DuplicateJobError,
    JobConflictError,
    JobExecutionError,
    JobProcessor,
    JobQuery,
    JobStateError,
    JobStatus,
    RetryPolicy,
    SubmissionError,
    current_job,
)
from tests.runtime.support import CANCELLED, PATIENCE, Gate, Held, add, echo, nothing

pytestmark = pytest.mark.anyio

AT_ONCE = RetryPolicy(base=0.0)


async def test_a_child_has_its_parents_id_a_number_and_the_group(jp: JobProcessor) -> None:
    async def body() -> list[str]:
        job = current_job()
        keys = (None, None, "cover")
        return [await job.submit_job(nothing, key=key) for key in keys]

    job = await jp.submit_job(body, job_id="p", group="g", local=True)
    assert await job == ["p/1", "p/2", "p/cover"]
    children = await jp.find_jobs(JobQuery(parent_id="p"))
    assert [(child.id, child.group, child.parent_id) for child in children] == [
        ("p/1", "g", "p"),
        ("p/2", "g", "p"),
        ("p/cover", "g", "p"),
    ]


async def test_a_plain_function_submits_and_waits_in_its_thread(jp: JobProcessor) -> None:
    def body() -> Any:
        child = current_job().submit_job_sync(add, 1, 2)
        return [child.id, child.result_sync(timeout=PATIENCE)]

    assert await (await jp.submit_job(body, job_id="p", local=True)) == ["p/1", 3]


async def test_grandchildren(jp: JobProcessor) -> None:
    async def child() -> str:
        return await current_job().submit_job(nothing, key="b")

    async def body() -> str:
        return await (await current_job().submit_job(child, key="a", local=True))

    assert await (await jp.submit_job(body, job_id="p", local=True)) == "p/a/b"


async def test_a_later_attempt_gets_the_children_of_the_earlier_one(jp: JobProcessor) -> None:
    runs: list[int] = []

    async def child(n: int) -> int:
        runs.append(n)
        return n * 10

    async def body() -> list[int]:
        handles = [await current_job().submit_job(child, n, local=True) for n in range(3)]
        values = [await handle for handle in handles]
        if current_job().attempt == 1:
            raise ValueError("after the children")
        return values

    assert await (await jp.submit_job(body, local=True, retry=AT_ONCE)) == [0, 10, 20]
    assert sorted(runs) == [0, 1, 2]


async def test_other_arguments_under_the_same_child_id_conflict(jp: JobProcessor) -> None:
    async def body() -> str:
        job = current_job()
        await job.submit_job(echo, 1, key="k")
        for args, func in (((2,), echo), ((), nothing)):
            with pytest.raises(JobConflictError, match="p/k"):
                await job.submit_job(func, *args, key="k")
        return await job.submit_job(echo, 1, key="k")

    assert await (await jp.submit_job(body, job_id="p", local=True)) == "p/k"


async def test_a_child_may_depend_on_a_sibling(jp: JobProcessor) -> None:
    async def body() -> int:
        job = current_job()
        first = await job.submit_job(echo, 1)
        second = await job.submit_job(add, first, 1)
        return await second

    assert await (await jp.submit_job(body, local=True)) == 2


async def test_a_child_outlives_its_parent(jp: JobProcessor) -> None:
    held = Held("late")

    async def body() -> str:
        return await current_job().submit_job(held.body, local=True)

    child_id = await (await jp.submit_job(body, local=True))
    await held.started.wait()
    held.go.open()
    assert await jp.handle(child_id) == "late"


async def test_what_is_refused_of_children(jp: JobProcessor) -> None:
    async def body() -> list[str]:
        refused: list[str] = []
        job = current_job()
        for options in ({"job_id": "mine"}, {"key": ""}, {"key": "x" * 600}, {"key": "a\nb"}):
            try:
                await job.submit_job(echo, 1, **options)
            except (ConfigurationError, SubmissionError) as error:
                refused.append(type(error).__name__)
        return refused

    refused = await (await jp.submit_job(body, job_id="p", local=True))
    assert refused == ["ConfigurationError"] * 4
    assert [job.id for job in await jp.find_jobs()] == ["p"]


async def test_a_failure_in_submitting_a_child_is_the_bodys_failure(jp: JobProcessor) -> None:
    async def body() -> None:
        await current_job().submit_job(add, 1)

    with pytest.raises(JobExecutionError, match="missing the argument 'b'"):
        await (await jp.submit_job(body, local=True, max_retries=0))


async def test_an_ended_attempt_submits_nothing(jp: JobProcessor) -> None:
    """A context that a body let out is stale once the body has ended."""
    kept: list[Any] = []

    async def body() -> None:
        kept.append(current_job())

    await (await jp.submit_job(body, local=True))
    with pytest.raises(JobStateError, match="no longer held"):
        await kept[0].submit_job(nothing)
    assert len(await jp.find_jobs()) == 1


async def test_an_earlier_attempt_submits_nothing_while_a_later_one_runs(jp: JobProcessor) -> None:
    kept: list[Any] = []
    second, go = Gate(), Gate()

    async def body() -> None:
        kept.append(current_job())
        if current_job().attempt == 1:
            raise ValueError
        second.open()
        await go.wait()

    job = await jp.submit_job(body, job_id="p", local=True, retry=AT_ONCE)
    await second.wait()
    with pytest.raises(JobStateError, match="no longer held"):
        await kept[0].submit_job(nothing, key="stale")
    await kept[1].submit_job(nothing, key="fresh")
    go.open()
    await job
    assert [child.id for child in await jp.find_jobs(JobQuery(parent_id="p"))] == ["p/fresh"]


async def test_cancelling_descendants(jp: JobProcessor) -> None:
    waiting = Gate()

    async def child() -> None:
        await current_job().submit_job(nothing, key="deep", delay=3600)

    async def body() -> None:
        await (await current_job().submit_job(child, key="child", local=True))
        await current_job().submit_job(nothing, key="late", delay=3600)
        waiting.open()
        await Held().body()

    job = await jp.submit_job(body, job_id="p", local=True)
    await waiting.wait()
    await job.cancel(descendants=True)
    await jp.drain(timeout=PATIENCE)
    statuses = {found.id: str(found.status) for found in await jp.find_jobs()}
    assert statuses == {"p": "cancelled", "p/child": "completed", "p/child/deep": "cancelled", "p/late": "cancelled"}
    assert (await jp.get_job("p")).status is CANCELLED


async def test_the_tree_closes_although_a_threads_body_goes_on_submitting(jp: JobProcessor) -> None:
    asked = Gate()
    refused: list[str] = []
    body_begun = Gate()

    def body() -> None:
        for key in ("early", "late", "later"):
            try:
                current_job().submit_job_sync(nothing, key=key, delay=3600)
            except JobStateError as error:
                refused.append(f"{key}: {error.status}")
            body_begun.open()
            asked.wait_sync()

    job = await jp.submit_job(body, job_id="p", local=True)
    await body_begun.wait()
    await job.cancel(descendants=True)
    asked.open()
    assert (await jp.wait_for_job(job, timeout=PATIENCE)).status is CANCELLED
    assert refused == ["late: asked to stop", "later: asked to stop"]
    assert {found.id: found.status for found in await jp.find_jobs()} == {"p": CANCELLED, "p/early": CANCELLED}


async def test_the_tree_closes_although_an_async_body_submits_in_its_clean_up(jp: JobProcessor) -> None:
    begun = Gate()
    refused: list[str] = []

    async def body() -> None:
        try:
            begun.open()
            await Held().body()
        finally:
            with anyio.CancelScope(shield=True):
                try:
                    await current_job().submit_job(nothing, key="late", delay=3600)
                except JobStateError as error:
                    refused.append(error.status)

    job = await jp.submit_job(body, job_id="p", local=True)
    await begun.wait()
    await job.cancel(descendants=True)
    assert (await jp.wait_for_job(job, timeout=PATIENCE)).status is CANCELLED
    assert refused == ["asked to stop"]
    assert [found.id for found in await jp.find_jobs()] == ["p"]


async def test_without_descendants_the_children_go_on(jp: JobProcessor) -> None:
    waiting = Gate()
    child = Held("alive")

    async def body() -> None:
        handle = await current_job().submit_job(child.body, key="c", local=True)
        waiting.open()
        await handle

    job = await jp.submit_job(body, job_id="p", local=True)
    await waiting.wait()
    await child.started.wait()
    await job.cancel()
    assert (await jp.wait_for_job(job, timeout=PATIENCE)).status is CANCELLED
    child.go.open()
    assert await jp.handle("p/c") == "alive"


async def test_a_child_of_a_taken_id_is_the_same_job_or_a_conflict(jp: JobProcessor) -> None:
    """Somebody else may have used the id; it is not taken over."""
    await jp.submit_job(echo, "foreign", job_id="p/1")

    async def body() -> None:
        await current_job().submit_job(nothing)

    with pytest.raises(JobExecutionError, match="JobConflictError"):
        await (await jp.submit_job(body, job_id="p", local=True, max_retries=0))
    with pytest.raises(DuplicateJobError):
        await jp.submit_job(nothing, job_id="p/1")


# -- ids that do not grow


async def successor(left: int, name: str | None = None) -> int:
    if left:
        await current_job().submit_job(successor, left - 1, name, key=name)
    return left


@pytest.mark.parametrize("key", [None, "chapter-of-the-story"])
async def test_a_chain_of_successors_has_ids_of_one_length(jp: JobProcessor, key: str | None) -> None:
    await jp.submit_job(successor, 120, key, job_id="root")
    await jp.drain(timeout=PATIENCE * 2)
    jobs = await jp.find_jobs(JobQuery(limit=1000))
    assert len({job.id for job in jobs}) == 121
    assert max(len(job.id) for job in jobs) <= 128
    assert all(job.id.startswith("root") for job in jobs)
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_deep_child_is_found_by_a_later_attempt(jp: JobProcessor, isolation: Any) -> None:
    job_id = "p/" + "x" * 200
    once_more = RetryPolicy(max_retries=1, base=0.0)
    for _ in range(2):
        job = await jp.submit_job(deep, job_id=job_id, if_exists="return", isolation=isolation, retry=once_more)
    with pytest.raises(JobExecutionError):
        await job
    await job.retry()
    with pytest.raises(JobExecutionError):
        await job
    children = await jp.find_jobs(JobQuery(parent_id=job))
    assert len(children) == 1
    assert children[0].id.startswith("p/~")
    assert children[0].id.endswith("/cover")


async def deep() -> None:
    await current_job().submit_job(nothing, key="cover")
    raise ValueError("again")


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_deep_child_that_an_earlier_version_stored_keeps_its_id(jp: JobProcessor, isolation: Any) -> None:
    job_id = "p/" + "x" * 200
    await jp.submit_job(nothing, job_id=f"{job_id}/cover")  # as the parent's first attempt named it
    job = await jp.submit_job(deep, job_id=job_id, isolation=isolation, max_retries=0)
    with pytest.raises(JobExecutionError):
        await job
    [first] = await jp.find_jobs(JobQuery(parent_id=job))
    assert first.id.startswith("p/~")  # a first attempt has no earlier children
    await job.retry()
    with pytest.raises(JobExecutionError):
        await job
    assert [child.id for child in await jp.find_jobs(JobQuery(parent_id=job))] == [first.id]
    assert len(await jp.find_jobs()) == 3


@pytest.mark.parametrize("key", ["", 3, b"x"])
async def test_a_key_is_a_text(jp: JobProcessor, key: Any) -> None:
    async def body() -> None:
        await current_job().submit_job(nothing, key=key)

    with pytest.raises(JobExecutionError, match="key cannot be"):
        await (await jp.submit_job(body, local=True, max_retries=0))


async def submit_with_key(named: Any) -> str:
    return await current_job().submit_job(nothing, key=named)


def submit_with_key_sync(named: Any) -> str:
    return current_job().submit_job_sync(nothing, key=named)


@pytest.mark.parametrize("key", ["k" * 600, "a\nb", "a\x00", "é" * 513, "two\u2028lines"])
@pytest.mark.parametrize("body", [submit_with_key, submit_with_key_sync])
async def test_a_key_of_which_no_id_can_be_made_is_refused_as_a_key(jp: JobProcessor, body: Any, key: str) -> None:
    handle = await jp.submit_job(body, key, max_retries=0)
    with pytest.raises(
        JobExecutionError, match=r"ConfigurationError: key cannot be '.*'; allowed: 1 to \d+ "
    ) as caught:
        await handle.result(timeout=PATIENCE)
    assert "job_id" not in caught.value.message


@pytest.mark.parametrize("parent", ["p", "p" * 200])
async def test_the_longest_key_is_as_long_as_the_error_allows(jp: JobProcessor, parent: str) -> None:
    refused = await jp.submit_job(submit_with_key, "k" * 600, job_id=parent, max_retries=0)
    with pytest.raises(JobExecutionError) as caught:
        await refused.result(timeout=PATIENCE)
    longest = int(caught.value.message.partition("1 to ")[2].split()[0])
    await jp.remove_jobs(refused)
    taken = await jp.submit_job(submit_with_key, "k" * longest, job_id=parent, max_retries=0)
    assert (await taken.result(timeout=PATIENCE)).endswith("k" * longest)


@pytest.mark.parametrize(("key", "hint"), [("a", "use another key"), (None, "give each child a key")])
async def test_the_hint_of_a_conflict_is_about_keys(jp: JobProcessor, key: str | None, hint: str) -> None:
    async def body() -> str:
        if key is None:
            await jp.submit_job(echo, 1, job_id=f"{current_job().id}/1")
            return await current_job().submit_job(nothing)
        await current_job().submit_job(nothing, key=key)
        return await current_job().submit_job(echo, 1, key=key)

    handle = await jp.submit_job(body, local=True, max_retries=0)
    with pytest.raises(JobExecutionError) as caught:
        await handle.result(timeout=PATIENCE)
    assert hint in caught.value.message
    assert "job_id" not in caught.value.message


@pytest.mark.persistent
@pytest.mark.parametrize("key", ["k" * 600, "a\nb"])
async def test_a_key_is_named_in_a_child_process_too(jp: JobProcessor, key: str) -> None:
    handle = await jp.submit_job(submit_with_key_sync, key, max_retries=0, isolation="process")
    with pytest.raises(JobExecutionError, match="key cannot be"):
        await handle.result(timeout=PATIENCE)
