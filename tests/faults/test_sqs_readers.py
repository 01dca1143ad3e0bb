"""Readers of the log of a store in SQS and DynamoDB, while other processes write it."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest

from asyncjobs import JobProcessor
from asyncjobs.models import JobEvent
from tests import sqs_server
from tests.faults.children import Child
from tests.faults.storm_stores import settings_of

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.untraced, pytest.mark.timeout(290)]

PROGRAM = "tests.faults.sqs_program"
READERS, WRITERS, JOBS = 200, 2, 10
EVENTS = WRITERS * JOBS * 3
"""Each job is submitted, started, and completed."""
CUT = 0.01
"""How often a reader leaves after an event."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Reader:
    """A reader of a group that leaves now and then, and comes back with the cursor of the last event that it saw."""

    def __init__(self, jp: JobProcessor, group: str, count: int, seed: int) -> None:
        self._jp, self._group, self._count, self._random = jp, group, count, random.Random(seed)
        self.seen: list[tuple[str, int]] = []
        self.cursor = "0"
        self.cuts = 0

    async def read(self) -> None:
        """Read until all events have come."""
        while len(self.seen) < self._count:
            async for event in self._some():
                self.seen.append((event.job_id, event.seq))
                self.cursor = event.cursor
            self.cuts += 1

    async def _some(self) -> AsyncGenerator[JobEvent]:
        stream = self._jp.stream_group(self._group, self.cursor)
        try:
            async for event in stream:
                yield event
                if len(self.seen) == self._count or self._random.random() < CUT:
                    return
        finally:
            await stream.aclose()


async def test_two_hundred_readers_that_are_cut_at_random_see_every_event_once(tmp_path: Path) -> None:
    config = sqs_server.config(wait_time=1)
    async with JobProcessor(config, enable_daemon=False) as jp:
        held = await jp.submit_gate("Is it over?", job_id="held", group="g")  # so that the group is not over
        count = EVENTS + len((await jp.backend.read_events(group="g")).events)
        readers = [Reader(jp, "g", count, seed) for seed in range(READERS)]
        with ExitStack() as stack:
            async with anyio.create_task_group() as tasks:
                for place in range(WRITERS):
                    arguments = ("write", settings_of(config), "g", f"w{place}", JOBS)
                    stack.enter_context(Child(PROGRAM, *arguments, ledger=tmp_path / "ledger"))
                for reader in readers:
                    tasks.start_soon(reader.read)
        page = await jp.backend.read_events(group="g")
        await held.cancel()
    log = [(event.job_id, event.seq) for event in page.events]
    assert page.end
    assert len(set(log)) == len(log) == count
    print(f"{READERS} readers of {count} events were cut {sum(reader.cuts for reader in readers)} times")
    assert sum(reader.cuts for reader in readers) >= READERS / 2
    for reader in readers:
        assert reader.seen == log
