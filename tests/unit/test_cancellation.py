"""An ``async def`` body that is stopped: one cancellation, time to clean up, then a cancellation at every await."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from importlib.metadata import version
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs.backends.base import AttemptRef, ClaimedJob
from asyncjobs.clock import SystemClock
from asyncjobs.core.codec import encode_call
from asyncjobs.core.retry import DEFAULT_RETRY
from asyncjobs.models import Outcome, OutcomeKind
from asyncjobs.runtime.attempt import RunningAttempt, Stop, run_async
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.wakeups import LoopHandle

pytestmark = pytest.mark.anyio

PATIENCE = 10.0
LONG, SHORT = 60.0, 0.05
"""Seconds of grace: more than any test waits, and less."""


class Stopped:
    """Runs bodies until they have called ``ready``, stops them, and returns how they ended.

    ``seen`` is what they have noted: ``"cancelled"`` for every cancellation that reached them.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.running: RunningAttempt
        self._ready: anyio.Event

    def ready(self) -> None:
        self._ready.set()

    async def wait(self) -> None:
        """Wait for ever; note every cancellation."""
        self.ready()
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise

    async def close(self, name: str = "closed") -> None:
        """Clean up, which takes a while; note if it could be done."""
        try:
            for _ in range(5):
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise
        self.seen.append(name)

    async def work(self) -> None:
        """Wait, and clean up at the end."""
        try:
            await self.wait()
        finally:
            await self.close()

    async def run(
        self,
        body: Callable[[], Awaitable[Any]],
        *,
        grace: float = LONG,
        timeout: float | None = None,
        stop: Callable[[], object] | None = None,
    ) -> Outcome:
        ref = AttemptRef("a", 1, "w1", 1)
        job = ClaimedJob(ref, "m:f", encode_call((), {}).data, False, DEFAULT_RETRY, timeout, None, 0)
        running = RunningAttempt(job, JobContext(ref, group=None, clock=SystemClock(), loop=LoopHandle(), submit=None))
        self.running = running
        self._ready = anyio.Event()
        outcome: list[Outcome] = []

        async def attempt() -> None:
            outcome.append(await run_async(running, body, (), {}, 1 << 20, grace))

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(attempt)
                await self._ready.wait()
                if stop is not None:
                    stop()
                elif timeout is None:
                    # As the worker does it: from a callback of the loop.
                    asyncio.get_running_loop().call_soon(running.stop, Stop.CANCELLED)
        return outcome[0]


@pytest.fixture
def it() -> Stopped:
    return Stopped()


# -- one cancellation, then time to clean up


class Session:
    """As clients of HTTP have one: closing it awaits."""

    def __init__(self, it: Stopped) -> None:
        self._it = it

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._it.close()


async def _finally(it: Stopped) -> None:
    await it.work()


async def _session(it: Stopped) -> None:
    async with Session(it):
        await it.wait()


async def _generator(it: Stopped) -> None:
    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            await it.close()

    async with contextlib.aclosing(rows()) as all_rows:
        async for _ in all_rows:
            await it.wait()


async def _exit_stack(it: Stopped) -> None:
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(it.close)
        await it.wait()


async def _awaited_task(it: Stopped) -> None:
    await asyncio.create_task(it.work())


async def _task_group(it: Stopped) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(it.work())


async def _gather(it: Stopped) -> None:
    await asyncio.gather(it.work(), return_exceptions=True)  # without, it does not wait for all


async def _wait_for(it: Stopped) -> None:
    await asyncio.wait_for(it.work(), LONG)


async def _timeout(it: Stopped) -> None:
    async with asyncio.timeout(LONG):
        await it.work()


async def _wait(it: Stopped) -> None:
    task = asyncio.create_task(it.work())
    try:
        await asyncio.wait([task])
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _shield(it: Stopped) -> None:
    task = asyncio.create_task(it.close())
    it.ready()
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        it.seen.append("cancelled")
        await task
        raise


async def _inside_anyio_scope(it: Stopped) -> None:
    with anyio.move_on_after(LONG):
        await it.work()


async def _host_of_anyio_group(it: Stopped) -> None:
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, LONG)
            await it.wait()
    finally:
        await it.close()


async def _event(it: Stopped) -> None:
    it.ready()
    try:
        await anyio.Event().wait()
    except asyncio.CancelledError:
        it.seen.append("cancelled")
        raise
    finally:
        await it.close()


async def _spinning(it: Stopped) -> None:
    it.ready()
    try:
        while True:
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        it.seen.append("cancelled")
        raise
    finally:
        await it.close()


BODIES: list[Callable[[Stopped], Coroutine[Any, Any, None]]] = [
    _finally,
    _session,
    _generator,
    _exit_stack,
    _awaited_task,
    _task_group,
    _gather,
    _wait_for,
    _timeout,
    _wait,
    _shield,
    _inside_anyio_scope,
    _host_of_anyio_group,
    _event,
    _spinning,
]
names = [body.__name__.strip("_") for body in BODIES]


