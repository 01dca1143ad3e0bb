"""Reading a call back: ``get_arguments``, ``get_dependencies``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from asyncjobs import (
    CorruptValueError,
    Edge,
    EdgeState,
    JobArguments,
    JobHandle,
    JobNotFoundError,
    JobProcessor,
    JobProcessorError,
    JobRequest,
    SyncHandle,
    SyncJobs,
)
from asyncjobs.backends.base import NewJob
from asyncjobs.core.retry import RetryPolicy
from tests.runtime.support import PATIENCE, Stores, collect, echo, fail

pytestmark = pytest.mark.anyio


@dataclass
class Ink:
    colour: str


def mix(ink: Ink, with_: Any, *rest: Any, **named: Any) -> str:
    return f"{ink.colour} {with_} {rest} {named}"


async def test_arguments_come_back_with_handles_that_can_be_awaited(jp: JobProcessor) -> None:
    one = await jp.submit_job(echo, 1, job_id="one")
    two = await jp.submit_job(echo, 2, job_id="two")
    job = await jp.submit_job(mix, Ink("red"), one, [two, "x"], deep={"a": (one, None)})
    args, kwargs = await jp.get_arguments(job)
    assert (args, kwargs) == ((Ink("red"), "one", ["two", "x"]), {"deep": {"a": ("one", None)}})
    handles: list[Any] = [args[1], args[2][0], kwargs["deep"]["a"][0]]
    assert [type(handle) for handle in handles] == [JobHandle] * 3
    assert [await handle.result(timeout=PATIENCE) for handle in handles] == [1, 2, 1]
    assert await job.result(timeout=PATIENCE) == "red 1 ([2, 'x'],) {'deep': {'a': (1, None)}}"
    assert await jp.get_arguments(job) == (args, kwargs), "and after it has ended"


async def test_arguments_have_names(jp: JobProcessor) -> None:
    job = await jp.submit_job(collect, 1, b=2, delay=3600)
    found = await jp.get_arguments(job.id)
    assert found == JobArguments((1,), {"b": 2})
    assert (found.args, dict(found.kwargs)) == ((1,), {"b": 2})


async def test_what_was_read_can_be_submitted_again(jp: JobProcessor) -> None:
    ink = await jp.submit_job(echo, "blue")
    job = await jp.submit_job(mix, Ink("red"), ink, tuple=(ink,))
    args, kwargs = await jp.get_arguments(job)
    [again] = await jp.submit_jobs([JobRequest(func=mix, args=args, kwargs=kwargs)])
    assert await again.result(timeout=PATIENCE) == await job.result(timeout=PATIENCE)
    assert (await jp.get_job(again)).depends_on == (ink.id,)


async def test_an_optional_dependency_among_the_arguments_is_a_handle(jp: JobProcessor) -> None:
    bad = await jp.submit_job(fail, job_id="bad", max_retries=0)
    job = await jp.submit_job(echo, jp.optional(bad))
    (args, _) = await jp.get_arguments(job)
    assert args == ("bad",)
    assert type(args[0]) is JobHandle


async def test_arguments_of_a_function_that_is_not_known_here_are_plain(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.submit_job(mix, Ink("red"), 1)
        [claimed] = [await jp.backend.get_call(job.id)]
        assert claimed is not None
        other = NewJob(id="other", function="elsewhere:mix", call=claimed.call, queue="q", retry=RetryPolicy())
        await jp.backend.enqueue_job(other)
        assert (await jp.get_arguments(job)).args == (Ink("red"), 1)
        assert (await jp.get_arguments("other")).args == ({"colour": "red"}, 1)


@pytest.mark.parametrize("call", [b"", b"\xc1\xff", b"\x92\xc0\xc0"])
async def test_a_call_that_cannot_be_read_is_an_error_of_the_tree(jp: JobProcessor, call: bytes) -> None:
    await jp.backend.enqueue_job(
        NewJob(id="bad", function="elsewhere:mix", call=call, queue="elsewhere", retry=RetryPolicy())
    )
    with pytest.raises(CorruptValueError) as caught:
        await jp.get_arguments("bad")
    assert isinstance(caught.value, JobProcessorError)


@pytest.mark.parametrize("method", ["get_arguments", "get_dependencies"])
async def test_an_unknown_id_is_refused_with_the_nearest_one(jp: JobProcessor, method: str) -> None:
    await jp.submit_job(echo, 1, job_id="page-1", delay=3600)
    with pytest.raises(JobNotFoundError, match="page-1") as caught:
        await getattr(jp, method)("pgae-1")
    assert caught.value.job_id == "pgae-1"


async def test_dependencies_say_how_each_of_them_stands(jp: JobProcessor) -> None:
    done = await jp.submit_job(echo, 1, job_id="done")
    await done.result(timeout=PATIENCE)
    bad = await jp.submit_job(fail, job_id="bad", max_retries=0)
    await jp.wait_for_job(bad, timeout=PATIENCE)
    later = await jp.submit_job(echo, 1, job_id="later", delay=3600)
    job = await jp.submit_job(echo, done, depends_on=[later, jp.optional(bad)])
    assert await jp.get_dependencies(job) == [
        Edge("done", job.id, False, EdgeState.MET),
        Edge("bad", job.id, True, EdgeState.PASSED),
        Edge("later", job.id, False, EdgeState.OPEN),
    ]
    assert (await jp.get_job(job)).depends_on == ("done", "bad", "later")
    assert await jp.get_dependencies(later) == []


def test_sync_jobs_read_calls_with_handles_of_their_own(tmp_path: Any) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        one = jobs.submit_job(echo, 1)
        job = jobs.submit_job(mix, Ink("red"), one, [one])
        args, kwargs = jobs.get_arguments(job)
        assert (args, kwargs) == ((Ink("red"), one, [one]), {})
        assert type(args[1]) is type(args[2][0]) is SyncHandle
        assert args[1].result(timeout=PATIENCE) == 1
        assert [edge.parent_id for edge in jobs.get_dependencies(job)] == [one]
        with pytest.raises(JobNotFoundError):
            jobs.get_arguments("nobody")
        with pytest.raises(JobNotFoundError):
            jobs.get_dependencies("nobody")
