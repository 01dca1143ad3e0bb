"""One file through two connections in random turns, some of whose transactions fail and are tried again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import anyio

from asyncjobs.backends.base import ClaimResult, JobBackend
from asyncjobs.backends.sqlite.backend import SQLiteBackend
from asyncjobs.clock import Clock
from asyncjobs.config import SQLiteConfig
from asyncjobs.testing import FaultyBackend, random_graph
from tests.conformance.support import FUNCTION, Make
from tests.properties.driver import LIMITS, POLICY, Driver

FAILING = 0.05
"""The share of transactions that are rolled back right before their commit, as if the file were locked."""


class InTurns(FaultyBackend):
    """A store of which each call goes to one of several objects on the same file, by chance."""

    def __init__(self, stores: list[SQLiteBackend], rng: Random) -> None:
        self._stores = stores
        self._rng = rng
        super().__init__(stores[0])

    @property
    def inner(self) -> JobBackend:
        return self._rng.choice(self._stores)

    @inner.setter
    def inner(self, value: JobBackend) -> None:
        """Keep those that it has."""

    async def open(self) -> None:
        for store in self._stores:
            await store.open()

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


def rolled_back(rng: Random) -> Callable[[str], None]:
    """A hook that fails some transactions before their commit; the writer tries them again."""

    def hook(point: str) -> None:
        if point == "before-commit" and rng.random() < FAILING:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise error

    return hook


def in_turns(folder: Path, seed: int, connections: int = 2) -> Make:
    """Make such a store in this folder."""
    rng = Random(seed)
    config = SQLiteConfig(db_path=folder / "turns.db", readers=1)

    def make(clock: Clock) -> JobBackend:
        return InTurns([SQLiteBackend(config, clock=clock, hook=rolled_back(rng)) for _ in range(connections)], rng)

    return make


class TogetherDriver(Driver):
    """Half of its claims share their transaction with a submission, of which they may start something at once."""

    async def claim(self) -> None:
        if self.rng.random() < 0.5:
            await super().claim()
            return
        self.tick()
        self.graphs += 1
        size, known = self.rng.randint(1, 4), tuple(self.some(3))
        limits = LIMITS if self.rng.random() < 0.3 else ()  # with limits, jobs are written before they are claimed
        batch = random_graph(
            self.rng, size, prefix=f"g{self.graphs}-", function=FUNCTION, known=known, limits=limits, retry=POLICY
        )
        hand, limit = self.rng.randrange(len(self.hands)), self.rng.randint(1, 4)
        claims: list[ClaimResult] = []

        async def claim() -> None:
            claims.append(await self.hands[hand].claims(limit))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(claim)
            assert list(await self.store.submit(*batch)) == [job.id for job in batch]
        self.oracle.submit(batch, None)
        await self.settle()
        await self.claimed(hand, limit, claims[0])
