"""Opening and closing; what survives it; waiting for others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncjobs.backends.base import AttemptRef, ClaimRequest, JobBackend, NewWorker, Seen
from asyncjobs.core.requests import Answer
from asyncjobs.exceptions import BackendClosedError
from asyncjobs.models import JobError
from asyncjobs.requests import JobQuery
from asyncjobs.testing import ManualClock
from tests.conformance.gates import gate
from tests.conformance.support import CANCELLED, COMPLETED, FATAL, IN_PROGRESS, PENDING, SKIPPED, Store, maker, new

pytestmark = pytest.mark.anyio

CALLS: dict[str, Callable[[JobBackend], Awaitable[Any]]] = {
    "wait": lambda b: b.wait(0),
    "health": lambda b: b.health(),
    "enqueue_jobs": lambda b: b.enqueue_jobs([new("a")]),
    "dequeue_jobs": lambda b: b.dequeue_jobs(ClaimRequest(worker="w1-0", limit=1, functions=frozenset())),
    "update_job_status": lambda b: b.update_job_status([]),
    "append_events": lambda b: b.append_events([]),
    "write_steps": lambda b: b.write_steps([]),
    "ask_gate": lambda b: b.ask_gate(AttemptRef("a", 1, "w1-0"), gate("a/q")),
    "answer_gate": lambda b: b.answer_gate(Answer(job_id="a", created_at=0, value=b"")),
    "end_due_gates": lambda b: b.end_due_gates(),
    "register_worker": lambda b: b.register_worker(NewWorker(name="w", slots=1)),
    "deregister_worker": lambda b: b.deregister_worker("w1-0"),
    "extend_leases": lambda b: b.extend_leases("w1-0"),
    "report_refusals": lambda b: b.report_refusals("w1-0", {}),
    "reap": lambda b: b.reap(),
    "workers": lambda b: b.workers(),
    "cancel_jobs": lambda b: b.cancel_jobs(["a"]),
    "retry_job": lambda b: b.retry_job("a"),
    "mark_job_ready": lambda b: b.mark_job_ready(["a"]),
    "give_up": lambda b: b.give_up(["a"], JobError("Nobody", "can run it")),
    "prune": lambda b: b.prune(0),
    "remove_jobs": lambda b: b.remove_jobs(["a"]),
    "get_job": lambda b: b.get_job("a"),
    "get_jobs": lambda b: b.get_jobs(["a"]),
    "get_results": lambda b: b.get_results(["a"]),
    "get_attempts": lambda b: b.get_attempts("a"),
    "find_jobs": lambda b: b.find_jobs(JobQuery()),
    "find_ids": lambda b: b.find_ids("a"),
    "get_call": lambda b: b.get_call("a"),
    "read_steps": lambda b: b.read_steps("a"),
    "read_step": lambda b: b.read_step("a", "key"),
    "count_steps": lambda b: b.count_steps("a"),
    "count_jobs": lambda b: b.count_jobs(),
    "list_groups": lambda b: b.list_groups(),
    "get_durations": lambda b: b.get_durations("app:work"),
    "has_unfinished": lambda b: b.has_unfinished(),
    "get_dependencies": lambda b: b.get_dependencies(["a"]),
    "get_dependent_jobs": lambda b: b.get_dependent_jobs(["a"]),
    "get_ready_jobs": lambda b: b.get_ready_jobs(),
    "get_limit": lambda b: b.get_limit("k"),
    "get_lanes": lambda b: b.get_lanes(),
    "read_events": lambda b: b.read_events(),
    "last_cursor": lambda b: b.last_cursor(),
}


def test_every_call_of_the_contract_is_tried_here() -> None:
    assert set(CALLS) == (JobBackend.__abstractmethods__ | {"get_job"}) - {"open", "close", "add_listener"}


async def test_before_open_and_after_close_every_call_is_refused(store: Store) -> None:
    unopened = store.make(store.clock)
    await store.backend.close()
    answered: list[str] = []
    for name, call in CALLS.items():
        for closed in (unopened, store.backend):
            try:
                await call(closed)
            except BackendClosedError:
                continue
            answered.append(name)
    assert answered == []


async def test_closing_twice_is_no_error(store: Store) -> None:
    await store.backend.close()
    await store.backend.close()


async def test_closing_what_was_never_opened_is_no_error(store: Store) -> None:
    await store.make(store.clock).close()


async def test_it_is_closed_as_often_as_it_was_opened(store: Store) -> None:
    await store.backend.open()
    await store.submit(new("a"))
    await store.backend.close()
    assert await store.status("a") == PENDING, "somebody else has opened it, too"
    await store.backend.close()
    with pytest.raises(BackendClosedError):
        await store.backend.get_job("a")


async def test_it_may_be_opened_by_several_at_the_same_time_and_left_in_any_order(store: Store) -> None:
    await store.backend.close()
    opened: list[str] = []

    async def use(name: str) -> None:
        async with store.backend:
            await store.submit(new(name))
            opened.append(name)
            while len(opened) < 3:
                await anyio.lowlevel.checkpoint()
            assert await store.status(name) == PENDING

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for name in "abc":
                group.start_soon(use, name)
    with pytest.raises(BackendClosedError):
        await store.backend.get_job("a")


async def test_closing_more_often_than_opening_is_not_counted(store: Store) -> None:
    for _ in range(3):
        await store.backend.close()
    await store.backend.open()
    assert await store.submit(new("a")) == ["a"]


async def test_leaving_closes(kind: str, anyio_backend: str, store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    async with maker(kind, folder)(ManualClock()) as backend:
        await backend.enqueue_jobs([new("a")])
    with pytest.raises(BackendClosedError):
        await backend.get_job("a")


async def test_a_checkup_finds_nothing_wrong_with_a_sound_store_also_in_use(store: Store) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"))
    await hand.claim()
    assert [finding for finding in await store.backend.checkup() if finding.level != "ok"] == []
    await hand.succeed("a")
    assert await store.statuses("b") == [PENDING]


async def test_a_store_can_be_looked_at_before_it_is_opened_and_after_it_was_closed(store: Store) -> None:
    unopened = store.make(store.clock)
    await store.backend.close()
    for backend in (unopened, store.backend):
        assert [finding for finding in await backend.checkup() if finding.level != "ok"] == []


async def test_health_says_which_store_and_where(store: Store) -> None:
    health = await store.backend.health()
    assert isinstance(health["backend"], str)
    assert isinstance(health["where"], str)
    assert health["capabilities"] == sorted(store.backend.capabilities)


@pytest.mark.needs("persistent")
async def test_what_was_stored_is_there_when_it_is_opened_again(store: Store) -> None:
    hand = await store.hand()
    await store.submit(
        new("a", group="g", metadata={"x": 1}), new("b", "a"), new("c", limit=("k", 1)), new("d", delay=5_000_000)
    )
    await hand.run("a", "c", outcome=FATAL)
    before = await store.dump()
    cursor = await store.backend.last_cursor()
    await store.reopen()
    assert await store.dump() == before
    assert await store.backend.last_cursor() == cursor
    await store.submit(new("e", "a?"))
    assert await store.statuses("b", "d", "e") == [SKIPPED, PENDING, PENDING]
    store.check_positions(await store.events())


@pytest.mark.needs("persistent")
async def test_ids_of_workers_are_not_used_again_when_it_is_opened_again(store: Store) -> None:
    first = await store.hand()
    await store.reopen()
    assert (await store.hand()).id != first.id


async def test_waiting_ends_after_its_time(store: Store) -> None:
    answers: list[bool] = []

    async def wait() -> None:
        answers.append(await store.backend.wait(0.5))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            while not answers:
                if store.clock.sleepers:
                    store.clock.advance(0.25)
                await anyio.lowlevel.checkpoint()
    assert answers == [False]


async def test_closing_wakes_who_waits(store: Store) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(store.backend.wait, 3600)
            await store.clock.wait_for_sleepers()
            await store.backend.close()
            store.clock.advance(0.25)  # a store that polls looks again


@pytest.mark.needs("shared")
async def test_a_change_by_another_object_is_told(store: Store) -> None:
    async with store.second() as other:
        while await store.backend.wait(0):
            pass
        assert await store.backend.wait(0) is False
        await store.submit(new("mine"))
        assert await store.backend.wait(0) is False, "its own changes it knows"
        await other.enqueue_jobs([new("theirs")])
        assert await store.backend.wait(0) is True
        assert await store.status("theirs") == PENDING


@pytest.mark.needs("shared")
async def test_one_change_by_another_object_wakes_every_call_that_waits(store: Store) -> None:
    async with store.second() as other:
        while await store.backend.wait(0):
            pass
        answers: list[bool] = []

        async def wait(seen: Seen | None) -> None:
            answers.append(await store.backend.wait(3600, seen=seen))

        theirs = Seen()
        while await store.backend.wait(0, seen=theirs):
            pass
        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                for seen in (None, None, theirs):
                    group.start_soon(wait, seen)
                await store.clock.wait_for_sleepers(3)
                await other.enqueue_jobs([new("theirs")])
                store.clock.advance(0.25)  # a store that polls looks again
        assert answers == [True, True, True]


@pytest.mark.needs("shared")
async def test_a_watcher_notices_what_was_changed_between_two_of_its_calls_whoever_waits_beside_it(
    store: Store,
) -> None:
    async with store.second() as other:
        mine, theirs = Seen(), Seen()
        for seen in (mine, theirs, None):
            while await store.backend.wait(0, seen=seen):
                pass
        await other.enqueue_jobs([new("a")])
        assert await store.backend.wait(0) is True
        assert await store.backend.wait(0, seen=mine) is True
        await other.enqueue_jobs([new("b")])
        assert [await store.backend.wait(0, seen=seen) for seen in (mine, theirs, theirs)] == [True, True, False]
        assert await store.backend.wait(0) is True


@pytest.mark.needs("shared")
async def test_two_objects_see_one_truth(store: Store) -> None:
    async with store.second() as other:
        theirs = Store(store.make)
        theirs.backend, theirs.clock = other, store.clock
        hand = await store.hand()
        await theirs.submit(new("a"), new("b", "a"))
        await hand.run("a")
        assert await (await theirs.hand()).claim() == ["b"]
        assert await hand.claim() == []
        assert await theirs.dump() == await store.dump()


@pytest.mark.needs("shared")
async def test_what_another_object_did_to_own_jobs_is_counted(store: Store) -> None:
    async with store.second() as other:
        await other.enqueue_jobs([new("a", group="g"), new("b", "a", group="g"), new("c", group="g")])
        hand = await store.hand()
        await hand.claim()
        await hand.succeed("a")
        assert await store.backend.cancel_jobs(["b"]) == {"b": CANCELLED}
        for group in (None, "g"):
            assert await other.count_jobs(group) == {COMPLETED: 1, CANCELLED: 1, IN_PROGRESS: 1}
            assert await other.has_unfinished(group)
        await hand.succeed("c")
        assert [job.id for job in await other.find_jobs(JobQuery(status=COMPLETED))] == ["a", "c"]
        assert not await other.has_unfinished()
