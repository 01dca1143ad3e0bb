"""``isolation="process"``: a body in a process of its own behaves as it does here, and its death is its job's alone."""

from __future__ import annotations

import itertools
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import (
    ConfigurationError,
    JobCancelledError,
    JobExecutionError,
    JobProcessor,
    JobRequest,
    JobStateError,
    RetryPolicy,
)
from asyncjobs.backends.base import AttemptRef, ClaimedJob
from asyncjobs.clock import SystemClock
from asyncjobs.core.codec import encode_call
from asyncjobs.models import OutcomeKind
from asyncjobs.runtime.attempt import RunningAttempt, Stop
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.isolation.channel import ParentChannel
from asyncjobs.runtime.isolation.echo import Echo
from asyncjobs.runtime.isolation.output import Output
from asyncjobs.runtime.isolation.process import Process, start
from asyncjobs.runtime.isolation.protocol import Emitted, KeepStep, Splitter, read_up
from asyncjobs.runtime.isolation.session import AttemptSession
from asyncjobs.runtime.wakeups import LoopHandle
from tests.runtime import isolated, picky
from tests.runtime.isolated import is_running
from tests.runtime.isolated_jobs import AT_ONCE, ONCE, SOON, begin, failure_of, gone, logs, processes, run
from tests.runtime.support import CANCELLED, COMPLETED, FAILED, Stores

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def new_context() -> JobContext:
    return JobContext(AttemptRef("a", 1, "w1"), group=None, clock=SystemClock(), loop=LoopHandle(), submit=None)


# -- what it runs


async def test_plain_and_async_bodies_run_in_another_process(stores: Stores) -> None:
    async with stores.processor() as jp:
        others = {await run(jp, isolated.pid), await run(jp, isolated.pid_async)}
        here = await (await jp.submit_job(isolated.pid, isolation="thread"))
    assert here == os.getpid()
    assert os.getpid() not in others


@pytest.mark.new_interpreters
async def test_async_bodies_run_on_the_kind_of_loop_that_the_worker_has(stores: Stores, anyio_backend: str) -> None:
    async with stores.processor() as jp:
        assert await run(jp, isolated.loop_name_async) == anyio_backend


async def test_the_decorator_gives_the_default_and_the_call_site_wins(here: JobProcessor) -> None:
    assert await (await here.submit_job(isolated.pid_by_default)) != os.getpid()
    assert await (await here.submit_job(isolated.pid_by_default, isolation="thread")) == os.getpid()


