"""How processes notice each other's changes: by looks at the end of the log, rare ones while nothing happens."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from asyncjobs import BackendConnectionError, JobProcessor
from asyncjobs.backends.base import Seen
from asyncjobs.backends.sqs import provisioning
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.server_clock import ServerTime, StoreClock
from asyncjobs.backends.sqs.waiting import Waiting
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.support import new
from tests.sqs_capacity import CountingClient
from tests.unit.sqs_support import Process

pytestmark = pytest.mark.anyio

WATCHED_EVERY = 0.25
"""The timeout of a watcher's waits: the default of ``DaemonConfig.poll_interval``."""
DAY = 86_400
READ_UNIT, WRITE_UNIT = 0.125e-6, 0.625e-6
"""Dollars."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Looks:
    """A log that counts how often a process looks at its end, where there is no news unless a test says so."""

    def __init__(self) -> None:
        self.count = 0
        self.news = False
        self.away = False
        self.patience = 0.0

    async def head_moved(self, patience: float = 0.0) -> bool:
        self.count += 1
        self.patience = patience
        if self.away:
            raise BackendConnectionError("the table is away")
        moved, self.news = self.news, False
        return moved


class NoMessages:
    async def send(self) -> None:
        pass


def waiting(clock: ManualClock, log: Any) -> Waiting:
    messages: Any = NoMessages()
    return Waiting(StoreClock(clock, ServerTime()), log, messages)


async def let_time_pass(clock: ManualClock, sleepers: int = 1) -> None:
    """Move the clock whenever so many wait for that."""
    while True:
        await clock.wait_for_sleepers(sleepers)
        clock.advance(WATCHED_EVERY / 2)


async def watch(waits: Waiting, clock: ManualClock, seconds: float, *, urgent: bool = False) -> list[bool]:
    """Wait again and again, as a process does, while this much time passes."""
    seen = Seen()
    end = clock.monotonic() + seconds * 1_000_000
    answers: list[bool] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(let_time_pass, clock)
        while clock.monotonic() < end:
            answers.append(await waits.wait(WATCHED_EVERY, urgent=urgent, seen=seen))
        tasks.cancel_scope.cancel()
    return answers


@pytest.mark.parametrize(("urgent", "every"), [(True, 1), (False, 5)])
async def test_a_watcher_looks_every_second_if_it_is_urgent_and_else_every_five(urgent: bool, every: float) -> None:
    clock, log = ManualClock(), Looks()
    waits = waiting(clock, log)
    assert not any(await watch(waits, clock, 600, urgent=urgent))
    assert 600 / every * 0.8 <= log.count <= 600 / every + 5
    assert log.patience == (0 if urgent else 1), "what nobody waits for is left to the one that appended last"


async def test_after_a_change_the_next_ones_are_noticed_soon() -> None:
    clock, log = ManualClock(), Looks()
    waits = waiting(clock, log)
    await watch(waits, clock, 600)
    log.news, log.count = True, 0
    assert any(await watch(waits, clock, 6)), "within the five seconds of a calm watcher"
    log.news = True
    assert any(await watch(waits, clock, 1)), "where one process works, it goes on"


async def test_a_process_with_many_watchers_looks_as_often_as_with_one() -> None:
    clock, log = ManualClock(), Looks()
    waits = waiting(clock, log)
    async with anyio.create_task_group() as moving:
        moving.start_soon(let_time_pass, clock, 50)
        async with anyio.create_task_group() as watchers:
            for _ in range(50):
                watchers.start_soon(waits.wait, 60)
        moving.cancel_scope.cancel()
    assert 10 <= log.count <= 18


async def test_a_wait_after_a_failed_look_looks_again_and_does_not_seem_to_succeed() -> None:
    clock, log = ManualClock(), Looks()
    waits = waiting(clock, log)
    await watch(waits, clock, 60)
    looks = log.count
    log.away = True
    clock.advance(20)
    for tries in range(1, 10):
        with anyio.fail_after(10), pytest.raises(BackendConnectionError):
            await waits.wait(WATCHED_EVERY, seen=Seen())  # no time passes: there is a look at once
        assert log.count == looks + tries


class Ticking(ManualClock):
    """A clock on which time passes between any two looks at it."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def monotonic(self) -> int:
        self.advance(0.2)
        return super().monotonic()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def test_a_look_that_becomes_due_while_a_pause_is_chosen_comes_without_one() -> None:
    clock, log = Ticking(), Looks()
    assert not await waiting(clock, log).wait(10, seen=Seen())
    assert log.count > 1
    assert min(clock.slept) == 0, "anyio refuses to sleep for less"


async def test_looking_for_a_day_costs_a_cent_and_five_if_it_is_urgent_all_the_time() -> None:
    config = sqs_server.config()
    clients = await Clients.open(config)
    try:
        checked = await provisioning.prepare(config, clients)
        client = CountingClient(clients.dynamodb)
        clock = ManualClock()
        process = Process(client, config.table, StoreClock(clock, clients.server_time), checked.shards)
        waits = waiting(clock, process.log)
        await process.submit(new("a"))
        await waits.wait(0)
        before, written = client.read, client.write_units
        await waits.wait(0)
        assert client.write_units == written
        look = (client.read - before) * READ_UNIT
        assert DAY / 5 * look <= 0.01
        assert DAY / 1 * look <= 0.05
    finally:
        await clients.close()


def double(number: int) -> int:
    return 2 * number


async def test_a_result_of_another_process_comes_to_the_one_that_awaits_it() -> None:
    config = sqs_server.config(wait_time=1)
    submitter = JobProcessor(SQSBackend(config), enable_daemon=False)
    worker = JobProcessor(SQSBackend(config))
    async with submitter, worker:
        for number in range(3):
            job = await submitter.submit_job(double, number)
            with anyio.fail_after(10):  # five times what is promised of the median
                assert await job == 2 * number
