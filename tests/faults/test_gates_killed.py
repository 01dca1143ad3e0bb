"""Gates and questions when the process dies, or an error comes, at any point of a commit.

Each act is done as a whole, or not at all, and never twice.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from asyncjobs import SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import AttemptEnd
from asyncjobs.backends.sqlite.writer import Writer
from asyncjobs.core.requests import Answer, AskedGate
from asyncjobs.exceptions import BackendError, JobProcessorError, JobStateError, UnknownDependencyError
from asyncjobs.models import JobStatus
from tests.conformance.gates import YES, answer, ask, asking, created_at, gate, park, reject
from tests.conformance.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    FATAL,
    PENDING,
    RELEASED,
    SKIPPED,
    SUCCESS,
    Hand,
    Store,
    new,
)
from tests.faults.checker import Stored, check_log, check_order, copy_of, read_store
from tests.faults.stores import Failpoint, busy, full, io_error

pytestmark = pytest.mark.anyio

Act = Callable[[], Awaitable[Any]]


class Scene:
    """``a`` is parked on its question ``a/q``; ``b``, which runs, has asked ``b/q``, for a minute, and ``b/no``, which
    was rejected; ``c`` has not asked. ``g`` opens when ``c`` has completed. ``after`` waits for ``a/q`` and ``b/q``."""

    def __init__(self, store: Store, hand: Hand) -> None:
        self.store = store
        self.hand = hand

    @classmethod
    async def prepare(cls, store: Store) -> Scene:
        hand, (a, b, _) = await asking(store, "a", "b", "c")
        await ask(store, a)
        await ask(store, b, timeout=60)
        await ask(store, b, "no")
        await reject(store, "b/no", by="bo")
        await store.submit(gate("g", "c"), new("after", "a/q", "b/q?"))
        await park(store, a, "a/q")
        return cls(store, hand)

    async def act(self, name: str) -> Act:
        """Prepare an act; returns the call that the store is to survive."""
        store, held = self.store, self.hand.held
        backend = store.backend
        at = await created_at(store, "a/q")
        match name:
            case "ask":
                return lambda: ask(store, held["c"], metadata=b'{"page":1}')
            case "ask again":
                return lambda: ask(store, held["b"])
            case "ask anew after a retry":
                await self.hand.end("b", FATAL)
                await backend.retry_job("b")
                await self.hand.claim()
                return lambda: ask(store, held["b"], "no")
            case "park":
                return lambda: park(store, held["b"], "b/q")
            case "answer":
                return lambda: backend.answer_gate(Answer(job_id="a/q", created_at=at, value=YES, by="ana"))
            case "answer, large":
                return lambda: backend.answer_gate(Answer(job_id="a/q", created_at=at, value=bytes(3 << 20), by="ana"))
            case "reject":
                return lambda: backend.answer_gate(Answer(job_id="a/q", created_at=at, reason="no", by="ana"))
            case "deadline":
                store.clock.jump(60)
                return backend.end_due_gates
            case "cancel the gate":
                return lambda: backend.cancel_jobs(["a/q"])
            case "cancel the parked job":
                return lambda: backend.cancel_jobs(["a"])
            case "end the job that asks":
                return lambda: self.hand.end("b", SUCCESS)
            case "open":
                return lambda: self.hand.end("c", SUCCESS)
            case _:
                assert name == "open it again"
                await backend.cancel_jobs(["a/q"])
                return lambda: backend.retry_job("a/q")


ACTS = [
    "ask",
    "ask again",
    "ask anew after a retry",
    "park",
    "answer",
    "answer, large",
    "reject",
    "deadline",
    "cancel the gate",
    "cancel the parked job",
    "end the job that asks",
    "open",
    "open it again",
]


def path_of(store: Store) -> Path:
    config: SQLiteConfig = store.backend.config
    return config.file


def opened(folder: Path, hook: Failpoint) -> Store:
    config = SQLiteConfig(db_path=folder / "jobs.db", readers=1)
    return Store(lambda clock: SQLiteBackend(config, clock=clock, hook=hook))


def look(store: Store, folder: Path) -> Stored:
    """The file as another process would find it now, if this one were killed."""
    folder.mkdir(exist_ok=True)
    stored = read_store(copy_of(path_of(store), folder))
    assert [*check_log(stored), *check_order(stored)] == []
    return stored


# -- killed


@pytest.mark.parametrize("name", ACTS)
async def test_killed_before_any_statement_of_an_act_it_is_not_done_and_after_the_last_it_is(
    tmp_path: Path, name: str
) -> None:
    async with opened(tmp_path, Failpoint()) as store:
        scene = await Scene.prepare(store)
        act = await scene.act(name)
        writer: Writer = store.backend._writer
        before = look(store, tmp_path / "before")
        killed: dict[Path, str] = {}

        def copy(statement: str) -> None:  # what it raises is not seen
            folder = tmp_path / f"killed-{len(killed)}"
            folder.mkdir()
            killed[copy_of(path_of(store), folder)] = statement

        writer.connection.set_trace_callback(copy)
        await act()
        writer.connection.set_trace_callback(None)
        after = look(store, tmp_path / "after")
        assert list(killed.values())[-1] == "COMMIT"
        for file, statement in killed.items():
            assert read_store(file) == before, f"killed before {statement}"
        assert after != before


@pytest.mark.parametrize("name", ACTS)
async def test_the_next_process_goes_on_from_either_side_of_the_commit(tmp_path: Path, name: str) -> None:
    """The act, done again by whoever does not know whether it was done, ends in the same state; or is refused."""
    async with opened(tmp_path, Failpoint()) as store:
        scene = await Scene.prepare(store)
        act = await scene.act(name)
        await act()
        once = look(store, tmp_path / "once")
        await store.reopen()
        act = await again(scene, name)
        try:
            await act()
        except JobProcessorError:
            assert name == "open it again", "which is open"
        twice = look(store, tmp_path / "twice")
        assert (without_last_asked(twice) if name.startswith("ask") else twice) == once


def without_last_asked(stored: Stored) -> Stored:
    """What a question that is asked again adds: one event in the log of the job that asks."""
    *events, last = stored.events
    assert last.type == "asked"
    asker = stored.jobs[last.job]
    jobs = stored.jobs | {asker.n: replace(asker, seq=asker.seq - 1)}
    counters = stored.counters | {"event": stored.counters["event"] - 1}
    return replace(stored, jobs=jobs, events=events, counters=counters)


async def again(scene: Scene, name: str) -> Act:
    """The same act in the reopened store, without its preparation."""
    if name == "ask anew after a retry":
        return lambda: ask(scene.store, scene.hand.held["b"], "no")
    if name == "open it again":
        return lambda: scene.store.backend.retry_job("a/q")
    return await scene.act(name)


# -- errors


@pytest.mark.parametrize("point", ["begin", "before-commit"])
@pytest.mark.parametrize("error", [busy, full, io_error])
@pytest.mark.parametrize("name", ACTS)
async def test_an_error_that_passes_is_not_seen(tmp_path: Path, point: str, error: Any, name: str) -> None:
    hook = Failpoint()
    async with opened(tmp_path, hook) as store:
        act = await (await Scene.prepare(store)).act(name)
        before = look(store, tmp_path / "before")
        hook.fail(point, *[error()] * (3 if error is busy else 1))
        if name == "answer, large" and error is not busy:
            # There the thread has the first try already: what is not a lock is an answer, and nothing was done.
            with pytest.raises(BackendError):
                await act()
            assert look(store, tmp_path / "failed") == before
        await act()
        hook.fail(point)
        assert look(store, tmp_path / "after") != before


@pytest.mark.parametrize("name", ACTS)
async def test_an_answer_that_is_lost_after_the_commit_is_given_all_the_same(tmp_path: Path, name: str) -> None:
    hook = Failpoint()
    async with opened(tmp_path, hook) as store:
        act = await (await Scene.prepare(store)).act(name)
        commits = hook.seen["after-commit"]
        hook.fail("after-commit", io_error())
        await act()
        assert hook.seen["after-commit"] == commits + 1
        look(store, tmp_path / "after")


# -- neighbours in a group


async def test_each_of_a_group_gets_the_answer_that_is_true_for_it(tmp_path: Path) -> None:
    hook = Failpoint()
    async with opened(tmp_path, hook) as store:
        scene = await Scene.prepare(store)
        backend, held = store.backend, scene.hand.held
        at = await created_at(store, "a/q")
        commits = hook.seen["after-commit"]
        answers = await asyncio.gather(
            backend.enqueue_jobs([new("poison", "nobody")]),
            ask(store, held["c"], "one"),
            ask(store, held["a"], "over"),
            backend.answer_gate(Answer(job_id="a/q", created_at=at, value=YES, by="ana")),
            backend.answer_gate(Answer(job_id="a/q", created_at=at, value=YES, by="bo")),
            backend.answer_gate(Answer(job_id="a/q", created_at=at, value=YES, by="ana")),
            backend.answer_gate(Answer(job_id="nobody", created_at=at, value=YES)),
            ask(store, held["c"], "two"),
            ask(store, held["c"], "one"),
            backend.enqueue_jobs([new("x"), new("y")]),
            backend.update_job_status([AttemptEnd(held["b"], RELEASED, parked_on="b/q")]),
            return_exceptions=True,
        )
        assert hook.seen["after-commit"] == commits + 1, "it was one group"
        poison, one, over, first, second, repeated, nobody, two, same, submitted, parked = answers
        assert isinstance(poison, UnknownDependencyError)
        assert isinstance(one, AskedGate)
        assert one == same
        assert isinstance(two, AskedGate)
        assert isinstance(over, JobStateError)
        assert (first, repeated) == (COMPLETED, COMPLETED)
        assert isinstance(second, JobStateError)
        assert second.answered_by == "ana"
        assert isinstance(nobody, JobProcessorError)
        assert list(submitted) == ["x", "y"]
        assert parked.results == [PENDING]
        stored = look(store, tmp_path / "after").by_id
        assert sorted(stored[job_id].n for job_id in ("c/one", "c/two", "x", "y")) == [9, 10, 11, 12]
        assert (stored["a"].parked, stored["b"].parked) == (None, stored["b/q"].n)


async def test_what_is_parked_and_answered_in_one_group_is_ready(tmp_path: Path) -> None:
    hook = Failpoint()
    async with opened(tmp_path, hook) as store:
        scene = await Scene.prepare(store)
        at = await created_at(store, "b/q")
        commits = hook.seen["after-commit"]
        await asyncio.gather(
            store.backend.answer_gate(Answer(job_id="b/q", created_at=at, value=YES)),
            store.backend.update_job_status([AttemptEnd(scene.hand.held["b"], RELEASED, parked_on="b/q")]),
        )
        assert hook.seen["after-commit"] == commits + 1
        assert await scene.hand.claim() == ["b"]
        look(store, tmp_path / "after")


async def test_what_is_answered_and_due_in_one_group_ends_once(tmp_path: Path) -> None:
    async with opened(tmp_path, Failpoint()) as store:
        await Scene.prepare(store)
        at = await created_at(store, "b/q")
        store.clock.jump(60)
        answers = await asyncio.gather(
            store.backend.end_due_gates(),
            store.backend.answer_gate(Answer(job_id="b/q", created_at=at, value=YES)),
            store.backend.end_due_gates(),
            return_exceptions=True,
        )
        assert isinstance(answers[1], JobStateError)
        assert sorted((answers[0], answers[2]), key=len) == [[], ["b/q"]]
        assert (await store.job("b/q")).status is FAILED
        look(store, tmp_path / "after")


async def test_a_question_and_the_cancellation_of_its_job_leave_none_open(tmp_path: Path) -> None:
    """In one group the request to stop comes first, so the question is refused; else it ends with its job."""
    async with opened(tmp_path, Failpoint()) as store:
        scene = await Scene.prepare(store)
        held = scene.hand.held["c"]
        answers = await asyncio.gather(
            ask(store, held), store.backend.cancel_jobs(["c"]), answer(store, "a/q"), return_exceptions=True
        )
        assert isinstance(answers[0], JobStateError)
        await scene.hand.end("c", SUCCESS)
        assert (await store.job("c")).status is CANCELLED
        stored = look(store, tmp_path / "after")
        assert not [job for job in stored.jobs.values() if job.id.startswith("c/") and job.status is JobStatus.PENDING]


# -- several programs on one file


async def test_of_a_hundred_answers_by_four_programs_one_wins_and_the_others_are_refused_with_its_name(
    tmp_path: Path,
) -> None:
    """Each with connections of its own, so that they wait for each other's lock."""
    async with opened(tmp_path, Failpoint()) as store, AsyncExitStack() as stack:
        await Scene.prepare(store)
        at = await created_at(store, "a/q")
        programs = [store.backend] + [await stack.enter_async_context(store.second()) for _ in range(3)]
        answers = await asyncio.gather(
            *(
                programs[i % 4].answer_gate(Answer(job_id="a/q", created_at=at, value=YES, by=f"p{i}"))
                for i in range(100)
            ),
            return_exceptions=True,
        )
        assert answers.count(COMPLETED) == 1
        winner = f"p{answers.index(COMPLETED)}"
        refused = [error for error in answers if isinstance(error, JobStateError)]
        assert [error.answered_by for error in refused] == [winner] * 99
        assert await store.types("a/q") == ["submitted", "asked", "completed"]
        look(store, tmp_path / "after")


