"""Look at what runs have reported."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

from asyncjobs import JobEvent, JobHandle, JobProcessor

Job = str | JobHandle[Any]


async def events_of(jp: JobProcessor, job: Job) -> list[JobEvent]:
    """All events of a job, once it has ended."""
    return [event async for event in jp.stream_job(job)]


def data_of(events: list[JobEvent], type: str, kind: str | None = None) -> list[dict[str, Any]]:
    """The data of the events of this type, and of this kind if one is given."""
    return [event.data for event in events if event.type == type and kind in (None, event.data.get("kind"))]


async def log_of(jp: JobProcessor, job: Job) -> str:
    """The log of a job that has ended, as one text."""
    return "\n".join(data["message"] for data in data_of(await events_of(jp, job), "log"))


async def until(jp: JobProcessor, job: Job, wanted: Callable[[JobEvent], bool]) -> JobEvent:
    """The first event that is wanted."""
    async for event in jp.stream_job(job):
        if wanted(event):
            return event
    raise AssertionError(f"{job} has ended before")


async def first_piece(jp: JobProcessor, job: Job) -> None:
    """Wait until an answer is being streamed."""
    await until(jp, job, lambda event: event.data.get("kind") == "chunk")


async def wait_for(true: Callable[[], Any], seconds: float = 30.0) -> None:
    """Wait for what another process does."""
    with anyio.fail_after(seconds):
        while not true():
            await anyio.sleep(0.02)


def shown(value: Any) -> str:
    """A value as text."""
    return json.dumps(value, default=str)


async def questions(jp: JobProcessor, job: Job) -> AsyncIterator[dict[str, Any]]:
    """What a job asks, as it asks it."""
    async for event in jp.stream_job(job):
        if event.type == "asked":
            yield event.data
