"""What a method cannot use is refused by kind: the field, the value, and the fix. Nothing is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import (
    ConfigurationError,
    GateRequest,
    JobHandle,
    JobProcessor,
    JobQuery,
    JobRequest,
    RetryPolicy,
    SyncJobs,
    current_job,
    gather,
    job,
)
from tests.runtime.support import PATIENCE, add, everything, nothing, within

ANY_GATHER: Any = gather  # as a program without a type checker calls it
Call = Callable[[JobProcessor, JobHandle[Any]], Awaitable[Any]]


async def _read(stream: Any) -> None:
    await everything(stream)


HANDLE_FOR_A_NAME: dict[str, tuple[Call, str]] = {
    "drain": (lambda jp, h: jp.drain(h), "group"),
    "get_progress": (lambda jp, h: jp.get_progress(h), "group"),
    "cancel_jobs(group=)": (lambda jp, h: jp.cancel_jobs(group=h), "group"),
    "submit_job(group=)": (lambda jp, h: jp.submit_job(nothing, group=h), "group"),
    "submit_job(queue=)": (lambda jp, h: jp.submit_job(nothing, queue=h), "queue"),
    "submit_job(limit=)": (lambda jp, h: jp.submit_job(nothing, limit=(h, 1)), "limit"),
    "map_jobs(group=)": (lambda jp, h: jp.map_jobs(str, [1], group=h), "group"),
    "JobRequest(group=)": (lambda jp, h: jp.submit_jobs([JobRequest(func=nothing, group=h)]), "group"),
    "submit_gate(group=)": (lambda jp, h: jp.submit_gate("?", group=h), "group"),
    "GateRequest(group=)": (lambda jp, h: jp.submit_jobs([GateRequest(question="?", group=h)]), "group"),
    "stream_group": (lambda jp, h: _read(jp.stream_group(h)), "group"),
    "stream_job(types=)": (lambda jp, h: _read(jp.stream_job(h, types=h)), "types"),
    "stream_all(types=)": (lambda jp, h: _read(jp.stream_all(types=[h])), "types"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("call", HANDLE_FOR_A_NAME)
async def test_a_handle_is_no_name_of_something_else(jp: JobProcessor, call: str) -> None:
    made, field = HANDLE_FOR_A_NAME[call]
    handle = await jp.submit_job(nothing, delay=3600)
    with pytest.raises(ConfigurationError) as caught:
        await within(PATIENCE, made(jp, handle))
    assert (caught.value.field, len(await jp.find_jobs())) == (field, 1)
    if field != "types":
        assert "await it" in str(caught.value.hint)


@pytest.mark.anyio
async def test_a_handle_is_no_key_of_a_child_and_no_group_of_a_query(jp: JobProcessor) -> None:
    handle = await jp.submit_job(nothing)

    async def body() -> str:
        with pytest.raises(ConfigurationError, match="key") as caught:
            await current_job().submit_job(nothing, key=handle)
        return str(caught.value.hint)

    assert "await it" in await (await jp.submit_job(body, local=True, max_retries=0))
    for field in ("group", "queue", "function"):
        with pytest.raises(ConfigurationError, match=f"JobQuery.{field}"):
            query: dict[str, Any] = {field: handle}
            JobQuery(**query)
    assert JobQuery(parent_id=handle).parent_id == JobQuery(ids=handle).ids[0] == handle.id


class Never(RetryPolicy, frozen=True):
    """A policy with code of its own, which could not be stored."""

    def retries(self, error: BaseException) -> bool:
        """Retry nothing."""
        return False


class Slow(RetryPolicy, frozen=True):
    """Another one."""

    def delay(self, n: int, jitter: float) -> float:
        """Wait the same each time."""
        return 60.0


class WithField(RetryPolicy, frozen=True):
    """A policy with a field of its own, which could not be stored either."""

    also: int = 5


class Tagged(JobQuery, frozen=True):
    """A query with a field that no store knows."""

    tag: str | None = None


class OfComics(JobQuery, frozen=True):
    """A query with another default, which is all that it adds."""

    group: str | None = "comics"


WRONG: dict[str, tuple[Callable[[Any, Any], Any], str, str]] = {
    "drain(5)": (lambda jp, _: jp.drain(5), "group", "a string"),
    "get_progress(None)": (lambda jp, _: jp.get_progress(None), "group", "a string"),
    "cancel_jobs('g')": (lambda jp, _: jp.cancel_jobs("g"), "query", "JobQuery(group="),
    "cancel_jobs(group=5)": (lambda jp, _: jp.cancel_jobs(group=5), "group", "a string"),
    "find_jobs('failed')": (lambda jp, _: jp.find_jobs("failed"), "query", "JobQuery(status="),
    "find_jobs('')": (lambda jp, _: jp.find_jobs(""), "query", "JobQuery(status="),
    "find_jobs(dict)": (lambda jp, _: jp.find_jobs({"status": "failed"}), "query", "JobQuery(status="),
    "submit_jobs(f)": (lambda jp, _: jp.submit_jobs(nothing), "requests", "JobRequest(func="),
    "submit_jobs([f])": (lambda jp, _: jp.submit_jobs([nothing]), "requests[0]", "JobRequest(func="),
    "submit_jobs(request)": (lambda jp, _: jp.submit_jobs(JobRequest(func=nothing)), "requests", "JobRequest(func="),
    "submit_jobs(dicts)": (
        lambda jp, _: jp.submit_jobs([JobRequest(func=nothing), {"func": nothing}]),
        "requests[1]",
        "JobRequest(func=",
    ),
    "map_jobs(f, 5)": (lambda jp, _: jp.map_jobs(nothing, 5), "items", "map_jobs(render, ["),
    "map_jobs(f, None)": (lambda jp, _: jp.map_jobs(nothing, None), "items", "map_jobs(render, ["),
    "get_job(5)": (lambda jp, _: jp.get_job(5), "job_id", "an id or a handle"),
    "get_status(None)": (lambda jp, _: jp.get_status(None), "job_id", "an id or a handle"),
    "get_result(None)": (lambda jp, _: jp.get_result(None), "job_id", "an id or a handle"),
    "wait_for_job(None)": (lambda jp, _: jp.wait_for_job(None), "job_id", "an id or a handle"),
    "cancel_job(f)": (lambda jp, _: jp.cancel_job(nothing), "job_id", "an id or a handle"),
    "retry_job([h])": (lambda jp, h: jp.retry_job([h]), "job_id", "an id or a handle"),
    "why(5)": (lambda jp, _: jp.why(5), "job_id", "an id or a handle"),
    "stream_job(types=5)": (lambda jp, h: _read(jp.stream_job(h, types=5)), "types", "'completed'"),
    "stream_job(types=[5])": (lambda jp, h: _read(jp.stream_job(h, types=[5])), "types", "'completed'"),
    "stream_group(5)": (lambda jp, _: _read(jp.stream_group(5)), "group", "a string"),
    "gather([h])": (lambda _, h: ANY_GATHER([h]), "handles", "gather(*handles)"),
    "gather('x')": (lambda _, h: ANY_GATHER(h, "x"), "handles", "jp.handle(job_id)"),
    "retry=5": (lambda jp, _: jp.submit_job(nothing, retry=5), "retry", "RetryPolicy(max_retries=5)"),
    "retry=a subclass with retries()": (lambda jp, _: jp.submit_job(nothing, retry=Never()), "retry", "never_on=[…]"),
    "retry=a subclass with delay()": (lambda jp, _: jp.submit_job(nothing, retry=Slow()), "retry", "factor="),
    "retry=a subclass with a field": (lambda jp, _: jp.submit_job(nothing, retry=WithField()), "retry", "its fields"),
    "retry=a subclass, with max_retries": (
        lambda jp, _: jp.submit_job(nothing, retry=Never(), max_retries=1),
        "retry",
        "retry cannot be a Never",
    ),
    "JobRequest(retry=a subclass)": (
        lambda jp, _: jp.submit_jobs([JobRequest(func=nothing, retry=Never())]),
        "retry",
        "would be ignored",
    ),
    "map_jobs(retry=a subclass)": (lambda jp, _: jp.map_jobs(str, [1], retry=Never()), "retry", "on=[…]"),
    "answer_job(5)": (lambda jp, _: jp.answer_job(5), "job_id", "an id or a handle"),
    "reject_job(None)": (lambda jp, _: jp.reject_job(None, "no"), "job_id", "an id or a handle"),
    "submit_gate(5)": (lambda jp, _: jp.submit_gate(5), "question", "a text"),
    "submit_gate(choices='no')": (lambda jp, _: jp.submit_gate("?", choices="no"), "choices", "choices=[…]"),
    "submit_gate(answer_type=5)": (lambda jp, _: jp.submit_gate("?", answer_type=5), "answer_type", "records of these"),
    "submit_gate(queue=)": (lambda jp, _: jp.submit_gate("?", queue="q"), "queue", "options of a gate"),
    "priority=2**70": (lambda jp, _: jp.submit_job(nothing, priority=2**70), "priority", f"to {2**63 - 1}"),
    "priority=1.5": (lambda jp, _: jp.submit_job(nothing, priority=1.5), "priority", f"from {-(2**63)} to"),
}


@pytest.mark.anyio
@pytest.mark.parametrize("call", WRONG)
async def test_a_wrong_kind_is_refused_with_field_value_and_fix(jp: JobProcessor, call: str) -> None:
    made, field, fix = WRONG[call]
    handle = await jp.submit_job(add, 1, 2)
    with pytest.raises(ConfigurationError) as caught:
        await within(PATIENCE, made(jp, handle))
    assert caught.value.field == field
    assert fix in str(caught.value)
    assert len(await jp.find_jobs()) == 1


@pytest.mark.parametrize("policy", [Never(), Slow(), WithField(), 5])
def test_the_decorator_refuses_what_is_no_policy_where_it_stands(policy: Any) -> None:
    with pytest.raises(ConfigurationError, match="retry"):
        job(retry=policy)


def test_a_query_refuses_the_fields_of_a_subclass_which_no_store_knows() -> None:
    with pytest.raises(ConfigurationError, match="Tagged.tag is not a field of JobQuery"):
        Tagged(tag="draft")
    with pytest.raises(ConfigurationError, match="Tagged.tag is not a field of JobQuery"):
        Tagged()
    assert OfComics(limit=5).group == "comics"


SYNC: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "gather([h])": (lambda jobs, h: jobs.gather([h]), "gather(*handles)"),
    "gather('x')": (lambda jobs, h: jobs.gather(h, "x"), "jobs.handle(job_id)"),
    "map_jobs(f, 5)": (lambda jobs, _: jobs.map_jobs(nothing, 5), "map_jobs(render, ["),
    "submit_jobs([f])": (lambda jobs, _: jobs.submit_jobs([nothing]), "JobRequest(func="),
    "find_jobs('failed')": (lambda jobs, _: jobs.find_jobs("failed"), "JobQuery(status="),
    "drain(h)": (lambda jobs, h: jobs.drain(h), "handle of one job"),
    "stream_group(h)": (lambda jobs, h: list(jobs.stream_group(h)), "handle of one job"),
    "submit_gate(queue=)": (lambda jobs, _: jobs.submit_gate("?", queue="q"), "options of a gate"),
    "answer_job(None)": (lambda jobs, _: jobs.answer_job(None), "an id or a handle"),
    "get_job(None)": (lambda jobs, _: jobs.get_job(None), "an id or a handle"),
    "handle(None)": (lambda jobs, _: jobs.handle(None), "an id or a handle"),
}


def test_sync_jobs_refuse_the_same(tmp_path: Path) -> None:
    with SyncJobs(tmp_path / "jobs.db") as jobs:
        handle = jobs.submit_job(nothing)
        for call, fix in SYNC.values():
            with pytest.raises(ConfigurationError) as caught:
                call(jobs, handle)
            assert fix in str(caught.value)
        assert len(jobs.find_jobs()) == 1
