"""Ready and delayed jobs in an index that lags behind and costs by the read."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from asyncjobs.backends.sqs import ready_index
from asyncjobs.core.lanes import Lane
from asyncjobs.core.state import SECOND
from tests.conformance.support import new
from tests.unit.sqs_asking import Asked, asked

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> AsyncIterator[Asked]:
    async with asked() as opened:
        yield opened


async def test_heads_come_in_the_order_of_claims(store: Asked) -> None:
    mine, other = store.process(), store.process()
    long = "x" * 300 + "☃" * 300
    await other.submit(new("a"), new("b", priority=1), new(long), new("d", function="app:g"))
    heads = await mine.index.heads(list(await mine.index.lanes()), 10)
    assert [job_id for _, job_id in sorted(heads)] == ["b", "a", long, "d"]


async def test_as_many_are_found_as_a_claim_asks_for(store: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pages: a claim alone on the store asks once, however many slots are free."""
    monkeypatch.setattr(ready_index, "_MOST", 3)
    mine, other = store.process(), store.process()
    ids = [f"j{place:02d}" for place in range(50)]
    await other.submit(*map(new, ids))
    lanes = list(await mine.index.lanes())
    before = mine.lagging.count("query")
    assert [job_id for _, job_id in sorted(await mine.index.heads(lanes, 50))] == ids
    assert mine.lagging.count("query") - before <= 50 // 3 + 2 * 4
    before = mine.lagging.count("query")
    assert [job_id for _, job_id in sorted(await mine.index.heads(lanes, 3))][:3] == ids[:3]
    assert mine.lagging.count("query") - before == 4, "one of each shard"


async def test_a_claim_reads_16_partitions_and_each_lane_in_its_turn(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(*(new(f"j{i}", function=f"app:f{i}") for i in range(10)))
    lanes = list(await mine.index.lanes())
    assert len(lanes) == 10
    seen: set[str] = set()
    rounds = 0
    while len(seen) < 10:
        rounds += 1
        assert rounds <= 10, "12 partitions that give something stay, and 4 others are read each time"
        before = mine.lagging.count("query")
        seen |= {job_id for _, job_id in await mine.index.heads(lanes, 10)}
        assert mine.lagging.count("query") - before == 16


async def test_what_gave_something_is_read_first(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(*(new(f"j{i}", function=f"app:f{i}") for i in range(10)))
    lanes = {lane.function: name for name, lane in (await mine.index.lanes()).items()}
    assert [job_id for _, job_id in await mine.index.heads([lanes["app:f9"]], 10)] == ["j9"]
    assert "j9" in {job_id for _, job_id in await mine.index.heads(sorted(lanes.values()), 10)}


async def test_lanes_of_others_are_found_when_there_is_time(store: Asked) -> None:
    mine, other = store.process(), store.process()
    assert await mine.index.lanes() == {}
    await other.submit(new("a"))
    assert await mine.index.lanes() == {}, "they are remembered"
    assert await mine.index.heads([], 1) == []
    assert list((await mine.index.lanes()).values()) == [Lane("default", "app:work", None)]
    before = len(mine.lagging.calls)
    assert len(await mine.index.heads(list(await mine.index.lanes()), 1)) == 1
    await other.submit(new("b", function="app:g"))
    assert len(await mine.index.lanes()) == 1
    assert len(mine.lagging.calls) - before == 4, "one lane, four shards"
    store.clock.advance(1)
    assert len(await mine.index.lanes()) == 2


class Still:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 0.0


@pytest.mark.parametrize(("others", "seconds"), [(0, 1), (3, 4), (100, 5)])
async def test_each_of_several_processes_looks_more_rarely_for_what_others_submit(
    store: Asked, monkeypatch: pytest.MonkeyPatch, others: int, seconds: float
) -> None:
    monkeypatch.setattr(ready_index, "time", Still())
    mine, other = store.process(), store.process()
    monkeypatch.setattr(mine.index, "_others", lambda: others)
    await mine.index.lanes()
    assert await mine.index.next_due() is None
    await other.submit(new("a", delay=60 * SECOND))
    store.clock.advance(seconds - 0.1)
    before = len(mine.lagging.calls)
    assert await mine.index.lanes() == {}
    assert await mine.index.next_due() is None
    assert len(mine.lagging.calls) == before
    store.clock.advance(0.1)
    assert len(await mine.index.lanes()) == 1
    assert await mine.index.next_due() is not None


async def test_own_lanes_are_known_at_once(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await mine.index.lanes()
    await other.submit(new("a", function="app:g", delay=SECOND))
    store.clock.advance(0.9)
    mine.index.announced(Lane("default", "app:own", None))
    assert {lane.function for lane in (await mine.index.lanes()).values()} == {"app:own"}


async def test_due_jobs_come_once_also_where_the_index_lags(store: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, other = store.process(), store.process()
    long = "x" * 1000
    await other.submit(new("c", delay=3 * SECOND), new(long, delay=SECOND), new("b", delay=2 * SECOND))
    await mine.submit(new("own", delay=2 * SECOND + 1))
    assert await mine.index.due(10) == []
    store.clock.advance(3)
    await mine.lagging.freeze()
    assert await mine.index.due(3) == [long, "b", "own"], "the first due first"
    for job_id in (long, "b", "own"):
        await mine.promote(job_id)
    assert await mine.index.next_due() == store.clock.now(), "one is left"
    assert await mine.index.due(3) == ["c"]
    await mine.promote("c")
    assert await mine.index.due(3) == []
    assert await mine.index.next_due() is None
    monkeypatch.setattr(ready_index, "_AGAIN_AFTER", 0.0)
    store.clock.advance(1)
    assert await mine.index.due(9) == [long, "b", "own", "c"], "they may have been promoted by nobody"


async def test_what_is_not_due_is_not_looked_for_again_and_again(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(new("a", delay=SECOND // 2))
    assert await mine.index.due(10) == []
    due = store.clock.now() + SECOND // 2
    before = len(mine.lagging.calls)
    store.clock.advance(0.25)
    assert await mine.index.due(10) == []
    assert await mine.index.next_due() == due
    assert len(mine.lagging.calls) == before
    store.clock.advance(0.25)
    assert await mine.index.due(10) == ["a"]


async def test_what_others_delayed_meanwhile_is_found_after_a_second(store: Asked) -> None:
    mine, other = store.process(), store.process()
    assert await mine.index.next_due() is None
    await other.submit(new("a", delay=SECOND // 2))
    store.clock.advance(0.5)
    assert await mine.index.due(10) == []
    store.clock.advance(0.5)
    assert await mine.index.due(10) == ["a"]


async def test_durations_and_moments_each_by_its_clock(store: Asked) -> None:
    mine, other = store.process(), store.process()
    await other.submit(
        *(new(f"d{i}", delay=60 * SECOND) for i in range(30)), new("m", run_at=store.clock.now() + 60 * SECOND)
    )
    store.clock.jump(3600)
    assert await mine.index.due(1) == ["m"], "though 30 durations stand before it"
    store.clock.advance(60)
    assert len(await mine.index.due(100)) == 30


async def test_a_delayed_job_that_was_cancelled_here_comes_due_never(store: Asked) -> None:
    mine = store.process()
    await mine.submit(new("a", delay=SECOND), new("b", delay=5 * SECOND))
    assert await mine.index.next_due() == store.clock.now() + SECOND
    await mine.cancel("a")
    assert await mine.index.next_due() == store.clock.now() + 5 * SECOND
