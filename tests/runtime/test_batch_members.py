"""The error of a batch names the member that it is about."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from asyncjobs import (
    ConfigurationError,
    DuplicateJobError,
    JobConflictError,
    JobProcessor,
    JobProcessorError,
    JobRequest,
    NotSerializableError,
    SubmissionError,
    SyncJobs,
    UnknownDependencyError,
)
from tests.runtime.support import echo, nothing

pytestmark = pytest.mark.anyio
ME = "tests.runtime.support:echo"


def requests(at: int, **wrong: Any) -> list[JobRequest]:
    """Five hundred and more calls, the one at this place another."""
    calls: list[dict[str, Any]] = [{"func": echo, "args": (i,)} for i in range(620)]
    calls[at] |= wrong
    return [JobRequest(**call) for call in calls]


def _function_of_a_call() -> Any:
    def inner(value: Any) -> Any:
        return value

    return inner


WRONG: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "an argument": ({"args": (object(),)}, NotSerializableError, "$.args[0] is an object"),
    "one inside": ({"args": ({"o": object()},)}, NotSerializableError, "$.args[0].o is an object"),
    "a keyword": ({"args": (), "kwargs": {"value": object()}}, NotSerializableError, "$.args[0] is an object"),
    "a call that does not fit": ({"args": (1, 2)}, SubmissionError, "echo() takes"),
    "a priority": ({"priority": "x"}, ConfigurationError, "priority cannot be 'x'"),
    "a delay": ({"delay": -1}, ConfigurationError, "delay cannot be -1"),
    "a group": ({"group": "a\nb"}, ConfigurationError, "group cannot be"),
    "args": ({"args": 5}, ConfigurationError, "args cannot be 5"),
    "a dependency": ({"depends_on": "zz"}, UnknownDependencyError, "job '"),
    "metadata": ({"metadata": {"a": object()}}, JobProcessorError, "$.metadata.a is an object"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("at", [0, 4, 510])
async def test_submit_jobs_names_the_place_and_the_function(jp: JobProcessor, what: str, at: int) -> None:
    options, kind, begins = WRONG[what]
    with pytest.raises(kind) as caught:
        await jp.submit_jobs(requests(at, **options))
    assert str(caught.value).startswith(f"requests[{at}] ({ME}): {begins}")
    assert await jp.find_jobs() == []


@pytest.mark.parametrize("what", WRONG)
async def test_and_the_id_where_the_caller_gave_one(jp: JobProcessor, what: str) -> None:
    options, kind, begins = WRONG[what]
    with pytest.raises(kind) as caught:
        await jp.submit_jobs(requests(3, job_id="row3", **options))
    assert str(caught.value).startswith(f"requests[3] ({ME}, job_id 'row3'): {begins}")


@pytest.mark.parametrize("given", [_function_of_a_call(), 5, object(), nothing])
async def test_a_function_that_cannot_be_stored_is_named_with_its_place(jp: JobProcessor, given: Any) -> None:
    with pytest.raises(JobProcessorError, match=r"^requests\[7\] \("):
        await jp.submit_jobs(requests(7, func=given))


async def test_fields_of_the_error_stay_what_they_are(jp: JobProcessor) -> None:
    with pytest.raises(NotSerializableError) as refused:
        await jp.submit_jobs(requests(4, args=(object(),)))
    assert refused.value.where == "$.args[0]"
    with pytest.raises(ConfigurationError) as wrong:
        await jp.submit_jobs(requests(4, priority="x"))
    assert (wrong.value.field, wrong.value.value) == ("priority", "x")


async def test_an_id_that_is_taken_is_named_with_the_later_place(jp: JobProcessor) -> None:
    await jp.submit_job(echo, 1, job_id="taken")
    with pytest.raises(DuplicateJobError, match=r"^requests\[4\] \(.*, job_id 'taken'\): a job with the id 'taken'"):
        await jp.submit_jobs(requests(4, job_id="taken"))
    twice = [JobRequest(func=echo, args=(i,), job_id="a" if i in (2, 5) else None) for i in range(8)]
    with pytest.raises(DuplicateJobError, match=r"^requests\[5\] "):
        await jp.submit_jobs(twice)
    with pytest.raises(JobConflictError, match=r"^requests\[6\] .* belongs to a job with other arguments"):
        await jp.submit_jobs(requests(6, job_id="taken"), if_exists="return")


# -- map_jobs


@pytest.mark.parametrize("at", [0, 4, 510])
async def test_map_jobs_names_the_item(jp: JobProcessor, at: int) -> None:
    items: list[Any] = list(range(600))
    items[at] = {"o": object()}
    with pytest.raises(NotSerializableError) as caught:
        await jp.map_jobs(echo, items)
    assert str(caught.value) == f"items[{at}] ({ME}): $.args[0].o is an object, which cannot be stored"


async def test_what_is_wrong_with_all_items_names_none(jp: JobProcessor) -> None:
    wrong: list[Callable[[], Awaitable[Any]]] = [
        lambda: jp.map_jobs(echo, [1, 2], priority="x"),
        lambda: jp.map_jobs(nothing, [1, 2]),
        lambda: jp.map_jobs(_function_of_a_call(), [1, 2]),
    ]
    for call in wrong:
        with pytest.raises(JobProcessorError) as caught:
            await call()
        assert "items[" not in str(caught.value)


async def test_an_item_whose_job_is_not_known_is_named(jp: JobProcessor) -> None:
    items: list[Any] = [1, jp.handle("zz"), 3]
    with pytest.raises(UnknownDependencyError, match=r"^items\[1\] \(.*:echo\): job '.*' depends on 'zz'"):
        await jp.map_jobs(echo, items)


# -- elsewhere


def test_sync_jobs_name_the_member_as_well() -> None:
    with SyncJobs("memory") as jobs:
        with pytest.raises(NotSerializableError, match=r"^requests\[4\] \("):
            jobs.submit_jobs(requests(4, args=(object(),)))
        with pytest.raises(NotSerializableError, match=r"^items\[2\] \("):
            jobs.map_jobs(echo, [1, 2, object()])


async def test_one_job_alone_has_no_place(jp: JobProcessor) -> None:
    wrong: list[dict[str, Any]] = [
        {"args": (object(),)},
        {"args": (1,), "priority": "x"},
        {"args": (1,), "depends_on": "zz"},
    ]
    for options in wrong:
        with pytest.raises(JobProcessorError) as caught:
            await jp.submit_job(echo, **options)
        assert "[0] (" not in str(caught.value)
