"""Steps and forks: a child that a step forks ends where the function ends, and has no steps of its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import JobProcessor, RetryPolicy, current_job
from tests.runtime.support import within
from tests.runtime.test_forks_in_bodies import in_child

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]
ONCE = RetryPolicy(max_retries=0)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def fork(ledger: str, *, fails: bool) -> int:
    """Fork, and leave the function in both processes; returns how the child ended."""
    if (child := os.fork()) == 0:
        signal.alarm(5)
        if fails:
            raise SystemExit(7)
        return -1
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with Path(ledger).open("a") as file:
        file.write(f"{os.getpid()}\n")
    return status


async def fork_async(ledger: str, *, fails: bool) -> int:
    return fork(ledger, fails=fails)


async def on_the_loop(ledger: str, *, fails: bool) -> int:
    return await current_job().step("k", fork_async, ledger, fails=fails)


async def in_a_step_thread(ledger: str, *, fails: bool) -> int:
    return await current_job().step("k", fork, ledger, fails=fails)


def in_a_thread(ledger: str, *, fails: bool) -> int:
    return current_job().step_sync("k", fork, ledger, fails=fails)


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("body", [on_the_loop, in_a_step_thread, in_a_thread])
async def test_a_forked_child_ends_where_the_function_of_the_step_ends(
    tmp_path: Path, body: Any, fails: bool, isolation: Any
) -> None:
    async with JobProcessor("memory") as jp:
        job = await jp.submit_job(body, str(tmp_path / "ledger"), fails=fails, isolation=isolation, retry=ONCE)
        assert await within(20, job) == (7 if fails else 0)
        assert await jp.backend.count_steps(job) == 1
    assert len((tmp_path / "ledger").read_text().splitlines()) == 1


def ask_in_child() -> list[str]:
    job = current_job()
    job.keep_sync("k", 1)
    return [in_child(lambda: job.step_sync("s", in_child)), in_child(lambda: job.recall_sync("k"))]


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_a_forked_child_has_no_steps(isolation: Any) -> None:
    async with JobProcessor("memory") as jp:
        for answer in await within(20, await jp.submit_job(ask_in_child, isolation=isolation, retry=ONCE)):
            assert "a forked child cannot act for it" in answer
