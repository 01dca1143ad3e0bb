"""Daemons on a store in SQS and DynamoDB, as processes that die, freeze, leave, and lose one service or the other."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import JobProcessor, JobStatus, RetryPolicy, SQSConfig
from asyncjobs.models import WaitsFor
from tests import sqs_server
from tests.faults import bodies, checker, question_program, step_bodies, storm_bodies
from tests.faults.children import PATIENCE, Child
from tests.faults.doors import Door
from tests.faults.sqs_reading import read_store
from tests.faults.storm_stores import settings_of

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.untraced, pytest.mark.timeout(150)]

PROGRAM = "tests.faults.sqs_program"
LEASE = 3.0
TOLERANCE = 2.0
"""Seconds beyond a lease after which a worker is taken for dead: clocks of AWS may differ."""
QUICK = RetryPolicy(max_retries=2, base=0.0)


class Town:
    """A table, its daemons, and a processor of this process that runs nothing."""

    def __init__(self, folder: Path, config: SQSConfig, jp: JobProcessor) -> None:
        self.config, self.jp, self.folder = config, jp, folder
        self.ledger = folder / "ledger"

    @contextmanager
    def daemon(self, *, lease: float = LEASE, slots: int = 4) -> Generator[Child]:
        """Start a daemon. It is killed at the end, if it has not ended."""
        with Child(PROGRAM, "run", settings_of(self.config), lease, slots, ledger=self.ledger) as child:
            child.until("opened")
            yield child

    def pipes(self, name: str) -> Path:
        """Named pipes for the attempts of a body."""
        for attempt in (1, 2):
            os.mkfifo(self.folder / f"{name}{attempt}")
        return self.folder / name

    async def check(self) -> checker.Stored:
        """Compare what is stored with what ran."""
        stored = await read_store(self.config)
        assert checker.check_everything(stored, checker.read_ledger(self.ledger)) == []
        return stored


async def heard(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call what blocks, such as listening to a child, in a thread."""
    return await anyio.to_thread.run_sync(partial(function, *arguments))


def let_go(pipe: Path, attempt: int) -> None:
    with open(f"{pipe}{attempt}", "w"):
        pass


@asynccontextmanager
async def town_of(folder: Path, **settings: Any) -> AsyncGenerator[Town]:
    config = sqs_server.config(**({"wait_time": 1, "visibility_timeout": 10} | settings))
    async with JobProcessor(config, enable_daemon=False) as jp:
        yield Town(folder, config, jp)
        jp._submitted = 0


@pytest.fixture
async def town(tmp_path: Path) -> AsyncGenerator[Town]:
    async with town_of(tmp_path) as made:
        yield made


# -- what daemons are for


async def test_a_graph_with_retries_runs_on_two_daemons(town: Town) -> None:
    with town.daemon(), town.daemon():
        first = [await town.jp.submit_job(bodies.work, kwargs={"fails": i % 2}, retry=QUICK) for i in range(6)]
        last = await town.jp.submit_job(bodies.work, depends_on=first)
        with anyio.fail_after(PATIENCE):
            assert await last == [last.id, 1]
    stored = await town.check()
    assert [stored.by_id[job.id].failures for job in first] == [0, 1] * 3


async def test_a_question_is_answered_by_another_process(town: Town) -> None:
    with town.daemon():
        job = await town.jp.submit_job(question_program.question, True, job_id="a")
        with anyio.fail_after(PATIENCE):
            while (await town.jp.get_job("a")).status is not JobStatus.PENDING or await _gate(town) is None:
                await anyio.sleep(0.1)
            with Child(PROGRAM, "answer", settings_of(town.config), "a/q", "yes", ledger=town.ledger) as child:
                assert await heard(child.until, "status") == ["completed"]
            assert await job == "answered yes"


async def _gate(town: Town) -> object:
    return next((job for job in await town.jp.backend.get_jobs(["a/q"]) if job.waits_for is WaitsFor.ANSWER), None)


async def test_a_step_survives_the_process_that_kept_it(town: Town) -> None:
    with town.daemon() as first:
        job = await town.jp.submit_job(step_bodies.two_steps, step_bodies.INSIDE, job_id="a", retry=QUICK)
        with anyio.fail_after(PATIENCE):
            while not town.ledger.exists() or " inside\n" not in town.ledger.read_text():
                await anyio.sleep(0.05)
            first.kill()
            with town.daemon():
                assert await job == ["first value", 120_000]
    ran = [line.split()[4] for line in town.ledger.read_text().splitlines() if line.startswith("R ")]
    assert ran == ["first", "second", "second"]


