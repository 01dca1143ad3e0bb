"""What a body tells the ``logging`` module is in its job's log."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import logging.config
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import ConfigurationError, DaemonConfig, JobProcessor, current_job
from asyncjobs.runtime import capture, context
from asyncjobs.runtime.capture import JobLogHandler
from tests.runtime.scripts import run
from tests.runtime.support import PATIENCE, Held, Stores, everything

pytestmark = pytest.mark.anyio

shop = logging.getLogger("shop.basket")


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """The shop logs everything, as a program would have it."""
    before = shop.level
    shop.setLevel(logging.DEBUG)
    yield
    shop.setLevel(before)
    assert not handlers()


def handlers() -> list[logging.Handler]:
    return [handler for handler in logging.root.handlers if isinstance(handler, JobLogHandler)]


async def said(jp: JobProcessor, body: Any) -> list[dict[str, Any]]:
    """Run this body; what is in its log."""
    job = await jp.submit_job(body, local=True, max_retries=0)
    await job.result(timeout=PATIENCE)
    return [event.data for event in await everything(jp.stream_job(job)) if event.type == "log"]


def messages(events: list[dict[str, Any]]) -> list[str]:
    return [event["message"] for event in events]


# -- the logging module


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_records_of_a_body_are_in_its_log_with_level_and_logger(jp: JobProcessor, threaded: bool) -> None:
    def speak() -> None:
        shop.debug("not asked for")
        shop.info("%d items for %s", 3, "Ada")
        current_job().log("by hand")
        shop.warning("100 % sure")
        logging.getLogger().error("of the root")

    async def body() -> None:
        speak()

    assert await said(jp, speak if threaded else body) == [
        {"level": "info", "logger": "shop.basket", "message": "3 items for Ada"},
        {"level": "info", "message": "by hand"},
        {"level": "warning", "logger": "shop.basket", "message": "100 % sure"},
        {"level": "error", "logger": "root", "message": "of the root"},
    ]


async def test_each_job_hears_its_own(jp: JobProcessor) -> None:
    held = [Held(), Held()]

    async def body(n: int) -> None:
        shop.info("%d begins", n)
        await held[n].body()
        shop.info("%d ends", n)

    jobs = [await jp.submit_job(body, n, local=True) for n in range(2)]
    for h in held:
        await h.started.wait()
    for h in reversed(held):
        h.go.open()
    for n, job in enumerate(jobs):
        await job.result(timeout=PATIENCE)
        logs = [event.data for event in await everything(jp.stream_job(job)) if event.type == "log"]
        assert messages(logs) == [f"{n} begins", f"{n} ends"]


async def test_tasks_and_threads_that_a_body_starts_are_heard(jp: JobProcessor) -> None:
    async def child() -> None:
        shop.info("in a task")

    async def body() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        await anyio.to_thread.run_sync(shop.info, "in a worker thread")
        for target in (contextvars.copy_context().run, lambda function, *args: function(*args)):
            carried = "carried along" if target is not None and "run" in repr(target) else "on its own"
            thread = threading.Thread(target=target, args=(shop.info, carried))
            thread.start()
            await anyio.to_thread.run_sync(thread.join)

    assert messages(await said(jp, body)) == ["in a task", "in a worker thread", "carried along"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_of_asyncio_is_heard(tmp_path: Path, anyio_backend: str) -> None:
    async def body() -> None:
        async def child() -> None:
            shop.info("in a task")
            await asyncio.to_thread(shop.info, "and its thread")

        await asyncio.create_task(child())

    async with Stores("sqlite", tmp_path).processor() as jp:
        assert messages(await said(jp, body)) == ["in a task", "and its thread"]


async def test_the_level_is_the_workers(stores: Stores) -> None:
    async def body() -> None:
        for level in (logging.DEBUG, 15, logging.INFO, logging.WARNING, logging.CRITICAL):
            shop.log(level, str(level))

    for given, heard in ((None, 0), ("error", 1), (30, 2), ("INFO", 3), (15, 4), ("NOTSET", 5)):
        async with stores.processor(capture_logging=given) as jp:
            assert len(handlers()) == (given is not None)
            events = await said(jp, body)
            assert messages(events) == ["10", "15", "20", "30", "50"][5 - heard :]
    assert [event["level"] for event in events] == ["debug", "level 15", "info", "warning", "critical"]


async def test_two_processors_hear_each_record_once_at_their_own_level(tmp_path: Path, anyio_backend: str) -> None:
    first, other = Stores("sqlite", tmp_path), Stores("memory", tmp_path)

    async def body() -> None:
        shop.info("info")
        shop.warning("warning")

    async with other.processor(capture_logging="WARNING") as b:
        async with first.processor() as a:
            assert len(handlers()) == 1
            assert messages(await said(a, body)) == ["info", "warning"]
            assert messages(await said(b, body)) == ["warning"]
        assert len(handlers()) == 1
        assert messages(await said(b, body)) == ["warning"]


async def test_it_is_attached_only_while_a_worker_runs_and_changes_no_level(stores: Stores) -> None:
    before = (logging.root.level, shop.level, logging.getLogger("shop").level, logging.root.handlers[:])
    async with stores.processor() as jp:
        assert len(handlers()) == 1
        await said(jp, lambda: shop.info("x"))
        assert (logging.root.level, shop.level, logging.getLogger("shop").level) == before[:3]
    assert logging.root.handlers == before[3]
    async with stores.processor(enable_daemon=False):
        assert handlers() == []
    with pytest.raises(RuntimeError):
        async with stores.processor():
            raise RuntimeError
    assert handlers() == []


async def test_our_own_records_are_not_heard(jp: JobProcessor) -> None:
    def body() -> None:
        for name in ("asyncjobs", "asyncjobs.worker", "asyncjobs.x.y"):
            logging.getLogger(name).error("of ours")
        logging.getLogger("asyncjobs_addon").error("of somebody else")

    assert messages(await said(jp, body)) == ["of somebody else"]


async def test_without_a_job_nothing_is_done(jp: JobProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "_message_fields", lambda record: pytest.fail("looked at the record"))
    shop.critical("nobody asked")


async def test_logging_that_is_configured_anew_is_heard_again(jp: JobProcessor) -> None:
    def configure() -> None:
        for handler in handlers():  # as dictConfig and basicConfig(force=True) do
            logging.root.removeHandler(handler)
            handler.close()
        shop.info("unheard")

    assert await said(jp, configure) == []
    assert messages(await said(jp, lambda: shop.info("heard"))) == ["heard"]


async def test_a_forked_child_is_not_heard(jp: JobProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    def body() -> None:
        forks = context.fork_count()
        with monkeypatch.context() as child:
            child.setattr(context, "fork_count", lambda: forks + 1)
            shop.info("in the child")
        shop.info("in the parent")

    assert messages(await said(jp, body)) == ["in the parent"]


# -- records that are not as they should be


@contextlib.contextmanager
def only_ours() -> Iterator[None]:
    """The shop's records go to our handler alone: pytest's own cannot take them."""
    parent = shop.parent
    shop.parent = logging.Logger("parent of its own")
    shop.parent.handlers = handlers()
    yield
    shop.parent = parent


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
@pytest.mark.parametrize(
    ("message", "args", "text"),
    [
        ("%d items", ("three",), "%d items"),
        ("%s", (1, 2), "%s"),
        ("%(name)s", ({"other": 1},), "%(name)s"),
        ("%s", (Broken(),), "%s"),
        (Broken(), (), "<Broken that cannot be printed>"),
    ],
    ids=["type", "too many", "key", "argument", "message"],
)
async def test_a_record_that_cannot_be_formatted_is_stored_raw_and_marked(
    jp: JobProcessor, message: Any, args: tuple[Any, ...], text: str, threaded: bool
) -> None:
    def speak() -> None:
        with only_ours():
            shop.info(message, *args)

    async def body() -> None:
        speak()

    assert await said(jp, speak if threaded else body) == [
        {"level": "info", "logger": "shop.basket", "message": text, "unformatted": True}
    ]


async def test_an_exception_comes_with_its_traceback(jp: JobProcessor) -> None:
    def body() -> None:
        try:
            raise LookupError("no such shelf")
        except LookupError:
            shop.exception("cannot fetch")
        shop.error("nothing raised", exc_info=True)
        try:
            raise ValueError("v" * 20_000)
        except ValueError as error:
            shop.warning("long", exc_info=error)

    first, nothing, long = await said(jp, body)
    assert (first["level"], first["message"]) == ("error", "cannot fetch")
    assert first["traceback"].startswith("Traceback (most recent call last):\n")
    assert first["traceback"].endswith("LookupError: no such shelf")
    assert "traceback" not in nothing
    assert len(long["traceback"]) == 16_384
    assert long["traceback_cut"] > 20_000
    assert long["traceback"].endswith("vvv")


async def test_long_and_odd_records_are_cut_and_escaped(jp: JobProcessor) -> None:
    def body() -> None:
        shop.info("z" * 20_000)
        shop.info("bad \udc80 text")
        logging.getLogger("odd \udc80").error("logger")
        with only_ours():
            shop.handle(logging.makeLogRecord({"msg": "by hand", "levelno": 30, "exc_info": True}))

    long, odd, logger, hand = await said(jp, body)
    assert (len(long["message"]), long["cut"]) == (16_384, 20_000)
    assert odd["message"] == "bad \\udc80 text"
    assert logger["logger"] == "odd \\udc80"
    assert hand == {"level": "warning", "logger": "None", "message": "by hand"}


async def test_the_name_of_a_level_is_logging_s_own(jp: JobProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some formatters colour ``record.levelname`` in place."""

    class Colouring(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            record.levelname = f"\x1b[31m{record.levelname}\x1b[0m"

    monkeypatch.setattr(shop, "handlers", [Colouring()])
    [event] = await said(jp, lambda: shop.error("red"))
    assert event["level"] == "error"


# -- in programs that did not configure logging


PROGRAM = """
import asyncio, logging, sys
from asyncjobs import DaemonConfig, JobProcessor, MemoryBackend

log = logging.getLogger("shop")

async def body():
    log.info("quiet")
    log.warning("in the job")
    log.error("%d", "broken")

async def main():
    async with JobProcessor(MemoryBackend(), daemon=DaemonConfig(capture_print=True)) as jp:
        job = await jp.submit_job(body)
        await job
        log.warning("outside")
        logging.getLogger("asyncjobs.worker").warning("ours")
        own = logging.getLogger("shop.own")
        own.addHandler(logging.StreamHandler(sys.stdout))
        own.warning("to its own handler")
        async for event in jp.stream_job(job):
            if event.type == "log":
                print(event.data["logger"], event.data["message"])
    log.warning("afterwards")

asyncio.run(main())
"""


@pytest.mark.slow
def test_warnings_go_to_standard_error_as_they_do_without_us(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run("program.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "to its own handler\nshop in the job\nshop %d\n"
    lines = [line for line in done.stderr.splitlines() if line in {"in the job", "outside", "ours", "afterwards"}]
    assert lines == ["in the job", "outside", "ours", "afterwards"]
    assert "to its own handler" not in done.stderr


# -- settings


def test_a_level_is_a_name_or_a_number() -> None:
    for given, level in (("INFO", 20), ("debug", 10), ("Warn", 30), (0, 0), (35, 35), (None, None)):
        assert DaemonConfig(capture_logging=given).capture_level == level


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"capture_logging": "WARNIN"},
            "DaemonConfig.capture_logging cannot be 'WARNIN'; allowed: a level of the logging module, such as 'INFO' "
            "or 20, or None\n  hint: did you mean 'WARNING'?",
        ),
        (
            {"capture_logging": -1},
            "DaemonConfig.capture_logging cannot be -1; allowed: a level of the logging module, such as 'INFO' or 20, "
            "or None",
        ),
        (
            {"capture_logging": False},
            "DaemonConfig.capture_logging cannot be False; allowed: a level of the logging module, such as 'INFO' or "
            "20, or None",
        ),
        ({"capture_print": 1}, "DaemonConfig.capture_print cannot be 1; allowed: True or False"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_setting_that_cannot_work_is_refused(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        DaemonConfig(**settings)
    assert str(caught.value) == text
