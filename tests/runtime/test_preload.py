"""``DaemonConfig(preload=…)``: imported before the first claim, in a thread, and in child processes too."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import BackendClosedError, ConfigurationError, DaemonConfig, JobProcessor, RetryPolicy
from asyncjobs.processor import get_engine
from asyncjobs.runtime.preload import Libraries
from asyncjobs.testing import FaultyBackend
from tests.runtime import isolated
from tests.runtime.support import PATIENCE, Gate, Stores

pytestmark = pytest.mark.anyio

Library = Callable[..., str]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """Write a module that can be imported here, and return its name."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(source: str = "", name: str = f"library_{os.getpid()}") -> str:
        (tmp_path / f"{name}.py").write_text(source)
        return name

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) is not None and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


# -- before the first claim


async def test_modules_are_imported_in_their_order_before_the_worker_registers(
    stores: Stores, library: Library
) -> None:
    store = FaultyBackend(stores.backend())
    calls: list[Any] = []
    sys.modules["asyncjobs_test_calls"] = calls
    names = [library(f"import asyncjobs_test_calls; asyncjobs_test_calls.append({n})", f"lib_{n}_x") for n in (2, 1)]
    try:
        jp = stores.processor(backend=store, preload=tuple(names))
        async with jp:
            assert calls == [2, 1]
        assert store.calls["register_worker"] == 1
    finally:
        del sys.modules["asyncjobs_test_calls"]


async def test_the_loop_goes_on_while_a_module_is_imported_and_nothing_is_claimed(
    stores: Stores, library: Library
) -> None:
    gate, begun, store = Gate(), Gate(), FaultyBackend(stores.backend())
    sys.modules["asyncjobs_test_gates"] = (gate, begun)
    name = library("import asyncjobs_test_gates as g; g[1].open(); g[0].wait_sync()")
    try:
        async with anyio.create_task_group() as tasks:

            async def let_go() -> None:
                await begun.wait()
                assert store.calls["register_worker"] == store.calls["dequeue_jobs"] == 0
                gate.open()

            tasks.start_soon(let_go)
            with anyio.fail_after(PATIENCE):
                async with stores.processor(backend=store, preload=(name,)):
                    assert store.calls["register_worker"] == 1
    finally:
        del sys.modules["asyncjobs_test_gates"]


