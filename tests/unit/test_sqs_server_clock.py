"""The clock of the store: the time of AWS by what its answers say, or the clock of a test."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import formatdate
from random import Random

import pytest
from msgspec import structs

from asyncjobs.backends.base import AttemptEnd, ClaimRequest, NewWorker
from asyncjobs.backends.sqs import server_clock
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.server_clock import ServerTime, StoreClock
from asyncjobs.config import SQSConfig
from asyncjobs.core.state import SECOND
from asyncjobs.models import BodyEvent, Outcome, OutcomeKind
from asyncjobs.requests import JobQuery
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.gates import gate
from tests.conformance.support import new

EPOCH = 1_800_000_000 * SECOND


class World:
    """AWS and this host: the true time, the monotonic clock, and answers that take a while."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monotonic = 0
        self.server = ServerTime()
        self.offset = EPOCH
        self.drift = 0.0
        monkeypatch.setattr(server_clock, "_monotonic", lambda: self.monotonic)

    @property
    def true(self) -> int:
        return self.offset + self.monotonic + round(self.monotonic * self.drift)

    @property
    def error(self) -> int:
        return self.server.now() - self.true

    def call(self, there: int, back: int) -> None:
        """Make a call whose request and whose answer take so many µs."""
        sent = self.monotonic
        self.monotonic += there
        date = formatdate(self.true // SECOND, usegmt=True)
        self.monotonic += back
        self.server.learn(date, sent, self.monotonic)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.parametrize("phase", [0, 1, 499_999, 500_000, 999_999])
def test_the_first_answer_is_right_to_a_second(world: World, phase: int) -> None:
    world.offset += phase
    world.call(5000, 5000)
    assert abs(world.error) <= SECOND // 2 + 10_000


def test_more_answers_make_it_exact(world: World) -> None:
    random = Random(1)
    for _ in range(200):
        world.monotonic += random.randrange(SECOND)
        world.call(random.randrange(2000, 20_000), random.randrange(2000, 20_000))
    assert abs(world.error) <= SECOND // 20  # what two servers may differ by


def test_an_answer_that_is_late_does_not_move_it(world: World) -> None:
    random = Random(2)
    for _ in range(100):
        world.monotonic += random.randrange(SECOND)
        world.call(5000, 5000)
    before = world.error
    for there, back in ((0, 9 * SECOND), (9 * SECOND, 0), (5 * SECOND, 5 * SECOND)):
        world.call(there, back)
    assert abs(world.error - before) <= SECOND // 50


def test_a_clock_that_drifts_is_followed(world: World) -> None:
    world.drift = 100e-6  # 8.6 s a day
    for _ in range(1000):
        world.monotonic += 90 * SECOND
        world.call(5000, 5000)
        assert abs(world.error) <= SECOND


def test_it_never_goes_back_and_follows_a_clock_that_was_set(world: World) -> None:
    for _ in range(50):
        world.monotonic += SECOND // 3
        world.call(5000, 5000)
    moments = [world.server.now()]
    world.offset -= 10 * SECOND
    for _ in range(120):
        world.monotonic += SECOND // 3
        world.call(5000, 5000)
        moments.append(world.server.now())
    assert moments == sorted(moments)
    assert abs(world.error) <= SECOND
    world.offset += 3600 * SECOND
    world.call(5000, 5000)
    assert abs(world.error) <= SECOND


def test_without_an_answer_it_is_the_time_of_this_host(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_clock.time, "time_ns", lambda: 5_000_000)
    assert world.server.now() == 5000
    world.server.learn("not a date", 0, 0)
    assert world.server.now() == 5000


def test_the_clock_of_a_test_wins(world: World) -> None:
    world.call(0, 0)
    given = ManualClock()
    clock = StoreClock(given, world.server)
    assert (clock.now(), clock.steady(), clock.lease_time()) == (given.now(), given.since_boot(), given.monotonic())
    assert clock.tolerance == 0
    aws = StoreClock(None, world.server)
    assert aws.now() == aws.steady() == aws.lease_time() == world.server.now()
    assert aws.tolerance > SECOND


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["loop", "thread"])
async def test_answers_to_every_client_are_learned_from(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_clock.time, "time_ns", lambda: 0)
    clients = await Clients.open(sqs_server.config())
    assert clients.server_time.now() == 0
    if kind == "loop":
        await clients.sqs.list_queues()
    else:
        client = clients.connect("dynamodb")
        client.list_tables()
        client.close()
    assert clients.server_time.now() > EPOCH // 2
    await clients.close()


# -- hosts whose clocks differ


HOUR = 3600


@contextmanager
def host(ahead: float) -> Iterator[None]:
    """Set the wall clock of this host, as far as Python shows it."""
    right, right_ns = time.time, time.time_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: right() + ahead)
        patch.setattr(time, "time_ns", lambda: right_ns() + round(ahead * 1e9))
        yield


async def opened(config: SQSConfig, ahead: float) -> SQSBackend:
    with host(ahead):
        backend = SQSBackend(config)
        await backend.open()
        return backend


