"""Awaiting handles of the client: through retries, cuts, and servers that have no stream left."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import httpx
import pytest

from asyncjobs import JobStatus, JobTimeoutError
from asyncjobs.client import JobsClient
from asyncjobs.client import streams as client_streams
from asyncjobs.client import waiting as client_waiting
from tests.runtime.support import Held
from tests.web.bodies import echo
from tests.web.client_support import Counting, remote, streams_closed
from tests.web.support import PATIENCE

pytestmark = pytest.mark.anyio

PENDING = JobStatus.PENDING


async def test_a_handle_waits_for_a_job_that_runs() -> None:
    held = Held("late")
    async with remote() as (here, client):
        await here.jp.submit_job(held.body, job_id="it", local=True)
        async with anyio.create_task_group() as tasks:

            async def let_go() -> None:
                with anyio.fail_after(PATIENCE):
                    while not (await client.stats()).streams:  # it has begun to wait
                        pass
                held.go.open()

            tasks.start_soon(let_go)
            assert await client.handle("it") == "late"
        await streams_closed(client)


async def test_waiting_ends_with_its_time_and_leaves_no_connection() -> None:
    held = Held()
    async with remote() as (here, client):
        await here.jp.submit_job(held.body, job_id="it", local=True)
        with pytest.raises(JobTimeoutError, match="job 'it' took longer than 0.2 s") as caught:
            await client.handle("it").result(timeout=0.2)
        assert caught.value.job_id == "it"
        await streams_closed(client)
        held.go.open()
        assert await client.handle("it").result(timeout=PATIENCE) is None


async def test_an_end_before_a_retry_is_not_taken_for_the_end() -> None:
    held, starts = Held("better"), []

    async def once_more() -> str:
        starts.append(1)
        if len(starts) == 1:
            raise ConnectionError("once")
        return await held.body()

    async with remote() as (here, other), httpx.AsyncClient(transport=Counting()) as http:
        counting: Any = http._transport
        await here.jp.submit_job(once_more, job_id="it", local=True, max_retries=0)
        await here.jp.wait_for_job("it", PATIENCE)
        assert await other.handle("it").retry() is PENDING
        async with JobsClient(here.url, http_client=http) as client, anyio.create_task_group() as tasks:

            async def let_go() -> None:
                await counting.until("events", 1)
                for _ in range(20):
                    await other.stats()
                held.go.open()

            tasks.start_soon(let_go)
            assert await client.handle("it").result(PATIENCE) == "better"
        assert counting.sent == {"result": 2, "events": 1}  # it was not woken by the end that was none


async def test_waiting_for_many_takes_few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_waiting, "STREAMS", 3)
    held = Held(1)
    async with remote() as (here, client):
        await here.jp.submit_job(held.body, job_id="last", local=True)
        for n in range(40):
            await here.jp.submit_job(echo, n, job_id=f"job-{n}", depends_on="last")
        most = 0

        async def watch() -> None:
            nonlocal most
            with anyio.fail_after(PATIENCE):
                while len(client._waiting._line) < 37:
                    most = max(most, (await client.stats()).streams)
            held.go.open()

        watching = asyncio.create_task(watch())
        results = await asyncio.gather(*(client.handle(f"job-{n}").result(PATIENCE) for n in range(40)))
        await watching
        assert (results, most) == (list(range(40)), 3)
        with pytest.raises(JobTimeoutError):
            await client.handle((await here.jp.submit_job(echo, delay=60)).id).result(timeout=0.1)
        await streams_closed(client)


async def test_a_server_without_a_stream_left_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_streams, "_LONGEST", 0.01)
    held = Held("late")
    async with remote(max_streams=1) as (here, other), httpx.AsyncClient(transport=Counting()) as http:
        counting: Any = http._transport
        await here.jp.submit_job(held.body, job_id="it", local=True)
        async with other.stream_all() as everything, JobsClient(here.url, http_client=http) as client:
            await anext(everything)
            async with anyio.create_task_group() as tasks:

                async def let_go() -> None:
                    await counting.until("events", 2)
                    held.go.open()

                tasks.start_soon(let_go)
                assert await client.handle("it").result(PATIENCE) == "late"


async def test_a_cancelled_wait_closes_its_connection() -> None:
    held = Held()
    async with remote() as (here, client):
        await here.jp.submit_job(held.body, job_id="it", local=True)
        task = asyncio.create_task(client.handle("it").result())
        with anyio.fail_after(PATIENCE):
            while not (await client.stats()).streams:
                pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await streams_closed(client)
        held.go.open()
