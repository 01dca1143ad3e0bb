"""A body that blocks the event loop for more than 100 ms is named, with the place (promise 12)."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor
from asyncjobs.runtime import loop_monitor
from asyncjobs.runtime.loop_monitor import BLOCKED, TICK, Blocking, LoopWatch
from tests.runtime.support import PATIENCE, Gate, Stores, nothing

pytestmark = [pytest.mark.anyio, pytest.mark.serial]  # what else blocks a busy machine would be named, too


class Warnings(logging.Handler):
    """What is logged of blocked loops, by whatever thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "blocks the event loop" in record.getMessage():
            self.texts.append(record.getMessage())
            self.came.set()

    def block(self) -> None:
        """Block the thread that calls this, until it is warned of, or for long enough that it should have been."""
        self.came.wait(PATIENCE)


@pytest.fixture
def warnings() -> Iterator[Warnings]:
    handler = Warnings()
    logger = logging.getLogger("asyncjobs.worker")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


@pytest.fixture
async def jp(tmp_path: Path) -> AsyncIterator[JobProcessor]:
    async with Stores("memory", tmp_path).processor() as jp:
        yield jp


def line_of(function: Callable[..., Any], text: str) -> str:
    """``file:line`` of the line of this file with this text, in that function."""
    lines = Path(__file__).read_text().splitlines()
    first = function.__code__.co_firstlineno
    number = next(i for i, line in enumerate(lines[first:], start=first + 1) if text in line)
    return f"{__file__}:{number}"


# -- who is named


async def test_a_body_that_blocks_is_named_with_the_place(jp: JobProcessor, warnings: Warnings) -> None:
    async def body() -> None:
        await asyncio.sleep(0)
        warnings.block()

    await (await jp.submit_job(body, local=True, job_id="stuck"))
    (text,) = warnings.texts
    assert text.startswith("job 'stuck' blocks the event loop, for ")
    assert f"{line_of(body, 'warnings.block()')} in " in text
    assert ".body" in text
    assert int(re.findall(r"for (\d+) ms", text)[0]) >= 100


async def test_so_is_one_that_spins(jp: JobProcessor, warnings: Warnings) -> None:
    async def body() -> None:
        until = time.monotonic() + PATIENCE
        while not warnings.texts and time.monotonic() < until:
            pass

    await (await jp.submit_job(body, local=True, job_id="stuck"))
    assert "job 'stuck' blocks" in warnings.texts[0]


def helper(warnings: Warnings) -> None:
    warnings.block()


async def test_where_another_function_blocks_both_places_are_named(jp: JobProcessor, warnings: Warnings) -> None:
    async def body() -> None:
        helper(warnings)

    await (await jp.submit_job(body, local=True))
    (text,) = warnings.texts
    assert f"{line_of(body, 'helper(warnings)')} in " in text
    assert ", which is at " in text


@pytest.mark.parametrize("kind", ["asyncio", "anyio"])
async def test_a_task_that_a_body_has_started_is_its(jp: JobProcessor, warnings: Warnings, kind: str) -> None:
    async def inner() -> None:
        helper(warnings)

    async def body() -> None:
        if kind == "asyncio":
            await asyncio.create_task(inner())
        else:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(inner)

    await (await jp.submit_job(body, local=True, job_id="stuck"))
    (text,) = warnings.texts
    assert "job 'stuck' blocks" in text
    assert f"{line_of(inner, 'helper(warnings)')} in " in text


async def test_a_callback_of_a_body_is_its(jp: JobProcessor, warnings: Warnings) -> None:
    async def body() -> None:
        asyncio.get_running_loop().call_soon(helper, warnings)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    await (await jp.submit_job(body, local=True, job_id="stuck"))
    assert "job 'stuck' blocks" in warnings.texts[0]


async def test_a_plain_function_that_returns_a_coroutine_is_named_too(jp: JobProcessor, warnings: Warnings) -> None:
    async def inner() -> None:
        warnings.block()

    await (await jp.submit_job(lambda: inner(), local=True, job_id="stuck"))
    assert "job 'stuck' blocks" in warnings.texts[0]


