"""A name that something had before, or has in similar libraries, is answered with the one that it has here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asyncjobs import (
    ConfigurationError,
    JobProcessor,
    JobProcessorError,
    JobQuery,
    JobRequest,
    SubmissionError,
    SyncJobs,
)
from asyncjobs.client import JobsClient

pytestmark = pytest.mark.anyio


def render(path: str, size: int = 1) -> None: ...


def collect(*args: Any, **kwargs: Any) -> None: ...


MADE: dict[str, tuple[Callable[[], Any], str, str]] = {
    "JobQuery(func=)": (lambda: JobQuery(func="f"), "JobQuery.func", "function"),  # pyright: ignore[reportCallIssue]
    "JobQuery(groups=)": (lambda: JobQuery(groups="g"), "JobQuery.groups", "group"),  # pyright: ignore[reportCallIssue]
    "JobRequest(dependencies=)": (
        lambda: JobRequest(func=render, dependencies=["a"]),  # pyright: ignore[reportCallIssue]
        "JobRequest.dependencies",
        "depends_on",
    ),
    "JobRequest(function=)": (
        lambda: JobRequest(function=render),  # pyright: ignore[reportCallIssue]
        "JobRequest.function",
        "func",
    ),
    "JobRequest(retries=)": (
        lambda: JobRequest(func=render, retries=3),  # pyright: ignore[reportCallIssue]
        "JobRequest.retries",
        "max_retries",
    ),
    "JobsClient(attempts=)": (
        lambda: JobsClient("http://here", attempts=3),  # pyright: ignore[reportCallIssue]
        "JobsClient.attempts",
        "tries",
    ),
    "JobsClient(tokn=)": (
        lambda: JobsClient("http://here", tokn="x"),  # pyright: ignore[reportCallIssue]
        "JobsClient.tokn",
        "token",
    ),
    "JobProcessor(demon=)": (
        lambda: JobProcessor("memory", demon=None),  # pyright: ignore[reportCallIssue]
        "JobProcessor.demon",
        "daemon",
    ),
    "SyncJobs(demon=)": (lambda: SyncJobs("memory", demon=None), "SyncJobs.demon", "daemon"),
}


@pytest.mark.parametrize("what", MADE)
def test_a_wrong_name_is_refused_with_the_right_one(what: str) -> None:
    make, field, meant = MADE[what]
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.field == field
    assert caught.value.hint == f"did you mean {meant!r}?"


SUBMITTED: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "beside args= and kwargs=": (render, (), {"args": ["x"], "kwargs": {"size": 2}}),
    "beside args=": (render, (), {"args": ["x"]}),
    "beside kwargs=": (render, (), {"kwargs": {"path": "x"}}),
    "beside the arguments": (render, ("x",), {"size": 2}),
    "of a callee that takes any keyword, beside kwargs=": (collect, (), {"args": ["x"], "kwargs": {"size": 2}}),
}


@pytest.mark.parametrize("how", SUBMITTED)
@pytest.mark.parametrize(("wrong", "meant"), [("dependencies", "depends_on"), ("after", "depends_on")])
async def test_a_submission_names_the_wrong_option_and_the_one_that_is_meant(
    jp: JobProcessor, how: str, wrong: str, meant: str
) -> None:
    callee, args, keywords = SUBMITTED[how]
    with pytest.raises((ConfigurationError, SubmissionError)) as caught:
        await jp.submit_job(callee, *args, **keywords, **{wrong: ["a"]})
    assert wrong in str(caught.value)
    assert caught.value.hint is not None
    assert "did you mean" in caught.value.hint
    assert repr(meant) in caught.value.hint
    assert await jp.find_jobs() == []


async def test_a_batch_and_a_map_name_it_too(jp: JobProcessor) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: jp.map_jobs(render, ["x"], dependencies=["a"]),
        lambda: _batch(jp),
    ]
    for call in calls:
        with pytest.raises(JobProcessorError, match="'dependencies'") as caught:
            await call()
        assert caught.value.hint == "did you mean the option 'depends_on'?"
    assert await jp.find_jobs() == []


async def _batch(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        batch.submit_job(render, "x", dependencies=["a"])
