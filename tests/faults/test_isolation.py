"""Processes of jobs that meet faults: whoever is killed, nothing is left behind, and nobody else is harmed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import (
    DaemonConfig,
    JobCancelledError,
    JobExecutionError,
    JobProcessor,
    MemoryBackend,
    RetryPolicy,
    gather,
)
from tests.faults.children import Child
from tests.runtime import isolated
from tests.runtime.isolated import is_at_work, is_running
from tests.runtime.scripts import output, run
from tests.runtime.support import until

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(max_retries=0)
SOON = 3.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def jp() -> AsyncIterator[JobProcessor]:
    async with JobProcessor(MemoryBackend(), daemon=DaemonConfig(num_workers=4)) as processor:
        yield processor


async def error_of(jp: JobProcessor, func: Any, *args: Any) -> JobExecutionError:
    handle = await jp.submit_job(func, *args, isolation="process", retry=ONCE)
    with anyio.fail_after(20), pytest.raises(JobExecutionError) as caught:
        await handle
    return caught.value


# -- the worker


def test_when_the_worker_is_killed_all_its_processes_end(tmp_path: Path) -> None:
    bodies = ["sleep", "spin", "sleep_async", "ignore_async", "start_another"]
    with Child("tests.faults.isolated_program", *bodies, ledger=tmp_path / "ledger") as program:
        running = [int(word) for _ in bodies for word in program.until("began")[1:]]
        running += [int(word) for word in program.until("idle")]
        assert len(running) == len(bodies) + 2
        assert all(map(is_running, running))
        program.kill()
        wait_until_gone(running)


def test_a_worker_that_ends_in_order_leaves_no_process(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        """
        import os, anyio
        from asyncjobs import DaemonConfig, JobProcessor, MemoryBackend
        from tests.runtime import isolated

        async def main():
            async with JobProcessor(MemoryBackend(), daemon=DaemonConfig(shutdown_timeout=0.0)) as jp:
                await (await jp.submit_job(isolated.pid, isolation="process"))
                handle = await jp.submit_job(isolated.spin, isolation="process")
                await anext(jp.stream_job(handle, types=["progress"]))

        if __name__ == "__main__":
            anyio.run(main)
            try:
                print(os.waitpid(-1, os.WNOHANG))
            except ChildProcessError:
                print("no child, living or dead")
        """,
    )
    assert output(script, cwd=tmp_path) == "no child, living or dead"


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + SOON
    while left := list(filter(is_at_work, pids)):
        assert time.monotonic() < deadline, f"{left} of {pids} go on"
        time.sleep(0.01)  # orphans: nobody here is told of their end


# -- the child


@pytest.mark.parametrize("data", [b"\xff" * 64, b"\0\0\0\0\0\0\0\x04junk"], ids=["too long a frame", "no message"])
async def test_garbage_in_its_pipe_ends_the_process_and_fails_the_job(jp: JobProcessor, data: bytes) -> None:
    error = await error_of(jp, isolated.write_garbage, list(range(3, 200)), data)
    assert error.error_type == "ProcessDied"
    assert "invalid frame" in error.message


async def test_a_body_that_closes_its_pipe_fails(jp: JobProcessor) -> None:
    assert (await error_of(jp, isolated.close_everything)).error_type == "ProcessDied"


async def test_a_death_is_noticed_though_a_forked_copy_keeps_the_pipes_open(jp: JobProcessor) -> None:
    await fork_and_die(jp)


async def fork_and_die(jp: JobProcessor) -> None:
    error = await error_of(jp, isolated.fork_and_die)
    assert "exit code 4" in error.message
    job = await jp.get_job(error.job_id)
    assert job.progress is not None
    with anyio.fail_after(SOON):
        while await anyio.to_thread.run_sync(isolated.is_at_work, int(job.progress.message or 0)):
            await anyio.sleep(0.01)  # an orphan: nobody here is told of its end


async def test_deaths_are_noticed_where_the_system_does_not_tell_of_them(
    jp: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS: no pidfd, and waitid only in newer Pythons."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.delattr(os, "waitid", raising=False)
    await fork_and_die(jp)
    assert await (await jp.submit_job(isolated.echo, 1, isolation="process")) == 1
    handle = await jp.submit_job(isolated.spin, isolation="process")
    pid = int((await until(jp, handle, "progress"))[-1].data["message"])
    await jp.cancel_job(handle)
    await jp.wait_for_job(handle)
    assert not is_running(pid)


async def test_a_frozen_process_can_be_cancelled(jp: JobProcessor) -> None:
    handle = await jp.submit_job(isolated.sleep, isolation="process")
    pid = int((await until(jp, handle, "progress"))[-1].data["message"])
    os.kill(pid, signal.SIGSTOP)
    with anyio.fail_after(SOON):
        await jp.cancel_job(handle)
        with pytest.raises(JobCancelledError):
            await handle
    assert not is_running(pid)


async def test_no_process_to_be_had_is_the_jobs_failure(jp: JobProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    before = open_files()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refuse)
        assert (await error_of(jp, isolated.pid)).error_type == "BlockingIOError"
    assert open_files() == before
    assert await (await jp.submit_job(isolated.pid, isolation="process")) != os.getpid()


async def test_crashes_harm_nobody_else_and_leave_nothing(tmp_path: Path) -> None:
    before = open_files()
    async with JobProcessor(MemoryBackend(), daemon=DaemonConfig(num_workers=3)) as jp:
        handles = [
            await jp.submit_job(
                *((isolated.echo, n) if n % 2 else (isolated.die, "kill")), isolation="process", retry=ONCE
            )
            for n in range(12)
        ]
        ends = await gather(*handles, return_exceptions=True, timeout=50)
    assert [end if isinstance(end, int) else type(end) for end in ends] == [JobExecutionError, 1] + [
        n if n % 2 else JobExecutionError for n in range(2, 12)
    ]
    assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


# -- the program's own script

GUARDED = """
    import os, sys, anyio
    from dataclasses import dataclass
    from asyncjobs import JobProcessor, MemoryBackend, current_job

    print("loaded as", __name__, flush=True)

    @dataclass
    class Page:
        text: str
        pid: int

    def draw(page: Page) -> Page:
        return Page(f"{page.text}, inked in {__name__}", os.getpid())

    async def hand_on(page: Page) -> Page:
        return await (await current_job().submit_job(draw, page, isolation="process"))

    async def main():
        async with JobProcessor(MemoryBackend()) as jp:
            for func in (draw, hand_on):
                page = await (await jp.submit_job(func, Page("one", 0), isolation="process"))
                line = f"{type(page).__name__} {page.text} {page.pid not in (0, os.getpid())}"
                sys.stdout.write(line + "\\n")  # at once: what children print goes to the same place

    if __name__ == "__main__":
        anyio.run(main)
