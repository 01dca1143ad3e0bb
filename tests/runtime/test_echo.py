"""What a body in a process of its own prints still goes where it would have gone without one, and blocks nothing."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import time
from collections.abc import Generator
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor
from asyncjobs.backends.base import AttemptRef
from asyncjobs.clock import SystemClock
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.isolation import echo
from asyncjobs.runtime.isolation.echo import Echo
from asyncjobs.runtime.wakeups import LoopHandle
from tests.runtime import isolated
from tests.runtime.support import PATIENCE, Stores, everything

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.contextmanager
def full_stdout() -> Generator[int]:
    """Standard output is a pipe that takes nothing more; the end to read it from. (A fixture's would not last.)"""
    end, other_end = os.pipe()
    os.set_blocking(end, False)
    os.set_blocking(other_end, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(other_end, b"." * 4096)
    os.set_blocking(other_end, True)
    before = sys.stdout
    sys.stdout = os.fdopen(other_end, "w")
    try:
        yield end
    finally:
        read_all(end)
        sys.stdout.close()
        sys.stdout = before
        os.close(end)


def read_all(end: int) -> str:
    """What is in the pipe, without what filled it."""
    found = b""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(end, 1 << 20):
            found += data
    return found.decode().lstrip(".")


def context() -> JobContext:
    return JobContext(AttemptRef("a", 1, "w1"), group=None, clock=SystemClock(), loop=LoopHandle(), submit=None)


async def logged(jp: JobProcessor, job: str) -> list[str]:
    return [event.data["message"] for event in await everything(jp.stream_job(job)) if event.type == "log"]


@pytest.mark.parametrize("capture_print", [False, True])
async def test_printed_lines_are_events_once_and_where_they_went_before(
    stores: Stores, capsys: pytest.CaptureFixture[str], capture_print: bool
) -> None:
    async with stores.processor(capture_print=capture_print) as jp:
        job = await jp.submit_job(isolated.write_lines, isolation="process")
        await job.result(timeout=PATIENCE)
        messages = await logged(jp, job)
    assert messages.count("printed") == messages.count("to the other stream") == 1
    real = capsys.readouterr()
    lines = ["printed", "by the system", "by a command", "not \\xff utf-8", "100 %", "no end of line"]
    assert [line.rpartition("\r")[2] for line in real.out.split("\n")][: len(lines)] == lines
    assert "to the other stream\n" in real.err


async def test_a_terminal_that_takes_nothing_blocks_no_job_and_no_end(stores: Stores) -> None:
    with full_stdout() as end:
        async with stores.processor() as jp:
            job = await jp.submit_job(isolated.write_lines, isolation="process")
            await job.result(timeout=PATIENCE)
            assert "printed" in await logged(jp, job)
            began = time.monotonic()
        assert time.monotonic() - began < echo.CLOSING + 3
        assert read_all(end) == ""


async def test_a_terminal_that_goes_on_gets_what_has_waited_and_a_note_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(echo, "MOST", 30)
    text = ""
    with full_stdout() as end, anyio.fail_after(PATIENCE):
        one = Echo()
        for i in range(5):
            one.write(context(), "stdout", f"line {i} 12345\n")
        while "left out" not in text:
            text += read_all(end)
            await anyio.sleep(0.01)  # a pipe announces nothing to who fills it
        await one.close()
    lines = text.splitlines()
    assert lines[0] == "line 0 12345"
    assert lines[-1] == f"[asyncjobs: {13 * (6 - len(lines))} characters of the stdout of jobs left out here]"


@pytest.mark.parametrize("broken", ["closed", "raises", "none"])
async def test_a_stream_that_cannot_be_written_to_ends_nothing(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    class Raises(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError(text)

    stream: Any = {"closed": io.StringIO(), "raises": Raises(), "none": None}[broken]
    if broken == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    one = Echo()
    one.write(context(), "stdout", "lost\n")
    one.write(context(), "stderr", "kept\n")
    await one.close()
    assert errors.getvalue() == "kept\n"


async def test_lines_go_to_the_stream_of_the_moment_in_an_encoding_that_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    one = Echo()
    one.write(context(), "stdout", "caf\u00e9\n")
    await one.close()
    assert raw.getvalue() == b"caf\\xe9\n"
