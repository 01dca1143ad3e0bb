"""Worker works on its own, and beside processors and daemons on the same backend object."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import (
    BackendClosedError,
    ConfigurationError,
    EventPublisher,
    JobDaemon,
    JobProcessor,
    JobStatus,
    MemoryBackend,
    SQLiteBackend,
    SQLiteConfig,
    Worker,
    current_job,
    gather,
)
from asyncjobs.backends.base import JobBackend
from asyncjobs.testing import FaultyBackend
from tests.runtime.support import PATIENCE, Held, Stores, add, within

pytestmark = pytest.mark.anyio


@pytest.fixture
def backend(stores: Stores) -> JobBackend:
    return stores.backend()


class Bodies:
    """The body of a registered function is found by name: what it waits on is here."""

    held: Held


async def hold() -> None:
    await Bodies.held.body()


async def parent() -> int:
    return await (await current_job().submit_job(add, 2, 3))


def render(name: str) -> str:
    return f"{name}.pdf"


async def is_open(backend: JobBackend) -> bool:
    try:
        await backend.count_jobs()
    except BackendClosedError:
        return False
    return True


async def test_the_example_of_its_docstring_runs(backend: JobBackend, capsys: pytest.CaptureFixture[str]) -> None:
    example = (inspect.getdoc(Worker) or "").partition("::\n\n")[2].partition("\n\n:param")[0]
    program = "async def example():\n" + textwrap.indent(textwrap.dedent(example), "    ")
    names: dict[str, Any] = {"backend": backend, "render": render}
    names |= {"EventPublisher": EventPublisher, "JobProcessor": JobProcessor, "Worker": Worker}
    exec(program, names)
    await within(PATIENCE, names["example"]())
    assert capsys.readouterr().out == "report.pdf\n"


async def test_its_worker_id_is_a_name_and_the_store_gives_the_id(backend: JobBackend) -> None:
    async with Worker("renderer", backend, EventPublisher(backend), functions=[add]) as worker:
        [row] = await backend.workers()
        assert (worker.worker_id, row.name, row.id) == ("renderer", "renderer", worker.id)
    assert worker.worker_id == "renderer"


async def test_it_starts_although_dead_workers_cannot_be_looked_for_now(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    store = FaultyBackend(stores.backend())
    store.fail("reap")
    async with stores.processor(backend=store) as jp:
        assert await (await jp.submit_job(add, 2, 3)) == 5
    assert "dead workers could not be detected: reap: the store is out of reach" in caplog.text


async def test_two_workers_of_one_name_are_two_rows(backend: JobBackend) -> None:
    publisher = EventPublisher(backend)
    async with Worker("w", backend, publisher) as one, Worker("w", backend, publisher) as other:
        assert {row.id for row in await backend.workers()} == {one.id, other.id}
        assert one.id != other.id


async def test_it_runs_what_another_process_has_stored(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    backend = SQLiteBackend(SQLiteConfig(db_path=path))
    async with JobProcessor(path, enable_daemon=False) as jp:
        async with Worker("w", backend, EventPublisher(backend), functions=[add]):
            assert await (await jp.submit_job(add, 1, 2)).result(timeout=PATIENCE) == 3


async def test_it_runs_what_a_processor_on_the_same_backend_object_stores(backend: JobBackend) -> None:
    async with JobProcessor(backend, enable_daemon=False) as jp:
        async with Worker("w", backend, EventPublisher(backend), functions=[add]):
            first = await jp.submit_job(add, 1, 2)
            second = await jp.submit_job(add, first, 10)
            assert await within(PATIENCE, gather(first, second)) == [3, 13]


async def test_it_works_beside_a_processor_and_a_daemon_on_the_same_backend_object(backend: JobBackend) -> None:
    async with (
        EventPublisher(backend) as publisher,
        JobProcessor(backend) as jp,
        JobDaemon(backend, functions=[add]) as daemon,
        Worker("w", backend, publisher, functions=[add]) as worker,
    ):
        jobs = [await jp.submit_job(add, i, 1) for i in range(30)]
        assert await within(PATIENCE, gather(*jobs)) == list(range(1, 31))
        assert jp.daemon is not None
        assert len({jp.daemon.worker_id, daemon.worker_id, worker.id}) == 3


async def test_its_bodies_submit_and_await_jobs(backend: JobBackend) -> None:
    async with JobProcessor(backend, enable_daemon=False) as jp:
        async with Worker("w", backend, EventPublisher(backend), functions=[parent, add]):
            assert await (await jp.submit_job(parent)).result(timeout=PATIENCE) == 5


async def test_leaving_it_claims_no_more_and_lets_bodies_end(backend: JobBackend) -> None:
    Bodies.held = Held()
    async with JobProcessor(backend, enable_daemon=False) as jp:
        async with Worker("w", backend, EventPublisher(backend), functions=[hold, add]) as worker:
            job = await jp.submit_job(hold)
            await within(PATIENCE, Bodies.held.started.wait())
            assert worker.running == [job]
            worker.close()
            late = await jp.submit_job(add, 1, 2)
            Bodies.held.go.open()
        assert await job.status() is JobStatus.COMPLETED
        assert await late.status() is JobStatus.PENDING
        assert await jp.workers() == []


async def test_subscribers_of_its_publisher_get_the_events_of_its_jobs(backend: JobBackend) -> None:
    async with EventPublisher(backend) as publisher, JobProcessor(backend, enable_daemon=False) as jp:
        async with Worker("w", backend, publisher, functions=[add]):
            job = await jp.submit_job(add, 1, 2)
            subscription = publisher.subscribe(job.id)
            assert await job.result(timeout=PATIENCE) == 3

            async def types() -> list[str]:
                return [event.type async for event in subscription]

            assert (await within(PATIENCE, types()))[-1] == "completed"


async def test_a_store_that_was_closed_is_closed_again_and_one_that_was_open_stays_open(backend: JobBackend) -> None:
    async with Worker("w", backend, EventPublisher(backend)):
        assert await is_open(backend)
    assert not await is_open(backend)
    async with backend:
        async with Worker("w", backend, EventPublisher(backend)):
            assert await is_open(backend)
        assert await is_open(backend)
    assert not await is_open(backend)


async def test_a_publisher_that_was_entered_stays_entered(backend: JobBackend) -> None:
    async with EventPublisher(backend) as publisher:
        async with Worker("w", backend, publisher):
            pass
        async with JobProcessor(backend, functions=[add]) as jp:
            job = await jp.submit_job(add, 1, 2)

            async def types() -> list[str]:
                return [event.type async for event in publisher.subscribe(job.id)]

            assert (await within(PATIENCE, types()))[-1] == "completed"


async def test_entered_twice_is_refused_and_entered_again_works(backend: JobBackend) -> None:
    worker = Worker("w", backend, EventPublisher(backend), functions=[add])
    with pytest.raises(BackendClosedError, match="has not run yet"):
        _ = worker.running
    for _ in range(2):
        async with worker:
            with pytest.raises(BackendClosedError, match="running already"):
                await worker.__aenter__()
            assert worker.running == []


@pytest.mark.parametrize("worker_id", ["", 5, None])
def test_a_worker_id_that_is_no_name_is_refused_by_its_own_name(worker_id: Any) -> None:
    backend = MemoryBackend()
    with pytest.raises(ConfigurationError, match="worker_id"):
        Worker(worker_id, backend, EventPublisher(backend))


@pytest.mark.parametrize("other", ["none", "text", "of another store"])
def test_a_publisher_of_another_kind_or_store_is_refused(other: str) -> None:
    publishers: dict[str, Any] = {"none": None, "text": "p", "of another store": EventPublisher(MemoryBackend())}
    with pytest.raises(ConfigurationError, match="event_publisher"):
        Worker("w", MemoryBackend(), publishers[other])
