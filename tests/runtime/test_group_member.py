"""A worker whose store asks it, when it puts a group together: what it offers, and which wake-ups must not be lost."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import JobProcessor, SQLiteBackend, SQLiteConfig, current_job, gather
from asyncjobs.backends.base import AttemptEnd
from asyncjobs.config import DaemonConfig
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.processor import get_engine
from asyncjobs.runtime.group_member import WorkerMember
from asyncjobs.runtime.outcomes import OutcomeWriter
from tests.runtime.support import PATIENCE, Gate, Held, comes_true, echo

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Watched:
    """A processor whose transactions can be held up, in the thread or on the loop, and whose offers are noted."""

    def __init__(self, folder: Path, synchronous: Any, slots: int, **daemon: Any) -> None:
        self.held: Callable[[str], None] | None = None
        config = SQLiteConfig(db_path=folder / "jobs.db", readers=1, synchronous=synchronous)
        self.backend = SQLiteBackend(config, hook=self._hook)
        self.jp = JobProcessor(self.backend, daemon=DaemonConfig(num_workers=slots, **daemon))

    def _hook(self, point: str) -> None:
        if self.held is not None:
            self.held(point)

    @property
    def member(self) -> WorkerMember:
        return self.jp.daemon.runner._member

    @contextmanager
    def thread_holds(self, *, offer: bool) -> Iterator[tuple[Gate, threading.Event]]:
        """Hold up the next transaction of the thread: when it has begun, and how to let it go.

        :param offer: whether it must be one with an offer of the worker, or one without.
        """
        begun, go = Gate(), threading.Event()

        def hold(point: str) -> None:
            if point == "begin" and (self.member._made is not None) is offer:
                self.held = None
                begun.open()
                assert go.wait(PATIENCE)

        self.held = hold
        try:
            yield begun, go
        finally:
            go.set()


@pytest.fixture
async def full(tmp_path: Path) -> AsyncIterator[Watched]:
    """Every transaction is the thread's."""
    watched = Watched(tmp_path, "FULL", 2)
    async with watched.jp:
        yield watched


@pytest.fixture
async def single(tmp_path: Path) -> AsyncIterator[Watched]:
    """One slot."""
    watched = Watched(tmp_path, "FULL", 1)
    async with watched.jp:
        yield watched


async def turns(count: int = 20) -> None:
    for _ in range(count):
        await anyio.lowlevel.checkpoint()


# -- wake-ups


async def test_an_outcome_that_comes_while_the_thread_has_the_connection_is_written_afterwards(full: Watched) -> None:
    held = Held(1)
    job = await full.jp.submit_job(held.body, local=True)
    await held.started.wait()
    with full.thread_holds(offer=False) as (begun, go):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(full.backend.mark_job_ready, [job.id])
            await begun.wait()
            held.go.open()
            await comes_true(lambda: full.jp.daemon.runner.recorder.unrecorded)  # it waits for the thread
            go.set()
    assert await job.result(timeout=PATIENCE) == 1


async def test_a_claim_that_found_too_few_slots_is_followed_by_another(single: Watched) -> None:
    """The end of the parent releases three jobs, and its claim has one slot: the ends of these bring the others."""
    held = Held(1)
    parent = await single.jp.submit_job(held.body, local=True)
    children = [await single.jp.submit_job(echo, parent) for _ in range(3)]
    await held.started.wait()
    held.go.open()
    assert await gather(*children, timeout=PATIENCE) == [1, 1, 1]


async def test_what_an_outcome_releases_is_found_although_an_earlier_claim_holds_the_slots(full: Watched) -> None:
    """The scheduler's claim has been committed, and its answer is on its way: it holds the free slot, and did not see
    what the outcome releases then. The claim with the outcome has one slot for two jobs."""
    held, sibling = Held(1), Held(2)
    parent = await full.jp.submit_job(held.body, local=True)
    first = await full.jp.submit_job(sibling.body, depends_on=parent, priority=1, local=True)
    child = await full.jp.submit_job(echo, parent)
    await held.started.wait()
    backend, slots = get_engine(full.jp).backend, full.jp.daemon.runner.slots
    claimed, written = anyio.Event(), Gate()
    dequeue, committed = backend.dequeue_jobs, full.member.committed

    async def slow_dequeue(claim: Any) -> Any:
        claims = await dequeue(claim)
        claimed.set()
        await written.wait()
        return claims

    def watched(finished: Any) -> None:
        committed(finished)
        written.open()

    backend.dequeue_jobs = slow_dequeue
    full.member.committed = watched
    slots.freed()
    await claimed.wait()
    assert slots.free == 0
    held.go.open()
    with anyio.fail_after(PATIENCE):
        assert await child.result() == 1
    sibling.go.open()
    assert await first.result(timeout=PATIENCE) == 2


