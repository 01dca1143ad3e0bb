"""Who begins to wait for a job that was submitted here, and has not ended as far as the log tells, reads no result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import DaemonConfig, JobNotFoundError, JobProcessor, MemoryBackend
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.core import commands
from asyncjobs.core.state import NewEvent
from asyncjobs.models import JobResult
from asyncjobs.runtime.events import open_jobs
from asyncjobs.runtime.events.expectations import ANY_JOB, Expectation
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.events.open_jobs import OpenJobs
from tests.runtime.support import PATIENCE
from tests.runtime.test_log_tail import Log, new, publishing

pytestmark = pytest.mark.anyio


async def echo(value: int) -> int:
    return value


class Counted(MemoryBackend):
    """Counts the reads of results."""

    reads = 0

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        self.reads += 1
        return await super().get_results(ids)


async def test_many_who_submit_and_wait_read_nothing_while_somebody_waits(anyio_backend: str) -> None:
    backend = Counted()
    async with JobProcessor(backend, daemon=DaemonConfig(num_workers=4)) as jp:
        held = anyio.Event()

        async def hold() -> None:
            await held.wait()

        async def submit_and_wait() -> None:
            for value in range(5):
                assert await (await jp.submit_job(echo, value)) == value

        async with anyio.create_task_group() as tasks:
            tasks.start_soon((await jp.submit_job(hold, local=True)).result)
            await anyio.wait_all_tasks_blocked()
            before = backend.reads
            async with anyio.create_task_group() as submitters:
                for _ in range(50):
                    submitters.start_soon(submit_and_wait)
            assert backend.reads == before
            held.set()


async def test_a_job_that_was_removed_is_not_waited_for(anyio_backend: str) -> None:
    async with JobProcessor(MemoryBackend(), enable_daemon=False, daemon=None) as jp:
        tail = jp._engine.parts().tail
        keep = tail.expect([ANY_JOB])
        await tail.live()
        backend = jp._engine.backend
        await backend.enqueue_jobs([new("a")])
        assert tail.open_jobs.leave_out(["a"]) == []
        await backend.cancel_jobs(["a"])
        await backend.remove_jobs(["a"])
        await backend.enqueue_jobs([new("b")])
        tail.open_jobs._jobs["a"] = None  # as if its end had been removed from the log before it was read
        with anyio.fail_after(PATIENCE), pytest.raises(JobNotFoundError):
            await jp.handle("a")
        tail.forget(keep)


def history(*changes: tuple[str, str, Any]) -> CommittedEvents:
    return CommittedEvents([(i, NewEvent(1, kind, 0, 0, status)) for i, kind, status in changes], 1, tuple)


def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_jobs, "_MOST", 2)
    jobs = OpenJobs(lambda: 0)
    jobs.note(history(("a", "submitted", None), ("b", "submitted", None)))
    assert jobs.leave_out(["a", "b", "c"]) == ["c"]
    jobs.note(history(("c", "submitted", None)))
    assert jobs.leave_out(["a", "b", "c"]) == ["a", "b", "c"]


@pytest.mark.parametrize("removals", [1, None])
def test_nothing_is_known_after_a_removal_or_while_that_cannot_be_told(removals: int | None) -> None:
    now: list[int | None] = [0]
    jobs = OpenJobs(lambda: now[0])
    jobs.note(history(("a", "submitted", None)))
    now[0] = removals
    assert jobs.leave_out(["a"]) == ["a"]


async def test_nothing_is_known_once_the_store_has_failed(anyio_backend: str) -> None:
    async with publishing(LogTail, 1) as (log, tail):
        keep = tail.expect([ANY_JOB])
        await tail.live()
        await log.enqueue_jobs([new("a")])
        assert tail.open_jobs.leave_out(["a"]) == []
        tail.wake_all()
        assert tail.open_jobs.leave_out(["a"]) == ["a"], "whoever begins to wait now gets the error of the store"
        tail.forget(keep)


# -- beside other processes


async def cancelled_elsewhere(log: Log, tail: LogTail, job_id: str) -> None:
    notified, log.notified = log.notified, []
    log._commit(lambda plan: commands.cancel(plan, [*plan.numbers([job_id]).values()]))
    log.notified = notified
    await log.breathe()
    tail.changed()


async def some_history(kind: type[LogTail], seed: int) -> bool:
    """Whether of the jobs that are said to be open none has an end that was passed on or will never be."""
    async with publishing(kind, seed) as (log, tail):
        ids: list[str] = []
        waits: list[Expectation] = []
        for _ in range(40):
            move = log.rng.random()
            if move < 0.35:
                log.count += 1
                ids += await log.enqueue_jobs([new(f"j{log.count}")])
            elif move < 0.5 and ids:
                await log.cancel_jobs([log.rng.choice(ids)])
            elif move < 0.75 and ids:
                await cancelled_elsewhere(log, tail, log.rng.choice(ids))
            elif move < 0.9 or not waits:
                waits.append(tail.expect([ANY_JOB]))
                await tail.live()
            else:
                tail.forget(waits.pop())
            await log.breathe()
            open_now = {*ids} - {*tail.open_jobs.leave_out(ids)}
            if tail._tail is None:
                if open_now:
                    return False
                continue
            ends = {event.job_id: int(event.cursor) for event in log._tables.log.values() if event.type == "cancelled"}
            if any(ends.get(job_id, int(tail._tail) + 1) <= int(tail._tail) for job_id in open_now):
                return False
        return True


def without(name: str) -> Callable[..., LogTail]:
    """A tail whose jobs are not told of one thing."""

    def make(*args: Any) -> LogTail:
        tail = LogTail(*args)
        setattr(tail.open_jobs, name, lambda *_: None)
        return tail

    return make


def notes_submissions_only(*args: Any) -> LogTail:
    tail = LogTail(*args)

    def note(events: CommittedEvents) -> None:
        tail.open_jobs._jobs.update(dict.fromkeys(job_id for job_id, event in events.changes if event.seq == 1))

    tail.open_jobs.note = note
    return tail


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_no_job_is_open_whose_end_was_passed_on_or_will_not_be(anyio_backend: str) -> None:
    for seed in range(40):
        assert await some_history(LogTail, seed), f"seed {seed}"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("defect", [without("ended"), without("clear"), notes_submissions_only])
async def test_a_seeded_defect_is_caught(defect: Any, anyio_backend: str) -> None:
    for seed in range(40):
        if not await some_history(defect, seed):
            return
    raise AssertionError("not noticed")


async def test_the_end_by_another_process_of_a_job_that_was_not_asked_for_is_noticed(anyio_backend: str) -> None:
    async with publishing(LogTail, 3) as (log, tail):
        keep = tail.expect([ANY_JOB])
        await tail.live()
        await log.enqueue_jobs([new("a")])
        expectation = tail.expect(["a"])
        assert tail.open_jobs.leave_out(["a"]) == []
        await cancelled_elsewhere(log, tail, "a")
        with anyio.fail_after(PATIENCE):
            assert await expectation.next() == ["a"]
        assert tail.open_jobs.leave_out(["a"]) == ["a"]
        tail.forget(expectation)
        tail.forget(keep)
