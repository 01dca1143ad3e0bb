"""What a type checker knows of the public interface. Nothing here runs: pyright and mypy read it (``test_typing``)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, assert_type

from asyncjobs import (
    Job,
    JobEvent,
    JobHandle,
    JobPage,
    JobProcessor,
    JobStatus,
    Reason,
    StatusReport,
    SyncJobs,
    as_completed,
    current_job,
    gather,
    job,
)
from asyncjobs.sync import SyncHandle


class Picture:
    """A result of a program's own."""


async def draw(prompt: str, size: int = 1) -> Picture:
    raise NotImplementedError


def count(text: str) -> int:
    raise NotImplementedError


@job
async def marked(prompt: str) -> Picture:
    raise NotImplementedError


@job(queue="gpu", timeout=60)
def marked_with_options(text: str, *, width: int = 3) -> int:
    raise NotImplementedError


class Studio:
    """Methods are functions, too."""

    @job
    @staticmethod
    def render(scene: str) -> bytes:
        raise NotImplementedError


async def a_decorated_function_keeps_its_signature() -> None:
    assert_type(await marked("x"), Picture)
    assert_type(marked_with_options("x", width=4), int)
    marked_with_options(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(Studio.render("x"), bytes)


async def a_handle_knows_the_result(jp: JobProcessor) -> None:
    assert_type(await jp.submit_job(draw, "x"), JobHandle[Picture])
    assert_type(await jp.submit_job(count, "x", group="g"), JobHandle[int])
    assert_type(await jp.submit_job(marked, "x"), JobHandle[Picture])
    assert_type(await jp.submit_job(marked_with_options, "x"), JobHandle[int])
    handle = await jp.submit_job(draw, "x")
    assert_type(await handle, Picture)
    assert_type(await handle.result(timeout=3), Picture)
    assert_type(handle.result_sync(), Picture)
    assert_type(await handle.status(), JobStatus)
    assert_type(handle.events(), AsyncIterator[JobEvent])


async def many_jobs_know_it_too(jp: JobProcessor) -> None:
    assert_type(await jp.map_jobs(draw, ["a", "b"]), list[JobHandle[Picture]])
    assert_type(await jp.map_jobs(count, ["a", "b"], queue="q"), list[JobHandle[int]])
    async with jp.batch() as batch:
        assert_type(batch.submit_job(draw, "x"), JobHandle[Picture])
        assert_type(batch.submit_job(count, "x"), JobHandle[int])


async def children_know_it_too() -> None:
    context = current_job()
    assert_type(await context.submit_job(draw, "x"), JobHandle[Picture])
    assert_type(await context.submit_job(count, "x", key="k"), JobHandle[int])
    assert_type(context.submit_job_sync(count, "x"), JobHandle[int])


async def a_gate_knows_its_answer(jp: JobProcessor, jobs: SyncJobs) -> None:
    assert_type(await jp.submit_gate("?"), JobHandle[bool])
    assert_type(await jp.submit_gate("?", timeout=60, default=True, depends_on=["a"], group="g"), JobHandle[bool])
    assert_type(await jp.submit_gate("?", choices=["a", "b"], reject_on=["b"]), JobHandle[str])
    assert_type(await jp.submit_gate("?", answer_type=Picture), JobHandle[Picture])
    assert_type(await jp.submit_gate("?", answer_type=list[int], default=[], timeout=1), JobHandle[list[int]])
    assert_type(await jp.submit_gate("?", answer_type=Literal["a", 1]), JobHandle[Any])
    assert_type(await (await jp.submit_gate("?", answer_type=int)), int)
    assert_type(await jp.answer_job("x", 3, "ada"), JobStatus)
    assert_type(await jp.reject_job("x", "no", by="ada"), JobStatus)
    assert_type(await (await jp.submit_gate("?")).answer(), JobStatus)
    async with jp.batch() as batch:
        assert_type(batch.submit_gate("?"), JobHandle[bool])
        assert_type(batch.submit_gate("?", answer_type=int), JobHandle[int])
    context = current_job()
    assert_type(await context.submit_gate("?", key="k", answer_type=int), JobHandle[int])
    assert_type(context.submit_gate_sync("?", choices=["a"]), JobHandle[str])
    assert_type(jobs.submit_gate("?"), SyncHandle[bool])
    assert_type(jobs.submit_gate("?", answer_type=int).result(), int)
    assert_type(jobs.answer_job("x"), JobStatus)
    await jp.submit_gate("?", queue="q")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def steps_return_what_their_functions_do() -> None:
    context = current_job()
    assert_type(await context.step("k", draw, "x", size=2), Picture)
    assert_type(await context.step("k", count, "x"), int)
    assert_type(await context.step("k", marked_with_options, "x", width=4), int)
    assert_type(await context.step("k", lambda: 1), int)
    assert_type(context.step_sync("k", count, "x"), int)
    await context.step("k", count, 1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]


async def gathering(one: JobHandle[int], two: JobHandle[str], many: list[JobHandle[Picture]]) -> None:
    assert_type(await gather(one, two), tuple[int, str])
    assert_type(await gather(*many), list[Picture])
    assert_type(await gather(one, two, return_exceptions=True), tuple[int | BaseException, str | BaseException])
    assert_type(await gather(*many, return_exceptions=True), list[Picture | BaseException])
    async for done in as_completed(many):
        assert_type(done, JobHandle[Picture])
        assert_type(await done, Picture)


async def a_handle_of_a_subclass_is_one_of_its_base(one: JobHandle[bool], two: JobHandle[str]) -> None:
    both: list[JobHandle[object]] = [one, two]
    assert_type(await gather(*both), list[object])


async def answers(jp: JobProcessor) -> None:
    assert_type(await jp.get_job("x"), Job)
    assert_type(await jp.find_jobs(), JobPage)
    assert_type(await jp.why("x"), Reason)
    assert_type(await jp.poll_status("x"), StatusReport)
    assert_type(await jp.poll_batch(["x"]), dict[str, StatusReport | None])
    assert_type(jp.stream_job("x"), AsyncIterator[JobEvent])


async def a_run_takes_the_options_of_jobs_and_its_own(jp: JobProcessor, jobs: SyncJobs) -> None:
    assert_type(await jp.submit_crew_run(count, {"topic": "x"}, args=("a",), durable=False, group="g"), JobHandle[Any])
    assert_type(await jp.submit_flow_run("shop.flows:Story", depends_on=["a"], job_id="x"), JobHandle[Any])
    async with jp.batch() as batch:
        assert_type(batch.submit_crew_run(count, kwargs={"a": 1}), JobHandle[Any])
    context = current_job()
    assert_type(await context.submit_crew_run(count, key="k"), JobHandle[Any])
    assert_type(context.submit_flow_run_sync(count, timeout=60.0), JobHandle[Any])
    assert_type(jobs.submit_crew_run(count), SyncHandle[Any])
    await jp.submit_crew_run(count, color="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def plain_programs(jobs: SyncJobs) -> None:
    assert_type(jobs.submit_job(draw, "x"), SyncHandle[Picture])
    assert_type(jobs.submit_job(count, "x"), SyncHandle[int])
    assert_type(jobs.submit_job(count, "x").result(), int)
    assert_type(jobs.map_jobs(count, ["x"]), list[SyncHandle[int]])
    assert_type(jobs.gather(*jobs.map_jobs(count, ["x"])), list[int])
    assert_type(jobs.poll_batch(["x"]), Mapping[str, StatusReport | None])
