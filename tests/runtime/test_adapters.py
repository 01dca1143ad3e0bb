"""Jobs whose stored name has an adapter: who runs them, who does not and why, and that nothing but the name decides."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from asyncjobs import (
    ConfigurationError,
    DaemonConfig,
    JobExecutionError,
    JobProcessor,
    JobQuery,
    NotSerializableError,
    SQLiteBackend,
    SQLiteConfig,
    SubmissionError,
)
from asyncjobs.core.codec import adapted, adapters, describe_callable
from asyncjobs.runtime.main_script import name_for_child, refuse_without_guard
from asyncjobs.runtime.start_command import start_command
from tests.runtime import factories
from tests.runtime.factories import Maker, Mood, make, make_marked, title_of
from tests.runtime.support import PATIENCE, Stores, everything

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
MAKE = "demo+tests.runtime.factories:make"


def demo(factory: Callable[..., Any]) -> Callable[..., Any]:
    return adapted("demo", factory)


async def reason_of(jp: JobProcessor, job_id: str, worker: str) -> str:
    """Why a worker of this name leaves the job, once it has said so."""
    with anyio.fail_after(PATIENCE):
        while True:
            why = await jp.why(job_id)
            if why.code == "not_allowed" and worker in why.details["refusals"]:
                return why.details["refusals"][worker]
            await anyio.sleep(0.02)  # it is another process's as well


# -- where it runs


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_what_the_factory_makes_is_run_with_the_inputs(jp: JobProcessor, isolation: str) -> None:
    job = await jp.submit_job(demo(make), "noir", Mood("grim"), inputs={"pages": 3}, isolation=isolation)
    result = await job.result(timeout=3 * PATIENCE)
    assert (result["title"], result["mood"], result["inputs"]) == ("noir", "grim", {"pages": 3})
    assert (result["process"] == os.getpid()) is (isolation == "thread")
    assert (await jp.get_job(job)).func == MAKE
    events = await everything(jp.stream_job(job))
    assert [event.data for event in events if event.type == "output"] == [{"text": "noir"}]


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_classes_and_their_methods_are_factories_too(jp: JobProcessor, isolation: str) -> None:
    for factory in (factories.Poem, Maker.of_class, Maker.static):
        job = await jp.submit_job(demo(factory), "noir", isolation=isolation)
        assert (await job.result(timeout=3 * PATIENCE))["title"] == "noir"


async def test_results_of_other_jobs_are_its_arguments_and_its_result_is_theirs(jp: JobProcessor) -> None:
    title = await jp.submit_job(str.upper, "noir")
    poem = await jp.submit_job(demo(make), title, inputs={"of": title})
    again = await jp.submit_job(title_of, poem, isolation="process")
    assert await again.result(timeout=3 * PATIENCE) == "NOIR"
    assert (await poem)["inputs"] == {"of": "NOIR"}


async def test_a_body_submits_one_in_a_thread_and_in_a_child_process(jp: JobProcessor) -> None:
    for isolation in ("thread", "process"):
        job = await jp.submit_job(factories.submit_one, isolation=isolation)
        assert await job.result(timeout=3 * PATIENCE) == "inner"


async def test_options_of_the_factory_are_those_of_the_job(jp: JobProcessor) -> None:
    job = await jp.submit_job(demo(make_marked), "noir")
    stored = await jp.get_job(job)
    assert stored.queue == "poems"
    assert (await job.result(timeout=3 * PATIENCE))["process"] != os.getpid()


async def test_what_is_local_may_be_adapted_here(jp: JobProcessor) -> None:
    body = demo(lambda title: factories.Poem(title))
    assert (await (await jp.submit_job(body, "noir", local=True)))["title"] == "noir"
    with pytest.raises(NotSerializableError):
        await jp.submit_job(body, "noir")


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize(
    ("factory", "args", "error"),
    [(factories.make_badly, ("gone",), "LookupError: gone"), (factories.make_nothing, (), "AttributeError")],
)
async def test_a_factory_that_fails_fails_its_job(
    jp: JobProcessor, factory: Callable[..., Any], args: tuple[Any, ...], error: str, isolation: str
) -> None:
    job = await jp.submit_job(demo(factory), *args, isolation=isolation, max_retries=0)
    with pytest.raises(JobExecutionError, match=error):
        await job.result(timeout=3 * PATIENCE)


async def test_a_call_that_does_not_fit_the_factory_is_refused_before_anything_is_stored(jp: JobProcessor) -> None:
    for kwargs in ({}, {"titel": "noir"}, {"title": "noir", "input": {}}):
        with pytest.raises(SubmissionError):
            await jp.submit_job(demo(make), **kwargs)
    assert await jp.find_jobs(JobQuery()) == []


async def test_it_is_found_by_its_stored_name(jp: JobProcessor) -> None:
    job = await jp.submit_job(demo(make), "noir")
    assert [found.id for found in await jp.find_jobs(JobQuery(function=MAKE))] == [job.id]
    arguments = await jp.get_arguments(job)
    assert arguments.args == ("noir",)


async def test_the_hint_for_a_daemon_names_the_module_of_the_factory(tmp_path: Path) -> None:
    backend = SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"))
    command = start_command(backend, [MAKE, "demo+/app/shop.py:make"])
    assert command is not None
    assert command.endswith("daemon start --allow tests.runtime.factories --allow shop")


def test_a_child_process_finds_the_factory_of_a_script_that_is_not_here_by_its_module(tmp_path: Path) -> None:
    assert name_for_child("demo+/nowhere/factories.py:make", demo(make)) == MAKE
    script = tmp_path / "shop.py"
    script.touch()
    assert name_for_child(f"demo+{script}:make", demo(make)) == f"demo+{script}:make"


def test_a_script_without_a_guard_is_refused_for_a_child_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "shop.py"
    script.write_text("main()\n")
    monkeypatch.setattr("asyncjobs.runtime.main_script.main_name", lambda: str(script))
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    with pytest.raises(ConfigurationError, match=r"shop\.py starts the program whenever it is loaded"):
        refuse_without_guard(f"demo+{script}:make")


# -- who runs it


async def test_a_worker_that_allows_the_module_runs_what_others_have_stored(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.submit_job(demo(make), "noir")
        async with stores.processor(allowed_modules=("tests.runtime.factories",)):
            assert (await job.result(timeout=PATIENCE))["title"] == "noir"


async def test_an_embedded_one_takes_it_up_after_a_restart(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.submit_job(demo(make), "noir")
    async with stores.processor() as jp:
        await jp.wait_for_job(job.id, timeout=PATIENCE)
        assert (await jp.get_result(job.id))["title"] == "noir"


async def test_a_worker_with_the_factory_registered_runs_it(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.submit_job(demo(make), "noir")
        async with stores.processor(functions=[make], allowed_modules=("nothing.else",)):
            assert (await job.result(timeout=PATIENCE))["title"] == "noir"


async def test_a_worker_that_may_not_run_the_factory_leaves_it_and_says_why(stores: Stores) -> None:
    factories.made.clear()
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.submit_job(demo(make), "noir")
        async with stores.processor(allowed_modules=("somewhere.else",), name="picky"):
            reason = await reason_of(jp, job.id, "picky")
            assert reason == "module 'tests.runtime.factories' is not in allowed_modules"
        assert (await jp.get_job(job)).attempt == 0
    assert factories.made == []


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_arguments_that_look_like_names_of_code_are_arguments(jp: JobProcessor, isolation: str) -> None:
    job = await jp.submit_job(
        demo(factories.choose), "os", "demo", "system", inputs={"function": "os:system"}, isolation=isolation
    )
    assert (await job.result(timeout=3 * PATIENCE))["title"] == "demo+os:system"


# -- who does not know the adapter


async def test_an_adapter_that_no_worker_knows_is_a_reason(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        with monkeypatch.context() as patched:  # as a newer version that has one more
            patched.setattr(adapters, "ADAPTERS", {**adapters.ADAPTERS, "newer": "asyncjobs.testing.demo_adapter"})
            patched.setattr("asyncjobs.core.codec.callables.ADAPTERS", adapters.ADAPTERS)
            patched.setattr("asyncjobs.core.codec.callables._bodies", {})
            job = await jp.submit_job(adapted("newer", make), "noir")
        async with stores.processor(allowed_modules=("tests",), name="old") as worker:
            other = await worker.submit_job(demo(make), "of this version")
            assert (await other.result(timeout=PATIENCE))["title"] == "of this version"
            assert "this version of asyncjobs has no adapter 'newer' (it has crew, demo, flow)" in await reason_of(
                jp, job.id, "old"
            )
        assert (await jp.get_job(job)).attempt == 0


OLD_WORKER = """
import sys
import anyio
from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from asyncjobs.core.codec import adapters

