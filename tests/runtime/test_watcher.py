"""Noticing what other processes change: nothing that a neighbour can hold up stands in its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import pytest

from asyncjobs.backends.base import JobBackend
from asyncjobs.testing import FaultyBackend
from tests.runtime.support import CANCELLED, PATIENCE, Held, Stores

pytestmark = [pytest.mark.anyio, pytest.mark.persistent]

T = TypeVar("T")

SOON = 5.0
"""Seconds: far less than the slow look at the store (30 s)."""


class Locked(FaultyBackend):
    """A lock of another process holds up the lease of a worker, and nothing else."""

    def __init__(self, inner: JobBackend) -> None:
        super().__init__(inner)
        self.locked = False
        self.asked = anyio.Event()
        self.free = anyio.Event()

    async def _pass(self, method: str, call: Callable[[], Awaitable[T]]) -> T:
        if method == "extend_leases" and self.locked:
            self.asked.set()
            await self.free.wait()
        return await super()._pass(method, call)


HELD: dict[str, Held] = {}


async def held(name: str) -> None:
    await HELD[name].body()


async def test_changes_are_noticed_while_a_lock_holds_up_the_look_for_cancel_requests(stores: Stores) -> None:
    HELD["it"] = it = Held()
    store = Locked(stores.backend())
    async with (
        stores.processor(backend=store, num_workers=1, heartbeat=30.0, lease=90.0) as jp,
        stores.processor(enable_daemon=False) as other,
    ):
        await jp.submit_job(held, "it", job_id="running")
        await it.started.wait()
        await jp.submit_job(held, "it", job_id="behind")
        seen: list[str] = []

        async def wait() -> None:
            seen.append((await jp.wait_for_job("behind")).status)

        async def read() -> None:
            seen.append([event.type async for event in jp.stream_job("behind")][-1])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(read)
            store.locked = True
            await other.submit_job(held, "it", job_id="a change")
            with anyio.fail_after(PATIENCE):
                await store.asked.wait()
            await other.cancel_job("behind")
            await other.get_job("behind")
            tasks.cancel_scope.deadline = anyio.current_time() + SOON
        assert sorted(seen) == ["cancelled", "cancelled"]
        await other.cancel_job("a change")
        store.locked = False
        store.free.set()
        it.go.open()


async def test_a_cancel_request_of_another_process_is_heeded_at_once(stores: Stores) -> None:
    HELD["it"] = it = Held()
    async with (
        stores.processor(heartbeat=30.0, lease=90.0) as jp,
        stores.processor(enable_daemon=False) as other,
    ):
        await jp.submit_job(held, "it", job_id="running")
        await it.started.wait()
        with anyio.fail_after(SOON):
            await other.cancel_job("running")
            assert (await jp.wait_for_job("running")).status is CANCELLED
        assert it.was_cancelled


async def test_a_cancel_request_that_could_not_be_read_is_asked_for_again(stores: Stores) -> None:
    HELD["it"] = it = Held()
    store = FaultyBackend(stores.backend())
    async with (
        stores.processor(backend=store, heartbeat=30.0, lease=90.0) as jp,
        stores.processor(enable_daemon=False) as other,
    ):
        await jp.submit_job(held, "it", job_id="running")
        await it.started.wait()
        for number in (1, 2):
            store.fail("extend_leases", number)
        with anyio.fail_after(SOON):
            await other.cancel_job("running")
            assert (await jp.wait_for_job("running")).status is CANCELLED