async def test_four_programs_end_each_deadline_once(tmp_path: Path) -> None:
    async with opened(tmp_path, Failpoint()) as store, AsyncExitStack() as stack:
        await store.submit(*(gate(f"g{i:03}", timeout=60) for i in range(300)), new("after", "g000", "g001", "g299"))
        programs = [store.backend] + [await stack.enter_async_context(store.second()) for _ in range(3)]
        store.clock.jump(60)
        ended: list[str] = []
        while found := await asyncio.gather(*(program.end_due_gates() for program in programs)):
            if not any(found):
                break
            ended += [job_id for ids in found for job_id in ids]
        assert sorted(ended) == [f"g{i:03}" for i in range(300)]
        assert await store.backend.count_jobs() == {FAILED: 300, SKIPPED: 1}
        look(store, tmp_path / "after")


# -- the checker is worth something

WRONG = {
    "parked on a gate that has ended": (
        "UPDATE jobs SET status = 4, waits_for = NULL WHERE id = 'a/q'",
        "a is parked on",
    ),
    "parked on a gate of another job": ("UPDATE jobs SET parked = 5 WHERE id = 'a'", "a is parked on b/q"),
    "parked on nothing": ("UPDATE jobs SET parked = NULL WHERE id = 'a'", "a waits for 4 and is parked on None"),
    "woken and still parked": ("UPDATE jobs SET waits_for = 0 WHERE id = 'a'", "a waits for 0 and is parked on 4"),
    "left open": (
        "UPDATE jobs SET status = 2, waits_for = NULL WHERE id = 'b'",
        "the question b/q is open, and its job",
    ),
    "closed without an event": ("UPDATE jobs SET waits_for = 3 WHERE id = 'b/q'", "by its events it is open"),
    "opened without an event": ("UPDATE jobs SET waits_for = 4 WHERE id = 'g'", "by its events it is not open"),
    "answered twice": (
        "INSERT INTO events(position, job, seq, type, at, attempt, status) SELECT max(position) + 1, 6, 4, 'completed',"
        " 0, 0, 2 FROM events",
        "'completed' of attempt 0, cannot follow",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_store_in_which_gates_contradict_each_other_is_found_out(tmp_path: Path, what: str) -> None:
    async with opened(tmp_path, Failpoint()) as store:
        await Scene.prepare(store)
        file = copy_of(path_of(store), tmp_path)
    assert check_log(read_store(file)) == []
    statement, sentence = WRONG[what]
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount == 1
    problems = check_log(read_store(file))
    assert [problem for problem in problems if sentence in problem], problems