adapters.ADAPTERS = {table}

async def main():
    config = DaemonConfig(allowed_modules=("tests.runtime",), name="old", poll_interval=0.05)
    async with JobProcessor(SQLiteConfig(db_path=sys.argv[1]), daemon=config) as jp:
        print("ready", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
    assert "asyncjobs.testing.demo_adapter" not in sys.modules

anyio.run(main)
"""


async def test_an_old_worker_leaves_it_with_a_reason_and_a_new_one_runs_it(tmp_path: Path) -> None:
    script, db = tmp_path / "old.py", tmp_path / "jobs.db"
    script.write_text(textwrap.dedent(OLD_WORKER).format(table="{}"))
    async with JobProcessor(SQLiteConfig(db_path=db), enable_daemon=False) as jp:
        adapted_job = await jp.submit_job(demo(make), "noir")
        plain = await jp.submit_job(title_of, {"title": "plain"})
        old = subprocess.Popen(  # noqa: ASYNC220 - it starts at once
            [sys.executable, str(script), str(db)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            assert await plain.result(timeout=3 * PATIENCE) == "plain"
            reason = await reason_of(jp, adapted_job.id, "old")
            assert "this version of asyncjobs has no adapter 'demo'" in reason
            async with JobProcessor(SQLiteConfig(db_path=db), daemon=DaemonConfig(name="new")):
                assert (await adapted_job.result(timeout=PATIENCE))["title"] == "noir"
            assert (await jp.get_job(adapted_job)).worker == "new"
            assert old.poll() is None, "it lives"
        finally:
            with anyio.CancelScope(shield=True):
                out, _ = await anyio.to_thread.run_sync(old.communicate, "\n")
    assert (out, old.returncode) == ("ready\n", 0)


async def test_a_row_that_names_nothing_sensible_harms_nobody(stores: Stores) -> None:
    """As a tampered file, or a version to come, may have it."""
    strange = ["demo+", "+", "demo+demo+x:y", "x+y", "demo+os:system", "demo+:", "demo+x:", "demo+\n:x", "+" * 1000]
    async with stores.processor(enable_daemon=False) as jp:
        with pytest.MonkeyPatch.context() as patched:
            ids = []
            for name in strange:
                patched.setattr("asyncjobs.runtime.submission.describe_callable", _named(name))
                ids.append((await jp.submit_job(title_of, {"title": "x"})).id)
        async with stores.processor(allowed_modules=("tests",), name="picky") as worker:
            assert (await (await worker.submit_job(demo(make), "fine")).result(timeout=PATIENCE))["title"] == "fine"
            for job_id in ids:
                assert await reason_of(jp, job_id, "picky")


def _named(name: str) -> Callable[..., Any]:
    return lambda func: replace(describe_callable(func), name=name)