async def test_what_it_prints_goes_where_the_program_prints(
    stores: Stores, library: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    async with stores.processor(preload=(library("print('a banner')"),)):
        pass
    assert "a banner" in capsys.readouterr().out


async def test_threads_that_it_starts_do_not_keep_the_program(stores: Stores, library: Library) -> None:
    name = library(
        "import threading\nstopped = threading.Event()\nt = threading.Thread(target=stopped.wait)\nt.start()"
    )
    async with stores.processor(preload=(name,)):
        module = sys.modules[name]
        assert module.t.is_alive()
        assert module.t.daemon  # the interpreter does not wait for it
    module.stopped.set()


async def test_a_processor_without_a_daemon_imports_nothing(stores: Stores, library: Library) -> None:
    name = library()
    async with JobProcessor(stores.backend(), enable_daemon=False, daemon=DaemonConfig(preload=(name,))):
        assert name not in sys.modules


async def test_one_that_runs_jobs_at_their_submit_has_them_from_the_start(stores: Stores, library: Library) -> None:
    name = library()
    daemon = DaemonConfig(preload=(name,))
    async with JobProcessor(stores.backend(), enable_daemon=False, fallback="sync", daemon=daemon):
        assert name in sys.modules


async def test_embedded_nothing_is_kept_out_of_garbage_collections(stores: Stores, library: Library) -> None:
    before = gc.get_freeze_count()
    async with stores.processor(preload=(library(),)):
        assert gc.get_freeze_count() == before


# -- what cannot be imported

BROKEN = {
    "missing": (None, "ModuleNotFoundError: No module named 'library_x'", "install it"),
    "needs another": ("import not_there_x", "ModuleNotFoundError: No module named 'not_there_x'", "python -c 'import"),
    "raises": ("raise LookupError('no licence')", "LookupError: no licence", "python -c 'import library_x'"),
    "exits": ("import sys; sys.exit(0)", "SystemExit: 0", "if __name__"),
    "is interrupted": ("raise KeyboardInterrupt", "KeyboardInterrupt: ", "python -c 'import library_x'"),
    "is no Python": ("def oops(:", "SyntaxError", "python -c 'import library_x'"),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_an_import_that_fails_ends_the_start_and_is_named(stores: Stores, library: Library, what: str) -> None:
    source, reason, hint = BROKEN[what]
    if source is not None:
        library(source, "library_x")
    store = FaultyBackend(stores.backend())
    jp = stores.processor(backend=store, preload=("json", "library_x"))
    with pytest.raises(ConfigurationError) as raised:
        async with jp:
            pass
    assert raised.value.field == "DaemonConfig.preload"
    assert raised.value.value == "library_x"
    assert f"preload: module 'library_x' cannot be imported: {reason}" in str(raised.value)
    assert hint in (raised.value.hint or "")
    assert raised.value.__cause__ is not None
    assert not store.calls["open"]


async def test_the_processor_can_be_entered_once_the_module_is_mended(stores: Stores, library: Library) -> None:
    library("raise ValueError('not yet')", "mended_x")
    jp = stores.processor(preload=("mended_x",))
    with pytest.raises(ConfigurationError, match="not yet"):
        async with jp:
            pass
    library("DONE = True  # and some more, so that no stale bytecode is taken for it", "mended_x")
    async with jp:
        assert sys.modules["mended_x"].DONE


async def test_a_start_that_is_cancelled_does_not_wait_for_a_module_that_hangs(
    stores: Stores, library: Library
) -> None:
    gate, begun, store = Gate(), Gate(), FaultyBackend(stores.backend())
    sys.modules["asyncjobs_test_gates"] = (gate, begun)
    name = library("import asyncjobs_test_gates as g; g[1].open(); g[0].wait_sync()")
    try:
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:

                async def cancel() -> None:
                    await begun.wait()
                    tasks.cancel_scope.cancel()

                tasks.start_soon(cancel)
                async with stores.processor(backend=store, preload=(name,)):
                    pytest.fail("it has not been imported")
        assert not store.calls["open"]
    finally:
        gate.open()
        while any(thread.name == "asyncjobs-call" for thread in threading.enumerate()):
            await anyio.sleep(0.01)
        del sys.modules["asyncjobs_test_gates"]


async def test_a_processor_that_is_being_entered_is_not_entered_twice(stores: Stores, library: Library) -> None:
    gate, begun = Gate(), Gate()
    sys.modules["asyncjobs_test_gates"] = (gate, begun)
    jp = stores.processor(preload=(library("import asyncjobs_test_gates as g; g[1].open(); g[0].wait_sync()"),))
    refused: list[BackendClosedError] = []
    try:
        async with anyio.create_task_group() as tasks:

            async def enter_too() -> None:
                await begun.wait()
                with pytest.raises(BackendClosedError, match="running already") as raised:
                    await jp.__aenter__()
                refused.append(raised.value)
                gate.open()

            tasks.start_soon(enter_too)
            async with jp:
                assert len(refused) == 1
        async with jp:
            pass
    finally:
        gate.open()
        del sys.modules["asyncjobs_test_gates"]


HANGS = """
import sys, threading
print("importing", flush=True)
threading.Event().wait(60)
"""
PROGRAMS = {
    "async": """
import anyio
from asyncjobs import DaemonConfig, JobProcessor
async def main():
    async with JobProcessor("memory", daemon=DaemonConfig(preload=("hangs",))):
        print("entered")
anyio.run(main)
""",
    "plain": """
from asyncjobs import DaemonConfig, SyncJobs
with SyncJobs("memory", daemon=DaemonConfig(preload=("hangs",))):
    print("entered")
""",
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_ctrl_c_and_sigterm_end_a_program_whose_preload_hangs(tmp_path: Path, kind: str, number: int) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    (tmp_path / "program.py").write_text(PROGRAMS[kind])
    program = subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "importing\n"
    program.send_signal(number)
    out, err = program.communicate(timeout=PATIENCE)
    assert out == "", "it has not been entered"
    assert program.returncode == -number, err


# -- in child processes


async def test_a_child_process_has_them_before_the_module_of_its_job_and_keeps_them_out_of_collections(
    stores: Stores, library: Library
) -> None:
    name = library()
    async with stores.processor(preload=(name,)) as jp:
        first = await (await jp.submit_job(isolated.imported, name, isolation="process"))
        second = await (await jp.submit_job(isolated.imported, name, isolation="process"))
    assert first[:2] == second[:2] == [first[0], True]
    assert first[2] > 1_000
    assert second[2] <= first[2], "the same process has frozen once"


async def test_a_child_process_without_a_preload_freezes_nothing(stores: Stores) -> None:
    async with stores.processor() as jp:
        _, before, frozen = await (await jp.submit_job(isolated.imported, "msgspec", isolation="process"))
    assert before
    assert frozen < 1_000, "Python 3.12 itself keeps a few hundred"


async def test_a_module_that_a_child_process_cannot_import_fails_the_job_and_is_named(
    stores: Stores, library: Library
) -> None:
    name = library(f"import os\nif os.getpid() != {os.getpid()}: raise LookupError('here only')")
    async with stores.processor(preload=(name,)) as jp:
        job = await jp.submit_job(isolated.pid, isolation="process", max_retries=0)
        result = (await jp.wait_for_results([job]))[0]
        assert result.error is not None
        assert f"preload: module {name!r} cannot be imported: LookupError: here only" in result.error.message


@pytest.mark.parametrize("fails", ["raise LookupError('taken')", "raise SystemExit", "raise KeyboardInterrupt"])
async def test_a_job_is_tried_again_in_another_process_by_its_policy(
    stores: Stores, library: Library, tmp_path: Path, fails: str
) -> None:
    """What a process could not import may work in the next one, as a device that is free again."""
    mark = tmp_path / "taken"
    mark.touch()
    name = library(
        "import os, pathlib\n"
        f"mark = pathlib.Path({str(mark)!r})\n"
        f"if os.getpid() != {os.getpid()} and mark.exists():\n    mark.unlink()\n    {fails}\n"
    )
    retry = RetryPolicy(max_retries=1, base=0.001)
    async with stores.processor(preload=(name,)) as jp:
        job = await jp.submit_job(isolated.pid, isolation="process", retry=retry)
        assert isinstance(await job, int)
        assert (await jp.get_job(job)).attempt == 2


async def test_a_job_that_is_cancelled_while_its_process_imports_ends_at_once(stores: Stores, library: Library) -> None:
    name = library(f"import os, time\nif os.getpid() != {os.getpid()}: print('importing', flush=True); time.sleep(60)")
    async with stores.processor(preload=(name,)) as jp:
        job = await jp.submit_job(isolated.pid, isolation="process")
        with anyio.fail_after(PATIENCE):
            async for event in jp.stream_job(job):
                if event.data.get("message") == "importing":
                    await job.cancel()
            assert (await jp.get_job(job)).status == "cancelled"
        assert not get_engine(jp).last_runner.running


async def test_a_library_that_an_adapter_needs_is_imported_once_and_its_absence_is_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    libraries = Libraries(owns_process=False)
    for _ in range(2):
        await libraries.load("asyncjobs_has_no_such_module")
        await libraries.load(None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "module 'asyncjobs_has_no_such_module' cannot be imported" in caplog.text