async def test_a_function_is_named_once_a_minute_and_every_function_for_itself(
    jp: JobProcessor, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = threading.Event()

    async def one() -> None:
        if not warnings.texts:
            warnings.block()
        else:
            again.wait(3 * BLOCKED)

    async def other() -> None:
        warnings.came.clear()
        warnings.block()

    await (await jp.submit_job(one, local=True, job_id="first"))
    await (await jp.submit_job(one, local=True, job_id="second"))
    await (await jp.submit_job(other, local=True, job_id="third"))
    assert [text.split("'")[1] for text in warnings.texts] == ["first", "third"]
    monkeypatch.setattr(loop_monitor, "_AGAIN", 0.0)  # a minute later
    await (await jp.submit_job(one, local=True, job_id="fourth"))
    assert "job 'fourth' blocks" in warnings.texts[-1]


async def test_a_handler_that_raises_does_not_end_the_watch(jp: JobProcessor, warnings: Warnings) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise ZeroDivisionError

    async def one() -> None:
        warnings.block()

    async def other() -> None:
        warnings.came.clear()
        warnings.block()

    broken = Broken()
    logging.getLogger("asyncjobs.worker").addHandler(broken)
    try:
        await (await jp.submit_job(one, local=True))
        await (await jp.submit_job(other, local=True))
    finally:
        logging.getLogger("asyncjobs.worker").removeHandler(broken)
    assert len(warnings.texts) == 2


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_it_is_the_same(jp: JobProcessor, warnings: Warnings) -> None:
    async def body() -> None:
        await anyio.sleep(0)
        warnings.block()

    await (await jp.submit_job(body, local=True, job_id="stuck"))
    assert "job 'stuck' blocks" in warnings.texts[0]


# -- who is not


async def test_a_body_in_a_thread_blocks_nobody(jp: JobProcessor, warnings: Warnings) -> None:
    def body() -> None:
        warnings.came.wait(3 * BLOCKED)

    await (await jp.submit_job(body, local=True))
    assert warnings.texts == []


async def test_the_program_may_block_its_loop_unnamed(jp: JobProcessor, warnings: Warnings) -> None:
    held, started = asyncio.Event(), Gate()

    async def body() -> None:
        started.open()
        await held.wait()

    handle = await jp.submit_job(body, local=True)
    await started.wait()
    warnings.came.wait(3 * BLOCKED)  # here, not in a body
    held.set()
    await handle
    assert warnings.texts == []


class Looked(LoopWatch):
    """A watch whose ticks are those of the test: ``sees`` is the body that the loop's thread is in, if any."""

    def __init__(self) -> None:
        super().__init__({})
        self.sees: Any = None
        self.named: list[Any] = []

    def _look(self) -> Blocking | None:
        return None if self.sees is None else Blocking(self.sees, ())

    def _report(self, found: Blocking) -> None:
        self.named.append(found.running)

    def ticks(self, count: int, passed: float = TICK, used: float = TICK) -> None:
        for _ in range(count):
            assert self._tick(passed, used)


ENOUGH = round(BLOCKED / TICK) + 1


async def test_as_long_as_the_loop_answers_nobody_is_named() -> None:
    watch = Looked()
    watch.sees = "body"
    for _ in range(20):
        watch.ticks(2)
        watch._answer()
    assert watch.named == []


async def test_a_loop_that_does_not_answer_names_its_body_once() -> None:
    watch = Looked()
    watch.sees = "body"
    watch.ticks(ENOUGH - 1)
    assert watch.named == []
    watch.ticks(ENOUGH)
    assert watch.named == ["body"]


async def test_many_short_bodies_in_one_turn_are_none_that_blocks() -> None:
    watch = Looked()
    watch.ticks(1)
    for number in range(20):
        watch.sees = number
        watch.ticks(2)
    assert watch.named == []


async def test_a_process_that_was_suspended_names_nobody() -> None:
    watch = Looked()
    watch.sees = "body"
    watch.ticks(1)
    watch.ticks(1, passed=5.0, used=0.001)
    assert watch.named == []
    watch._answer()
    watch.ticks(1, passed=5.0, used=0.001)
    assert watch.named == []


async def test_a_call_that_keeps_the_gil_is_told_by_the_time_that_it_took() -> None:
    watch = Looked()
    watch.sees = "body"
    watch.ticks(1)
    watch._answer()
    watch.ticks(1, passed=0.5, used=0.5)  # no chance to ask the loop in between
    assert watch.named == ["body"]


# -- what it costs


def watchers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "asyncjobs-loop-watch"]


async def test_without_jobs_there_is_no_thread_and_without_a_processor_none_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for thread in watchers():
        thread.join(PATIENCE)  # those of the tests before
    monkeypatch.setattr(loop_monitor, "_QUIET", 0.0)
    async with Stores("memory", tmp_path).processor() as jp:
        assert watchers() == []
        await (await jp.submit_job(nothing))
        (thread,) = watchers()
        with anyio.fail_after(PATIENCE):
            while not jp.daemon.runner.executor._loop_watch._asleep:
                await anyio.sleep(TICK)
        await (await jp.submit_job(nothing))  # wakes it
        assert watchers() == [thread]
    thread.join(PATIENCE)
    assert not thread.is_alive()