async def test_a_submission_while_a_claim_holds_every_slot_is_taken_once_it_is_back(full: Watched) -> None:
    held = Held(1)
    first = await full.jp.submit_job(held.body, local=True)
    await held.started.wait()
    with full.thread_holds(offer=True) as (begun, go):
        held.go.open()
        await begun.wait()  # with a claim for every slot, and nothing to claim
        assert full.jp.daemon.runner.slots.free == 0
        async with anyio.create_task_group() as tasks:
            handles: list[Any] = []

            async def submit() -> None:
                handles.append(await full.jp.submit_job(echo, 2))

            tasks.start_soon(submit)
            await turns()
            go.set()
    assert await handles[0].result(timeout=PATIENCE) == 2
    assert await first == 1


async def test_a_submission_after_a_refused_offer_is_claimed(full: Watched) -> None:
    """The patient way, which is under way, sends claims of its own."""
    held = Held(1)
    first = await full.jp.submit_job(held.body, local=True)
    await held.started.wait()
    full.held = failing_once("before-commit")
    held.go.open()
    second = await full.jp.submit_job(echo, 2)
    assert await gather(first, second, timeout=PATIENCE) == [1, 2]


def failing_once(point: str) -> Callable[[str], None]:
    left = [1]

    def fail(at: str) -> None:
        if at == point and left:
            left.pop()
            raise BackendConnectionError("the disk is away for a moment")

    return fail


async def test_an_outcome_whose_request_for_a_group_was_lost_is_written_with_the_next_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, "NORMAL", 1, heartbeat=0.2)
    async with watched.jp as jp:
        held = Held(1)
        job = await jp.submit_job(held.body, local=True)
        await held.started.wait()
        outcomes = watched.member._outcomes
        with monkeypatch.context() as lost:
            lost.setattr(outcomes, "_ask_soon", lambda: None)
            held.go.open()
            await comes_true(lambda: outcomes.queued)
        assert await job.result(timeout=PATIENCE) == 1


# -- what is offered


async def noop(number: int) -> int:
    return number


def offered(watched: Watched) -> list[AttemptEnd]:
    """The outcomes that are offered from now on."""
    ends: list[AttemptEnd] = []
    offer = watched.member.offer

    def noted(**wanted: Any) -> Any:
        made = offer(**wanted)
        if made is not None:
            ends.extend(made.ends)
        return made

    watched.member.offer = noted
    return ends


async def run_many(watched: Watched) -> list[AttemptEnd]:
    ends = offered(watched)
    handles = await watched.jp.map_jobs(noop, range(100))
    assert await gather(*handles) == list(range(100))
    return ends


async def test_each_outcome_is_offered_once(full: Watched) -> None:
    ends = await run_many(full)
    assert len({end.attempt.job_id for end in ends}) == len(ends) == 100


async def test_nothing_is_kept_of_outcomes_that_are_written(full: Watched) -> None:
    await run_many(full)
    outcomes = full.jp.daemon.runner.recorder.outcomes
    kept = [outcomes._functions, outcomes._unwritten, outcomes._in_flight, outcomes.unwritten]
    assert not any(kept)


