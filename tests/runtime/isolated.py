"""Bodies that run in processes of their own. They are imported there by name, so this imports nothing of the tests."""

from __future__ import annotations

import ctypes
import datetime
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.from_thread

from asyncjobs import JobExecutionError, JobStateError, current_job, gather, job

FOREVER = 300.0


@dataclass
class Panel:
    number: int
    mood: str


def pid() -> int:
    return os.getpid()


async def pid_async() -> int:
    return os.getpid()


@job(isolation="process")
def pid_by_default() -> int:
    return os.getpid()


def echo(value: Any) -> Any:
    return value


async def echo_async(value: Any) -> Any:
    return value


def draw(number: int) -> Panel:
    return Panel(number, "noir")


def describe(panel: Panel, *others: Panel) -> str:
    return " ".join(f"{type(one).__name__}:{one.number}:{one.mood}" for one in (panel, *others))


def loop_name() -> str:
    return "trio" if "trio" in sys.modules else "asyncio"


async def loop_name_async() -> str:
    await anyio.sleep(0)
    return loop_name()


def loaded(names: list[str]) -> list[str]:
    return [name for name in names if name in sys.modules]


def surroundings() -> dict[str, Any]:
    return {
        "path": list(sys.path),
        "folder": os.getcwd(),
        "variable": os.environ.get("ASYNCJOBS_TEST"),
        "python_path": os.environ.get("PYTHONPATH"),
        "session": os.getsid(0) == os.getpid(),
        "command": " ".join(sys.orig_argv[1:]),
    }


# -- failing


class NoInkError(ConnectionError):
    pass


def fail(message: str = "boom") -> None:
    raise NoInkError(message)


async def fail_async(message: str = "boom") -> None:
    raise NoInkError(message)


def leave(how: str) -> None:
    raise {"SystemExit": SystemExit(3), "KeyboardInterrupt": KeyboardInterrupt(), "StopIteration": StopIteration()}[how]


def unstorable() -> object:
    return threading.Lock()


def large(size: int) -> bytes:
    return bytes(size)


def die(how: str) -> None:
    match how:
        case "exit":
            os._exit(3)
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case _:
            raise AssertionError(how)


def die_at_first() -> int:
    if current_job().attempt == 1:
        os._exit(9)
    return current_job().attempt


def fork_and_die() -> None:
    """What is forked off keeps the pipes open."""
    other = os.fork()
    if other == 0:
        time.sleep(FOREVER)
    current_job().progress(0, 1, str(other))
    os._exit(4)


def write_garbage(descriptors: list[int], data: bytes) -> None:
    for descriptor in descriptors:
        try:
            os.write(descriptor, data)
        except OSError:
            pass
    time.sleep(FOREVER)


def close_everything() -> None:
    os.closerange(3, 256)
    time.sleep(FOREVER)


# -- saying


def say_all() -> tuple[str, int, str | None, bool]:
    me = current_job()
    me.progress(1, 4, "inking")
    me.log("half-way", panel=2)
    me.emit("preview", {"url": "/1.png"})
    me.progress(4, 4)
    return me.id, me.attempt, me.group, me.cancelled


def report_oddly() -> str:
    me = current_job()
    me.emit("completed")
    me.emit("m", {1: 0.5})
    me.emit("m", {"x": object()})
    me.log("x", logging.WARNING)
    me.progress(Decimal(1))
    return "done"


def emit_pieces(pieces: int = 100_000) -> float:
    began = time.monotonic()
    for n in range(pieces):
        current_job().emit("output", {"text": f"{n:05}"}, append="text")
    return time.monotonic() - began


