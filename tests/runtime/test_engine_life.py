"""The life of a processor: entering, leaving in any way, forking."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import (
    BackendClosedError,
    BackendError,
    ConfigurationError,
    JobProcessor,
    JobRequest,
    RetryPolicy,
    SQLiteConfig,
    current_job,
)
from asyncjobs.processor import get_engine
from asyncjobs.testing import FaultyBackend
from tests.runtime.scripts import output
from tests.runtime.support import (
    COMPLETED,
    FAILED,
    PATIENCE,
    PENDING,
    Gate,
    Held,
    Stores,
    add,
    comes_true,
    echo,
    everything,
    nothing,
    types,
)

pytestmark = pytest.mark.anyio

METHODS: dict[str, Callable[[JobProcessor], Awaitable[Any]]] = {
    "submit_job": lambda jp: jp.submit_job(nothing),
    "submit_jobs": lambda jp: jp.submit_jobs([JobRequest(func=nothing)]),
    "map_jobs": lambda jp: jp.map_jobs(echo, [1]),
    "get_result": lambda jp: jp.get_result("x"),
    "wait_for_job": lambda jp: jp.wait_for_job("x"),
    "wait_for_results": lambda jp: jp.wait_for_results(["x"]),
    "get_job": lambda jp: jp.get_job("x"),
    "get_arguments": lambda jp: jp.get_arguments("x"),
    "get_dependencies": lambda jp: jp.get_dependencies("x"),
    "get_status": lambda jp: jp.get_status("x"),
    "get_attempts": lambda jp: jp.get_attempts("x"),
    "find_jobs": lambda jp: jp.find_jobs(),
    "iter_jobs": lambda jp: anext(jp.iter_jobs()),
    "get_progress": lambda jp: jp.get_progress("g"),
    "poll_status": lambda jp: jp.poll_status("x"),
    "poll_batch": lambda jp: jp.poll_batch(["x"]),
    "why": lambda jp: jp.why("x"),
    "workers": lambda jp: jp.workers(),
    "cancel_job": lambda jp: jp.cancel_job("x"),
    "cancel_jobs": lambda jp: jp.cancel_jobs(group="g"),
    "retry_job": lambda jp: jp.retry_job("x"),
    "submit_crew_run": lambda jp: jp.submit_crew_run("shop.crews:make"),
    "submit_flow_run": lambda jp: jp.submit_flow_run("shop.flows:Story"),
    "submit_gate": lambda jp: jp.submit_gate("?"),
    "answer_job": lambda jp: jp.answer_job("x"),
    "reject_job": lambda jp: jp.reject_job("x", "no"),
    "remove_jobs": lambda jp: jp.remove_jobs(["x"]),
    "backup": lambda jp: jp.backup("x"),
    "compact": lambda jp: jp.compact(),
    "drain": lambda jp: jp.drain(),
    "handle": lambda jp: jp.handle("x").result(),
}
PLAIN: dict[str, Callable[[JobProcessor], Any]] = {
    "stream_job": lambda jp: jp.stream_job("x"),
    "stream_group": lambda jp: jp.stream_group("g"),
    "stream_all": lambda jp: jp.stream_all(),
    "streamer": lambda jp: jp.streamer,
    "backend": lambda jp: jp.backend,
}


async def every_method_refuses(jp: JobProcessor) -> None:
    for name, call in METHODS.items():
        with pytest.raises(BackendClosedError) as caught:
            await call(jp)
        assert "async with" in (caught.value.hint or ""), name
    for call in PLAIN.values():
        with pytest.raises(BackendClosedError):
            call(jp)
    with pytest.raises(BackendClosedError):
        async with jp.batch() as batch:
            batch.submit_job(nothing)


def test_every_public_method_is_looked_at() -> None:
    public = {name for name, value in inspect.getmembers(JobProcessor) if not name.startswith("_")}
    assert public - set(METHODS) - set(PLAIN) == {
        "asgi_app", "batch", "clock", "close_streams", "daemon", "dag", "handle", "lifespan", "optional",
        "sse_response", "subscribe_sse",
    } - set(METHODS)  # fmt: skip


# -- entering


async def test_use_before_entering_is_refused(stores: Stores) -> None:
    await every_method_refuses(stores.processor())


async def test_use_after_leaving_is_refused(stores: Stores) -> None:
    async with stores.processor() as jp:
        pass
    await every_method_refuses(jp)


async def test_entering_twice_is_refused_and_does_no_harm(stores: Stores) -> None:
    async with stores.processor() as jp:
        with pytest.raises(BackendClosedError, match="running already"):
            async with jp:
                pass
        assert await (await jp.submit_job(add, 1, 2)) == 3


async def test_a_processor_may_be_entered_again(stores: Stores) -> None:
    jp = stores.processor()
    for i in range(3):
        async with jp:
            assert await (await jp.submit_job(echo, i)) == i
            assert len(await jp.find_jobs()) == i + 1


async def test_entering_on_a_store_that_cannot_be_opened_leaves_nothing_behind(tmp_path: Path) -> None:
    jp = JobProcessor(SQLiteConfig(db_path=tmp_path / "missing" / "jobs.db"))
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="does not exist"):
            async with jp:
                raise AssertionError("entered")
    with pytest.raises(BackendClosedError):
        await jp.find_jobs()


async def test_an_error_while_starting_closes_the_store(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    store.fail("register_worker")
    jp = stores.processor(backend=store)
    with pytest.raises(BackendError):
        async with jp:
            raise AssertionError("entered")
    async with jp:  # and the next time it works
        assert await (await jp.submit_job(add, 1, 2)) == 3


async def test_what_a_processor_is_given_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'sqlite'"):
        JobProcessor("sqllite")
    with pytest.raises(ConfigurationError, match="the settings are given twice"):
        JobProcessor(SQLiteConfig(db_path=tmp_path / "x"), SQLiteConfig(db_path=tmp_path / "y"))
    with pytest.raises(ConfigurationError, match="a DaemonConfig"):
        JobProcessor("memory", daemon={"slots": 3})
    with pytest.raises(ConfigurationError, match="a MemoryConfig"):
        JobProcessor("memory", SQLiteConfig(db_path=tmp_path / "x"))
    with pytest.raises(ConfigurationError, match="beside a backend object"):
        JobProcessor(Stores("memory", tmp_path).backend(), SQLiteConfig(db_path=tmp_path / "x"))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_program_may_change_its_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    jp = JobProcessor(SQLiteConfig(db_path="jobs.db"))
    for _ in range(2):
        async with jp:
            monkeypatch.chdir(tmp_path / "there")
            assert await (await jp.submit_job(add, 1, 2)).result(timeout=PATIENCE) == 3
            assert await jp.find_jobs()
    assert [file.name for file in (tmp_path / "there").iterdir()] == []
    assert (tmp_path / "here" / "jobs.db").exists()


async def test_lifespan_for_web_apps(stores: Stores) -> None:
    jp = stores.processor()
    async with jp.lifespan(object()):
        assert await (await jp.submit_job(add, 1, 2)) == 3
    with pytest.raises(BackendClosedError):
        await jp.find_jobs()


# -- leaving


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3), GeneratorExit()], ids=repr)
async def test_an_error_of_the_block_leaves_it_unwrapped(stores: Stores, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught:
        async with stores.processor() as jp:
            await jp.submit_job(nothing)
            raise error
    assert caught.value is error


async def test_a_group_of_the_blocks_own_stays_as_it_is(stores: Stores) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with stores.processor(), anyio.create_task_group() as tasks:

            async def wrong() -> None:
                raise ValueError("in a task of the user's")

            tasks.start_soon(wrong)
    assert [type(error) for error in caught.value.exceptions] == [ValueError]


async def test_running_jobs_are_given_time_to_end(stores: Stores) -> None:
    held = Held("done")
    async with stores.processor() as jp:
        job = await jp.submit_job(held.body, local=True)
        await held.started.wait()
        held.go.open()
    async with stores.processor(enable_daemon=False) as jp:
        assert await jp.get_status(job) is COMPLETED
    assert not held.was_cancelled


async def test_no_new_job_starts_while_leaving(stores: Stores) -> None:
    held = Held()
    async with stores.processor(num_workers=1) as jp:
        await jp.submit_job(held.body, local=True)
        await held.started.wait()
        behind = await jp.submit_job(nothing)
        held.go.open()
        get_engine(jp)._stopping.set()
    async with stores.processor(enable_daemon=False) as jp:
        assert (await jp.get_job(behind.id)).attempt in (0, 1)
        assert (await jp.get_job(behind.id)).status in (PENDING, COMPLETED)


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_what_does_not_end_in_time_goes_back_uncounted(stores: Stores, threaded: bool) -> None:
    def body_sync() -> None:
        started.open()
        while not current_job().cancelled:
            time.sleep(0.001)

    async def body() -> None:
        started.open()
        await anyio.sleep_forever()

    started = Gate()
    FUNCTIONS["body"] = body_sync if threaded else body
    async with stores.processor(shutdown_timeout=0.01) as jp:
        await jp.submit_job(named_sync if threaded else named, "body", job_id="j")
        await started.wait()
    FUNCTIONS["body"] = (lambda: "second") if threaded else second
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.get_job("j")
        assert (job.status, job.attempt, job.failures, job.interruptions) == (PENDING, 1, 0, 0)
        assert await types(jp, "j") == ["submitted", "started", "released"]
    async with stores.processor() as jp:
        assert await jp.handle("j").result(timeout=PATIENCE) == "second"


FUNCTIONS: dict[str, Callable[[], Any]] = {}


async def second() -> str:
    return "second"


async def named(name: str) -> Any:
    return await FUNCTIONS[name]()


def named_sync(name: str) -> Any:
    return FUNCTIONS[name]()


async def test_a_body_that_ends_in_the_very_moment_is_recorded(stores: Stores) -> None:
    """A thread that has not noticed that it should stop, and ends: that is a success, and is stored."""
    held = Held("just in time")

    def body() -> Any:
        held.started.open()
        held.go.wait_sync()
        return held.value

    async def let_go(running: Any) -> None:
        while running.stop_reason is None:
            await anyio.sleep(0.001)
        held.go.open()

    async with anyio.create_task_group() as tasks, stores.processor(shutdown_timeout=0.01) as jp:
        await jp.submit_job(body, job_id="j", local=True)
        await held.started.wait()
        tasks.start_soon(let_go, jp.daemon.runner.attempts.running["j"])
    async with stores.processor(enable_daemon=False) as jp:
        assert await jp.get_result("j") == "just in time"


@pytest.mark.slow
async def test_a_thread_that_will_not_end_does_not_hold_the_exit(stores: Stores) -> None:
    held = Held()
    began = time.monotonic()
    async with stores.processor(shutdown_timeout=0.05) as jp:
        await jp.submit_job(held.sync, job_id="j", local=True)
        await held.started.wait()
    assert time.monotonic() - began < PATIENCE / 2  # the thread waits for PATIENCE seconds
    held.go.open()
    async with stores.processor(enable_daemon=False) as jp:
        assert "released" in await types(jp, "j")


async def test_a_job_that_shields_itself_is_waited_for_no_longer_than_it_takes(stores: Stores) -> None:
    async def body() -> str:
        started.open()
        with anyio.CancelScope(shield=True):
            await go.wait()
        return "shielded"

    started, go = Gate(), Gate()
    async with stores.processor(shutdown_timeout=0.0) as jp:
        await jp.submit_job(body, job_id="j", local=True)
        await started.wait()
        go.open()
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.get_job("j")
        assert job.failures == 0
        assert (await types(jp, "j"))[2] in ("completed", "released")


async def test_a_cancelled_surrounding_scope_leaves_in_an_orderly_way(stores: Stores) -> None:
    held = Held()
    with anyio.CancelScope() as scope:
        async with stores.processor(shutdown_timeout=0.05) as jp:
            await jp.submit_job(held.body, job_id="j", local=True)
            await held.started.wait()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert held.was_cancelled
    async with stores.processor(enable_daemon=False) as jp:
        assert "released" in await types(jp, "j")
        assert await jp.workers() == []  # it has signed off


async def test_cancelled_while_leaving_it_still_finishes(stores: Stores) -> None:
    held = Held("kept")
    with anyio.CancelScope() as scope:
        async with stores.processor() as jp:
            await jp.submit_job(held.body, job_id="j", local=True)
            await held.started.wait()
            scope.cancel()
            held.go.open()
    async with stores.processor(enable_daemon=False) as jp:
        assert await jp.get_result("j") == "kept"


async def test_who_waits_when_the_processor_ends_is_told(stores: Stores) -> None:
    told: list[type[BaseException]] = []

    async with anyio.create_task_group() as tasks:
        async with stores.processor() as jp:
            job = await jp.submit_job(nothing, delay=3600)

            async def wait() -> None:
                try:
                    await job
                except BackendClosedError as error:
                    told.append(type(error))

            tasks.start_soon(wait)
            await comes_true(lambda: get_engine(jp)._parts.waiting._watches)
    assert told == [BackendClosedError]


async def test_two_processors_in_one_program(tmp_path: Path, anyio_backend: str) -> None:
    first, other = Stores("sqlite", tmp_path), Stores("memory", tmp_path)
    async with first.processor() as a, other.processor() as b:
        assert await (await a.submit_job(echo, "a")) == "a"
        assert await (await b.submit_job(echo, "b")) == "b"
        assert len(await a.find_jobs()) == len(await b.find_jobs()) == 1


# -- errors of the store while it runs


async def test_an_outcome_that_cannot_be_stored_is_stored_later(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store) as jp:
        store.fail("update_job_status")
        job = await jp.submit_job(echo, 1)
        assert await job.result(timeout=PATIENCE) == 1
        assert await types(jp, job) == ["submitted", "started", "completed"]


async def test_a_lost_answer_is_no_second_outcome(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store) as jp:
        store.fail("update_job_status", when="after")
        job = await jp.submit_job(echo, 1)
        assert await job.result(timeout=PATIENCE) == 1
        assert await types(jp, job) == ["submitted", "started", "completed"]
        again = await jp.submit_job(echo, 2)
        assert await again.result(timeout=PATIENCE) == 2


async def test_a_failing_claim_is_tried_again(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    async with stores.processor(backend=store, num_workers=1) as jp:
        store.fail("dequeue_jobs")
        assert await (await jp.submit_job(echo, 1)).result(timeout=PATIENCE) == 1


@pytest.mark.parametrize("how", ["one", "batch", "child", "dependent", "answer lost"])
async def test_a_submission_that_succeeded_at_its_second_try_is_claimed_at_once(stores: Stores, how: str) -> None:
    store = FaultyBackend(stores.backend())

    async def parent() -> int:
        store.fail("enqueue_jobs")
        return await (await current_job().submit_job(echo, 1))

    async with stores.processor(backend=store, heartbeat=900, lease=7200) as jp:
        before = await jp.submit_job(echo, 0)
        await before
        await anyio.wait_all_tasks_blocked()  # the scheduler waits for a nudge
        if how == "child":
            job = await jp.submit_job(parent, local=True)
        else:
            store.fail("enqueue_jobs", when="after" if how == "answer lost" else "before")
            if how == "batch":
                job = (await jp.map_jobs(echo, [2, 1]))[1]
            else:
                job = await jp.submit_job(echo, 1, depends_on=[before] if how == "dependent" else ())
        assert await job.result(timeout=2.0) == 1


async def test_what_was_said_and_not_stored_goes_with_the_outcome(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    held = Held()

    async def body() -> None:
        current_job().log("first")
        await comes_true(lambda: store.calls["append_events"])
        current_job().log("second")

    async with stores.processor(backend=store) as jp:
        store.fail("append_events")
        job = await jp.submit_job(body, local=True)
        await job.result(timeout=PATIENCE)
        events = await everything(jp.stream_job(job))
        assert [event.data.get("message") for event in events if event.type == "log"] == ["first", "second"]
        assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    held.go.open()


async def test_a_submission_that_fails_carries_its_request(stores: Stores) -> None:
    from asyncjobs import BackendConfig, BackendConnectionError

    store = FaultyBackend(stores.backend())
    store.config = BackendConfig(tries=1)  # tests/unit/test_transient.py tries more often
    async with stores.processor(backend=store) as jp:
        for when in ("before", "after"):
            store.fail("enqueue_jobs", when=when)
            with pytest.raises(BackendConnectionError) as caught:
                await jp.submit_job(add, 1, 2)
            [request] = caught.value.request
            [handle] = await jp.submit_jobs(caught.value.request, if_exists="return")
            assert handle == request.job_id
            assert await handle.result(timeout=PATIENCE) == 3
        assert len(await jp.find_jobs()) == 2


async def test_a_body_whose_function_is_gone_fails_and_says_so(stores: Stores) -> None:
    async with stores.processor() as jp:
        held = Held()
        blocker = await jp.submit_job(held.body, local=True)
        await held.started.wait()
        job = await jp.submit_job(lambda: 1, local=True, job_id="j", depends_on=blocker)
        get_engine(jp).functions.local.seen(["j"], {})
        held.go.open()
        ended = await jp.wait_for_job(job, timeout=PATIENCE)
        assert ended.status is FAILED
        assert ended.error is not None
        assert ended.error.error_type == "LookupError"


# -- fork


FORK = """
import asyncio, os, sys, traceback
sys.path.insert(0, {root!r})
from asyncjobs import BackendClosedError, JobProcessor, SQLiteConfig
from tests.runtime.support import add
from tests.runtime.test_engine_life import METHODS, PLAIN
from asyncjobs.processor import get_engine

