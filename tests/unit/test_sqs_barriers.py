"""A sweep goes on past what cannot be done for one item, and logs that once; what concerns all of them goes on."""

from __future__ import annotations

import logging

import pytest

from asyncjobs.backends.sqs import batches, retries
from asyncjobs.backends.sqs.barriers import Barrier
from asyncjobs.backends.sqs.errors import NOT_PERMITTED
from asyncjobs.backends.sqs.retries import How
from asyncjobs.backends.sqs.table import Update
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError, BackendError
from asyncjobs.models import JobStatus
from tests.conformance.support import FATAL, new
from tests.unit.sqs_support import World


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("error", [BackendError("too large"), ValueError("damaged")])
def test_an_item_that_fails_is_logged_once_until_it_is_done(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    barrier = Barrier()
    for _ in range(3):
        with barrier.around("mending a"):
            raise error
    assert logged(caplog) == [f"mending a failed, and is tried again by each sweep: {error}"]
    with barrier.around("mending a"):
        pass
    with barrier.around("mending a"):
        raise error
    assert len(logged(caplog)) == 2


def test_what_concerns_every_item_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    denied = BackendError("not permitted")
    denied.code = NOT_PERMITTED
    for error in (denied, BackendConnectionError("away"), BackendClosedError()):
        with pytest.raises(BackendError), Barrier().around("mending a"):
            raise error
    assert logged(caplog) == []


@pytest.mark.anyio
async def test_a_damaged_batch_keeps_no_other_from_being_completed(
    table: World, caplog: pytest.LogCaptureFixture
) -> None:
    process = table.process()
    await process.submit(new("a"), new("b", "a"))
    await process.run("a", outcome=FATAL)
    row = await process.row("a")
    assert row is not None
    damaged = await retries.begin(process.transitions, row, How.RETRY)
    await process.table.write(Update(batches.key(damaged), set={"c": b"\xc1"}))
    await retries.begin(process.transitions, row, How.RETRY)
    for _ in range(2):
        table.clock.advance(61)
        await process.sweep()
    assert {row.state.status for row in (await process.rows("a", "b")).values()} == {JobStatus.PENDING}
    left = [item for (pk, _), item in (await table.items()).items() if pk.startswith("B#")]
    assert [item["id"] for item in left] == [damaged]
    [message] = logged(caplog)
    assert damaged in message
