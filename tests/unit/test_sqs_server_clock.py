"""The clock of the store: the time of AWS by what its answers say, or the clock of a test."""

from __future__ import annotations

from email.utils import formatdate
from random import Random

import pytest

from asyncjobs.backends.sqs import server_clock
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.server_clock import ServerTime, StoreClock
from asyncjobs.core.state import SECOND
from asyncjobs.testing import ManualClock
from tests import sqs_server

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