async def in_child(jp):
    for name, call in METHODS.items():
        try:
            await call(jp)
        except BackendClosedError as error:
            assert "forked child" in (error.hint or ""), (name, error)
        else:
            raise AssertionError(name)
    for name, call in PLAIN.items():
        try:
            call(jp)
        except BackendClosedError:
            continue
        raise AssertionError(name)
    await jp.__aexit__(None, None, None)  # does nothing

async def main():
    async with JobProcessor(SQLiteConfig(db_path="jobs.db")) as jp:
        assert await (await jp.submit_job(add, 1, 2)) == 3
        child = os.fork()
        if child == 0:
            asyncio.events._set_running_loop(None)
            try:
                coroutine = in_child(jp)
                try:
                    coroutine.send(None)
                except StopIteration:
                    os._exit(0)
                os._exit(2)  # it waited for something
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 0, status
        assert await (await jp.submit_job(add, 3, 4)) == 7  # the parent is unharmed
    print("unharmed")

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_after_a_fork_everything_is_refused_in_the_child(tmp_path: Path, anyio_backend: str) -> None:
    from tests.runtime.scripts import ROOT

    (tmp_path / "program.py").write_text(FORK.format(root=str(ROOT)))
    assert await anyio.to_thread.run_sync(lambda: output("program.py", cwd=tmp_path)) == "unharmed"


def test_the_default_policy_is_what_the_docs_say() -> None:
    assert RetryPolicy().max_retries == 3
