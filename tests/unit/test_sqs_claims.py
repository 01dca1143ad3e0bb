"""A job that a claim took is run by somebody, whatever became of the answers of its writes."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs.backends.sqs import keys, known, ready_index
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.ready_index import ReadyIndex
from asyncjobs.backends.sqs.table import Table, Update
from asyncjobs.core.state import SECOND, Stale
from asyncjobs.exceptions import BackendConnectionError
from tests import sqs_server
from tests.conformance.support import PENDING, SKIPPED, SUCCESS, Store, new


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def lose(monkeypatch: pytest.MonkeyPatch, *lost: str) -> None:
    """Lose the answers of the next writes of these jobs' rows, for good."""
    left = {keys.row(job_id) for job_id in lost}
    write = Table.write

    async def lossy(table: Table, update: Update) -> Any:
        answer = await write(table, update)
        if update.key in left:
            left.discard(update.key)
            raise BackendConnectionError("the answer was lost", transient=True)
        return answer

    monkeypatch.setattr(Table, "write", lossy)


@pytest.mark.anyio
async def test_a_claim_whose_answer_was_lost_is_handed_out_by_the_next_and_beside_others_harms_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = sqs_server.config()
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        hand = await store.hand()
        await store.submit(new("a"), new("b"))
        lose(monkeypatch, "a")
        assert await hand.claim() == ["b"]
        assert await hand.claim() == ["a"]
        await hand.succeed("a", "b")


@pytest.mark.anyio
async def test_a_claim_of_which_nothing_is_known_fails_and_a_reaper_finds_what_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = sqs_server.config()
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        hand = await store.hand()
        await store.submit(new("a"))
        lose(monkeypatch, "a")
        with pytest.raises(BackendConnectionError):
            await hand.claim()
        assert await store.lose(hand) == ["a"]


@pytest.mark.anyio
async def test_a_claim_alone_on_the_store_fills_all_of_its_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if there are more of them than this process remembers jobs, and than a call reads of the index."""
    monkeypatch.setattr(known, "_REMEMBERED", 10)
    monkeypatch.setattr(ready_index, "_MOST", 2)
    config = sqs_server.config()
    ids = [f"j{place:02d}" for place in range(60)]
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        hand = await store.hand()
        await store.submit(*map(new, ids))
        assert await hand.claim(50) == ids[:50]
        assert await hand.claim(50) == ids[50:]


@pytest.mark.anyio
async def test_a_claim_goes_on_while_its_process_submits_a_job_of_another_function(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = sqs_server.config()
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        hand = await store.hand()
        await store.submit(new("a"), new("later", function="app:later", delay=60 * SECOND))
        has_ready = ReadyIndex.has_ready
        looked: list[str] = []

        async def submit_meanwhile(index: ReadyIndex, lane: str) -> bool:
            looked.append(lane)
            await store.submit(new(f"other{len(looked)}", function=f"app:other{len(looked)}"))
            return await has_ready(index, lane)

        monkeypatch.setattr(ReadyIndex, "has_ready", submit_meanwhile)
        assert await hand.claim() == ["a"]
        assert len(looked) == 1, "a function not looked up yet, of which this process knows no ready job"


@pytest.mark.anyio
@pytest.mark.parametrize("again", [True, False])
async def test_dependents_of_an_end_whose_answer_was_lost_are_settled_by_the_next_try_or_heartbeat(
    again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = sqs_server.config()
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        hand = await store.hand()
        await store.submit(new("a"), new("b", "a"))
        assert await hand.claim() == ["a"]
        lose(monkeypatch, "a")
        with pytest.raises(BackendConnectionError):
            await hand.succeed("a")
        assert await hand.claim() == []
        if again:
            assert isinstance(await hand.end("a", SUCCESS), Stale)
        else:
            await hand.beat()
        assert await hand.claim() == ["b"]


@pytest.mark.anyio
async def test_an_ended_job_stands_in_the_index_of_what_is_owed_only_if_no_worker_has_run_it() -> None:
    config = sqs_server.config()
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as store:
        writes: list[Update] = []
        write = Table.write

        async def noted(table: Table, update: Update) -> Any:
            writes.append(update)
            return await write(table, update)

        hand = await store.hand()
        await store.submit(new("a"), new("b", "a"), new("x"), new("y", "x"))
        assert await hand.claim(1) == ["a"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Table, "write", noted)
            await hand.succeed("a")
            await store.backend.cancel_jobs(["x"])
        assert [update.key for update in writes if "ow" in update.set] == [keys.row("x")]
        assert await store.statuses("b", "y") == [PENDING, SKIPPED]
