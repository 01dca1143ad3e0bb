"""Steps: what an attempt keeps, later attempts of its job find, and nobody else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from asyncjobs.backends.values import KeptStep, StepPage
from asyncjobs.core.requests import Forget, Keep
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import BackendConnectionError, ConfigurationError
from asyncjobs.models import Outcome, OutcomeKind
from asyncjobs.testing import FaultyBackend
from tests.conformance.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    FAILURE,
    FATAL,
    IN_PROGRESS,
    PENDING,
    RELEASED,
    STOPPED,
    SUCCESS,
    Hand,
    Store,
    new,
)

pytestmark = pytest.mark.anyio

AGAIN = RetryPolicy(max_retries=3, base=0, jitter=0)
INTERRUPTED = Outcome(OutcomeKind.INTERRUPTED)
SMALL, LARGE = b"s" * 65_536, b"l" * 65_537


async def running(store: Store, *ids: str) -> Hand:
    """Jobs in progress."""
    await store.submit(*(new(job_id, retry=AGAIN) for job_id in ids))
    hand = await store.hand()
    assert await hand.claim() == list(ids)
    return hand


# -- keeping and forgetting


async def test_what_is_kept_is_read_by_the_order_of_its_keys(store: Store) -> None:
    hand = await running(store, "a", "b")
    assert await hand.keep("a", two=b"2", one=b"", three=b"\x00\xff") == [None] * 3
    assert await hand.keep("b", two=b"of b") == [None]
    assert list((await store.steps("a")).items()) == [("one", b""), ("three", b"\x00\xff"), ("two", b"2")]
    assert await store.steps("b") == {"two": b"of b"}
    assert await store.steps("unknown") == {}
    assert [await store.backend.count_steps(job_id) for job_id in ("a", "b", "unknown")] == [3, 1, 0]


async def test_the_last_value_under_a_key_remains(store: Store) -> None:
    hand = await running(store, "a")
    attempt = hand.held["a"]
    await store.backend.write_steps([Keep(attempt, "x", b"1"), Keep(attempt, "x", b"2")])
    assert await store.steps("a") == {"x": b"2"}
    await hand.keep("a", x=b"3" * 100_000)
    assert await store.backend.read_step("a", "x") == b"3" * 100_000
    await hand.keep("a", x=b"")
    assert await store.steps("a") == {"x": b""}


async def test_a_batch_is_done_in_its_order(store: Store) -> None:
    hand = await running(store, "a", "b")
    attempt, other = hand.held["a"], hand.held["b"]
    changes = [
        Keep(attempt, "p/1", b"old"),
        Keep(other, "p/1", b"of b"),
        Keep(attempt, "q", b"q"),
        Forget(attempt, "p/"),
        Keep(attempt, "p/2", b"new"),
        Forget(attempt, "q"),
        Keep(attempt, "q", b"again"),
    ]
    assert list(await store.backend.write_steps(changes)) == [None] * len(changes)
    assert await store.steps("a") == {"p/2": b"new", "q": b"again"}
    assert await store.steps("b") == {"p/1": b"of b"}
    assert list(await store.backend.write_steps([])) == []


KEYS = ["a", "a/", "a/1", "a/\U0010ffff", "a0", "ab", "a\ud7ff", "a\ue000", "A", "%", "_", "ä", "\U0010ffff"]


@pytest.mark.parametrize("prefix", ["", "a", "a/", "a/1", "a\ud7ff", "\U0010ffff", "%", "_", "none"])
async def test_a_prefix_is_forgotten_as_text_and_not_as_a_pattern(store: Store, prefix: str) -> None:
    hand = await running(store, "a")
    await hand.keep("a", **dict.fromkeys(KEYS, b"v"))
    assert await hand.forget("a", prefix) is None
    assert list(await store.steps("a")) == sorted(key for key in KEYS if not key.startswith(prefix))


async def test_doing_a_batch_again_changes_nothing(store: Store) -> None:
    hand = await running(store, "a")
    attempt = hand.held["a"]
    batch = [Keep(attempt, "x", b"1"), Forget(attempt, "y"), Keep(attempt, "y", b"2")]
    faulty = FaultyBackend(store.backend)
    faulty.fail("write_steps", when="after")
    with pytest.raises(BackendConnectionError):
        await faulty.write_steps(batch)
    before = await store.steps("a")
    assert list(await faulty.write_steps(batch)) == [None] * 3
    assert await store.steps("a") == before == {"x": b"1", "y": b"2"}


async def test_steps_are_no_events_and_no_changes_of_the_job(store: Store) -> None:
    hand = await running(store, "a")
    before = await store.dump()
    await hand.keep("a", x=b"1")
    await hand.forget("a", "")
    assert await store.dump() == before


async def test_a_key_that_cannot_be_one_is_refused_before_anything_is_stored(store: Store) -> None:
    hand = await running(store, "a")
    attempt = hand.held["a"]
    for wrong in ("", "k" * 201, "\ud800"):
        with pytest.raises(ConfigurationError):
            await store.backend.write_steps([Keep(attempt, "x", b"1"), Keep(attempt, wrong, b"2")])
        with pytest.raises(ConfigurationError):
            await store.backend.read_step("a", wrong)
        with pytest.raises(ConfigurationError):
            await store.backend.read_steps("a", wrong)
    for wrong in ("k" * 201, "\ud800"):
        with pytest.raises(ConfigurationError):
            await store.backend.write_steps([Keep(attempt, "x", b"1"), Forget(attempt, wrong)])
    assert await store.steps("a") == {}
    longest = "\U0010fffe" * 200
    assert list(await store.backend.write_steps([Keep(attempt, longest, b"1")])) == [None]
    assert await store.backend.read_step("a", longest) == b"1"


# -- the fence


async def test_only_the_attempt_in_progress_of_its_worker_keeps_and_forgets(store: Store) -> None:
    hand = await running(store, "a")
    attempt = hand.held["a"]
    await hand.keep("a", x=b"right")
    refused = [
        Keep(replace(attempt, attempt=0), "x", b"wrong"),
        Keep(replace(attempt, attempt=2), "x", b"wrong"),
        Keep(replace(attempt, worker="w9999-0"), "x", b"wrong"),
        Forget(replace(attempt, attempt=0), ""),
        Forget(replace(attempt, worker="w9999-0"), ""),
    ]
    answers = await store.backend.write_steps([*refused, Keep(attempt, "y", b"beside")])
    assert list(answers) == [*[Stale(1, IN_PROGRESS)] * len(refused), None]
    assert await store.steps("a") == {"x": b"right", "y": b"beside"}


async def test_a_job_that_is_gone_keeps_nothing(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", x=b"1")
    await hand.succeed("a")
    await store.backend.remove_jobs(["a"])
    (answer,) = await hand.keep("a", x=b"2")
    assert isinstance(answer, Stale)
    assert await store.steps("a") == {}
    assert await store.backend.read_step("a", "x") is None
    assert await store.backend.count_steps("a") == 0


@pytest.mark.parametrize("outcome", [SUCCESS, FATAL, FAILURE, STOPPED, RELEASED, INTERRUPTED])
async def test_an_attempt_that_has_ended_keeps_and_forgets_nothing(store: Store, outcome: Outcome) -> None:
    hand = await running(store, "a")
    await hand.keep("a", x=b"1")
    status = await hand.end("a", outcome)
    assert await hand.keep("a", x=b"2", y=b"2") == [Stale(1, status)] * 2
    assert await hand.forget("a", "") == Stale(1, status)
    assert await store.steps("a") == {"x": b"1"}


async def test_nor_does_a_worker_that_lost_its_lease(store: Store) -> None:
    zombie = await running(store, "a")
    await zombie.keep("a", x=b"1")
    await store.lose(zombie)
    assert await zombie.keep("a", x=b"zombie") == [Stale(1, PENDING)]
    store.clock.advance(60)
    other = await store.hand()
    assert await other.claim() == ["a"]
    assert await zombie.forget("a", "") == Stale(2, IN_PROGRESS)
    assert await other.keep("a", y=b"2") == [None]
    assert await store.steps("a") == {"x": b"1", "y": b"2"}


async def test_an_attempt_that_was_asked_to_stop_still_keeps(store: Store) -> None:
    hand = await running(store, "a")
    await store.backend.cancel_jobs(["a"])
    assert await hand.keep("a", x=b"1") == [None]
    await hand.end("a", STOPPED)
    assert await store.steps("a") == {"x": b"1"}


# -- what survives


@pytest.mark.parametrize("outcome", [FAILURE, RELEASED, INTERRUPTED])
async def test_the_next_attempt_finds_what_earlier_ones_kept(store: Store, outcome: Outcome) -> None:
    hand = await running(store, "a")
    await hand.keep("a", x=b"1", y=b"1")
    assert await hand.end("a", outcome) is PENDING
    store.clock.advance(60)
    await hand.beat()
    assert await hand.claim() == ["a"]
    assert await store.steps("a") == {"x": b"1", "y": b"1"}
    await hand.keep("a", y=b"2", z=b"2")
    await hand.forget("a", "x")
    assert await store.steps("a") == {"y": b"2", "z": b"2"}


async def test_an_explicit_retry_resumes(store: Store) -> None:
    hand = await running(store, "a", "b")
    await hand.keep("a", x=b"1")
    await hand.keep("b", x=b"1")
    await hand.end("a", FATAL)
    await hand.end("b", STOPPED)
    for job_id in ("a", "b"):
        assert await store.backend.retry_job(job_id) is PENDING
        assert (await store.events(job_id))[-1].data == {"by": "retry_job", "job": job_id}
    assert sorted(await hand.claim()) == ["a", "b"]
    for job_id in ("a", "b"):
        assert await hand.keep(job_id, y=b"2") == [None]
        assert await store.steps(job_id) == {"x": b"1", "y": b"2"}


async def test_a_fresh_retry_begins_anew(store: Store) -> None:
    hand = await running(store, "a", "b")
    await hand.keep("a", x=b"1", y=b"1", z=LARGE)
    await hand.keep("b", x=b"of b")
    await hand.fail("a")
    await hand.fail("b")
    assert await store.backend.retry_job("a", fresh=True) is PENDING
    assert (await store.events("a"))[-1].data == {"by": "retry_job", "job": "a", "fresh": True}
    assert await store.steps("a") == {}
    assert await store.backend.count_steps("a") == 0
    assert await store.backend.read_step("a", "z") is None
    assert await hand.claim() == ["a"]
    await hand.keep("a", y=b"2")
    assert await store.steps("a") == {"y": b"2"}
    assert await store.steps("b") == {"x": b"of b"}


async def test_after_a_fresh_retry_steps_survive_as_before(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", x=b"1")
    for fresh in (True, False, False, True, False):
        await hand.fail("a")
        await store.backend.retry_job("a", fresh=fresh)
        assert await hand.claim() == ["a"]
        kept = {} if fresh else {"y": b"2"}
        assert await store.steps("a") == kept
        await hand.keep("a", y=b"2")
        await hand.end("a", RELEASED)
        assert await hand.claim() == ["a"]
        assert await store.steps("a") == {"y": b"2"}


async def test_a_retry_that_is_refused_makes_nothing_old(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", x=b"1")
    await hand.succeed("a")
    with pytest.raises(Exception, match="only a failed or cancelled job"):
        await store.backend.retry_job("a", fresh=True)
    assert await store.steps("a") == {"x": b"1"}


async def test_jobs_revived_by_a_fresh_retry_keep_their_own_steps(store: Store) -> None:
    """A dependent that has run is not run again, and what it kept is its own."""
    hand = await store.hand()
    await store.submit(new("a"), new("b", "a?", retry=AGAIN), new("c", "a"))
    await hand.run("a", outcome=FATAL)
    await hand.claim()
    await hand.keep("b", x=b"1")
    await store.backend.retry_job("a", fresh=True)
    assert await store.status("c") is PENDING
    assert await store.steps("b") == {"x": b"1"}
    assert await hand.keep("b", y=b"2") == [None]


async def test_the_end_keeps_them(store: Store) -> None:
    hand = await running(store, "a", "b", "c")
    for job_id in "abc":
        await hand.keep(job_id, x=b"1")
    assert await hand.ends({"a": SUCCESS, "b": FATAL, "c": STOPPED}) == [COMPLETED, FAILED, CANCELLED]
    for job_id in "abc":
        assert await store.steps(job_id) == {"x": b"1"}


@pytest.mark.needs("persistent")
async def test_they_survive_the_process(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", x=b"1", y=LARGE)
    await store.reopen()
    assert await store.steps("a") == {"x": b"1", "y": None}
    assert await store.backend.read_step("a", "y") == LARGE
    await store.lose(hand)
    assert await store.steps("a") == {"x": b"1", "y": None}


@pytest.mark.needs("shared")
async def test_another_process_reads_what_was_kept_once_the_call_returns(store: Store) -> None:
    hand = await running(store, "a")
    async with store.second() as other:
        for i in range(5):
            await hand.keep("a", x=b"%d" % i)
            assert await other.read_step("a", "x") == b"%d" % i


# -- pages


async def test_pages_have_every_step_once(store: Store) -> None:
    hand = await running(store, "a")
    keys = [f"frame-{i:03}" for i in range(25)]
    await hand.keep("a", **{key: key.encode() for key in reversed(keys)})
    read: list[KeptStep] = []
    after: str | None = None
    sizes: list[int] = []
    while True:
        page = await store.backend.read_steps("a", after, limit=10)
        read += page.steps
        sizes.append(len(page.steps))
        after = page.next
        if after is None:
            break
    assert sizes == [10, 10, 5]
    assert read == [KeptStep(key, len(key), key.encode()) for key in keys]
    assert await store.backend.read_steps("a", keys[-1]) == StepPage()
    assert await store.backend.read_steps("a", "frame-0235", limit=1) == StepPage((read[24],))


async def test_a_page_that_ends_with_the_last_step_is_the_last(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", x=b"1", y=b"2")
    assert (await store.backend.read_steps("a", limit=2)).next is None
    assert (await store.backend.read_steps("a", limit=1)).next == "x"


async def test_large_values_are_read_when_they_are_asked_for(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", l=LARGE, s=SMALL)
    page = await store.backend.read_steps("a")
    assert page == StepPage((KeptStep("l", len(LARGE), None), KeptStep("s", len(SMALL), SMALL)))
    assert await store.backend.read_step("a", "l") == LARGE
    assert await store.backend.read_step("a", "s") == SMALL
    assert await store.backend.read_step("a", "m") is None


async def test_keys_and_sizes_are_listed_without_values(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", l=LARGE, s=b"1")
    page = await store.backend.read_steps("a", values=False)
    assert page == StepPage((KeptStep("l", len(LARGE), None), KeptStep("s", 1, None)))


async def test_a_page_has_a_bounded_size(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", **{f"k{i:02}": SMALL for i in range(40)})
    await hand.keep("a", k00x=LARGE * 20, k99=b"1")
    pages: list[int] = []
    after: str | None = None
    while True:
        page = await store.backend.read_steps("a", after)
        assert sum(len(step.value or b"") for step in page.steps) <= 1 << 20
        pages.append(len(page.steps))
        after = page.next
        if after is None:
            break
    assert pages == [17, 16, 9]
    assert len((await store.backend.read_steps("a", values=False)).steps) == 42


@pytest.mark.parametrize("limit", [0, 1001, True, 2.5])
async def test_a_page_of_a_wrong_size_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        await store.backend.read_steps("a", limit=limit)


# -- upkeep


async def test_what_no_longer_counts_is_deleted_by_upkeep_and_the_rest_stays(store: Store) -> None:
    hand = await running(store, "a")
    await hand.keep("a", x=b"1", y=b"1")
    await hand.fail("a")
    await store.backend.retry_job("a", fresh=True)
    assert await hand.claim() == ["a"]
    await hand.keep("a", y=b"2", z=b"2")
    assert await store.backend.prune(0) == 0
    assert await store.steps("a") == {"y": b"2", "z": b"2"}
    assert await hand.keep("a", x=b"3") == [None]
    assert await store.backend.prune(0) == 0
    assert await store.steps("a") == {"x": b"3", "y": b"2", "z": b"2"}


async def test_they_go_with_their_job_and_are_not_those_of_the_next_one_with_its_id(store: Store) -> None:
    hand = await running(store, "a", "b")
    await hand.keep("a", x=b"1")
    await hand.keep("b", x=b"of b")
    await hand.succeed("a", "b")
    await store.backend.remove_jobs(["a"])
    await store.submit(new("a", retry=AGAIN))
    assert await store.steps("a") == {}
    assert await store.steps("b") == {"x": b"of b"}
    await hand.run("a")
    assert await store.steps("a") == {}
