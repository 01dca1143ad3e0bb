"""Job bodies of the fault tests. Each tells a ledger when it starts and ends: what really ran, whatever is stored."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from asyncjobs import current_job

LEDGER_VARIABLE = "ASYNCJOBS_TEST_LEDGER"

_ledger: int | None = None


def _goes_on(job_id: str, attempt: int) -> bool:
    return False


def _is_heard_of(job_id: str, attempt: int) -> None:
    pass


started: Callable[[str, int], bool] = _goes_on
"""Called at each start; True: the body stays where it is, until its process is killed."""
ended: Callable[[str, int], None] = _is_heard_of
"""Called at each end."""


class Unlucky(Exception):
    """What these bodies fail with."""


def note(kind: str, job_id: str, attempt: int, *rest: str) -> None:
    """One line, one write, at the end of the file: so it is whole, and in order over all processes."""
    global _ledger
    if _ledger is None:
        _ledger = os.open(os.environ[LEDGER_VARIABLE], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(_ledger, f"{' '.join((kind, job_id, str(attempt), str(os.getpid()), *rest))}\n".encode())


def tell(*words: object) -> None:
    """Announce something to the parent process."""
    os.write(1, f"{' '.join(map(str, words))}\n".encode())


def _begin(inputs: Sequence[Any], expected: Sequence[str]) -> tuple[str, int, bool]:
    job = current_job()
    note("S", job.id, job.attempt)
    for value, parent in zip(inputs, expected, strict=True):
        if value is not None and value[0] != parent:
            note("X", job.id, job.attempt, f"{value[0]}-for-{parent}")
    return job.id, job.attempt, started(job.id, job.attempt)


def _end(job_id: str, attempt: int, *, well: bool) -> None:
    note("E", job_id, attempt, "well" if well else "badly")
    ended(job_id, attempt)


async def work(
    inputs: Sequence[Any] = (),
    expected: Sequence[str] = (),
    fails: int = 0,
    turns: int = 0,
    children: int = 0,
    waits: bool = False,
    pause: float = 0.0,
) -> list[Any]:
    """Fails at its first ``fails`` attempts; submits children, and perhaps waits for them; takes ``pause`` seconds."""
    job_id, attempt, stay = _begin(inputs, expected)
    if stay:
        await anyio.sleep_forever()
    if pause:
        await anyio.sleep(pause)
    for _ in range(turns):
        await anyio.lowlevel.checkpoint()
    if turns % 2:
        current_job().progress(turns, turns)
    handles = []
    for i in range(children):
        handle = await current_job().submit_job(work, key=f"c{i}", turns=i)
        note("C", handle.id, 0, job_id)
        handles.append(handle)
    if waits:
        for handle in handles:
            if (await handle)[0] != handle.id:
                note("X", job_id, attempt, f"not-{handle.id}")
    _end(job_id, attempt, well=attempt > fails)
    if attempt <= fails:
        raise Unlucky(attempt)
    return [job_id, attempt]


def work_in_thread(
    inputs: Sequence[Any] = (), expected: Sequence[str] = (), fails: int = 0, pause: float = 0.0
) -> list[Any]:
    """The same in a plain function."""
    job_id, attempt, stay = _begin(inputs, expected)
    if stay:
        threading.Event().wait()
    time.sleep(pause)
    _end(job_id, attempt, well=attempt > fails)
    if attempt <= fails:
        raise Unlucky(attempt)
    return [job_id, attempt]


def read_line(path: str) -> list[Any]:
    """Ends once the named pipe of this attempt (``path`` and its number) was closed by a writer."""
    job_id, attempt, _ = _begin((), ())
    tell("started", job_id, attempt)
    with open(f"{path}{attempt}", encoding="utf-8") as pipe:
        pipe.readline()
    _end(job_id, attempt, well=True)
    return [job_id, attempt]


def wait_for_ever() -> None:
    """Says that it has started, and stays."""
    job = current_job()
    note("S", job.id, job.attempt)
    tell("started", job.id, job.attempt)
    threading.Event().wait()


def leave_at_once() -> None:
    """Ends the whole process, without a word to anybody."""
    job = current_job()
    note("S", job.id, job.attempt)
    os._exit(17)


def kill_the_process() -> None:
    """As the system does when memory runs out."""
    job = current_job()
    note("S", job.id, job.attempt)
    os.kill(os.getpid(), signal.SIGKILL)


def break_memory() -> None:
    """What a broken C extension does."""
    job = current_job()
    note("S", job.id, job.attempt)
    ctypes.string_at(0)


def nothing() -> None:
    """Ends at once."""


async def nothing_async() -> int:
    """Ends at once, on the loop."""
    return current_job().attempt


async def block_loop(path: str) -> list[Any]:
    """What no body should do: it keeps the event loop until its named pipe is closed by a writer."""
    return read_line(path)