@pytest.mark.anyio
async def test_stores_of_hosts_an_hour_apart_agree_on_every_moment() -> None:
    """Each of two hosts submits, claims, ends and looks: what is due, and who is alive, is so for both."""
    config = sqs_server.config()
    behind, ahead = await opened(config, -HOUR), await opened(config, HOUR)
    try:
        for backend, offset in ((behind, -HOUR), (ahead, HOUR)):
            with host(offset):
                name = f"by {offset}"
                await backend.enqueue_jobs(
                    [
                        new(f"{name} now", delay=0),
                        new(f"{name} later", delay=30 * 60 * SECOND),
                        new(f"{name} due", run_at=time.time_ns() // 1000 - round(offset * SECOND) - SECOND),
                        new(f"{name} at", run_at=time.time_ns() // 1000 - round(offset * SECOND) + 1800 * SECOND),
                        gate(f"{name} gate", timeout=1800.0),
                    ]
                )
        for backend, other, offset in ((behind, ahead, -HOUR), (ahead, behind, HOUR)):
            with host(offset):
                worker = await backend.register_worker(NewWorker(name="w", slots=9, lease=60.0))
                claim = ClaimRequest(worker=worker, limit=2, functions=frozenset({"app:work"}))
                claims = await backend.dequeue_jobs(claim)
                assert len(claims.jobs) == 2, "what is due, whoever submitted it, and nothing else"
                assert all(job.attempt.job_id.split(" ")[2] in ("now", "due") for job in claims.jobs)
                assert claims.next_due is not None
                assert -5 < claims.next_due / SECOND - time.time() < 1900, (
                    "or it would look all the time, or for hours not"
                )
                await other.end_due_gates()
                assert await other.reap() == [], "it is alive for a host whose clock is two hours away"
                assert all(each.alive for each in await other.workers())
        with host(HOUR):
            jobs = {job.id: job for job in await ahead.find_jobs(JobQuery())}
        right = datetime.now(UTC)
        moments = [job.created_at for job in jobs.values()] + [
            job.started_at for job in jobs.values() if job.started_at
        ]
        assert len(moments) == 14
        assert all(abs((moment - right).total_seconds()) < 600 for moment in moments)
        assert all(
            abs((jobs[f"by {each} later"].run_at - right).total_seconds() - 1800) < 600 for each in (-HOUR, HOUR)
        )
    finally:
        await behind.close()
        await ahead.close()


@pytest.mark.anyio
@pytest.mark.parametrize("offset", [-HOUR, HOUR])
async def test_a_host_removes_nothing_before_its_retention_is_over(offset: int) -> None:
    backend = await opened(sqs_server.config(), offset)
    try:
        with host(offset):
            await backend.enqueue_jobs([new("a")])
            await backend.cancel_jobs(["a"])
            half_an_hour_ago = time.time_ns() // 1000 - 1800 * SECOND
            assert await backend.prune(half_an_hour_ago) == 0
            assert await backend.prune(half_an_hour_ago + (2 * HOUR + 1800) * SECOND) == 1
    finally:
        await backend.close()


@pytest.mark.anyio
@pytest.mark.parametrize("offset", [-HOUR, HOUR])
async def test_what_a_body_reports_stands_in_the_log_by_the_time_of_the_store(offset: int) -> None:
    backend = await opened(sqs_server.config(), offset)
    try:
        with host(offset):
            await backend.enqueue_jobs([new("a")])
            worker = await backend.register_worker(NewWorker(name="w", slots=9, lease=60.0))
            claims = await backend.dequeue_jobs(ClaimRequest(worker=worker, limit=1, functions=frozenset({"app:work"})))
            (attempt,) = [job.attempt for job in claims.jobs]
            reported = [BodyEvent("progress", {"done": done}, time.time_ns() // 1000) for done in range(3)]
            assert await backend.append_events([(attempt, reported[:1])]) == [True]
            reported[1:] = [structs.replace(event, at=event.at + SECOND) for event in reported[1:]]
            end = AttemptEnd(attempt, Outcome(OutcomeKind.SUCCEEDED), tuple(reported[1:]))
            await backend.update_job_status([end])
            events = (await backend.read_events(job_id="a")).events
        assert [event.type for event in events] == ["submitted", "started", *["progress"] * 3, "completed"]
        assert all(abs((event.at - datetime.now(UTC)).total_seconds()) < 600 for event in events)
        assert events[2].at < events[3].at <= events[4].at, "in the order of the reports"
    finally:
        await backend.close()


def test_a_moment_of_the_store_is_told_by_the_wall_clock_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    server, now = ServerTime(), server_clock._monotonic()
    server.learn(formatdate(1_000_000_000, usegmt=True), now, now)
    clock = StoreClock(None, server)
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_003_600 * 10**9)
    in_a_minute = clock.now() + 60 * SECOND
    assert abs(clock.on_host(in_a_minute) / SECOND - 1_000_003_660) < 5
    assert abs(clock.of_host(clock.on_host(in_a_minute)) - in_a_minute) < SECOND