@pytest.mark.parametrize("body", BODIES, ids=names)
async def test_a_body_is_cancelled_once_and_may_clean_up(
    it: Stopped, body: Callable[[Stopped], Coroutine[Any, Any, None]]
) -> None:
    assert (await it.run(lambda: body(it))).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "closed"]


@pytest.mark.parametrize("body", BODIES, ids=names)
async def test_the_same_when_its_time_is_up(it: Stopped, body: Callable[[Stopped], Coroutine[Any, Any, None]]) -> None:
    outcome = await it.run(lambda: body(it), timeout=0.002)
    assert outcome.error is not None
    assert outcome.error.error_type == "TimeoutError"
    assert it.seen == ["cancelled", "closed"]


@pytest.mark.parametrize("reason", [Stop.RELEASED, Stop.LOST])
async def test_the_same_when_it_is_given_back(it: Stopped, reason: Stop) -> None:
    outcome = await it.run(it.work, stop=lambda: it.running.stop(reason))
    assert outcome.kind is OutcomeKind.RELEASED
    assert it.seen == ["cancelled", "closed"]


async def test_to_be_stopped_twice_is_to_be_cancelled_once(it: Stopped) -> None:
    def stop() -> None:
        it.running.stop(Stop.CANCELLED)
        it.running.stop(Stop.RELEASED)
        asyncio.get_running_loop().call_later(0.003, it.running.stop, Stop.TIMED_OUT)

    assert (await it.run(it.work, stop=stop)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "closed"]


async def test_the_clean_up_may_have_timeouts_of_its_own(it: Stopped) -> None:
    async def body() -> None:
        try:
            await it.wait()
        finally:
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.sleep(LONG)
            except TimeoutError:
                it.seen.append("asyncio.timeout")
            try:
                await asyncio.wait_for(asyncio.sleep(LONG), 0.001)
            except TimeoutError:
                it.seen.append("wait_for")
            with anyio.move_on_after(0.001):
                await asyncio.sleep(LONG)
            try:
                with anyio.fail_after(0.001):
                    await asyncio.sleep(LONG)
            except TimeoutError:
                it.seen.append("fail_after")
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(it.close("task group"))
            async with anyio.create_task_group() as group:
                group.start_soon(it.close, "anyio's")

    assert (await it.run(body)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "asyncio.timeout", "wait_for", "fail_after", "task group", "anyio's"]


