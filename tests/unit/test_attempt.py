"""One attempt: a body in, an outcome out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncjobs.backends.base import AttemptRef, ClaimedJob
from asyncjobs.clock import SystemClock
from asyncjobs.core.codec import encode_call, is_async_callable
from asyncjobs.core.retry import DEFAULT_RETRY
from asyncjobs.models import OutcomeKind
from asyncjobs.runtime.attempt import RunningAttempt, Stop, Tools, run_attempt
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.threads import Threads
from asyncjobs.runtime.wakeups import LoopHandle

pytestmark = pytest.mark.anyio


def running() -> RunningAttempt:
    ref = AttemptRef("a", 1, "w1", 1)
    job = ClaimedJob(ref, "m:f", encode_call((), {}).data, False, DEFAULT_RETRY, None, None, 0)
    return RunningAttempt(job, JobContext(ref, group=None, clock=SystemClock(), loop=LoopHandle(), submit=None))


def tools(threads: Threads) -> Tools:
    async def no_results(ids: object) -> dict[str, Any]:
        return {}

    return Tools(
        threads, no_results, lambda name: None, lambda name, function: is_async_callable(function), 1 << 20, 5.0
    )


@pytest.mark.parametrize("kind", ["async", "thread"])
@pytest.mark.parametrize(
    ("reason", "outcome"), [(Stop.RELEASED, OutcomeKind.RELEASED), (Stop.CANCELLED, OutcomeKind.CANCELLED)]
)
async def test_a_body_that_was_told_to_stop_before_it_began_never_does(
    kind: str, reason: Stop, outcome: OutcomeKind
) -> None:
    began: list[str] = []

    async def body() -> None:
        began.append("async")

    def body_sync() -> None:
        began.append("thread")

    function: Callable[..., Any] = body if kind == "async" else body_sync
    attempt = running()
    attempt.stop(reason)
    threads = Threads(anyio.CapacityLimiter(1))
    try:
        assert (await run_attempt(attempt, function, tools(threads))).kind is outcome
    finally:
        threads.close()
    assert began == []
