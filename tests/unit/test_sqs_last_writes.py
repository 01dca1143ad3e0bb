"""Every write of a whole store is the last one of its process: another one mends what that left, and goes on."""

from __future__ import annotations

import pytest

from tests.conformance.support import COMPLETED, FAILED, FATAL, OPEN, PENDING, SKIPPED, SUCCESS, new
from tests.unit.sqs_mortal import Mortal, every_write, goes_on, play
from tests.unit.sqs_support import FIRST, STRIDE

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.usefixtures("tables_in_second")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# -- submissions


async def nothing(_: Mortal) -> None:
    """Prepare nothing."""


async def all_or_nothing(store: Mortal, *ids: str) -> bool:
    """Return whether these jobs are there; of those that are not, nothing is left."""
    found = [job.id for job in await store.backend.get_jobs(ids)]
    assert found in ([], list(ids)), "a part of it is there"
    left = {item["id"] for item in await store.items() if item["pk"].startswith("N") and "id" in item}
    assert found or not left & set(ids), "what belongs to it is left"
    return bool(found)


async def test_every_write_of_one_job_is_the_last_of_its_process() -> None:
    async def act(store: Mortal) -> None:
        await store.submit(new("a", group="g", limit=("key", 1)))

    async def check(store: Mortal, _: bool) -> None:
        if not await all_or_nothing(store, "a"):
            await act(store)
        assert await goes_on(store) == {"a": COMPLETED}

    assert await every_write(nothing, act, check, 1, 1) >= 3


SIXTY = [f"j{i:02d}" for i in range(60)]


@pytest.mark.parametrize("first", range(1, 9))
async def test_every_write_of_60_jobs_with_edges_is_the_last_of_its_process(first: int) -> None:
    async def act(store: Mortal) -> None:
        edges = [[*([SIXTY[i - 1]] if i % 4 else []), *([SIXTY[i - 7] + "?"] if i >= 7 else [])] for i in range(60)]
        await store.submit(*(new(job_id, *parents, group="g") for job_id, parents in zip(SIXTY, edges, strict=True)))

    async def check(store: Mortal, whole: bool) -> None:
        there = await all_or_nothing(store, *SIXTY)
        if there:
            assert [job.id for job in await store.backend.get_ready_jobs(100)] == ["j00", "j04"]
            edges = await store.backend.get_dependencies(SIXTY)
            assert len(edges) == 45 + 53
            assert {edge.state for edge in edges} == {OPEN}
        if whole:
            if not there:
                await act(store)
            assert await goes_on(store) == dict.fromkeys(SIXTY, COMPLETED)

    assert await every_write(nothing, act, check, first, 8) > 8


async def test_every_write_of_a_job_with_stored_parents_is_the_last_of_its_process() -> None:
    async def prepare(store: Mortal) -> None:
        await store.submit(new("done"), new("bad"))
        hand = await store.hand()
        await hand.claim()
        await hand.ends({"done": SUCCESS, "bad": FATAL})
        await store.submit(new("waits"))

    async def act(store: Mortal) -> None:
        await store.submit(new("child", "done", "waits", "bad?", group="g"), new("lost", "bad"), new("below", "lost"))

    async def check(store: Mortal, _: bool) -> None:
        if not await all_or_nothing(store, "child", "lost", "below"):
            await act(store)
        completed = dict.fromkeys(("done", "waits", "child"), COMPLETED)
        assert await goes_on(store) == {**completed, "bad": FAILED, "lost": SKIPPED, "below": SKIPPED}

    assert await every_write(prepare, act, check, 1, 1) >= 2


# -- a run

ENDS = {"bad": FATAL}
RUN = {
    **dict.fromkeys(("f0", "f1", "f2", "fan", "first", "then", "late", "l0", "l1", "l2"), COMPLETED),
    "bad": FAILED,
    "skipped": SKIPPED,
    "below": SKIPPED,
}


@pytest.mark.parametrize("first", [1, 2, 3, 4])
async def test_every_write_of_a_run_is_the_last_of_its_process(first: int) -> None:
    async def prepare(store: Mortal) -> None:
        await store.submit(
            *(new(f"f{i}") for i in range(3)),
            new("fan", "f0", "f1", "f2"),
            new("first"),
            new("then", "first"),
            new("bad"),
            new("skipped", "bad"),
            new("below", "skipped"),
            new("late", "bad?", "below?"),
            *(new(f"l{i}", limit=("key", 1)) for i in range(3)),
        )

    async def act(store: Mortal) -> None:
        await play(await store.hand(), ENDS)

    async def check(store: Mortal, _: bool) -> None:
        assert await goes_on(store, ENDS) == RUN
        for job_id in RUN:
            assert len(await store.backend.get_attempts(job_id)) <= 2, f"{job_id} was interrupted once, at most"

    assert await every_write(prepare, act, check, first, 4) > 8


# -- a retry

MANY = [f"c{i:03d}" for i in range(150)]


@pytest.mark.parametrize("first", FIRST)
async def test_every_write_of_a_retry_of_150_descendants_is_the_last_of_its_process(first: int) -> None:
    async def prepare(store: Mortal) -> None:
        await store.submit(new("root", group="g"), *(new(job_id, "root", group="g") for job_id in MANY))
        await (await store.hand()).run("root", outcome=FATAL)
        assert (await store.backend.count_jobs("g"))[SKIPPED] == 150

    async def act(store: Mortal) -> None:
        await store.backend.retry_job("root")

    async def check(store: Mortal, whole: bool) -> None:
        statuses = {await store.status("root"), *await store.statuses(*MANY)}
        assert statuses == {PENDING}, "once it is begun, it is completed"
        assert await store.backend.has_unfinished("g")
        assert {edge.state for edge in await store.backend.get_dependencies(MANY)} == {OPEN}
        if not whole:
            return
        assert set((await goes_on(store)).values()) == {COMPLETED}
        assert (await store.backend.count_jobs("g"))[COMPLETED] == 151

    assert await every_write(prepare, act, check, first, STRIDE) > 1
