"""Directed histories of the SQS store: two processes on one table, of which one stands still or dies at a known place.

Each shows a rule of the store (``docs/adr/0038``, ``docs/adr/0039``, and the docstrings of its modules).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.table import Key
from asyncjobs.exceptions import BackendError
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.support import CANCELLED, MET, OPEN, PENDING, SKIPPED, Store, new
from tests.sqs_capacity import written
from tests.sqs_faults import Wrapped, answer_of
from tests.unit.sqs_support import Crash, until_it_dies

AGES = 100_000.0
"""Seconds of a lease that does not run out."""
LEASE = 45.0
"""Seconds of a lease that ``Process.reap`` lets run out, and after which no sweep goes on with a retry of others."""
When = Callable[[str, Mapping[str, Any]], bool]
"""Whether a call, by its operation and its arguments, is the one that is meant."""
Act = Callable[[], Awaitable[object]]


class Tap(Wrapped):
    """A client of DynamoDB, before or after one of whose calls something happens.

    ``writes`` counts the writes of each item, ``done`` those that were not refused; the notes of the log are none.
    ``calls`` counts calls by their operation.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self._next: list[tuple[When, Act | None, Act | None]] = []
        self._dead = False
        self.writes: Counter[Key] = Counter()
        self.done: Counter[Key] = Counter()
        self.calls: Counter[str] = Counter()

    def at(self, when: When, *, before: Act | None = None, after: Act | None = None) -> None:
        """Do something at the next call of this kind; after the one that was given before."""
        self._next.append((when, before, after))

    async def die(self) -> None:
        """End the process: it makes no call any more."""
        self._dead = True
        raise Crash

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call, if the process lives."""
        before = after = None
        if self._next and self._next[0][0](operation, request):
            _, before, after = self._next.pop(0)
        if before is not None:
            await before()
        if self._dead:
            raise Crash
        self.calls[operation] += 1
        keys_written = [] if notes(operation, request) else [key for _, key in written(operation, request)]
        self.writes.update(keys_written)
        answer = await super().call(operation, **request)
        self.done.update(keys_written)
        if after is not None:
            await after()
        return answer


def writes(key: Key, attribute: str = "") -> When:
    """Return what recognises a write of this item, or of an attribute of it."""

    def is_meant(operation: str, request: Mapping[str, Any]) -> bool:
        named = request.get("ExpressionAttributeNames", {}).values()
        return any(of == key for _, of in written(operation, request)) and (not attribute or attribute in named)

    return is_meant


def notes(operation: str, request: Mapping[str, Any]) -> bool:
    """Recognise the note in a row of how far the log is."""
    return operation == "update_item" and "lgd" in request.get("ExpressionAttributeNames", {}).values()


def commits(operation: str, request: Mapping[str, Any]) -> bool:
    """Recognise the write that commits a batch."""
    given = request.get("ExpressionAttributeValues", {}).values()
    return operation == "update_item" and {"S": "committed"} in given


class Process(Store):
    """A store of one of several processes."""

    def __init__(self, make: Callable[[Any], SQSBackend], clock: ManualClock) -> None:
        super().__init__(make)
        self.clock = clock
        self.backend: SQSBackend = make(clock)

    def tap(self) -> Tap:
        """Return the client of this process, for something to happen at its calls."""
        table: Any = self.backend._parts.transitions.table
        table._client = Tap(table._client)
        return table._client

    async def reap(self) -> None:
        """Take back what a dead worker of another process held."""
        await self.sweep(LEASE + 1)

    async def sweep(self, seconds: float = 20) -> None:
        """Do what others left undone, after some time."""
        self.clock.advance(seconds)
        await self.backend.reap()


@asynccontextmanager
async def processes(count: int = 2, **settings: object) -> AsyncGenerator[list[Process]]:
    """Open a table of one shard by several processes."""
    config, clock = sqs_server.config(**{"shards": 1} | settings), ManualClock()
    async with AsyncExitStack() as stack:
        opened = [Process(lambda of: SQSBackend(config, clock=of), clock) for _ in range(count)]
        for process in opened:
            await stack.enter_async_context(process)
        yield opened


async def a_claim_stands_still_once_it_is_written_down(one: Process, other: Process) -> None:
    """Its worker is reaped meanwhile: so it takes nothing."""
    await one.submit(new("a"))
    frozen, living = await one.hand(), await other.hand(lease=AGES)
    held = writes((keys.WORKERS, frozen.id), "held")
    one.tap().at(held, after=lambda: other.lose(frozen))
    assert await frozen.claim() == []
    assert await other.status("a") is PENDING
    assert await living.claim() == ["a"]


async def a_dependent_is_cancelled_before_its_verdict(one: Process, other: Process) -> None:
    """So it stays, whatever its last parent was about to decide."""
    await one.submit(new("p"), new("c", "p"))
    hand = await one.hand()
    assert await hand.claim() == ["p"]
    one.tap().at(writes(keys.row("c")), before=lambda: other.backend.cancel_jobs(["c"]))
    await hand.succeed("p")
    assert await other.status("c") is CANCELLED
    assert await other.types("c") == ["submitted", "cancelled"]


async def an_appender_dies_before_its_notes(one: Process, other: Process) -> None:
    """The next one makes them before its own page, so that no event is in two pages."""
    await one.submit(new("a"), new("b"))
    tap = one.tap()
    tap.at(notes, before=tap.die)
    assert await until_it_dies(one.backend.read_events())
    await other.submit(new("c"))
    assert [(event.job_id, event.seq) for event in await other.events()] == [("a", 1), ("b", 1), ("c", 1)]


async def a_parent_ends_before_a_staged_batch_is_committed(one: Process, other: Process) -> None:
    """It meets none of its new dependents, so they are settled after the commit."""
    await other.submit(new("p"))
    hand = await other.hand()
    assert await hand.claim() == ["p"]
    one.tap().at(commits, before=lambda: hand.succeed("p"))
    ids = [f"c{place}" for place in range(60)]
    await one.submit(*(new(job_id, "p") for job_id in ids))
    assert await hand.claim() == ids


async def a_row_arrives_when_its_batch_is_forgotten(one: Process, other: Process) -> None:
    """Its process dies before it learns that the batch was undone: the job does not exist, and its id is free."""

    async def undo() -> None:
        for _ in range(2):
            await other.sweep(360)

    tap = one.tap()
    tap.at(writes(keys.row("c30")), before=undo, after=tap.die)
    assert await until_it_dies(one.submit(*(new(f"c{place}", "c59") for place in range(59)), new("c59")))
    assert keys.row("c30") in tap.writes
    assert await other.backend.get_jobs(["c30"]) == []
    await other.submit(new("c30"))


async def two_that_counted_die_before_the_verdict(one: Process, other: Process) -> None:
    """Whoever finds its edge counted looks whether a verdict is due."""
    await one.submit(new("p"), new("q"), new("c", "p", "q"))
    mine, others = await one.hand(lease=LEASE), await other.hand(lease=AGES)
    assert await mine.claim(1) == ["p"]
    assert await others.claim(1) == ["q"]
    tap = one.tap()
    tap.at(writes(keys.row("c")), before=lambda: others.succeed("q"))
    tap.at(writes(keys.row("c")), before=tap.die)
    assert await until_it_dies(mine.succeed("p"))
    assert await other.status("c") is PENDING
    await other.reap()
    assert await others.claim() == ["c"]


async def a_parent_is_retried_before_its_edge_is_counted(one: Process, other: Process) -> None:
    """The retry settles it, and opens it again: so what was to be counted is over."""
    await one.submit(new("p"), new("q"), new("c", "p?", "q?"))
    hand = await one.hand(lease=AGES)
    assert await hand.claim(1) == ["p"]
    one.tap().at(writes(keys.row("c")), before=lambda: other.backend.retry_job("p"))
    await hand.fail("p")
    assert await other.edges("c") == {"p": OPEN, "q": OPEN}


FAMILY = ["mid", "low", *(f"low{place:03d}" for place in range(99))]
"""Descendants of one job, more than a transaction takes."""


async def _retry_half(process: Process, job_id: str, tasks: TaskGroup) -> anyio.Event:
    """Begin to retry a job, until its process stands still before it makes ``mid`` pending again.

    The dependents of that have been written. Return what lets the process go on.
    """
    stands_still, goes_on = anyio.Event(), anyio.Event()

    async def stand_still() -> None:
        stands_still.set()
        await goes_on.wait()

    process.tap().at(writes(keys.row("mid")), before=stand_still)
    tasks.start_soon(process.backend.retry_job, job_id)
    await stands_still.wait()
    return goes_on


async def a_process_that_slept_settles_in_the_middle_of_a_large_retry(one: Process, other: Process) -> None:
    """It leaves alone what was opened again, though the parent of that has still to be written."""
    await one.submit(new("p"), new("mid", "p"), *(new(job_id, "mid") for job_id in FAMILY[1:]))
    hand = await one.hand(lease=LEASE)
    assert await hand.claim() == ["p"]
    async with anyio.create_task_group() as tasks:
        retry: list[anyio.Event] = []

        async def settle_and_begin_to_retry() -> None:
            await other.reap()
            assert await other.statuses(*FAMILY) == [SKIPPED] * len(FAMILY)
            retry.append(await _retry_half(other, "p", tasks))
            assert await other.statuses("mid", "low") == [SKIPPED, PENDING]

        one.tap().at(writes(keys.row("low")), before=settle_and_begin_to_retry)
        await hand.fail("p")
        retry[0].set()
    assert await other.statuses(*FAMILY) == [PENDING] * len(FAMILY)
    assert await other.edges("low") == {"mid": OPEN}
    hand = await other.hand(lease=AGES)
    for ready in (["p"], ["mid"], FAMILY[1:]):
        await hand.run(*ready)


async def a_parent_ends_in_the_middle_of_a_large_retry(one: Process, other: Process) -> None:
    """Its edge to a job that was opened again is settled by a sweep, once the retry is done."""
    await one.submit(new("p"), new("q"), new("mid", "p"), *(new(job_id, "mid", "q?") for job_id in FAMILY[1:]))
    hand = await one.hand(lease=AGES)
    assert sorted(await hand.claim()) == ["p", "q"]
    await hand.fail("p")
    async with anyio.create_task_group() as tasks:
        goes_on = await _retry_half(other, "p", tasks)
        await hand.succeed("q")
        assert await one.edges("low") == {"mid": OPEN, "q": OPEN}
        goes_on.set()
    await one.sweep()
    assert await one.edges("low") == {"mid": OPEN, "q": MET}


async def refused() -> None:
    """Fail a call for good."""
    raise answer_of("AccessDeniedException", "update_item")


async def a_worker_dies_before_it_has_settled_what_it_ended(one: Process, other: Process) -> None:
    """Its list has that, whatever it has claimed since: so a reaper settles it."""
    await one.submit(new("p"), new("q"), new("c", "p"))
    hand, others = await one.hand(lease=LEASE), await other.hand(lease=AGES)
    assert await hand.claim(1) == ["p"]
    one.tap().at(writes(keys.row("c")), before=refused)
    with pytest.raises(BackendError):
        await hand.succeed("p")
    assert await hand.claim(1) == ["q"]
    await other.reap()
    assert await others.claim() == ["c"]


async def what_a_worker_has_ended_cannot_be_settled_for_a_while(one: Process, other: Process) -> None:
    """No sweep knows of it, so the worker tries again, with its heartbeat at the latest."""
    await one.submit(new("p"), new("c", "p"))
    hand = await one.hand(lease=AGES)
    assert await hand.claim() == ["p"]
    one.tap().at(writes(keys.row("c")), before=refused)
    with pytest.raises(BackendError):
        await hand.succeed("p")
    assert await other.status("c") is PENDING
    assert await hand.claim() == []
    await hand.beat()
    assert await hand.claim() == ["c"]


async def a_worker_is_reaped_while_what_it_ended_is_retried_in_steps(one: Process, other: Process) -> None:
    """Its list still has what it ended last; the dependents of that which are pending again stay so."""
    ids = [f"c{place:03d}" for place in range(101)]
    await one.submit(new("p"), *(new(job_id, "p") for job_id in ids))
    hand = await one.hand(lease=LEASE)
    assert await hand.claim() == ["p"]
    await hand.fail("p")
    assert set(await other.statuses(*ids)) == {SKIPPED}
    other.tap().at(writes(keys.row("c050")), before=one.reap)
    await other.backend.retry_job("p")
    assert set(await other.statuses("p", *ids)) == {PENDING}


History = Callable[[Process, Process], Awaitable[None]]
HISTORIES: list[History] = [
    a_claim_stands_still_once_it_is_written_down,
    a_dependent_is_cancelled_before_its_verdict,
    an_appender_dies_before_its_notes,
    a_parent_ends_before_a_staged_batch_is_committed,
    a_row_arrives_when_its_batch_is_forgotten,
    two_that_counted_die_before_the_verdict,
    a_parent_is_retried_before_its_edge_is_counted,
    a_process_that_slept_settles_in_the_middle_of_a_large_retry,
    a_parent_ends_in_the_middle_of_a_large_retry,
    a_worker_dies_before_it_has_settled_what_it_ended,
    what_a_worker_has_ended_cannot_be_settled_for_a_while,
    a_worker_is_reaped_while_what_it_ended_is_retried_in_steps,
]
