"""What the store in memory promises beyond the contract."""

from __future__ import annotations

import os

import pytest

from asyncjobs.backends.base import NewJob
from asyncjobs.backends.memory import MemoryBackend
from asyncjobs.config import MemoryConfig
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.exceptions import BackendClosedError

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


def new(job_id: str) -> NewJob:
    return NewJob(id=job_id, function="app:work", call=b"", queue="default", retry=RetryPolicy())


async def test_opened_twice_it_closes_with_the_last_one() -> None:
    backend = MemoryBackend(MemoryConfig())
    async with backend:
        async with backend:
            await backend.enqueue_jobs([new("a")])
        assert await backend.get_job("a") is not None
    with pytest.raises(BackendClosedError):
        await backend.get_job("a")


async def test_the_object_keeps_its_jobs_while_it_is_closed() -> None:
    backend = MemoryBackend()
    async with backend:
        await backend.enqueue_jobs([new("a")])
    async with backend:
        assert await backend.get_job("a") is not None


async def test_two_objects_share_nothing() -> None:
    async with MemoryBackend() as one, MemoryBackend() as other:
        await one.enqueue_jobs([new("a")])
        assert await other.get_job("a") is None


async def test_a_forked_child_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryBackend() as backend:
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(BackendClosedError, match="parent process"):
            await backend.count_jobs()
        monkeypatch.undo()
        assert await backend.count_jobs() == {}


async def test_who_comes_back_from_before_what_was_removed_is_told() -> None:
    backend = MemoryBackend()
    async with backend:
        await backend.enqueue_jobs([new(job_id) for job_id in "abcde"])
        backend._tables.pruned = 3
        for after, lost in {None: False, "0": True, "2": True, "3": False, "5": False}.items():
            for limit in (1, 500):
                assert (await backend.read_events(after, limit=limit)).lost is lost
                assert (await backend.read_events(after, limit=limit, job_id="nobody")).lost is lost
