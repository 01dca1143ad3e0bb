"""A name that something had before, or has in similar libraries, is answered with the one that it has here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from asyncjobs import (
    BackendConnectionError,
    ConfigurationError,
    EventPublisher,
    JobDaemon,
    JobDAG,
    JobProcessor,
    JobProcessorError,
    JobQuery,
    JobRequest,
    Limit,
    MemoryBackend,
    SQLiteBackend,
    StatusStreamer,
    SubmissionError,
    SyncJobs,
    Worker,
    as_completed,
    gather,
)
from asyncjobs.client import JobsClient
from asyncjobs.testing import FaultyBackend, ManualClock

pytestmark = pytest.mark.anyio


def render(path: str, size: int = 1) -> None: ...


def collect(*args: Any, **kwargs: Any) -> None: ...


MADE: dict[str, tuple[Callable[[], Any], str, str]] = {
    "JobQuery(func=)": (lambda: JobQuery(func="f"), "JobQuery.func", "function"),
    "JobQuery(groups=)": (lambda: JobQuery(groups="g"), "JobQuery.groups", "group"),
    "JobRequest(dependencies=)": (
        lambda: JobRequest(func=render, dependencies=["a"]),
        "JobRequest.dependencies",
        "depends_on",
    ),
    "JobRequest(function=)": (
        lambda: JobRequest(function=render),
        "JobRequest.function",
        "func",
    ),
    "JobRequest(retries=)": (
        lambda: JobRequest(func=render, retries=3),
        "JobRequest.retries",
        "max_retries",
    ),
    "JobsClient(attempts=)": (
        lambda: JobsClient("http://here", attempts=3),
        "JobsClient.attempts",
        "tries",
    ),
    "JobsClient(tokn=)": (
        lambda: JobsClient("http://here", tokn="x"),
        "JobsClient.tokn",
        "token",
    ),
    "JobProcessor(demon=)": (
        lambda: JobProcessor("memory", demon=None),
        "JobProcessor.demon",
        "daemon",
    ),
    "JobDaemon(slots=)": (
        lambda: JobDaemon(MemoryBackend(), slots=4),
        "JobDaemon.slots",
        "num_workers",
    ),
    "Worker(publisher=)": (
        lambda: Worker("w", backend=MemoryBackend(), event_publishr=None),
        "Worker.event_publishr",
        "event_publisher",
    ),
    "EventPublisher(backnd=)": (
        lambda: EventPublisher(backnd=None),
        "EventPublisher.backnd",
        "backend",
    ),
    "StatusStreamer(publishr=)": (
        lambda: StatusStreamer(MemoryBackend(), event_publish=None),
        "StatusStreamer.event_publish",
        "event_publisher",
    ),
    "FaultyBackend(iner=)": (
        lambda: FaultyBackend(iner=None),
        "FaultyBackend.iner",
        "inner",
    ),
    "Limit(capacty=)": (
        lambda: Limit("api", capacty=3),
        "Limit.capacty",
        "capacity",
    ),
    "SyncJobs(demon=)": (lambda: SyncJobs("memory", demon=None), "SyncJobs.demon", "daemon"),
}


STORE: Any = MemoryBackend()
WITH_SETTINGS: dict[str, tuple[Callable[[], Any], str, str]] = {
    "JobDaemon(lease=)": (
        lambda: JobDaemon(STORE, lease=3),
        "JobDaemon.lease",
        "config=DaemonConfig(lease=…)",
    ),
    "SQLiteBackend(path=)": (
        lambda: SQLiteBackend(path="x.db"),
        "SQLiteBackend.path",
        "config=SQLiteConfig(db_path=…)",
    ),
    "SQLiteBackend(db_path=)": (
        lambda: SQLiteBackend(db_path="x.db"),
        "SQLiteBackend.db_path",
        "config=SQLiteConfig(db_path=…)",
    ),
    "MemoryBackend(attempts=)": (
        lambda: MemoryBackend(attempts=2),
        "MemoryBackend.attempts",
        "config=MemoryConfig(tries=…)",
    ),
    "MemoryBackend(foo=)": (
        lambda: MemoryBackend(foo=1),
        "MemoryBackend.foo",
        "known parameters: config, clock",
    ),
    "JobDAG(x=)": (
        lambda: JobDAG(x=1),
        "JobDAG.x",
        "known parameters: none",
    ),
    "ManualClock(x=)": (
        lambda: ManualClock(x=1),
        "ManualClock.x",
        "known parameters: start",
    ),
}


@pytest.mark.parametrize("what", WITH_SETTINGS)
def test_a_setting_that_is_given_with_others_is_refused_with_where_it_goes(what: str) -> None:
    make, field, hint = WITH_SETTINGS[what]
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert (caught.value.field, caught.value.hint) == (field, hint)


async def test_functions_that_take_handles_refuse_what_they_do_not_know(jp: JobProcessor) -> None:
    handle = await jp.submit_job(render, "x")
    with pytest.raises(ConfigurationError, match="did you mean 'return_exceptions'") as caught:
        await gather(handle, return_exception=True)
    assert caught.value.field == "gather.return_exception"
    with pytest.raises(ConfigurationError, match="did you mean 'timeout'"):
        _ = [one async for one in as_completed([handle], timout=3)]
    assert [one async for one in as_completed(handles=[handle], timeout=20)] == [handle]


def test_a_subclass_keeps_the_keywords_of_its_own() -> None:
    class Mine(MemoryBackend):
        def __init__(self, colour: str) -> None:
            super().__init__()
            self.colour = colour

    assert Mine(colour="red").colour == "red"
    with pytest.raises(ConfigurationError, match="did you mean 'colour'"):
        Mine(color="red")


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


async def test_a_former_attribute_is_answered_with_the_present_one(jp: JobProcessor) -> None:
    """Python suggests similar names; these are not."""
    stored = await jp.get_job(await jp.submit_job(print, "x"))
    client = JobsClient("http://here")
    for thing, former, present in (
        (stored, "function", "func"),
        (BackendConnectionError("gone"), "attempts", "tries"),
        (jp, "find_page", "find_jobs"),
        (client, "find_page", "find_jobs"),
        (SyncJobs("memory"), "find_page", "find_jobs"),
        (jp.streamer, "job", "stream_job"),
        (jp.streamer, "group", "stream_group"),
        (jp.streamer, "all", "stream_all"),
    ):
        with pytest.raises(AttributeError, match=f"no attribute '{former}'; did you mean '{present}'\\?$"):
            getattr(thing, former)
        assert not hasattr(thing, former)


def test_an_attribute_that_nothing_ever_had_is_refused_as_python_does_it() -> None:
    with pytest.raises(AttributeError, match=r"^'JobProcessorError' object has no attribute 'hnt'$") as caught:
        JobProcessorError("x").hnt  # noqa: B018 - reading it raises
    assert (caught.value.name, type(caught.value.obj)) == ("hnt", JobProcessorError)


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