async def test_isolation_is_stored_so_that_any_worker_heeds_it(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        job_id = (await jp.submit_job(isolated.pid, isolation="process")).id
        if stores.kind == "memory":
            return
    async with stores.processor(functions=[isolated.pid]) as jp:
        assert await jp.handle(job_id) != os.getpid()


VALUES = [None, 2**70, (1, "two"), {3, 4}, b"\x00", {"a": [1.5, {"b": ()}]}, isolated.moment()]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
async def test_values_travel_as_they_are_stored(warm: JobProcessor, value: Any) -> None:
    assert await run(warm, isolated.echo, value) == value


async def test_injected_results_come_as_their_classes(stores: Stores) -> None:
    async with stores.processor() as jp:
        drawn_here = await jp.submit_job(isolated.draw, 1)
        drawn_there = await jp.submit_job(isolated.draw, 2, isolation="process")
        told = await run(jp, isolated.describe, drawn_here, drawn_there)
        assert await drawn_there == isolated.Panel(2, "noir")
    assert told == "Panel:1:noir Panel:2:noir"


async def test_an_optional_parent_that_failed_is_none(here: JobProcessor) -> None:
    parent = await here.submit_job(isolated.fail, retry=ONCE)
    assert await run(here, isolated.echo, parent, depends_on=here.optional(parent)) is None


async def test_the_child_imports_no_store_and_no_graph(here: JobProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # that of child processes has a store of its own
    heavy = "networkx aiosqlite sqlite3 starlette uvicorn click rich".split()
    assert await run(here, isolated.loaded, heavy) == []


async def test_it_finds_what_its_parent_finds(here: JobProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCJOBS_TEST", "inherited")
    monkeypatch.setattr(sys, "path", [*sys.path, "/made/up"])
    found = await run(here, isolated.surroundings)
    assert found["path"] == [entry or os.getcwd() for entry in sys.path]
    assert found["python_path"] == os.environ.get("PYTHONPATH")
    assert (found["folder"], found["variable"], found["session"]) == (os.getcwd(), "inherited", True)


async def test_its_command_line_tells_nothing_of_the_job(here: JobProcessor) -> None:
    command = (await run(here, isolated.surroundings))["command"]
    assert "-m asyncjobs.runtime.isolation.child " in command
    assert all(word.isdigit() for word in command.partition("asyncjobs.runtime.isolation.child ")[2].split())


# -- refusals


@pytest.mark.parametrize("isolation", ["thred", "Process", 1, True])
async def test_other_isolations_are_refused(here: JobProcessor, isolation: Any) -> None:
    with pytest.raises(ConfigurationError, match="'thread' or 'process'"):
        await here.submit_job(isolated.pid, isolation=isolation)


async def test_a_local_job_has_no_process_of_its_own(here: JobProcessor) -> None:
    with pytest.raises(ConfigurationError, match="local"):
        await here.submit_job(lambda: None, local=True, isolation="process")


async def test_a_plain_function_with_a_timeout_is_not_warned_of(here: JobProcessor) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await here.submit_jobs([JobRequest(func=isolated.pid, timeout=9.0, isolation="process", delay=99.0)])


# -- failures


@pytest.mark.parametrize("callee", [isolated.fail, isolated.fail_async])
async def test_what_a_body_raises_is_told_as_it_is_here(here: JobProcessor, callee: Any) -> None:
    error = await failure_of(here, callee, "dry")
    assert (error.error_type, error.message) == ("tests.runtime.isolated.NoInkError", "dry")
    assert "raise NoInkError(message)" in str(error.traceback_text)
    assert "child.py" not in str(error.traceback_text).splitlines()[1]


@pytest.mark.parametrize(
    ("policy", "attempts"),
    [
        (RetryPolicy(max_retries=1, base=0.001, on=[ConnectionError]), 2),
        (RetryPolicy(max_retries=1, base=0.001, on=["NoInkError"]), 2),
        (RetryPolicy(max_retries=1, base=0.001, on=[ValueError]), 1),
        (RetryPolicy(max_retries=1, base=0.001, never_on=[OSError]), 1),
    ],
    ids=["a base class", "a name", "another class", "never on a base class"],
)
async def test_policies_match_classes_as_they_do_here(here: JobProcessor, policy: RetryPolicy, attempts: int) -> None:
    assert (await failure_of(here, isolated.fail, retry=policy)).attempt == attempts


@pytest.mark.parametrize("how", ["SystemExit", "KeyboardInterrupt", "StopIteration"])
async def test_whatever_a_body_raises_is_its_failure(here: JobProcessor, how: str) -> None:
    assert (await failure_of(here, isolated.leave, how)).error_type == how


async def test_a_result_that_cannot_be_stored_fails_at_once(here: JobProcessor) -> None:
    error = await failure_of(here, isolated.unstorable, retry=AT_ONCE)
    assert (error.attempt, error.error_type) == (1, "asyncjobs.exceptions.NotSerializableError")


async def test_a_result_may_be_as_large_as_any(tmp_path: Path) -> None:
    stores = Stores("sqlite", tmp_path)
    async with stores.processor(backend=stores.backend(max_value_size=1 << 21)) as jp:
        assert len(await run(jp, isolated.large, 2_000_000)) == 2_000_000
        assert len(await run(jp, isolated.echo, bytes(2_000_000))) == 2_000_000
        assert "max_value_size" in (await failure_of(jp, isolated.large, 1 << 21)).message


async def test_a_module_that_does_not_load_is_the_jobs_failure(
    here: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCJOBS_TEST_PICKY", str(os.getpid()))
    error = await failure_of(here, picky.work, retry=AT_ONCE)
    assert (error.attempt, error.error_type) == (1, "ModuleNotFoundError")
    assert "picky.py" in str(error.traceback_text)


@pytest.mark.parametrize(
    ("how", "words"),
    [("exit", "exit code 3"), ("segfault", "killed by SIGSEGV"), ("kill", r"killed by SIGKILL \(out of memory\?\)")],
)
async def test_a_crash_is_the_jobs_failure(here: JobProcessor, how: str, words: str) -> None:
    error = await failure_of(here, isolated.die, how)
    assert error.error_type == "ProcessDied"
    assert re.search(words, error.message)
    stored = await here.get_job(error.job_id)
    assert (stored.status, stored.failures, stored.interruptions) == (FAILED, 1, 0)


async def test_a_segmentation_fault_says_where(here: JobProcessor) -> None:
    assert "string_at" in str((await failure_of(here, isolated.die, "segfault")).traceback_text)


async def test_a_crash_is_retried_by_the_policy(here: JobProcessor) -> None:
    assert await run(here, isolated.die_at_first, retry=AT_ONCE) == 2
    never = RetryPolicy(max_retries=1, base=0.001, never_on=["ProcessDied"])
    assert (await failure_of(here, isolated.die_at_first, retry=never)).attempt == 1


# -- saying


async def test_the_current_job_is_there(stores: Stores) -> None:
    async with stores.processor() as jp:
        handle = await jp.submit_job(isolated.say_all, job_id="a", group="noir", isolation="process")
        assert await handle == ("a", 1, "noir", False)
        page = await jp.backend.read_events(job_id="a")
        job = await jp.get_job("a")
    assert job.progress is not None
    assert job.progress.percent == 100.0
    said = [(event.type, event.data) for event in page.events if event.type in ("log", "preview")]
    assert said == [
        ("log", {"level": "info", "message": "half-way", "fields": {"panel": 2}}),
        ("preview", {"url": "/1.png"}),
    ]
    assert [event.type for event in page.events][-2:] == ["progress", "completed"]


async def test_log_records_become_log_events(here: JobProcessor) -> None:
    handle = await here.submit_job(isolated.use_logging, isolation="process")
    await handle
    page = await here.backend.read_events(job_id=handle)
    first, second = [event.data for event in page.events if event.type == "log"]
    assert first == {"level": "warning", "logger": "studio.ink", "message": "2 bottles left"}
    assert (second["level"], second["message"]) == ("error", "gone")
    assert "NoInkError: dry" in second["traceback"]


async def test_output_becomes_log_events_in_order(stores: Stores) -> None:
    async with stores.processor() as jp:
        handle = await jp.submit_job(isolated.write_lines, isolation="process")
        await handle
        said = await logs(jp, handle)
    assert [message for _, logger, message in said if logger == "stdout"] == [
        "printed",
        "by the system",
        "by a command",
        "not \\xff utf-8",
        "100 %",
        "no end of line",
    ]
    assert ("warning", "stderr", "to the other stream") in said
    assert {level for level, logger, _ in said if logger == "stdout"} == {"info"}


async def test_what_is_still_in_the_pipe_at_the_end_is_the_jobs_and_what_was_there_before_is_not() -> None:
    end, other_end = os.pipe()
    os.set_blocking(end, False)
    context = new_context()
    os.write(other_end, b"of an earlier job\n")
    output = Output(end, "stdout", context, Echo())
    os.write(other_end, b"last words\n")
    output.finish()
    os.close(other_end)
    os.close(end)
    assert [event.data["message"] for event in context.body_events.take()] == ["last words"]


def test_what_is_reported_while_a_frame_is_written_follows_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finalizer, or the handler of a signal, may log in the very thread that is sending."""
    up, up_end = os.pipe()
    down_end, down = os.pipe()
    channel = ParentChannel(down_end, up_end)
    write, more = os.write, iter(range(3))

    def interrupted(descriptor: int, data: Any) -> int:
        written = write(descriptor, data[:7])  # half of the frame is written
        for n in itertools.islice(more, 1):
            channel.send(Emitted("log", {"message": n}))
        return written

    monkeypatch.setattr(os, "write", interrupted)
    channel.send(Emitted("output", {"text": "first"}))
    channel.send(Emitted("output", {"text": "last"}))
    monkeypatch.undo()
    os.close(up_end)
    sent = [read_up(body) for body in Splitter().feed(os.read(up, 10_000))]
    assert [one.data for one in sent if isinstance(one, Emitted)] == [
        {"text": "first"}, {"message": 0}, {"message": 1}, {"message": 2}, {"text": "last"},
    ]  # fmt: skip
    for descriptor in (up, down_end, down):
        os.close(descriptor)


async def test_once_an_attempt_is_over_no_question_of_it_is_sent() -> None:
    """A thread that it left behind may have been about to ask: the worker would take it for the next attempt."""
    up, up_end = os.pipe()
    down_end, down = os.pipe()
    channel = ParentChannel(down_end, up_end)
    first, second = AttemptRef("a", 1, "w"), AttemptRef("a", 1, "w")
    channel.begin(first)
    channel.end()
    for now in (None, second):
        if now is not None:
            channel.begin(now)
        with pytest.raises(JobStateError, match="its body has ended"):
            await channel.ask(lambda number: KeepStep(number, "k", b""), of=first)
    with anyio.move_on_after(0.01):
        await channel.ask(lambda number: KeepStep(number, "mine", b""), of=second)
    os.close(up_end)
    sent = [read_up(body) for body in Splitter().feed(os.read(up, 10_000))]
    assert [one.key for one in sent if isinstance(one, KeepStep)] == ["mine"]
    for descriptor in (up, down_end, down):
        os.close(descriptor)


async def test_a_flood_of_small_frames_leaves_the_loop_its_turns_and_large_ones_come_in_large_reads(
    here: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    take = AttemptSession._take

    def counted(session: AttemptSession, data: bytes) -> None:
        reads.append(len(data))
        take(session, data)

    monkeypatch.setattr(AttemptSession, "_take", counted)
    await (await here.submit_job(isolated.emit_pieces, 5_000, isolation="process"))
    assert sum(reads) > 5_000 * 20
    assert max(reads) <= 8192
    reads.clear()
    assert len(await (await here.submit_job(isolated.give_bytes, 4 << 20, isolation="process"))) == 4 << 20
    assert len(reads) < 4 * (4 << 20) / 65_536


async def test_a_long_line_is_cut_and_says_so(here: JobProcessor) -> None:
    handle = await here.submit_job(isolated.write_a_long_line, 200_000, isolation="process")
    await handle
    (said,) = [e.data for e in (await here.backend.read_events(job_id=handle)).events if e.type == "log"]
    assert (len(said["message"]), said["cut"]) == (16_384, 200_000)


async def test_a_flood_of_output_is_cut_and_says_so(here: JobProcessor) -> None:
    handle = await here.submit_job(isolated.flood, 30, isolation="process")
    await handle
    events = (await here.backend.read_events(job_id=handle, limit=100_000)).events
    kept = sum(len(event.data["message"]) for event in events if event.type == "log")
    left_out = sum(event.data.get("dropped_bytes", 0) for event in events)
    assert kept < 10 << 20
    assert left_out > 10 << 20
    assert (await here.get_job(handle)).status is COMPLETED


# -- stopping


@pytest.mark.parametrize("callee", [isolated.sleep, isolated.spin, isolated.ignore_async])
async def test_a_cancelled_body_is_killed(here: JobProcessor, callee: Any) -> None:
    del processes(here).grace  # as it is by default
    handle, (process,) = await begin(here, callee)
    with anyio.fail_after(SOON):
        await here.cancel_job(handle)
        with pytest.raises(JobCancelledError):
            await handle
    assert not is_running(process)


@pytest.mark.parametrize("callee", [isolated.sleep_async, isolated.heed])
async def test_a_body_that_heeds_a_cancellation_may_say_a_last_word(stores: Stores, callee: Any) -> None:
    async with stores.processor() as jp:
        handle, (process,) = await begin(jp, callee)
        await jp.cancel_job(handle)
        job = await jp.wait_for_job(handle)
        assert (job.status, await logs(jp, handle)) == (CANCELLED, [("info", None, "put the pen down")])
        assert not is_running(process)


@pytest.mark.parametrize("callee", [isolated.sleep, isolated.spin, isolated.sleep_async, isolated.ignore_async])
async def test_a_body_that_takes_too_long_is_killed(here: JobProcessor, callee: Any) -> None:
    handle, (process,) = await begin(here, callee, timeout=1.0)
    with anyio.fail_after(1.0 + SOON), pytest.raises(JobExecutionError) as caught:
        await handle
    assert caught.value.error_type == "TimeoutError"
    assert "its timeout of 1 s" in caught.value.message
    assert not is_running(process)


async def test_a_timeout_is_the_bodys_and_not_that_of_its_imports(
    here: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCJOBS_TEST_SLOW", "0.6")
    assert await run(here, picky.work, timeout=0.5, retry=ONCE) == "done"


async def test_what_it_has_started_goes_with_it(here: JobProcessor) -> None:
    handle, (process, other) = await begin(here, isolated.start_another)
    await here.cancel_job(handle)
    await here.wait_for_job(handle)
    assert not is_running(process)
    await gone(other)


async def test_a_slot_is_held_until_the_process_is_gone(tmp_path: Path) -> None:
    async with Stores("memory", tmp_path).processor(num_workers=1) as jp:
        handle, (process,) = await begin(jp, isolated.spin)
        after = await jp.submit_job(isolated.is_running, process)
        await jp.cancel_job(handle)
        assert await after is False


@pytest.mark.parametrize("when", ["before", "while its process starts"])
async def test_told_to_stop_before_it_begins_it_never_does(
    here: JobProcessor, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = new_context()
    call = encode_call(("exit",), {}).data
    claimed = ClaimedJob(AttemptRef("a", 1, "w1"), "tests.runtime.isolated:die", call, False, ONCE, None, None, 0)
    running = RunningAttempt(claimed, context)

    async def start_and_stop(*arguments: Any) -> Process:
        process = await start(*arguments)
        running.stop(Stop.CANCELLED)
        return process

    monkeypatch.setattr("asyncjobs.runtime.isolation.pool.start", start_and_stop)
    if when == "before":
        running.stop(Stop.CANCELLED)
    assert (await processes(here).run(running)).kind is OutcomeKind.CANCELLED
    assert len(processes(here).idle) == (when != "before")
