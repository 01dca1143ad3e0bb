"""Faults inside of a group commit: each caller gets the answer that is true for what it asked, and nobody else's."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from asyncjobs.backends.base import AttemptEnd, ClaimRequest, NewWorker, Stale
from asyncjobs.exceptions import (
    BackendConnectionError,
    BackendError,
    DuplicateJobError,
    JobConflictError,
    UnknownDependencyError,
)
from asyncjobs.models import Dependency, JobStatus, Outcome, OutcomeKind
from tests.faults import bodies
from tests.faults.checker import check_log, copy_of, read_store
from tests.faults.stores import Failpoint, busy, full, io_error, new_job, opened, stored_ids, until

pytestmark = pytest.mark.anyio


def coherent(path: Path, folder: Path) -> None:
    """The log and the rows of the file, as another process would find them, agree."""
    assert check_log(read_store(copy_of(path, folder))) == []


# -- failpoints


@pytest.mark.parametrize("point", ["begin", "before-commit"])
@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
@pytest.mark.parametrize("error", [busy, full, io_error])
async def test_an_error_that_passes_is_not_seen(tmp_path: Path, point: str, synchronous: Any, error: Any) -> None:
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook, synchronous=synchronous) as backend:
        hook.fail(point, *[error()] * (3 if error is busy else 1))
        if synchronous == "FULL" and error is not busy:
            # There the thread has the first try already: what is not a lock is an answer.
            with pytest.raises(BackendError, match=r"jobs\.db"):
                await backend.enqueue_jobs([new_job("a")])
            assert await stored_ids(backend, ["a"]) == set()
        assert list(await backend.enqueue_jobs([new_job("a")])) == ["a"]
        assert await stored_ids(backend, ["a"]) == {"a"}
        coherent(tmp_path / "jobs.db", tmp_path)


@pytest.mark.parametrize("point", ["begin", "before-commit"])
async def test_an_error_that_stays_is_told_and_nothing_is_stored(tmp_path: Path, point: str) -> None:
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook) as backend:
        hook.fail(point, *[full() for _ in range(20)])
        answers = await asyncio.gather(
            *(backend.enqueue_jobs([new_job(f"{point}-{i}"), new_job(f"{point}-{i}b")]) for i in range(3)),
            return_exceptions=True,
        )
        for answer in answers:
            assert isinstance(answer, BackendError)
            assert answer.code == "disk-full"
            assert isinstance(answer.__cause__, sqlite3.OperationalError)
        hook.fail(point)
        assert await backend.count_jobs() == {}
        await backend.enqueue_jobs([new_job("later")])
        coherent(tmp_path / "jobs.db", tmp_path)


async def test_a_lock_that_stays_names_what_to_submit_again(tmp_path: Path) -> None:
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook, busy_timeout=0.05) as backend:
        hook.fail("begin", *[busy() for _ in range(1000)])
        answers = await asyncio.gather(
            backend.enqueue_jobs([new_job("a")]), backend.enqueue_jobs([new_job("b")]), return_exceptions=True
        )
        for job_id, answer in zip("ab", answers, strict=True):
            assert isinstance(answer, BackendConnectionError)
            assert [job.id for job in answer.request] == [job_id]
        hook.fail("begin")
        for answer in answers:
            await backend.enqueue_jobs(answer.request)
        assert await stored_ids(backend, ["a", "b"]) == {"a", "b"}


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
async def test_an_answer_that_is_lost_after_the_commit(tmp_path: Path, synchronous: Any) -> None:
    """It is stored. The caller must not be told that it is not, and the group must not run a second time."""
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook, synchronous=synchronous) as backend:
        before = hook.seen["after-commit"]
        hook.fail("after-commit", io_error())
        answers = await asyncio.gather(
            backend.enqueue_jobs([new_job("named"), new_job("second")]),
            backend.enqueue_jobs([new_job("generated", generated=True)]),
            return_exceptions=True,
        )
        assert hook.seen["after-commit"] == before + 1
        for answer in answers:
            if isinstance(answer, BaseException):
                # Then it must be the kind that says: submit ``.request`` again, with if_exists="return".
                assert isinstance(answer, BackendConnectionError)
                assert answer.request is not None
        assert await stored_ids(backend, ["named", "second", "generated"]) == {"named", "second", "generated"}
        coherent(tmp_path / "jobs.db", tmp_path)


async def test_a_finish_whose_answer_is_lost_after_the_commit(tmp_path: Path) -> None:
    """The outcome is stored once, and what was claimed with it is not in progress without anybody who knows."""
    path = tmp_path / "jobs.db"
    hook = Failpoint()
    async with opened(path, hook) as backend:
        worker = await backend.register_worker(NewWorker(name="w", slots=1))
        await backend.enqueue_jobs([new_job("a"), new_job("b")])
        claim = ClaimRequest(worker=worker, limit=1, functions=frozenset({"tests:work"}))
        (first,) = (await backend.dequeue_jobs(claim)).jobs
        hook.fail("after-commit", io_error())
        end = AttemptEnd(first.attempt, Outcome(OutcomeKind.SUCCEEDED, b"\xc0"))
        answer = await asyncio.gather(backend.update_job_status([end], claim), return_exceptions=True)
        known = set()
        if not isinstance(answer[0], BaseException):
            assert not isinstance(answer[0].results[0], Stale)
            known = {job.attempt.job_id for job in answer[0].claims.jobs}
        jobs = {job.id: job for job in await backend.get_jobs(["a", "b"])}
        assert jobs["a"].status is JobStatus.COMPLETED
        assert (jobs["b"].status is JobStatus.IN_PROGRESS) == ("b" in known)
        coherent(path, tmp_path)


# -- neighbours in a group


async def test_two_callers_with_the_same_id(tmp_path: Path) -> None:
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook) as backend:
        before = hook.seen["after-commit"]
        answers = await asyncio.gather(
            *(backend.enqueue_jobs([new_job("same", call=bytes([i]))]) for i in range(2)), return_exceptions=True
        )
        assert hook.seen["after-commit"] == before + 1  # it was one group
        assert list(answers[0]) == ["same"]
        assert isinstance(answers[1], DuplicateJobError)
        assert answers[1].job_id == "same"
        coherent(tmp_path / "jobs.db", tmp_path)


async def test_two_callers_with_the_same_id_that_take_what_exists(tmp_path: Path) -> None:
    async with opened(tmp_path / "jobs.db", Failpoint()) as backend:
        answers = await asyncio.gather(
            backend.enqueue_jobs([new_job("same", call=b"1", if_exists="return")]),
            backend.enqueue_jobs([new_job("same", call=b"1", if_exists="return")]),
            backend.enqueue_jobs([new_job("same", call=b"2", if_exists="return")]),
            return_exceptions=True,
        )
        assert [list(answer) for answer in answers[:2]] == [["same"], ["same"]]
        assert isinstance(answers[2], JobConflictError)
        coherent(tmp_path / "jobs.db", tmp_path)


async def test_one_refused_in_a_group_of_a_hundred(tmp_path: Path) -> None:
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook) as backend:
        before = hook.seen["after-commit"]
        calls = [backend.enqueue_jobs([new_job(f"j{i}")]) for i in range(99)]
        calls.insert(50, backend.enqueue_jobs([new_job("poison", dependencies=(Dependency("nobody"),))]))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert hook.seen["after-commit"] == before + 1
        assert isinstance(answers.pop(50), UnknownDependencyError)
        assert [list(answer) for answer in answers] == [[f"j{i}"] for i in range(99)]
        assert await backend.count_jobs() == {JobStatus.PENDING: 99}
        coherent(tmp_path / "jobs.db", tmp_path)


async def test_one_in_a_hundred_that_the_database_cannot_take(tmp_path: Path) -> None:
    """The driver refuses a value: that rolls back the whole group, which then is run piece by piece."""
    async with opened(tmp_path / "jobs.db", Failpoint()) as backend:
        poison = new_job("poison", priority=1 << 70)
        calls = [backend.enqueue_jobs([new_job(f"j{i}")]) for i in range(99)]
        calls.insert(50, backend.enqueue_jobs([poison]))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(answers.pop(50), Exception)
        assert [list(answer) for answer in answers] == [[f"j{i}"] for i in range(99)]
        assert await backend.count_jobs() == {JobStatus.PENDING: 99}
        coherent(tmp_path / "jobs.db", tmp_path)


# -- callers that are cancelled


async def turns(n: int) -> None:
    for _ in range(n):
        await asyncio.sleep(0)


@pytest.mark.parametrize("after", range(6))
async def test_a_caller_that_is_cancelled_at_any_turn(tmp_path: Path, after: int) -> None:
    """It hears of its cancellation, never hangs, and what it asked for is there as a whole or not at all."""
    async with opened(tmp_path / "jobs.db", Failpoint()) as backend:
        caller = asyncio.create_task(backend.enqueue_jobs([new_job("a"), new_job("b")]))
        neighbour = asyncio.create_task(backend.enqueue_jobs([new_job("c")]))
        await turns(after)
        caller.cancel()
        done, _ = await asyncio.wait([caller], timeout=5)
        assert done, "the cancelled caller hangs"
        assert list(await neighbour) == ["c"]
        stored = await stored_ids(backend, ["a", "b"])
        if caller.cancelled():
            assert stored in (set(), {"a", "b"})
            assert stored == set() or after > 1
        else:
            assert stored == {"a", "b"}
        await backend.enqueue_jobs([new_job("d")])
        coherent(tmp_path / "jobs.db", tmp_path)


async def test_a_caller_that_is_cancelled_while_the_file_is_locked(tmp_path: Path) -> None:
    """Before its turn it is dropped; once the thread has it, it is stored, and the cancellation comes afterwards."""
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook, synchronous="FULL") as backend:
        hook.stop_in_thread("begin")
        taken = asyncio.create_task(backend.enqueue_jobs([new_job("taken")]))
        await asyncio.to_thread(hook.reached.wait, 10)
        waiting = asyncio.create_task(backend.enqueue_jobs([new_job("waiting")]))
        neighbour = asyncio.create_task(backend.enqueue_jobs([new_job("neighbour")]))
        await turns(3)
        taken.cancel()
        waiting.cancel()
        await turns(5)
        assert waiting.cancelled()
        assert not taken.done()  # shielded until the commit
        hook.go_on()
        await asyncio.wait([taken], timeout=5)
        assert taken.cancelled()
        assert list(await neighbour) == ["neighbour"]
        assert await stored_ids(backend, ["taken", "waiting", "neighbour"]) == {"taken", "neighbour"}
        coherent(tmp_path / "jobs.db", tmp_path)


@pytest.mark.parametrize("again", range(1, 4))
async def test_a_caller_that_is_cancelled_again_and_again(tmp_path: Path, again: int) -> None:
    hook = Failpoint()
    async with opened(tmp_path / "jobs.db", hook, synchronous="FULL") as backend:
        hook.stop_in_thread("before-commit")
        caller = asyncio.create_task(backend.enqueue_jobs([new_job("a")]))
        await asyncio.to_thread(hook.reached.wait, 10)
        for _ in range(again):
            caller.cancel()
            await turns(3)
        hook.go_on()
        await asyncio.wait([caller], timeout=5)
        assert caller.cancelled()
        await backend.enqueue_jobs([new_job("b")])
        assert await stored_ids(backend, ["a", "b"]) == {"a", "b"}


async def test_a_local_job_whose_submitter_was_cancelled_too_late(tmp_path: Path) -> None:
    """It is stored, and it runs: its callable is not forgotten."""
    hook = Failpoint()
    backend = opened(tmp_path / "jobs.db", hook, synchronous="FULL")
    ran: list[int] = []
    async with JobProcessor(backend, daemon=DaemonConfig(num_workers=1)) as jp:
        hook.stop_in_thread("before-commit")
        caller = asyncio.create_task(jp.submit_job(lambda: ran.append(1), job_id="local", local=True, max_retries=0))
        await until(hook.reached.is_set)  # the claim and the submission are one group
        caller.cancel()
        await turns(3)
        hook.go_on()
        await asyncio.wait([caller], timeout=5)
        assert caller.cancelled()
        if await backend.get_job("local") is not None:
            await jp.drain()
            assert (await jp.get_job("local")).status is JobStatus.COMPLETED
            assert ran == [1]


async def test_the_processor_closes_with_a_cancelled_caller(tmp_path: Path) -> None:
    """Leaving waits for what was taken up, and does not hang on who is gone."""
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False) as jp:
        callers = [asyncio.create_task(jp.submit_job(bodies.nothing, job_id=f"j{i}")) for i in range(20)]
        await turns(2)
        for caller in callers[::2]:
            caller.cancel()
        left = (await asyncio.wait(callers, timeout=5))[1]
        assert not left
        assert all(callers[i].cancelled() or not callers[i].exception() for i in range(20))
        jp._submitted = 0  # nobody is to be warned of what is left
