"""What programs are printed that use a processor."""

from __future__ import annotations

import asyncio
import logging
import os
import shlex
import sys
import warnings
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

import asyncjobs
from asyncjobs import (
    BackendConnectionError,
    EventPublisher,
    JobDaemon,
    JobHandle,
    JobProcessor,
    JobQuery,
    JobRequest,
    MemoryBackend,
    RetryPolicy,
    SQLiteConfig,
    SQSConfig,
    SyncJobs,
    Worker,
    current_job,
    gather,
)
from asyncjobs.clock import SystemClock
from asyncjobs.processor import get_engine
from asyncjobs.testing import FaultyBackend
from tests.architecture.hints.following import Hints, refusal, refused

PATIENCE = 20.0


async def double(x: int) -> int:
    return 2 * x


async def fail() -> None:
    raise ValueError("no")


def listing() -> Any:
    yield 1


class Lines(logging.Handler):
    """The log of this package while a scenario runs."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._more = anyio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        self._more.set()

    async def until(self, text: str) -> None:
        """Wait for a line with this text, which the event loop logs."""
        while not any(text in line for line in self.lines):
            self._more = anyio.Event()
            await self._more.wait()

    def __enter__(self) -> Lines:
        logging.getLogger("asyncjobs").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("asyncjobs").removeHandler(self)


async def waiting_for_a_job(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        handle = await jp.submit_job(double, 1, delay=3600)
        early = await refusal(jp.get_result(handle))
        late = await refusal(handle.result(timeout=0.01))
        hints.follow(late.hint)
        await hints.code(late.hint, "await handle.cancel()", handle=handle)
        cancelled = await refusal(handle.result())
        await hints.code(cancelled.hint, "await handle.retry()", handle=handle)
        bad = await jp.submit_job(fail, max_retries=0)
        failed = await refusal(bad.result())
        await hints.code(failed.hint, "await handle.retry()", handle=bad)
        soon = await jp.submit_job(double, 21)
        assert await hints.code(early.hint, "await handle", handle=soon) == 42


async def wait_in_vain() -> int:
    return await (await current_job().submit_job(fail, key="child", max_retries=0))


async def waiting_in_a_body(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        handle = await jp.submit_job(wait_in_vain, job_id="parent", max_retries=0)
        failed = await refusal(handle.result())
        await hints.code(failed.hint, "await jp.handle('parent/child').retry()", jp=jp)
        await hints.code(failed.hint, "await handle.retry()", handle=handle)


async def handles(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        job = await jp.submit_job(double, 21)
        alone: JobHandle[int] = JobHandle(job.id)
        unbound = await refusal(alone.status())
        assert await hints.code(unbound.hint, "jp.handle(job_id)", jp=jp, job_id=job.id) == 42
        text = await refusal(gather(job.id))
        assert await gather(hints.code(text.hint, "jp.handle(job_id)", jp=jp, job_id=job.id)) == [42]
        listed = await refusal(gather([job]))
        assert await hints.code(listed.hint, "gather(*handles)", gather=gather, handles=[job]) == [42]
        group = await refusal(jp.get_progress(job))
        assert "await it" in hints.follow(group.hint)
        assert (await jp.get_job(job)).id == await_free(job)


def await_free(handle: JobHandle[Any]) -> str:
    """What a handle stands for where it is not awaited."""
    return handle.id


async def options(hints: Hints) -> None:
    clock = refused(lambda: JobProcessor("memory", clock=5))
    JobProcessor("memory", clock=hints.code(clock.hint, "asyncjobs.testing.ManualClock()", asyncjobs=asyncjobs))
    async with JobProcessor(MemoryBackend()) as jp:
        names: dict[str, Any] = {"RetryPolicy": RetryPolicy, "JobQuery": JobQuery, "JobRequest": JobRequest}
        retry = await refusal(jp.submit_job(double, 1, retry=3))
        policy = hints.code(retry.hint, "RetryPolicy(max_retries=5)", **names)
        assert await (await jp.submit_job(double, 1, retry=policy)) == 2
        query = await refusal(jp.find_jobs("failed"))
        for code in ("JobQuery(status='failed')", "JobQuery(group='comics')"):
            assert await jp.find_jobs(hints.code(query.hint, code, **names)) == []
        batch = await refusal(jp.submit_jobs([double]))
        for code in ("submit_jobs([JobRequest(func=render, args=(path,))])", "submit_job(render, path)"):
            made = await hints.awaited(batch.hint, code, render=double, path=1, **names, **methods(jp))
            assert await (made[0] if isinstance(made, list) else made) == 2
        items = await refusal(jp.map_jobs(double, 5))
        for code in ("map_jobs(render, [path])", "submit_job(render, path)"):
            await hints.awaited(items.hint, code, render=double, path=1, **methods(jp))
        wrong_values: list[dict[str, Any]] = [{"args": 1}]
        for wrong in wrong_values:
            for way in (jp.submit_job(double, **wrong), jp.submit_jobs([JobRequest(func=double, **wrong)])):
                error = await refusal(way)
                given = eval(f"dict({hints.follow(error.hint)})", {"value": 1})
                assert await (await jp.submit_job(double, **given)) == 2
        naive = await refusal(jp.submit_job(double, 1, run_at=datetime(2026, 1, 1)))
        for code in ("datetime.now(UTC)", "value.astimezone()"):
            moment = hints.code(naive.hint, code, datetime=datetime, UTC=UTC, value=datetime(2026, 1, 1))
            await jp.submit_job(double, 1, run_at=moment)
        for wrong in (5, [5]):
            depends = await refusal(jp.submit_job(double, 1, depends_on=wrong))
            parent = hints.code(
                depends.allowed, "jp.optional(…)", "parent", jp=jp, parent=await jp.submit_job(double, 1)
            )
            await (await jp.submit_job(double, 1, depends_on=[parent]))
        used = await refusal(repeated(jp))
        hints.follow(used.hint)
        again = await jp.submit_job(double, 1, job_id="used", if_exists="return")
        assert (again, await (await jp.submit_job(double, 1, job_id="another"))) == ("used", 2)


def methods(jp: JobProcessor) -> dict[str, Any]:
    """Its methods as a message names them where it does not know what the program calls its processor."""
    return {name: getattr(jp, name) for name in ("submit_job", "submit_jobs", "map_jobs", "drain")}


async def repeated(jp: JobProcessor) -> None:
    for _ in range(2):
        await jp.submit_job(double, 1, job_id="used")


async def callables(hints: Hints) -> None:
    class Thing:
        def method(self) -> int:
            return 42

        def __call__(self) -> int:
            return 42

    async with JobProcessor(MemoryBackend()) as jp:
        session = {"__name__": "__main__"}
        exec("def typed() -> int:\n    return 42\ntyped.__module__ = None", session)
        for func in (lambda: 42, Thing().method, Thing(), session["typed"]):
            unfindable = await refusal(jp.submit_job(func))
            hints.follow(unfindable.hint)
            assert "local=True" in unfindable.hint
            assert await (await jp.submit_job(func, local=True)) == 42
        coroutine: Any = double(1)
        called = await refusal(jp.submit_job(coroutine))
        coroutine.close()
        made = await hints.awaited(called.hint, "submit_job(render, path)", render=double, path=1, **methods(jp))
        assert await made == 2
        generator = await refusal(jp.submit_job(listing))

        async def emits() -> None:
            hints.code(generator.hint, "current_job().emit(…)", "'item', {'n': 1}", current_job=current_job)

        job = await jp.submit_job(emits, local=True)
        assert "item" in [event.type async for event in jp.stream_job(job)]
        isolated = await refusal(jp.submit_job(emits, local=True, isolation="process"))
        hints.follow(isolated.hint)
        hints.follow(isolated)
        await (await jp.submit_job(double, 1))  # at module level, and without local=True
    async with JobProcessor(MemoryBackend(), enable_daemon=False) as jp:
        hints.follow((await refusal(jp.submit_job(emits, local=True))).hint)
    async with JobProcessor(MemoryBackend(), enable_daemon=True) as jp:
        await (await jp.submit_job(double, 1))


async def batches(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        closed = refused(lambda: jp.batch().submit_job(double, 1))
        names = {"jp": jp, "double": double}
        await hints.awaited(closed.hint, "async with jp.batch() as batch: batch.submit_job(…)", "double, 21", **names)
        assert [job.func.rpartition(":")[2] for job in await jp.find_jobs()] == ["double"]


async def processors_elsewhere(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        loop = asyncio.get_running_loop()

        def in_a_thread() -> Any:
            error = asyncio.run(refusal(jp.submit_job(double, 1)))
            code = "asyncio.run_coroutine_threadsafe(jp.submit_job(…), loop).result()"
            return hints.code(error.hint, code, "double, 21", asyncio=asyncio, jp=jp, loop=loop, double=double)

        assert await (await anyio.to_thread.run_sync(in_a_thread)) == 42

        def body() -> int:
            error = asyncio.run(refusal(jp.submit_job(double, 1)))
            made = hints.code(
                error.hint, "current_job().submit_job_sync(…)", "double, 21", current_job=current_job, double=double
            )
            return hints.code(error.hint, "handle.result_sync()", handle=made)

        assert await (await jp.submit_job(body, local=True)) == 42

        async def of_a_processor_that_is_not_entered() -> int:
            error = await refusal(JobProcessor(MemoryBackend()).submit_job(double, 1))
            code = "current_job().submit_job(…)"
            return await (await hints.awaited(error.hint, code, "double, 21", current_job=current_job, double=double))

        assert await (await jp.submit_job(of_a_processor_that_is_not_entered, local=True)) == 42
    outside = await refusal(jp.submit_job(double, 1))
    statement = "async with JobProcessor() as jp:"
    assert statement in hints.follow(outside.hint)
    hints.patch.chdir(hints.folder)
    entered = f"{statement} await jp.drain()"
    await hints.awaited(entered, entered, JobProcessor=JobProcessor)


async def jobs_without_a_worker(hints: Hints) -> None:
    backend = MemoryBackend()
    with Lines() as log:
        async with JobProcessor(backend, enable_daemon=False) as jp:
            await jp.submit_job(double, 21, job_id="left")
            hints.follow((await jp.why("left")).sentence)
            with anyio.move_on_after(PATIENCE):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(jp.wait_for_job, "left")
                    await log.until("waiting for")
                    tasks.cancel_scope.cancel()
        async with JobProcessor(SQLiteConfig(db_path=hints.folder / "jobs.db"), enable_daemon=False) as jp:
            await jp.submit_job(double, 21, job_id="left")
    for line in log.lines:
        hints.follow(line)
    async with JobProcessor(backend, enable_daemon=True) as jp:
        code = "await jp.drain()"
        said = [line for line in log.lines if code in line]
        assert len(said) == 2
        for line in said:
            await hints.code(line, code, jp=jp)
        assert await jp.handle("left") == 42
    with Lines() as log:
        async with JobProcessor(MemoryBackend(), enable_daemon=False, fallback="sync") as jp:
            await jp.submit_job(double, 21)
    [line] = [line for line in log.lines if "submits them" in line]
    assert "enable_daemon=True" in hints.follow(line)
    assert "enable_daemon=False" in hints.follow(
        refused(lambda: JobProcessor(MemoryBackend(), fallback="sync")).allowed
    )


async def daemons_of_their_own(hints: Hints) -> None:
    daemon = JobDaemon(MemoryBackend())
    assert "async with JobDaemon" in hints.follow(refused(lambda: daemon.running).hint)
    async with JobDaemon(MemoryBackend()) as running:
        assert running.running == []


async def workers_of_their_own(hints: Hints) -> None:
    backend = MemoryBackend()
    worker = Worker("w", backend, EventPublisher(backend, SystemClock()))
    assert "async with Worker" in hints.follow(refused(lambda: worker.running).hint)
    async with worker:
        assert worker.running == []


async def publishers_of_their_own(hints: Hints) -> None:
    publisher = EventPublisher(MemoryBackend())
    assert "async with EventPublisher" in hints.follow(refused(publisher.subscribe).hint)
    async with publisher:
        publisher.unsubscribe(publisher.subscribe())


async def a_store_that_is_away(hints: Hints) -> None:
    backend = FaultyBackend(MemoryBackend())
    async with JobProcessor(backend) as jp:
        backend.fail("enqueue_jobs", error=BackendConnectionError("away", transient=False))
        lost = await refusal(jp.submit_job(double, 21))
        assert ".request" in hints.follow(lost.hint)
        [handle] = await jp.submit_jobs(lost.request, if_exists="return")
        assert await handle == 42

    def without_a_loop() -> None:
        with SyncJobs(backend) as jobs:
            backend.fail("enqueue_jobs", error=BackendConnectionError("away", transient=False))
            lost = refused(lambda: jobs.submit_job(double, 21))
            assert ".request" in hints.follow(lost.hint)
            [handle] = jobs.submit_jobs(lost.request, if_exists="return")
            assert handle.result(timeout=PATIENCE) == 42

    await anyio.to_thread.run_sync(without_a_loop)


async def bodies(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as closed:

        async def stop() -> None:
            assert closed.daemon is not None
            inside = await refusal(closed.daemon.stop())
            hints.code(inside.hint, "jp.daemon.close()", jp=closed)

        await (await closed.submit_job(stop, local=True))
        assert (await (await closed.submit_job(double, 1)).status()).value == "pending"
    async with JobProcessor(MemoryBackend()) as jp:
        outside = refused(current_job)
        hints.follow(outside)

        async def body() -> list[int]:
            sync = refused(lambda: current_job().submit_job_sync(double, 1))
            child = await hints.code(
                sync.hint, "await current_job().submit_job(…)", "double, 21", current_job=current_job, double=double
            )
            waited = refused(child.result_sync)
            hints.follow(sync)
            hints.follow(waited)
            ran = refused(lambda: current_job().run_sync(double, 1))
            hints.follow(ran)
            keyed = await refusal(current_job().submit_job(double, 1, job_id="x"))
            assert "key=" in hints.follow(keyed.hint)
            await current_job().submit_job(double, 1, key="x")
            current_job().emit("end", {})
            current_job().emit("", {})
            current_job().emit("mine", {"x": object()})
            current_job().log("text", level="loud")
            current_job().progress("x")
            current_job().progress(1, "x")
            current_job().emit("job_end", {})
            current_job().emit(child)
            current_job().emit("job_done", {"job": child.id})
            return [
                await hints.code(waited.hint, "await handle", handle=child),
                await hints.code(ran.hint, "await function(…)", "21", function=double),
            ]

        job = await jp.submit_job(body, local=True, max_retries=0)
        assert await job == [42, 42]
        events = [event async for event in jp.stream_job(job)]
        for event in events:
            hints.follow(event.data.get("message", ""))
        assert {"job_end", "job_done"} <= {event.type for event in events}
        plain = refused(job.result_sync)
        hints.follow(plain)
        assert await hints.awaited(plain.hint, "await handle", handle=job) == [42, 42]

        def blocks() -> None:
            current_job()

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await jp.submit_job(blocks, timeout=5, local=True)
        hints.follow(caught[-1].message)


def without_a_loop(hints: Hints) -> None:
    with SyncJobs(hints.folder / "jobs.db") as jobs:
        job = jobs.submit_job(double, 21)
        text = refused(lambda: jobs.gather(job.id))
        assert jobs.gather(hints.code(text.hint, "jobs.handle(job_id)", jobs=jobs, job_id=job.id)) == [42]
        listed = refused(lambda: jobs.gather([job]))
        assert hints.code(listed.hint, "gather(*handles)", gather=jobs.gather, handles=[job]) == [42]

        async def inside() -> int:
            error = refused(jobs.find_jobs)
            hints.follow(error.hint)
            assignment = error.hint.partition(", with ")[2]
            names: dict[str, Any] = {"jobs": jobs, "job_id": job.id, "double": double, "current_job": current_job}
            exec(assignment, names)
            code = error.hint.partition("function: ")[2].partition(",")[0]
            child = await hints.code(error.hint, code, "double, 21", **names)
            assert await child == 42
            return await hints.code(error.hint, "await jp.handle(job_id)", **names)

        assert jobs.submit_job(inside, local=True, max_retries=0).result(timeout=PATIENCE) == 42
        assert jobs.call(inside) == 42
    closed = refused(jobs.find_jobs)
    assert "with SyncJobs(…) as jobs:" in hints.follow(closed.hint)
    with SyncJobs(hints.folder / "jobs.db") as jobs:
        assert len(jobs.find_jobs()) == 4


async def functions(hints: Hints) -> None:
    wrong: list[Any] = ["double", 2]
    for one in wrong:
        error = refused(lambda one=one: JobProcessor(MemoryBackend(), functions=[one]))
        given = hints.follow(error.hint).partition("returns: ")[2]
        made = eval(f"JobProcessor(backend, {given})", {
            "JobProcessor": JobProcessor, "backend": MemoryBackend(), "render": double
        })  # fmt: skip
        async with made as jp:
            assert list(get_engine(jp).functions.registered.values()) == [double]


async def stores(hints: Hints) -> None:
    hints.patch.chdir(hints.folder)
    twice = refused(lambda: JobProcessor("jobs.db", config=SQLiteConfig(db_path="other.db")))
    config = hints.code(twice.hint, "SQLiteConfig(db_path=…)", "'jobs.db'", SQLiteConfig=SQLiteConfig)
    async with JobProcessor(config) as jp:
        away = await refusal(jp.backup(hints.folder / "a folder" / "copy.db"))
        hints.system(away.hint, away.hint.partition("(")[2].partition(")")[0])
        await jp.backup(hints.folder / "a folder" / "copy.db")
        job = await jp.submit_job(double, 1)
        await job
        other = await jp.submit_job(double, job)
        await other
        graph = await refusal(jp.remove_jobs([job]))
        assert "components=True" in hints.follow(graph.hint)
        assert len(await jp.remove_jobs([job], components=True)) == 2
        naive = await refusal(jp.find_jobs(JobQuery(created_after=datetime(2026, 1, 1))))
        moment = hints.code(naive.hint, "datetime.now(UTC)", datetime=datetime, UTC=UTC)
        assert await jp.find_jobs(JobQuery(created_after=moment)) == []
    missing = await refusal(JobProcessor(hints.folder / "no folder" / "jobs.db").__aenter__())
    hints.system(missing.hint, missing.hint.partition("(")[2].partition(")")[0])
    async with JobProcessor(hints.folder / "no folder" / "jobs.db"):
        pass
    path = hints.folder / "my jobs.db"
    path.touch(0o400)
    hints.patch.setattr(os, "access", lambda name, mode: Path(name) != path or path.stat().st_mode & 0o200)
    denied = await refusal(JobProcessor(path).__aenter__())
    hints.system(denied.hint, denied.hint.partition("(")[2].partition(")")[0])
    async with JobProcessor(path):
        pass
    # No network file system is at hand.
    hints.patch.setattr("asyncjobs.backends.sqlite.files.network_filesystem", lambda *_: "nfs")
    network = await refusal(JobProcessor(path).__aenter__())
    code = "SQLiteConfig(allow_network_filesystem=True)"
    allowed = hints.code(network.hint, code, SQLiteConfig=SQLiteConfig)
    assert allowed.allow_network_filesystem
    async with JobProcessor(SQLiteConfig(db_path=path, allow_network_filesystem=True)):
        pass


async def settings_of_sqs(hints: Hints) -> None:
    large = refused(lambda: SQSConfig(max_value_size=5 << 20))
    given = eval(f"dict({hints.follow(large.hint).rpartition(': ')[2].replace('…', 'values')})")
    assert SQSConfig(max_value_size=5 << 20, **given).bucket == "values"
    arn = refused(lambda: SQSConfig(table="arn:aws:dynamodb:eu-west-1:1:table/jobs"))
    given = eval(f"dict({hints.follow(arn.hint).rpartition(' as ')[2].replace('…', 'eu-west-1')})")
    assert SQSConfig(table="jobs", **given).region == "eu-west-1"


async def reads_events(path: str) -> list[Any]:
    """Runs in a process of its own, where events of other jobs cannot be read, and does what that says."""
    other = await current_job().submit_job(double, 21)
    error = refused(other.events)
    made = eval(error.hint.partition("open a ")[2].partition(" on")[0].replace("(", "(path, "), {
        "JobProcessor": JobProcessor, "path": path
    })  # fmt: skip
    async with made as jp:
        return [error.hint, await other, [event.type async for event in jp.stream_job(other)]]


async def questions(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:

        async def body() -> str:
            submitted = refused(lambda: current_job().submit_gate_sync("ok?"))
            twin = "await current_job().submit_gate(…)"
            gate = await hints.awaited(submitted.hint, twin, "'ok?', key='g'", current_job=current_job)
            hints.follow(submitted)
            asked = refused(lambda: current_job().ask_sync("?", key="q"))
            hints.follow(asked)
            twin, options = "await current_job().ask(…)", "'?', key='q', timeout=0.01, default=True"
            assert await hints.awaited(asked.hint, twin, options, current_job=current_job) is True
            return gate.id

        gate = await (await jp.submit_job(body, local=True, max_retries=0))
        no = await refusal(jp.answer_job(gate, False))
        status = await hints.code(
            no.hint, "reject_job(id, reason)", reject_job=jp.reject_job, id=gate, reason="too dark"
        )
        assert status == "failed"


async def events_in_a_process_of_its_own(hints: Hints) -> None:
    path = str(hints.folder / "jobs.db")
    async with JobProcessor(path) as jp:
        hint, value, types = await (await jp.submit_job(reads_events, path, isolation="process", max_retries=0))
    assert (value, types) == (42, ["submitted", "started", "completed"])
    hints.follow(hint)


async def a_part_that_is_not_installed(hints: Hints) -> None:
    hints.patch.setenv("PIP_NO_INDEX", "1")  # what it names is here, so nothing is fetched
    hints.patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    hints.patch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    error = asyncjobs.MissingExtraError("web", what="that")
    named = [word.partition(">")[0].partition("<")[0] for word in shlex.split(error.hint)[2:]]
    assert sorted(named) == ["jsonschema", "starlette", "uvicorn"]
    if find_spec("pip") is None:
        hints.follow(error.hint)  # an environment without pip: another tool takes the same words
    else:
        assert "already satisfied" in hints.system(error.hint, error.hint)
