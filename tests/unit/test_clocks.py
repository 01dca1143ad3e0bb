"""The clock of tests: it stands until it is moved."""

from __future__ import annotations

import anyio
import pytest

from asyncjobs.testing import ManualClock

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


async def test_it_stands_until_it_is_moved() -> None:
    clock = ManualClock()
    wall, monotonic = clock.now(), clock.monotonic()
    clock.advance(1.5)
    assert (clock.now() - wall, clock.monotonic() - monotonic) == (1_500_000, 1_500_000)
    clock.jump(-10)
    assert (clock.now() - wall, clock.monotonic() - monotonic) == (-8_500_000, 1_500_000)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


async def test_sleepers_wake_in_time_and_not_before() -> None:
    clock = ManualClock()
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (2, 1, 3):
            group.start_soon(sleeper, seconds)
        await clock.wait_for_sleepers(3)
        clock.advance(0.9)
        assert clock.sleepers == 3
        clock.advance(1.1)
        await anyio.wait_all_tasks_blocked()
        assert sorted(woken) == [1, 2]
        assert clock.sleepers == 1
        clock.advance(1)
    assert woken[-1] == 3


async def test_a_sleeper_that_is_cancelled_sleeps_no_more() -> None:
    clock = ManualClock()
    async with anyio.create_task_group() as group:
        group.start_soon(clock.sleep, 5)
        await clock.wait_for_sleepers()
        group.cancel_scope.cancel()
    assert clock.sleepers == 0


async def test_no_time_is_no_wait() -> None:
    await ManualClock().sleep(0)


async def test_timeouts_run_out_by_this_clock() -> None:
    clock = ManualClock()

    async def wait(seconds: float | None) -> bool:
        with clock.timeout(seconds) as scope:
            await clock.sleep(10)
        return scope.cancelled_caught

    answers: dict[float | None, bool] = {}

    async def ask(seconds: float | None) -> None:
        answers[seconds] = await wait(seconds)

    async with anyio.create_task_group() as group:
        for seconds in (5, 20, None):
            group.start_soon(ask, seconds)
        await clock.wait_for_sleepers(3)
        clock.advance(5)
        await anyio.wait_all_tasks_blocked()
        assert answers == {5: True}
        clock.advance(5)
    assert answers == {5: True, 20: False, None: False}
    clock.advance(60)  # the timeout of a scope that was left long ago hurts nobody
    assert await wait(0) is True
