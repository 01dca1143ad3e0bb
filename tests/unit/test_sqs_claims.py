"""A job that a claim took is run by somebody, whatever became of the answers of its writes."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.table import Table, Update
from asyncjobs.exceptions import BackendConnectionError
from tests import sqs_server
from tests.conformance.support import Store, new


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