@pytest.mark.skipif(
    tuple(map(int, version("anyio").split(".")[:2])) < (4, 16),
    reason="a scope of anyio before 4.16 swallows every cancellation once its time is up",
)
async def test_a_timeout_of_the_bodys_own_that_is_up_during_its_clean_up_is_its_own(it: Stopped) -> None:
    async def body() -> None:
        with anyio.move_on_after(0.01):
            try:
                await it.wait()
            finally:
                await asyncio.sleep(LONG)

    assert (await it.run(body)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled"]


# -- what it makes of it


async def test_a_body_that_goes_on_is_cancelled_again_after_the_grace(it: Stopped) -> None:
    async def body() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await it.wait()
        await it.close("went on")
        await it.wait()

    assert (await it.run(body, grace=SHORT)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "went on", "cancelled"]


async def test_a_clean_up_that_does_not_end_is_cancelled_after_the_grace(it: Stopped) -> None:
    async def body() -> None:
        try:
            await it.wait()
        finally:
            try:
                await it.wait()
            finally:
                await it.close()  # no more time for this

    assert (await it.run(body, grace=SHORT)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "cancelled", "cancelled"]


async def test_a_body_that_catches_it_and_returns_a_value_has_returned_it(it: Stopped) -> None:
    async def body() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await it.wait()
        await it.close()
        return "value"

    outcome = await it.run(body)  # the store makes it cancelled if that was asked for
    assert outcome.kind is OutcomeKind.SUCCEEDED
    assert it.seen == ["cancelled", "closed"]


async def test_a_body_that_takes_its_cancellation_back_goes_on_undisturbed(it: Stopped) -> None:
    async def body() -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await it.wait()
        task = asyncio.current_task()
        assert task is not None
        left = task.uncancel()
        async with asyncio.timeout(LONG):
            await it.close()
        return left

    assert (await it.run(body)).kind is OutcomeKind.SUCCEEDED
    assert it.seen == ["cancelled", "closed"]


async def test_a_cancellation_that_is_raised_anew_is_still_ours(it: Stopped) -> None:
    async def body() -> None:
        try:
            await it.wait()
        except asyncio.CancelledError:
            raise asyncio.CancelledError("a client's own words") from None

    assert (await it.run(body)).kind is OutcomeKind.CANCELLED


async def test_a_body_that_also_cancels_itself_takes_nobody_with_it(it: Stopped) -> None:
    async def body() -> None:
        try:
            await it.wait()
        finally:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(it.close, "the neighbour")
        assert (await it.run(body)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "the neighbour"]


async def test_an_error_of_the_clean_up_is_the_bodys(it: Stopped) -> None:
    async def body() -> None:
        try:
            await it.wait()
        finally:
            raise ConnectionError("the other end is gone")

    outcome = await it.run(body)
    assert outcome.error is not None
    assert outcome.error.error_type == "ConnectionError"


# -- what it shields


async def test_a_section_that_is_shielded_is_never_interrupted(it: Stopped) -> None:
    async def body() -> None:
        with anyio.CancelScope(shield=True):
            it.ready()
            await asyncio.sleep(3 * SHORT)  # longer than the grace
            it.seen.append("shielded")
        await it.work()

    assert (await it.run(body, grace=SHORT)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["shielded", "cancelled", "closed"]


async def test_behind_a_shield_it_is_cancelled_once_also_in_what_it_awaits(it: Stopped) -> None:
    async def body() -> None:
        with anyio.CancelScope(shield=True):
            it.ready()
            await asyncio.sleep(0.01)
        await asyncio.create_task(it.work())  # would be cancelled in every turn of the loop

    assert (await it.run(body)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "closed"]


async def test_a_shield_in_the_clean_up_outlasts_the_grace(it: Stopped) -> None:
    async def body() -> None:
        try:
            await it.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await asyncio.sleep(3 * SHORT)
                it.seen.append("shielded")
            await it.close()

    assert (await it.run(body, grace=SHORT)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "shielded", "cancelled"]


async def test_a_thread_that_it_waits_for_is_waited_for(it: Stopped) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def blocking() -> None:
        loop.call_soon_threadsafe(it.ready)
        asyncio.run_coroutine_threadsafe(asyncio.wait_for(done.wait(), PATIENCE), loop).result()
        it.seen.append("thread")

    async def body() -> None:
        try:
            await anyio.to_thread.run_sync(blocking)
            await it.wait()
        finally:
            await it.close()

    def stop() -> None:
        it.running.stop(Stop.CANCELLED)
        loop.call_later(0.01, done.set)

    assert (await it.run(body, stop=stop)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["thread", "cancelled", "closed"]


# -- when it is stopped


async def test_what_it_waited_for_and_the_request_come_in_the_same_turn_of_the_loop(it: Stopped) -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def body() -> None:
        it.ready()
        it.seen.append(await answer)
        await it.work()

    def stop() -> None:
        answer.set_result("answer")
        it.running.stop(Stop.CANCELLED)

    assert (await it.run(body, stop=stop)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["answer", "cancelled", "closed"]


async def test_a_body_that_stops_itself_is_cancelled_at_its_next_await(it: Stopped) -> None:
    async def body() -> None:
        it.running.stop(Stop.CANCELLED)
        it.seen.append("still here")
        await it.work()

    assert (await it.run(body, stop=lambda: None)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["still here", "cancelled", "closed"]


async def test_a_body_that_is_stopped_when_it_has_ended_has_ended(it: Stopped) -> None:
    async def body() -> str:
        it.ready()
        await asyncio.sleep(0)
        return "value"

    assert (await it.run(body, stop=lambda: None)).kind is OutcomeKind.SUCCEEDED
    it.running.stop(Stop.CANCELLED)
    it.running.hurry()
    await it.close()
    assert it.seen == ["closed"]


# -- no time


async def test_hurry_ends_the_clean_up(it: Stopped) -> None:
    async def body() -> None:
        try:
            await it.wait()
        finally:
            asyncio.get_running_loop().call_soon(it.running.hurry)
            await it.wait()

    assert (await it.run(body)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "cancelled"]


async def test_hurry_alone_stops_nobody(it: Stopped) -> None:
    async def body() -> str:
        it.ready()
        await it.close()
        return "value"

    assert (await it.run(body, stop=lambda: it.running.hurry())).kind is OutcomeKind.SUCCEEDED
    assert it.seen == ["closed"]


async def test_without_any_grace_every_await_is_cancelled(it: Stopped) -> None:
    assert (await it.run(it.work, grace=0)).kind is OutcomeKind.CANCELLED
    assert it.seen == ["cancelled", "cancelled"]


async def test_a_body_is_cancelled_with_its_worker(it: Stopped) -> None:
    with anyio.move_on_after(PATIENCE) as scope:
        await it.run(it.work, stop=scope.cancel)
    assert scope.cancelled_caught
    assert it.seen == ["cancelled", "cancelled"]


# -- trio


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_every_await_is_cancelled_as_its_programs_expect() -> None:
    seen: list[str] = []

    async def body() -> None:
        it.ready()
        try:
            await anyio.sleep_forever()
        finally:
            try:
                await anyio.sleep(0)
            except anyio.get_cancelled_exc_class():
                seen.append("cancelled")
                raise

    it = Stopped()
    assert (await it.run(body, stop=lambda: it.running.stop(Stop.CANCELLED))).kind is OutcomeKind.CANCELLED
    assert seen == ["cancelled"]


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_a_body_whose_time_is_up_has_failed_by_that() -> None:
    it = Stopped()

    async def body() -> None:
        it.ready()
        await anyio.sleep_forever()

    outcome = await it.run(body, timeout=0.01)
    assert outcome.error is not None
    assert outcome.error.error_type == "TimeoutError"