async def test_a_cancel_reaches_a_running_job_within_two_heartbeats(town: Town) -> None:
    with town.daemon(lease=6) as daemon:
        job = await town.jp.submit_job(storm_bodies.nap, 600.0)
        await _until(town, job.id, JobStatus.IN_PROGRESS)
        began = time.monotonic()
        await job.cancel()
        await heard(daemon.until, "recorded", job.id, "1")
        assert time.monotonic() - began < 2 * 2
        assert (await town.jp.get_job(job.id)).status is JobStatus.CANCELLED


async def test_jobs_of_a_dead_worker_are_pending_within_two_leases(town: Town) -> None:
    lease = 6.0
    with town.daemon(lease=lease) as daemon, town.daemon(lease=lease, slots=1):
        ids = [(await town.jp.submit_job(storm_bodies.nap, 600.0, retry=QUICK)).id for _ in range(3)]
        await _until(town, ids[-1], JobStatus.IN_PROGRESS)
        began = time.monotonic()
        daemon.kill()
        with anyio.fail_after(3 * lease):
            while True:
                jobs = await town.jp.backend.get_jobs(ids)
                if sum(job.interruptions for job in jobs) >= 2:  # of three, the other daemon has one at most
                    break
                await anyio.sleep(0.1)
        assert time.monotonic() - began < 2 * lease


async def test_a_job_longer_than_the_visibility_timeout_runs_once(tmp_path: Path) -> None:
    async with town_of(tmp_path, visibility_timeout=2) as town:
        with town.daemon(), town.daemon():
            job = await town.jp.submit_job(bodies.work, kwargs={"pause": 7.0})
            with anyio.fail_after(PATIENCE):
                assert await job == [job.id, 1]
        stored = await town.check()
        assert (stored.by_id[job.id].attempt, stored.by_id[job.id].interruptions) == (1, 0)


@pytest.mark.serial
async def test_results_of_another_process_come_soon(town: Town) -> None:
    with town.daemon(lease=15):
        seconds: list[float] = []
        for number in range(50):
            began = time.monotonic()
            assert await (await town.jp.submit_job(storm_bodies.add, number, 1)) == number + 1
            seconds.append(time.monotonic() - began)
    print(
        f"seconds until a result of another process: median {statistics.median(seconds):.2f}, most {max(seconds):.2f}"
    )
    assert statistics.median(seconds) < 2


async def test_readers_see_every_event_of_other_processes_once_and_in_order(town: Town) -> None:
    count = 15
    seen: list[list[tuple[str, int]]] = [[], []]
    groups = ("x", "y")

    async def read(events: list[tuple[str, int]], group: str | None) -> None:
        ended = 0
        async for event in town.jp.stream_group(group, "0") if group else town.jp.stream_all("0"):
            events.append((event.job_id, event.seq))
            ended += event.type == "completed"
            if ended == (count if group else 2 * count):
                return

    with town.daemon(), town.daemon():
        await town.jp.submit_job(storm_bodies.nap, 600.0, job_id="x-held", group="x")  # so that the group is not over
        await _until(town, "x-held", JobStatus.IN_PROGRESS)
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            tasks.start_soon(read, seen[0], None)
            tasks.start_soon(read, seen[1], "x")
            for group in groups:
                child = Child(PROGRAM, "submit", settings_of(town.config), group, count, ledger=town.ledger)
                stack.enter_context(child)
            with anyio.fail_after(PATIENCE):
                while len(seen[0]) < 6 * count + 2 or len(seen[1]) < 3 * count + 2:
                    await anyio.sleep(0.1)
    stored = await read_store(town.config)
    log = [(stored.jobs[event.job].id, event.seq) for event in stored.events]
    assert seen[0] == log
    assert seen[1] == [event for event in log if event[0].startswith("x-")]


# -- leaving


async def test_a_daemon_that_is_asked_to_leave_drains_and_counts_nothing(town: Town) -> None:
    pipe = town.pipes("pipe")
    with town.daemon(slots=1) as daemon:
        await town.jp.submit_job(bodies.read_line, str(pipe), job_id="ends")
        assert await heard(daemon.until, "started") == ["ends", "1"]
        await town.jp.submit_job(storm_bodies.add, 1, 2, job_id="waits")
        daemon.process.send_signal(signal.SIGTERM)
        await anyio.sleep(0.5)
        await heard(let_go, pipe, 1)
        assert await heard(daemon.end) == -signal.SIGTERM
    jobs = {job.id: job for job in await town.jp.backend.get_jobs(["ends", "waits"])}
    assert (jobs["ends"].status, jobs["waits"].status) == (JobStatus.COMPLETED, JobStatus.PENDING)
    assert [job.interruptions for job in jobs.values()] == [0, 0]
    with town.daemon():
        with anyio.fail_after(PATIENCE):
            assert await town.jp.handle("waits") == 3