async def test_the_count_catches_outcomes_that_are_offered_twice(
    full: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, kept = OutcomeWriter.take, list[AttemptEnd]()

    def twice(outcomes: OutcomeWriter) -> Sequence[AttemptEnd]:
        again = list(kept)
        kept[:] = ends = list(take(outcomes))
        return [*ends, *again]

    monkeypatch.setattr(OutcomeWriter, "take", twice)
    ends = await run_many(full)
    assert len(ends) > len({end.attempt.job_id for end in ends})


async def test_no_claim_and_no_outcome_is_a_transaction_of_its_own(full: Watched) -> None:
    """On the way that nothing hinders, the worker sends nothing."""
    backend = get_engine(full.jp).backend
    await (await full.jp.submit_job(noop, 0))
    await turns()

    async def never(*arguments: Any, **options: Any) -> Any:
        raise AssertionError("it was sent")

    backend.update_job_status = never
    backend.dequeue_jobs = never
    try:
        for i in range(10):
            assert await (await full.jp.submit_job(noop, i)) == i
        assert await gather(*await full.jp.map_jobs(noop, range(20))) == list(range(20))
    finally:
        del backend.update_job_status, backend.dequeue_jobs


async def test_an_outcome_is_told_after_its_commit(full: Watched) -> None:
    steps: list[str] = []
    committed = full.member.committed

    def told(finished: Any) -> None:
        if finished.results:
            steps.append("told")
        committed(finished)

    full.member.committed = told
    full.held = steps.append
    assert await (await full.jp.submit_job(noop, 1)) == 1
    full.held = None
    assert "told" in steps
    assert steps[steps.index("told") - 1] == "after-commit"


async def test_whoever_waits_for_an_outcome_on_its_way_does_not_read_the_store(
    full: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(1)
    job = await full.jp.submit_job(held.body, local=True)
    await held.started.wait()

    async def never(*arguments: Any) -> Any:
        raise AssertionError("the store was read")

    monkeypatch.setattr(full.backend, "get_results", never)
    with full.thread_holds(offer=True) as (begun, go):
        held.go.open()
        await begun.wait()
        async with anyio.create_task_group() as tasks:

            async def wait() -> None:
                assert await job == 1

            tasks.start_soon(wait)
            await turns()
            go.set()


async def test_a_result_that_this_process_stored_is_not_read_back_for_an_argument(
    full: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*arguments: Any) -> Any:
        raise AssertionError("the store was read")

    monkeypatch.setattr(full.backend, "get_results", never)
    first = await full.jp.submit_job(noop, 7)
    assert await (await full.jp.submit_job(noop, await full.jp.submit_job(noop, first))) == 7


# -- order


async def first(number: int) -> int:
    return number


async def test_a_function_that_is_submitted_first_is_not_overtaken_by_lower_priorities(tmp_path: Path) -> None:
    """A claim of the scheduler, made before the function was known here, is in the group of its submission."""
    watched = Watched(tmp_path, "NORMAL", 1)
    async with watched.jp as jp:
        await (await jp.submit_job(noop, 0))
        await jp.submit_job(noop, 0, delay=1000)  # its claim brings news, for which the scheduler claims again
        handles: list[Any] = []

        async def submit(function: Any, priority: int) -> None:
            handles.append(await jp.submit_job(function, 1, priority=priority))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(submit, first, 9)
            tasks.start_soon(submit, noop, 0)
        await gather(*handles)
        jobs = {job.priority: job for job in [await jp.get_job(handle) for handle in handles]}
        assert jobs[9].started_at < jobs[0].started_at


# -- whose context


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def who() -> str:
    return tenant.get()


async def parent_of_one() -> str:
    tenant.set("a body")
    child = await current_job().submit_job(who)
    return await child


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
async def test_a_body_does_not_run_in_the_context_of_whoever_made_the_store_commit(
    tmp_path: Path, synchronous: str
) -> None:
    watched = Watched(tmp_path, synchronous, 4)
    async with watched.jp as jp:
        tenant.set("a caller")
        assert await (await jp.submit_job(who)) == "nobody"
        assert await (await jp.submit_job(parent_of_one)) == "nobody"


@pytest.mark.parametrize("synchronous", ["NORMAL", "FULL"])
async def test_what_is_logged_of_a_commit_is_no_line_of_the_body_that_caused_it(
    tmp_path: Path, synchronous: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    watched = Watched(tmp_path, synchronous, 4)
    async with watched.jp as jp:
        job = await jp.submit_job(parent_of_one)
        await job
        lines = [event.data["message"] async for event in jp.stream_job(job.id) if event.type == "log"]
    assert not [line for line in lines if "started" in line or "completed" in line]
    assert "started" in caplog.text


# -- life


async def test_nothing_is_offered_once_the_worker_has_left(full: Watched) -> None:
    await (await full.jp.submit_job(noop, 1))
    member = full.member
    assert member.joined
    await full.jp.daemon.runner.stop()
    assert not member.joined
    ends = offered(full)
    job = await full.jp.submit_job(noop, 2)
    await turns()
    assert not ends
    assert not (await job.status()).terminal
