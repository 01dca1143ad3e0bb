"""What a body prints is in its job's log, where a worker was told to listen, and still goes where it went."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from asyncjobs import JobProcessor, current_job
from asyncjobs.runtime.capture import PrintedStream
from tests.runtime.support import PATIENCE, Stores, everything

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def nobody_stands_in() -> Iterator[None]:
    yield
    assert not isinstance(sys.stdout, PrintedStream)
    assert not isinstance(sys.stderr, PrintedStream)


async def said(jp: JobProcessor, body: Any) -> list[dict[str, Any]]:
    """Run this body; what is in its log."""
    job = await jp.submit_job(body, local=True, max_retries=0)
    await job.result(timeout=PATIENCE)
    return [event.data for event in await everything(jp.stream_job(job)) if event.type == "log"]


def messages(events: list[dict[str, Any]]) -> list[str]:
    return [event["message"] for event in events]


async def test_by_default_nobody_listens_to_print(jp: JobProcessor) -> None:
    assert not isinstance(sys.stdout, PrintedStream)
    assert await said(jp, lambda: print("for people")) == []


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_printed_lines_are_in_the_log_and_where_they_went_before(
    stores: Stores, capsys: pytest.CaptureFixture[str], threaded: bool
) -> None:
    def speak() -> None:
        print("one", 1)
        print("two\nthree")
        print("fo", end="")
        current_job().log("in between")
        print("ur")
        print("careful", file=sys.stderr)
        sys.stdout.writelines(["five\n", "\n"])
        print("unfinished", end="")

    async def body() -> None:
        speak()

    async with stores.processor(capture_print=True) as jp:
        assert await said(jp, speak if threaded else body) == [
            {"level": "info", "logger": "stdout", "message": "one 1"},
            {"level": "info", "logger": "stdout", "message": "two"},
            {"level": "info", "logger": "stdout", "message": "three"},
            {"level": "info", "message": "in between"},
            {"level": "info", "logger": "stdout", "message": "four"},
            {"level": "warning", "logger": "stderr", "message": "careful"},
            {"level": "info", "logger": "stdout", "message": "five"},
            {"level": "info", "logger": "stdout", "message": ""},
            {"level": "info", "logger": "stdout", "message": "unfinished"},
        ]
        print("nobody's")
    real = capsys.readouterr()
    assert real.out == "one 1\ntwo\nthree\nfour\nfive\n\nunfinishednobody's\n"
    assert real.err == "careful\n"


async def test_what_is_left_unfinished_is_there_also_when_the_body_fails(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        print("half a li", end="")
        raise ValueError("torn")

    async with stores.processor(capture_print=True) as jp:
        job = await jp.submit_job(body, local=True, max_retries=0)
        await jp.wait_for_job(job, timeout=PATIENCE)
        events = await everything(jp.stream_job(job))
        assert [event.type for event in events] == ["submitted", "started", "log", "failed"]
        assert events[2].data["message"] == "half a li"


async def test_a_progress_bar_leaves_what_stood_there_last(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        for n in range(0, 101, 10):
            print(f"\r{n:3} %", end="", file=sys.stderr)
        print(file=sys.stderr)
        print("windows\r")
        print("one\r", end="")
        print("\ntwo", end="\r")
        print("x" * 100_000)
        for _ in range(100):
            print("y" * 1_000, end="")

    async with stores.processor(capture_print=True) as jp:
        events = await said(jp, body)
    assert messages(events[:4]) == ["100 %", "windows", "one", "x" * 16_384]
    assert [event.get("cut") for event in events] == [None, None, None, 100_000, 100_000]


async def test_the_stand_ins_are_there_only_while_somebody_listens(
    stores: Stores, capsys: pytest.CaptureFixture[str]
) -> None:
    real = (sys.stdout, sys.stderr)
    async with stores.processor(capture_print=True):
        ours = sys.stdout
        assert isinstance(ours, PrintedStream)
        assert (ours.encoding, ours.isatty()) == (real[0].encoding, real[0].isatty())
        async with stores.processor(capture_print=True):
            assert sys.stdout is ours
        assert sys.stdout is ours
        async with stores.processor():
            assert sys.stdout is ours
    assert (sys.stdout, sys.stderr) == real


async def test_what_somebody_put_in_their_place_stays(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = io.StringIO()
    async with stores.processor(capture_print=True):
        ours = sys.stdout
        redirection = contextlib.redirect_stdout(theirs)
        redirection.__enter__()
    assert sys.stdout is theirs
    redirection.__exit__(None, None, None)
    assert sys.stdout is ours  # it was theirs to put back; it passes everything on, and hears nothing
    print("later")
    async with stores.processor(capture_print=True) as jp:
        assert messages(await said(jp, lambda: print("once"))) == ["once"]
    assert sys.stdout is ours
    sys.stdout = ours.let_go()
    assert capsys.readouterr().out == "later\nonce\n"


async def test_a_body_that_redirects_its_output_keeps_it(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        with contextlib.redirect_stdout(io.StringIO()) as theirs:
            print("for myself")
        print(theirs.getvalue().upper(), end="")

    async with stores.processor(capture_print=True) as jp:
        assert messages(await said(jp, body)) == ["FOR MYSELF"]
