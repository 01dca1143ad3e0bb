"""What can be asked about jobs: progress, polls, pages, and why a job does not run."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import (
    ConfigurationError,
    JobNotFoundError,
    JobProcessor,
    JobQuery,
    JobStatus,
    RetryPolicy,
    current_job,
)
from asyncjobs.backends.base import AttemptEnd, ClaimRequest, NewWorker
from asyncjobs.models import Job, Outcome, OutcomeKind, Progress
from asyncjobs.processor import get_engine
from asyncjobs.runtime import reasons as why_module
from asyncjobs.runtime.reports import report as status_report
from asyncjobs.runtime.reports import to_be_timed
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime.support import (
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    PATIENCE,
    PENDING,
    Held,
    Stores,
    add,
    echo,
    fail,
    nothing,
    until,
)

pytestmark = pytest.mark.anyio


# -- groups


async def test_progress_of_a_group(jp: JobProcessor) -> None:
    await (await jp.submit_job(nothing, group="movie"))
    await jp.wait_for_job(await jp.submit_job(fail, group="movie", max_retries=0))
    await jp.submit_job(nothing, group="movie", delay=3600)
    await jp.submit_job(nothing, group="other", delay=3600)
    progress = await jp.get_progress("movie")
    assert progress.total == 3
    assert progress.counts == {COMPLETED: 1, FAILED: 1, PENDING: 1}
    assert (progress.completed, progress.unfinished) == (1, 1)
    assert progress.percent == pytest.approx(100 / 3)
    empty = await jp.get_progress("nobody")
    assert (empty.total, empty.counts, empty.percent) == (0, {}, 0.0)


# -- progress from inside a job


async def test_a_body_reports_its_progress(stores: Stores) -> None:
    clock = ManualClock()
    held = Held("done")

    async def body() -> str:
        clock.advance(10)
        current_job().progress(25, 100, "a quarter")
        return await held.body()

    async with stores.processor(clock=clock) as jp:
        job = await jp.submit_job(body, local=True)
        await until(jp, job, "progress")
        report = await jp.poll_status(job)
        assert (report.status, report.percent, report.message) == (IN_PROGRESS, 25.0, "a quarter")
        assert (report.elapsed, report.remaining) == (10.0, 30.0)
        assert report.result is None
        held.go.open()
        await job
        report = await jp.poll_status(job)
        assert (report.status, report.percent, report.elapsed, report.remaining) == (COMPLETED, 100.0, 10.0, None)
        assert report.result == "done"


async def test_without_a_total_there_is_no_percentage(jp: JobProcessor) -> None:
    held = Held()

    async def body() -> None:
        current_job().progress(3, message="three")
        await held.body()

    job = await jp.submit_job(body, local=True)
    await until(jp, job, "progress")
    report = await jp.poll_status(job)
    assert (report.percent, report.remaining, report.message) == (None, None, "three")
    held.go.open()
    await job


async def test_there_is_no_estimate_from_too_little(jp: JobProcessor) -> None:
    held = Held()

    async def body() -> None:
        current_job().progress(1, 100)
        await held.body()

    job = await jp.submit_job(body, local=True)
    await until(jp, job, "progress")
    assert (await jp.poll_status(job)).remaining is None
    held.go.open()
    await job


@pytest.mark.parametrize("threaded", [False, True], ids=["async", "thread"])
async def test_what_a_body_says_is_stored_in_order_without_holes(jp: JobProcessor, threaded: bool) -> None:
    def say() -> None:
        job = current_job()
        job.log("begin", level="INFO", step=1, where=Path("x"))
        job.emit("output", {"text": "hello", "bytes": b"\x00"})
        job.emit("preview", {"n": [1, 2]})
        for i in range(50):
            job.progress(i + 1, 50)  # only the newest unstored one is kept
        job.log("bad \udc80 text")

    async def body() -> None:
        say()

    job = await jp.submit_job(say if threaded else body, local=True)
    await job
    events = [event async for event in jp.stream_job(job)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.type for event in events if event.type != "progress"] == [
        "submitted", "started", "log", "output", "preview", "log", "completed",
    ]  # fmt: skip
    progress = [event.data["done"] for event in events if event.type == "progress"]
    assert progress == sorted(progress)
    assert progress[-1] == 50
    assert all(event.status is None for event in events[2:-1])
    by_type = {event.type: event.data for event in events}
    assert events[2].data == {"level": "info", "message": "begin", "fields": {"step": 1, "where": "x"}}
    assert by_type["output"] == {"text": "hello", "bytes": b"\x00"}
    assert by_type["preview"] == {"n": [1, 2]}
    assert by_type["log"]["message"] == "bad \\udc80 text"


async def test_a_long_line_is_cut(jp: JobProcessor) -> None:
    async def body() -> None:
        current_job().log("z" * 100_000)

    job = await jp.submit_job(body, local=True)
    await job
    events = [event async for event in jp.stream_job(job)]
    assert [event.type for event in events] == ["submitted", "started", "log", "completed"]
    assert len(events[2].data["message"]) == 16_384
    assert events[2].data["cut"] == 100_000


# -- the estimate


def test_the_rest_is_estimated_from_the_best_ground_there_is() -> None:
    now = datetime(2030, 1, 1, 0, 0, 30, tzinfo=UTC)

    def rest(percent: float | None, *durations: float, status: JobStatus = IN_PROGRESS) -> float | None:
        job = Job(
            id="a",
            func="f",
            status=status,
            queue="q",
            priority=0,
            group=None,
            metadata={},
            attempt=1,
            failures=0,
            interruptions=0,
            max_retries=0,
            timeout=None,
            dependencies_met=True,
            cancel_requested=False,
            created_at=now,
            started_at=now - timedelta(seconds=30),
            progress=None if percent is None else Progress(percent, 100),
        )
        asked = to_be_timed([job])
        assert asked == ({"f"} if status is IN_PROGRESS and (percent is None or percent < 5) else set())
        return status_report(job, now, None, durations).remaining

    assert rest(None) is None
    assert rest(4.9) is None
    assert rest(5) == pytest.approx(570)
    assert rest(75) == 10
    assert rest(100) == 0
    assert rest(None, 40, 90) is None, "two are too few"
    assert rest(None, 40, 1000, 35) == 10, "the median, whatever order they come in"
    assert rest(None, 40, 50, 1000, 1) == 15
    assert rest(4.9, 40, 40, 40) == 10
    assert rest(5, 40, 40, 40) == pytest.approx(570), "what the body says itself counts more"
    assert rest(None, 20, 20, 20) is None, "its time is over, and never negative"
    for other in set(JobStatus) - {IN_PROGRESS}:
        assert rest(50, 40, 40, 40, status=other) is None


async def test_the_rest_is_estimated_from_earlier_jobs_of_the_function(stores: Stores) -> None:
    clock = ManualClock()
    held = Held()

    async def draw(seconds: float | None) -> None:
        if seconds is None:
            await held.body()
        else:
            clock.advance(seconds)

    # Minutes pass here without a heartbeat, which must not be taken for the death of the worker.
    async with stores.processor(clock=clock, lease=3600) as jp:

        async def remaining(job_id: str) -> float | None:
            report = await jp.poll_status(job_id)
            assert await jp.poll_batch([job_id]) == {job_id: report}
            return report.remaining

        for seconds in (10, 60):
            await (await jp.submit_job(draw, seconds, local=True))
        running = await jp.submit_job(draw, None, local=True)
        with anyio.fail_after(PATIENCE):
            await held.started.wait()
        clock.advance(5)
        assert await remaining(running) is None
        third = await jp.submit_job(draw, 15, local=True)
        await third
        assert await remaining(running) is None, "20 s of 15: an estimate that is over is none"
        for _ in range(2):
            await (await jp.submit_job(draw, 100, local=True))
        clock.jump(-210)
        assert await remaining(running) == 50.0, "10 s of 60"
        assert await remaining(third) is None
        held.go.open()
        await running
        assert await remaining(running) is None


async def test_a_batch_asks_once_for_each_function(stores: Stores) -> None:
    store = FaultyBackend(stores.backend())
    held = [Held() for _ in range(6)]

    async def draw(i: int) -> None:
        if i == 2:
            current_job().progress(50, 100)
        await held[i].body()

    async def write(i: int) -> None:
        await held[i].body()

    async with stores.processor(backend=store) as jp:
        done = await jp.submit_job(nothing)
        await done
        jobs = [await jp.submit_job(draw if i < 3 else write, i, local=True) for i in range(6)]
        waiting = await jp.submit_job(echo, 1, delay=3600)
        for body in held:
            await body.started.wait()
        await until(jp, jobs[2], "progress")
        assert len(await jp.poll_batch([*jobs, done, waiting])) == 8
        assert store.calls["get_durations"] == 2
        await jp.poll_batch([done, waiting, jobs[2]])
        await jp.poll_status(done)
        assert store.calls["get_durations"] == 2, "nothing else has to be estimated from others"
        for body in held:
            body.go.open()
        for job in jobs:
            await job


# -- polling


async def test_poll_batch_gives_none_for_unknown_ids(jp: JobProcessor) -> None:
    job = await jp.submit_job(add, 1, 2)
    await job
    bad = await jp.submit_job(fail, "no", max_retries=0)
    await jp.wait_for_job(bad)
    reports = await jp.poll_batch([job, "nobody", bad])
    assert list(reports) == [job, "nobody", bad]
    assert reports["nobody"] is None
    done, failed = reports[job], reports[bad]
    assert done is not None
    assert failed is not None
    assert (done.result, done.error) == (3, None)
    assert failed.error is not None
    assert (failed.error.error_type, failed.error.message) == ("ValueError", "no")
    with pytest.raises(JobNotFoundError):
        await jp.poll_status("nobody")


async def test_a_running_job_tells_who_runs_it_since_when(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, name="my worker") as jp:
        held = Held()
        handle = await jp.submit_job(held.body, metadata={"page": 3}, group="g", local=True)
        await held.started.wait()
        job = await jp.get_job(handle)
        [worker] = await jp.workers()
        assert worker.name == "my worker"
        assert (worker.slots, worker.running, worker.alive) == (32, 1, True)
        assert job.worker in (worker.id, worker.name)
        assert job.started_at == datetime(2030, 1, 1, tzinfo=UTC)
        assert (job.metadata, job.group, job.attempt) == ({"page": 3}, "g", 1)
        held.go.open()
        await handle


async def test_pages_of_jobs(jp: JobProcessor) -> None:
    async with jp.batch() as batch:
        for i in range(25):
            batch.submit_job(nothing, job_id=f"j{i}", delay=3600, metadata={"even": i % 2 == 0}, group=f"g{i % 3}")
    seen: list[str] = []
    query = JobQuery(limit=10)
    while True:
        page = await jp.find_jobs(query)
        seen += [job.id for job in page]
        if page.next is None:
            break
        query = JobQuery(limit=10, cursor=page.next)
    assert seen == [f"j{i}" for i in range(25)]
    newest = await jp.find_jobs(JobQuery(order="newest", limit=3))
    assert [job.id for job in newest] == ["j24", "j23", "j22"]
    assert len(await jp.find_jobs(JobQuery(metadata={"even": True}))) == 13
    assert len(await jp.find_jobs(JobQuery(group="g0", metadata={"even": True}))) == 5
    assert len(await jp.find_jobs(JobQuery(status=JobStatus.COMPLETED))) == 0
    assert [job.id for job in await jp.find_jobs(JobQuery(ids=["j3", "nobody", "j1"]))] in (["j1", "j3"], ["j3", "j1"])
    with pytest.raises(ConfigurationError):
        await jp.find_jobs(JobQuery(cursor="?"))


# -- why


CODES = set(re.findall(r"``([a-z_]+)``", why_module.why.__doc__ or ""))


def test_the_codes_are_documented() -> None:
    assert {
        "running", "worker_gone", "cancel_requested", "completed", "failed", "cancelled", "skipped", "dependencies",
        "time", "retry_backoff", "interruption_backoff", "limit", "slots", "next", "no_worker", "no_worker_for_queue",
        "not_allowed", "owner_gone", "answer",
    } == CODES  # fmt: skip


async def reason(jp: JobProcessor, job_id: str, code: str, *words: str) -> dict[str, Any]:
    found = await jp.why(job_id)
    assert found.code == code
    assert code in CODES
    assert len(found.sentence) > 8
    for word in words:
        assert word in found.sentence
    return found.details


async def test_why_of_jobs_that_ended(jp: JobProcessor) -> None:
    done = await jp.submit_job(nothing)
    await done
    await reason(jp, done, "completed")
    failed = await jp.submit_job(fail, "sad", job_id="failed", max_retries=0)
    await jp.wait_for_job(failed)
    assert await reason(jp, failed, "failed", "ValueError: sad", "attempt 1") == {"failures": 1}
    skipped = await jp.submit_job(nothing, depends_on=failed)
    words = "it was skipped because 'failed' did not complete: it failed: ValueError: sad"
    assert await reason(jp, skipped, "skipped", words) == {"because": "failed"}
    cancelled = await jp.submit_job(nothing, delay=3600)
    await cancelled.cancel()
    await reason(jp, cancelled, "cancelled")


@pytest.mark.parametrize(
    ("end", "words", "details"),
    [
        ("rejected by", "the gate was rejected by 'ada': too dark", {"rejected_by": "ada"}),
        ("rejected", "the gate was rejected: too dark", {"rejected_by": None}),
        ("late", "nobody answered until ", {}),
        ("cancelled", "it was cancelled", {}),
    ],
)
async def test_why_of_a_job_behind_a_gate_names_what_became_of_that(
    jp: JobProcessor, end: str, words: str, details: dict[str, Any]
) -> None:
    gate = await jp.submit_gate("Dark enough?", job_id="gate", timeout=0.05 if end == "late" else None)
    middle = await jp.submit_job(nothing, depends_on=gate)
    last = await jp.submit_job(nothing, depends_on=middle)
    if end.startswith("rejected"):
        await jp.reject_job(gate, "too dark", by="ada" if "by" in end else None)
    elif end == "cancelled":
        await gate.cancel()
    await jp.wait_for_job(last, timeout=10)
    for behind in (middle, last):
        found = await reason(jp, behind, "skipped", f"because 'gate' did not complete: {words}")
        assert found == {"because": "gate", **details}
    await gate.retry()
    assert (await jp.get_job(last)).status == "pending"


async def test_why_of_running_jobs(jp: JobProcessor) -> None:
    held = Held()
    job = await jp.submit_job(held.sync, local=True)
    await held.started.wait()
    details = await reason(jp, job, "running", "attempt 1")
    assert details["attempt"] == 1
    await job.cancel()
    await reason(jp, job, "cancel_requested", "asked to stop")
    held.go.open()
    await jp.wait_for_job(job)


async def test_why_of_a_job_with_parents(jp: JobProcessor) -> None:
    parents = [await jp.submit_job(nothing, job_id=f"p{i}", delay=3600) for i in range(7)]
    one = await jp.submit_job(nothing, depends_on=parents[0])
    assert await reason(jp, one, "dependencies", "1 job: p0 (pending)") == {"parents": {"p0": "pending"}}
    many = await jp.submit_job(nothing, depends_on=parents)
    details = await reason(jp, many, "dependencies", "7 jobs", "and 2 more")
    assert details["parents"] == dict.fromkeys(parents, "pending")


async def test_why_of_delayed_jobs(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        delayed = await jp.submit_job(nothing, delay=90)
        details = await reason(jp, delayed, "time", "due in 90.0 s", "2030-01-01T00:01:30")
        assert details["seconds"] == 90.0
        failing = await jp.submit_job(fail, retry=RetryPolicy(jitter=0.0))
        await until(jp, failing, "retrying")
        await reason(jp, failing, "retry_backoff", "failed once", "due in 2.0 s")


async def test_why_of_an_overdue_job_is_what_keeps_a_ready_one(stores: Stores) -> None:
    clock = ManualClock()
    backend = stores.backend(clock=clock)
    async with JobProcessor(backend, enable_daemon=False, clock=clock) as jp:
        held = await jp.submit_job(echo, 1, limit=("gpu", 1))
        handle = await jp.submit_job(nothing, delay=10)
        limited = await jp.submit_job(nothing, delay=20, limit=("gpu", 1))
        clock.advance(11)
        await reason(jp, handle, "no_worker", "no worker is alive")
        await reason(jp, limited, "time", "due in 9.0 s")
        worker = await backend.register_worker(NewWorker(name="busy", slots=1, lease=1000.0))
        name = (await jp.get_job(held)).func
        claim = ClaimRequest(worker=worker, limit=1, functions=frozenset({name}))
        claimed = (await backend.dequeue_jobs(claim)).jobs
        assert [job.attempt.job_id for job in claimed] == [held]
        clock.advance(11)
        await reason(jp, handle, "slots", "the workers that may run it have no free slot (1 of 1 in use)")
        await reason(jp, limited, "limit", "the limit 'gpu' lets 1 run at a time")


async def test_why_of_an_interrupted_job(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        backend = get_engine(jp).backend
        job = await jp.submit_job(nothing)
        worker = await backend.register_worker(NewWorker(name="lost", slots=1))
        claims = await backend.dequeue_jobs(
            ClaimRequest(worker=worker, limit=1, functions=frozenset({(await jp.get_job(job)).func}))
        )
        [claimed] = claims.jobs
        await backend.update_job_status([AttemptEnd(claimed.attempt, Outcome(OutcomeKind.INTERRUPTED))])
        await reason(jp, job, "interruption_backoff", "interrupted once")


async def test_why_of_limited_jobs_and_full_slots(stores: Stores) -> None:
    async with stores.processor(num_workers=2) as jp:
        held = [Held(), Held()]
        first = await jp.submit_job(held[0].body, limit=("images", 1), local=True)
        await held[0].started.wait()
        limited = await jp.submit_job(nothing, limit=("images", 1))
        details = await reason(jp, limited, "limit", "'images'", "lets 1 run")
        assert details == {"key": "images", "capacity": 1, "in_progress": 1}
        second = await jp.submit_job(held[1].body, local=True)
        await held[1].started.wait()
        behind = await jp.submit_job(nothing, priority=3)
        assert await reason(jp, behind, "slots", "no free slot (2 of 2 ") == {
            "slots": 2,
            "running": 2,
            "priority": 3,
        }
        for h in held:
            h.go.open()
        for job in (first, second, behind, limited):
            await job


async def test_why_of_jobs_that_nobody_runs(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        plain = await jp.submit_job(nothing)
        await reason(jp, plain, "no_worker", "enable_daemon=True")
        sentence = (await jp.why(plain)).sentence
        assert ("run a daemon on this store" in sentence) == (stores.kind == "sqlite")  # none reaches one in memory
    async with stores.processor(queues=("other", "more")) as jp:
        details = await reason(jp, plain.id, "no_worker_for_queue", "'default'", "more, other")
        assert details == {"queue": "default", "served": ["more", "other"]}


async def test_why_of_a_function_that_is_not_allowed(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        job = await jp.submit_job(nothing)
    async with stores.processor(allowed_modules=("somewhere.else",), name="picky") as jp:
        with anyio.fail_after(PATIENCE):
            while (await jp.why(job.id)).code == "next":
                await anyio.sleep(0)
        details = await reason(jp, job.id, "not_allowed", "picky", "is not in allowed_modules")
        assert list(details["refusals"]) == ["picky"]


async def test_why_of_a_job_that_is_next(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        backend = get_engine(jp).backend
        job = await jp.submit_job(nothing)
        await backend.register_worker(NewWorker(name="about to", slots=4))
        assert await reason(jp, job, "next") == {"slots": 4, "running": 0, "priority": 0}


@pytest.mark.persistent
async def test_why_of_a_local_job_whose_owner_is_gone(stores: Stores) -> None:
    clock = ManualClock()
    first, second = stores.processor(clock=clock, queues=("none",)), stores.processor(clock=clock, enable_daemon=False)
    async with second as jp:
        async with first as owner:
            job = await owner.submit_job(lambda: None, local=True, job_id="local", delay=3600)
            code = (await owner.why(job)).code
            assert code == "time"
        ended = await jp.get_job("local")  # the owner left in order, so this is decided already
        assert ended.status is FAILED
        assert ended.error is not None
        assert ended.error.error_type == "LocalJobLostError"


async def test_why_says_owner_gone_until_it_is_decided(stores: Stores) -> None:
    async with stores.processor() as jp:
        from msgspec.structs import replace

        job = await jp.get_job(await jp.submit_job(nothing, delay=3600))
        backend = get_engine(jp).backend
        orphan = replace(job, func="local:m:f", waits_for=why_module.WaitsFor.WORKER)

        async def nobody() -> list[Any]:
            return []

        backend.workers = nobody
        found = await why_module.why(backend, jp.clock, orphan)
        assert found.code == "owner_gone"
        del backend.workers


async def test_why_is_never_empty(jp: JobProcessor) -> None:
    with pytest.raises(JobNotFoundError):
        await jp.why("nobody")
    held = Held()
    running = await jp.submit_job(held.body, local=True)
    await jp.submit_job(echo, running)
    await jp.submit_job(nothing, delay=timedelta(hours=1))
    await jp.submit_job(nothing, queue="other")
    await jp.submit_job(nothing, limit=("k", 1), delay=10)
    for job in await jp.find_jobs():
        found = await jp.why(job.id)
        assert found.code in CODES
        assert found.sentence
    held.go.open()


async def test_elapsed_goes_on_while_a_job_runs_and_stays_when_it_has_ended(stores: Stores) -> None:
    async with stores.processor() as jp:
        held = Held()
        handle = await jp.submit_job(held.body, local=True)
        waiting = await jp.submit_job(nothing, delay=3600)
        await held.started.wait()
        running = await jp.get_job(handle)
        first = running.elapsed
        with anyio.fail_after(PATIENCE):
            while running.elapsed == first:
                await anyio.sleep(0.001)
        second = running.elapsed
        assert first is not None
        assert second is not None
        assert 0 <= first < second
        assert (await jp.get_job(waiting)).elapsed is None
        held.go.open()
        await handle
        ended = await jp.get_job(handle)
        assert ended.finished_at is not None
        assert ended.started_at is not None
        assert ended.elapsed == (ended.finished_at - ended.started_at).total_seconds()
