"""Callers that ask at the same moment share a read; nobody gets what was read before the call, or another's error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import anyio.lowlevel
import pytest

from asyncjobs import MemoryBackend
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.models import JobResult, JobStatus
from asyncjobs.runtime.shared_reads import SharedReads

pytestmark = pytest.mark.anyio


class Table(MemoryBackend):
    """Answers a read when it is let go; jobs are completed, except those that are unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[list[str]] = []
        self.unknown: set[str] = set()
        self.go = anyio.Event()
        self.failures = 0

    async def get_results(self, ids: Sequence[str]) -> Mapping[str, JobResult]:
        self.reads.append(list(ids))
        await self.go.wait()
        if self.failures:
            self.failures -= 1
            raise BackendConnectionError("away")
        return {
            job_id: JobResult(job_id, JobStatus.COMPLETED, "f", b"") for job_id in ids if job_id not in self.unknown
        }


async def test_all_who_ask_in_one_turn_share_one_read() -> None:
    table = Table()
    table.go.set()
    reads = SharedReads(table)
    got: dict[str, JobResult | None] = {}

    async def ask(job_id: str) -> None:
        got[job_id] = (await reads.get([job_id])).get(job_id)

    table.unknown = {"job-3"}
    async with anyio.create_task_group() as tasks:
        for i in range(100):
            tasks.start_soon(ask, f"job-{i}")
    assert len(table.reads) == 1
    assert sorted(table.reads[0]) == sorted(got)
    assert [job_id for job_id, result in got.items() if result is None] == ["job-3"]


async def test_a_read_that_is_under_way_is_not_joined() -> None:
    table = Table()
    reads = SharedReads(table)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reads.get, ["a"])
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(reads.get, ["a"])
        await anyio.wait_all_tasks_blocked()
        assert table.reads == [["a"], ["a"]]
        table.go.set()


async def test_many_ids_are_read_in_pages() -> None:
    table = Table()
    table.go.set()
    found = await SharedReads(table).get([f"job-{i}" for i in range(1_100)])
    assert [len(read) for read in table.reads] == [500, 500, 100]
    assert len(found) == 1_100


async def test_an_error_is_that_of_the_caller_who_read_and_the_others_read_again() -> None:
    table = Table()
    table.failures = 1
    reads = SharedReads(table)
    errors: list[str] = []
    results: list[str] = []

    async def ask(job_id: str) -> None:
        try:
            results.append((await reads.get([job_id]))[job_id].job_id)
        except BackendConnectionError:
            errors.append(job_id)

    async with anyio.create_task_group() as tasks:
        for job_id in "abc":
            tasks.start_soon(ask, job_id)
        await anyio.wait_all_tasks_blocked()
        table.go.set()
    assert len(errors) == 1
    assert sorted([*errors, *results]) == ["a", "b", "c"]
    assert len(table.reads) == 2


@pytest.mark.parametrize("when", ["before the read", "during the read"])
async def test_a_caller_that_is_cancelled_takes_nobody_with_it(when: str) -> None:
    table = Table()
    reads = SharedReads(table)
    results: list[str] = []

    async def ask(job_id: str) -> None:
        results.append((await reads.get([job_id]))[job_id].job_id)

    async with anyio.create_task_group() as tasks:
        first = anyio.CancelScope()

        async def cancelled() -> None:
            with first:
                await ask("a")

        tasks.start_soon(cancelled)
        tasks.start_soon(ask, "b")
        if when == "before the read":
            await anyio.lowlevel.checkpoint()
        else:
            await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        table.go.set()
    assert results == ["b"]
