"""A forked child of a body: what it cannot do for the job is refused at once, and it ends where the body ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Literal

import anyio
import anyio.from_thread
import pytest

from asyncjobs import JobHandle, JobProcessor, current_job

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

Isolation = Literal["thread", "process"]

_LIMIT = 30
"""Seconds after which a child that hangs is ended by its alarm, and so seen."""


async def double(x: int) -> int:
    return 2 * x


def in_child(call: Callable[[], object]) -> str:
    """Return what a call comes to in a forked child: its error, or the value."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        signal.alarm(_LIMIT)
        try:
            text = repr(call())
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as answer:
        text = answer.read().decode()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return text if status == 0 else f"ended by {status}"


def submit_sync() -> str:
    return in_child(lambda: current_job().submit_job_sync(double, 1))


def submit_by_a_loop_of_its_own() -> str:
    import asyncio

    return in_child(lambda: asyncio.run(_submit()))


async def _submit() -> Any:
    return await current_job().submit_job(double, 1)


def run_sync() -> str:
    return in_child(lambda: current_job().run_sync(double, 1))


def result_sync() -> str:
    handle = current_job().submit_job_sync(double, 1)
    assert handle.result_sync() == 2
    return in_child(handle.result_sync)


def all_refused() -> dict[str, str]:
    calls = (submit_sync, submit_by_a_loop_of_its_own, run_sync, result_sync)
    return {call.__name__: call() for call in calls}


async def all_refused_in_async_body() -> dict[str, str]:
    return {"submit_job_sync": submit_sync(), "run_sync": run_sync()}


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("body", [all_refused, all_refused_in_async_body], ids=["plain", "async"])
async def test_a_forked_child_is_refused_what_needs_the_processor(
    jp: JobProcessor, body: Callable[[], Any], isolation: Isolation
) -> None:
    with anyio.fail_after(60):
        seen: dict[str, str] = await _submitted(jp, body, isolation)
    for call, text in seen.items():
        assert text.startswith("JobStateError: "), (call, text)
        assert "a forked child cannot act for it" in text
        assert "return the value to the job" in text


async def _submitted(jp: JobProcessor, body: Callable[..., Any], isolation: Isolation, *args: object) -> Any:
    handle: JobHandle[Any] = await jp.submit_job(body, *args, isolation=isolation, max_retries=0)
    return await handle


def _from_thread() -> str:
    return in_child(lambda: anyio.from_thread.run(double, 1)) + in_child(lambda: anyio.from_thread.run_sync(int))


async def test_a_forked_child_is_refused_calls_of_the_loop_by_anyio(jp: JobProcessor) -> None:
    with anyio.fail_after(60):
        assert (await _submitted(jp, _from_thread, "thread")).count(
            "the event loop does not run in a forked child"
        ) == 2


# -- what it reports


class Piped(logging.Handler):
    """Writes to a pipe, so that what a child logs is seen by its parent."""

    def __init__(self) -> None:
        super().__init__()
        self.reader, self.writer = os.pipe()

    def emit(self, record: logging.LogRecord) -> None:
        os.write(self.writer, (record.getMessage() + "\n").encode())

    def lines(self) -> list[str]:
        os.close(self.writer)
        with open(self.reader) as text:
            return text.read().splitlines()


def _report() -> None:
    job = current_job()
    job.progress(1, 2)
    job.log("from a child")
    job.emit("preview", {"a": 1})
    job.progress(float("nan"))


def _reporting() -> str:
    return in_child(_report)


async def test_what_a_forked_child_reports_is_warned_of_once_and_raises_nothing(jp: JobProcessor) -> None:
    handler = Piped()
    logging.getLogger("asyncjobs").addHandler(handler)
    try:
        with anyio.fail_after(60):
            handle = await jp.submit_job(_reporting, job_id="forker")
            assert await handle == "None"
    finally:
        logging.getLogger("asyncjobs").removeHandler(handler)
    (line,) = [line for line in handler.lines() if "forked child" in line]
    assert "'forker'" in line
    assert "return them to the job" in line
    assert not [event async for event in handle.events() if event.type in ("log", "progress", "preview")]


# -- where it ends


def _leaving() -> dict[str, int]:
    ends: dict[str, int] = {}
    for how in ENDS:
        child = os.fork()
        if child == 0:
            signal.alarm(_LIMIT)
            return {"left": _leave(how)}
        ends[how] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return ends


async def _leaving_async() -> dict[str, int]:
    return _leaving()


def _leave(how: str) -> int:
    if how == "exit 7":
        sys.exit(7)
    if how == "exit text":
        sys.exit("for a reason")
    if how == "exit":
        sys.exit()
    if how == "raise":
        raise ValueError("in the child")
    return 42


ENDS = {"return": 0, "exit": 0, "exit 7": 7, "exit text": 1, "raise": 1}


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("body", [_leaving, _leaving_async], ids=["plain", "async"])
async def test_a_forked_child_that_leaves_the_body_ends_as_a_program_would(
    jp: JobProcessor, body: Callable[..., Any], isolation: Isolation
) -> None:
    with anyio.fail_after(60):
        assert await _submitted(jp, body, isolation) == ENDS
        assert await _submitted(jp, double, "thread", 2) == 4  # the parent is unharmed
