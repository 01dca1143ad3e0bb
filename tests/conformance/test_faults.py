"""What a caller may do after a fault: submit again, end again, look. Nothing is stored twice, nothing is lost."""

from __future__ import annotations

import pytest

from asyncjobs.backends.base import Seen
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import BackendConnectionError, ConfigurationError
from asyncjobs.models import JobEvent
from asyncjobs.testing import FaultyBackend
from tests.conformance.support import COMPLETED, SUCCESS, Store, new

pytestmark = pytest.mark.anyio


@pytest.fixture
def faulty(store: Store) -> FaultyBackend:
    """The store's backend, behind one that fails when it is told to."""
    wrapped = FaultyBackend(store.backend)
    store.backend = wrapped
    return wrapped


async def test_a_call_that_failed_before_stored_nothing(store: Store, faulty: FaultyBackend) -> None:
    faulty.fail("enqueue_jobs")
    with pytest.raises(BackendConnectionError):
        await store.submit(new("a"))
    assert await store.jobs() == []
    await store.submit(new("a"))
    assert faulty.calls["enqueue_jobs"] == 2


async def test_a_lost_answer_is_mended_by_submitting_again(store: Store, faulty: FaultyBackend) -> None:
    batch = [new("a", if_exists="return"), new("b", "a", if_exists="return")]
    faulty.fail("enqueue_jobs", when="after")
    with pytest.raises(BackendConnectionError):
        await store.submit(*batch)
    stored = await store.dump()
    assert list(await store.submit(*batch)) == ["a", "b"]
    assert await store.dump() == stored


async def test_an_end_whose_answer_was_lost_is_stale_when_it_is_repeated(store: Store, faulty: FaultyBackend) -> None:
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a"))
    await hand.claim()
    faulty.fail("update_job_status", when="after")
    with pytest.raises(BackendConnectionError):
        await hand.end("a", SUCCESS)
    stored = await store.dump()
    assert await hand.end("a", SUCCESS) == Stale(1, COMPLETED)
    assert await store.dump() == stored


async def test_jobs_of_a_claim_whose_answer_was_lost_come_back_with_the_lease(
    store: Store, faulty: FaultyBackend
) -> None:
    hand = await store.hand()
    await store.submit(new("a"))
    faulty.fail("dequeue_jobs", when="after")
    with pytest.raises(BackendConnectionError):
        await hand.claim()
    assert await hand.claim() == []
    assert list(await store.lose(hand)) == ["a"]


async def test_the_nth_call_from_now_fails(store: Store, faulty: FaultyBackend) -> None:
    await store.submit(new("a"))
    mine = ValueError("of the test")
    faulty.fail("enqueue_jobs", 2, error=mine)
    await store.submit(new("b"))
    with pytest.raises(ValueError, match="of the test"):
        await store.submit(new("c"))
    await store.submit(new("d"))
    assert [job.id for job in await store.jobs()] == ["a", "b", "d"]


async def test_a_fault_that_cannot_be_is_refused(faulty: FaultyBackend) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'enqueue_jobs'"):
        faulty.fail("enqueue_job")
    with pytest.raises(ConfigurationError):
        faulty.fail("reap", 0)


async def test_listeners_of_a_faulty_store_are_notified_and_removed_as_those_of_the_store(
    store: Store, faulty: FaultyBackend
) -> None:
    around: list[JobEvent] = []
    inside: list[JobEvent] = []
    remove = faulty.add_listener(around.extend)
    faulty.inner.add_listener(inside.extend)
    faulty.fail("enqueue_jobs", when="after")
    with pytest.raises(BackendConnectionError):
        await faulty.enqueue_jobs([new("a")])
    assert around == inside == await store.given(), "it was committed, whatever became of the answer"
    remove()
    await faulty.enqueue_jobs([new("b")])
    assert [event.job_id for event in around] == ["a"]


@pytest.mark.needs("shared")
async def test_watchers_of_a_faulty_store_see_what_those_of_the_store_see(store: Store, faulty: FaultyBackend) -> None:
    async with store.second() as other:
        mine, theirs = Seen(), Seen()
        for watched, seen in ((faulty, mine), (faulty.inner, theirs)):
            while await watched.wait(0, seen=seen):
                pass
        await other.enqueue_jobs([new("a")])
        assert await faulty.inner.wait(0, seen=theirs) is True
        assert await faulty.wait(0, seen=mine) is True
        assert await faulty.wait(0, seen=mine) is False