"""
UNGUARDED = GUARDED.replace('if __name__ == "__main__":\n        anyio.run(main)', "anyio.run(main)")
IN_VAIN = UNGUARDED.replace("print(", '"__main__"; print(', 1)


def write(folder: Path, source: str, name: str = "app.py") -> Path:
    lines = source.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(line[indent:] for line in lines) + "\n")
    return path


def test_a_job_of_the_script_loads_it_again_without_running_it(tmp_path: Path) -> None:
    lines = output(write(tmp_path, GUARDED), cwd=tmp_path).splitlines()
    assert [line for line in lines if line != "loaded as __asyncjobs_main__"] == [
        "loaded as __main__",
        "Page one, inked in __main__ True",
        "Page one, inked in __main__ True",
    ]


def test_a_job_of_python_m_imports_its_module(tmp_path: Path) -> None:
    write(tmp_path, GUARDED, "studio/ink.py")
    lines = output("-m", "studio.ink", cwd=tmp_path).splitlines()
    assert [line for line in lines if line != "loaded as studio.ink"] == [
        "loaded as __main__",
        "Page one, inked in studio.ink True",
        "Page one, inked in studio.ink True",
    ]


def test_a_script_without_a_guard_is_refused_at_submit(tmp_path: Path) -> None:
    done = run(write(tmp_path, UNGUARDED), cwd=tmp_path)
    assert done.stdout.splitlines() == ["loaded as __main__"]
    assert "JobExecutionError" not in done.stderr
    assert 'put what starts the program under: if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_a_script_that_starts_itself_nevertheless_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    done = run(write(tmp_path, IN_VAIN), cwd=tmp_path)
    assert done.stdout.splitlines() == ["loaded as __main__", "loaded as __asyncjobs_main__"]
    assert "ConfigurationError" in done.stderr
    assert 'put what starts the program under: if __name__ == "__main__":' in done.stderr
    assert "failed after 1 attempt:" in done.stderr


def test_the_program_of_children_says_what_it_is(tmp_path: Path) -> None:
    done = run("-m", "asyncjobs.runtime.isolation.child", cwd=tmp_path)
    assert done.returncode == 1
    assert "isolation='process'" in done.stderr


def test_a_folder_cannot_slip_modules_into_a_child(tmp_path: Path) -> None:
    """The working directory is not where a script's imports come from, and not where a child's come from either."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "msgspec.py").write_text("raise SystemExit('hostile')\n")
    script = write(tmp_path, GUARDED)
    assert "Page one, inked in __main__ True" in output(script, cwd=tmp_path / "elsewhere").splitlines()