async def test_an_idle_daemon_that_polls_for_long_leaves_at_once(tmp_path: Path) -> None:
    async with town_of(tmp_path, wait_time=20) as town:
        with town.daemon() as daemon:
            await anyio.sleep(4)  # until a poll lasts for long
            began = time.monotonic()
            daemon.say("leave")
            assert await heard(daemon.end) == 0, daemon.errors()
            assert time.monotonic() - began < 6


# -- freezing


async def test_a_zombie_is_refused_everything_and_goes_on_with_new_work(town: Town) -> None:
    pipe = town.pipes("pipe")
    with town.daemon() as zombie:
        retry = RetryPolicy(base=0.0)
        await town.jp.submit_job(storm_bodies.say_everything, str(pipe), job_id="job", retry=retry)
        assert await heard(zombie.until, "started") == ["job", "1"]
        with town.daemon() as other:
            zombie.process.send_signal(signal.SIGSTOP)
            assert await heard(other.until, "started") == ["job", "2"]
            zombie.process.send_signal(signal.SIGCONT)
            await heard(let_go, pipe, 1)
            assert await heard(zombie.until, "refused", "job") == ["1", "JobStateError"]
            assert await heard(zombie.until, "recorded", "job", "1") == ["Stale"]
            await heard(let_go, pipe, 2)
            await heard(other.until, "recorded", "job", "2")
            other.kill()
        with anyio.fail_after(PATIENCE):
            assert await (await town.jp.submit_job(storm_bodies.add, 1, 1)) == 2
    stored = await read_store(town.config)
    assert checker.check_log(stored) == []
    assert [event.data["attempt"] for event in stored.events if event.type == "output"] == [2]
    assert [event.data["done"] for event in stored.events if event.type == "progress"] == [2]
    assert [job_id for job_id in stored.by_id if job_id.startswith("job/")] == ["job/of-2"]


# -- one service away


@pytest.fixture
async def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[tuple[Town, Door, Door]]:
    """A town whose daemons, and this process, reach each service through a door of its own."""
    address = sqs_server.endpoint()
    if not address:
        pytest.skip("the doors stand before an emulator")
    table, queue = Door(address), Door(address)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", table.address)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", queue.address)
    try:
        async with town_of(tmp_path, endpoint_url=None) as town:
            yield town, table, queue
    finally:
        table.close()
        queue.close()


async def test_without_the_queue_work_goes_on(doors: tuple[Town, Door, Door]) -> None:
    town, _, queue = doors
    with town.daemon() as daemon:
        assert await (await town.jp.submit_job(storm_bodies.add, 1, 1)) == 2
        with queue.shut(), anyio.fail_after(PATIENCE):
            first = await town.jp.submit_job(storm_bodies.add, 2, 2)
            assert await (await town.jp.submit_job(storm_bodies.add, first, 1)) == 5
        with anyio.fail_after(PATIENCE):
            assert await (await town.jp.submit_job(storm_bodies.add, 3, 3)) == 6
        daemon.say("leave")
        assert await heard(daemon.end) == 0, daemon.errors()


async def test_without_the_table_work_stops_and_resumes_by_itself(doors: tuple[Town, Door, Door]) -> None:
    town, table, _ = doors
    with town.daemon(lease=30) as daemon:
        running = await town.jp.submit_job(bodies.work, kwargs={"pause": 2.0}, job_id="running")
        await _until(town, "running", JobStatus.IN_PROGRESS)
        after = await town.jp.submit_job(bodies.work, depends_on=[running], job_id="after")
        with table.shut():
            await anyio.sleep(6)  # the body ends meanwhile, and the heart beats in vain
        with anyio.fail_after(PATIENCE):
            assert await after == ["after", 1]
        daemon.say("leave")
        assert await heard(daemon.end) == 0, daemon.errors()
    stored = await town.check()
    assert [job.interruptions for job in stored.jobs.values()] == [0, 0]


async def _until(town: Town, job_id: str, status: JobStatus) -> None:
    with anyio.fail_after(PATIENCE):
        while (await town.jp.get_job(job_id)).status is not status:
            await anyio.sleep(0.05)