def emit_in_threads() -> None:
    job = current_job()

    def emit(who: int) -> None:
        for n in range(2_000):
            job.emit("output", {"who": who, "text": f"{n},"}, append="text")

    threads = [threading.Thread(target=emit, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    job.emit("output", {"text": "x"}, append="txt")


def give_bytes(size: int) -> bytes:
    return b"x" * size


def imported(module: str) -> list[Any]:
    """The process, whether the module was there before this one, and how much is kept out of garbage collections."""
    names = list(sys.modules)
    before = module in names and names.index(module) < names.index(__name__)
    return [os.getpid(), before, gc.get_freeze_count()]


def use_logging() -> None:
    logger = logging.getLogger("studio.ink")
    logger.warning("%d bottles left", 2)
    try:
        raise NoInkError("dry")
    except NoInkError:
        logger.exception("gone")


def write_lines() -> None:
    print("printed")
    os.write(1, b"by the system\n")
    subprocess.run(["sh", "-c", "echo by a command"], check=True)
    os.write(1, b"not \xff utf-8\n")
    print("50 %\r100 %")
    print("no end of line", end="")
    print("to the other stream", file=sys.stderr)


def write_a_long_line(length: int) -> None:
    print("x" * length)


def flood(megabytes: int) -> None:
    line = b"y" * 99 + b"\n"
    for _ in range(megabytes):
        os.write(1, b"begin\n")
        left = memoryview(line * 10_000)
        while left:
            left = left[os.write(1, left) :]
    print("the end")


# -- stopping


def sleep(seconds: float = FOREVER) -> None:
    current_job().progress(0, 1, str(os.getpid()))
    time.sleep(seconds)


def spin() -> None:
    current_job().progress(0, 1, str(os.getpid()))
    while True:
        pass


def heed() -> str:
    current_job().progress(0, 1, str(os.getpid()))
    while not current_job().cancelled:
        time.sleep(0.005)
    current_job().log("put the pen down")
    return "half a page"


async def sleep_async() -> None:
    current_job().progress(0, 1, str(os.getpid()))
    try:
        await anyio.sleep(FOREVER)
    finally:
        current_job().log("put the pen down")


async def clean_up(path: str, seconds: float) -> None:
    """Wait to be stopped; then take this long to write that it is done with it."""
    current_job().progress(0, 1, str(os.getpid()))
    try:
        await anyio.sleep(FOREVER)
    finally:
        Path(path).touch()
        try:
            await anyio.sleep(seconds)
            Path(path).write_text("closed")
        except anyio.get_cancelled_exc_class():
            Path(path).write_text("cancelled again")
            raise


async def ignore_async() -> None:
    current_job().progress(0, 1, str(os.getpid()))
    with anyio.CancelScope(shield=True):
        await anyio.sleep(FOREVER)


async def double(x: int) -> int:
    return 2 * x


def call_from_thread(x: int) -> int:
    return anyio.from_thread.run(double, x)


def call_from_thread_sync(x: int) -> int:
    return anyio.from_thread.run_sync(lambda: 2 * x)


def start_another() -> None:
    other = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER})"])
    current_job().progress(0, 1, f"{os.getpid()} {other.pid}")
    time.sleep(FOREVER)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def is_at_work(process: int) -> bool:
    """Not even a zombie, which an orphan may stay until somebody looks."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return bool(shown.stdout.strip()) and not shown.stdout.strip().startswith("Z")


# -- other jobs


async def sum_of(values: list[int]) -> int:
    return sum(values)


async def add_up() -> tuple[str, int, list[int]]:
    me = current_job()
    handles = [await me.submit_job(sum_of, [n, n]) for n in range(3)]
    total = await me.submit_job(sum_of, list(handles), key="total")
    return total.id, await total, await gather(*handles)


def add_up_sync() -> tuple[str, int]:
    total = current_job().submit_job_sync(sum_of, [1, 2], isolation="process")
    return total.id, total.result_sync()


def submit_each_time() -> str:
    child = current_job().submit_job_sync(echo, "once")
    if current_job().attempt == 1:
        os._exit(1)
    return f"{child.id} {child.result_sync()}"


async def hear_of_failure() -> tuple[str, str, bool]:
    child = await current_job().submit_job(fail, "dry", max_retries=0)
    try:
        await child
    except JobExecutionError as error:
        return error.job_id, error.message, bool(error.traceback_text)
    raise AssertionError("it did not fail")


async def stop_waiting() -> tuple[str, str]:
    child = await current_job().submit_job(sleep, isolation="process")
    with anyio.move_on_after(0.05):
        await child
    asked = await child.cancel()
    return str(asked), type(await _error_of(child)).__name__


async def _error_of(child: Any) -> Exception | None:
    try:
        await child
    except Exception as error:
        return error
    return None


async def wait_briefly() -> None:
    child = await current_job().submit_job(echo, 1, delay=FOREVER)
    with anyio.move_on_after(0.05):
        await child
    current_job().progress(0, 1, "going on")
    await anyio.sleep(FOREVER)


def wait_for_ever() -> None:
    child = current_job().submit_job_sync(echo, 1, delay=FOREVER)
    current_job().progress(0, 1, "waiting")
    try:
        child.result_sync()
    finally:
        current_job().log("waits no more")


async def ask_for_what_is_not_here() -> list[str]:
    refused: list[str] = []
    try:
        current_job()
        child = await current_job().submit_job(echo, 1)
        child.events()
    except JobStateError as error:
        refused.append(str(error))
    try:
        await current_job().submit_job(lambda: None, local=True)
    except ValueError as error:
        refused.append(str(error))
    return refused


def moment() -> datetime.datetime:
    return datetime.datetime(2030, 1, 2, tzinfo=datetime.UTC)


async def block_on_submit() -> None:
    current_job().submit_job_sync(echo, 1)


async def block_on_result() -> None:
    (await current_job().submit_job(echo, 1)).result_sync()


async def block_on_run() -> None:
    current_job().run_sync(double, 1)


def block_in_a_loop_of_its_own() -> None:
    async def program() -> None:
        current_job().submit_job_sync(echo, 1)

    anyio.run(program)


async def retry_a_child_anew() -> str:
    """Cancel a job that this one has submitted, and retry it anew; returns its id."""
    child = await current_job().submit_job(pid, delay=1000, key="child")
    await child.cancel()
    await child.retry(fresh=True)
    await child.cancel()
    return child.id
