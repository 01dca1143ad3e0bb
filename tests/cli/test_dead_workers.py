"""What the commands say when the worker that has a job is dead, or none is alive."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager

import anyio
import pytest

from asyncjobs import JobProcessor, SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import ClaimRequest, NewWorker
from asyncjobs.clock import SystemClock
from tests.cli.support import PATIENCE, Shell, until
from tests.conformance.support import new

pytestmark = pytest.mark.slow
APP = ("--app", "app:jp")


class AMinuteAgo(SystemClock):
    """What has a lease of a second by this clock is dead by the real one."""

    def monotonic(self) -> int:
        return super().monotonic() - 60_000_000


@pytest.fixture
def held(shell: Shell) -> Shell:
    """The store has a job in progress, whose worker let its lease run out. Its process, this one, is alive."""
    shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1", "--id", "it")

    async def take_and_die() -> None:
        config = SQLiteConfig(db_path=shell.folder / "jobs.db")
        async with SQLiteBackend(config, clock=AMinuteAgo()) as backend:
            worker = await backend.register_worker(NewWorker(name="mortal", slots=1, lease=1.0))
            functions = frozenset({"app:add"})
            assert (
                len((await backend.dequeue_jobs(ClaimRequest(worker=worker, limit=1, functions=functions))).jobs) == 1
            )
        async with SQLiteBackend(config) as backend:
            assert not (await backend.workers())[0].alive

    anyio.run(take_and_die)
    return shell


def test_jobs_show_says_worker_gone(held: Shell) -> None:
    shown = held.good(*APP, "jobs", "show", "it").out
    assert shown.startswith("✖ worker gone  it")
    assert "running" not in shown
    assert "in_progress" not in shown
    assert "1 worker gone" in shown
    assert held.good("--json", *APP, "jobs", "show", "it").json["why"]["code"] == "worker_gone"


def test_the_doctor_says_worker_gone_and_that_nobody_lives(held: Shell) -> None:
    ran = held.run(*APP, "doctor")
    assert ran.code == 1
    assert "✖ worker gone: mortal is dead and has 1 job" in ran.out
    assert "✖ no worker is alive, and 1 job not ended yet" in ran.out


@contextmanager
def stopped_in_the_end(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize(
    "command",
    [
        ("submit", "app:add", "--arg", "a=1", "--wait"),
        ("watch", "it"),
        ("watch", "--group", "g"),
        ("result", "it", "--wait"),
    ],
    ids=" ".join,
)
def test_who_waits_is_told_within_two_seconds_that_no_worker_is_alive(shell: Shell, command: tuple[str, ...]) -> None:
    shell.good(*APP, "jobs", "submit", "app:add", "--arg", "a=1", "--id", "it", "--group", "g")
    with stopped_in_the_end(shell.start(*APP, "jobs", *command)) as process:
        assert process.stderr is not None
        began = time.monotonic()
        said = process.stderr.readline()
        assert "no worker is alive" in said
        assert time.monotonic() - began < 2.0 + 6.0, "with the time that Python takes to start on a busy machine"


async def started(shell: Shell, job_id: str) -> None:
    """Wait until a job of the store runs, by its events."""
    config = SQLiteConfig(db_path=shell.folder / "jobs.db")
    async with JobProcessor(config, enable_daemon=False) as jp:
        with anyio.fail_after(PATIENCE):
            async with aclosing(jp.stream_job(job_id)) as events:
                async for event in events:
                    if event.type == "started":
                        return


def test_cancelling_a_job_of_a_killed_daemon_cancels_it(shell: Shell) -> None:
    shell.good(*APP, "jobs", "submit", "app:slow", "--id", "slow")
    daemon = shell.start(*APP, "daemon", "start")
    with stopped_in_the_end(daemon):
        anyio.run(started, shell, "slow")
        daemon.kill()
        daemon.wait()
        assert "slow cancelled" in shell.good(*APP, "jobs", "cancel", "slow").err
        assert shell.good("--json", *APP, "jobs", "show", "slow").json["status"] == "cancelled"


def test_of_two_workers_one_of_which_is_dead_all_commands_say_the_same(held: Shell) -> None:
    """The one that lives has so long a lease that it does not yet look for those whose lease has run out."""
    import httpx

    patient = {"ASYNCJOBS_DAEMON_LEASE": "10h", "ASYNCJOBS_DAEMON_HEARTBEAT": "3h"}
    with stopped_in_the_end(held.start(*APP, "daemon", "start", "--num-workers", "1", "--http", ":0", **patient)):
        # Where no worker is alive yet, whoever submits a job looks for the dead.
        until(lambda: held.run(*APP, "daemon", "status", "--check").code == 0)
        held.good(*APP, "jobs", "submit", "app:slow", "--id", "other")
        anyio.run(started, held, "other")
        status = held.good("--json", *APP, "daemon", "status").json
        assert (status["status"], status["running"]) == ("running", ["other"])
        answer = httpx.get(f"{status['http']}/readyz")
        assert answer.status_code == 200
        alive = {worker["id"]: worker["alive"] for worker in answer.json()["details"]["workers"]}
        assert sorted(alive.values()) == [False, True]
        assert alive[status["worker"]]
        looked = held.run(*APP, "doctor")
        assert looked.code == 1
        assert "worker gone: mortal is dead and has 1 job; " in looked.out
        assert "1 worker is alive, with 1 slot;" in looked.out
        assert "no worker is alive" not in looked.out
        for job, code in (("it", "worker_gone"), ("other", "running")):
            assert held.good("--json", *APP, "jobs", "show", job).json["why"]["code"] == code
            assert httpx.get(f"{status['http']}/v1/jobs/{job}/why").json()["code"] == code
        assert held.good(*APP, "jobs", "show", "it").out.startswith("✖ worker gone  it")
        assert "worker gone" not in held.good(*APP, "jobs", "show", "other").out
        held.good(*APP, "daemon", "stop", "--now")


def test_a_daemon_shows_the_jobs_that_it_runs_and_not_those_of_another_of_its_name(shell: Shell) -> None:
    """Names of workers need not be unique, and others may run more jobs than are shown."""
    with stopped_in_the_end(shell.start(*APP, "daemon", "start", "--num-workers", "1")):
        shell.good(*APP, "jobs", "submit", "app:slow", "--id", "mine")
        anyio.run(started, shell, "mine")

        async def another_of_that_name() -> None:
            async with SQLiteBackend(SQLiteConfig(db_path=shell.folder / "jobs.db")) as backend:
                [of_daemon] = await backend.workers()
                worker = await backend.register_worker(NewWorker(name=of_daemon.name, slots=30, lease=600.0))
                await backend.enqueue_jobs([new(f"other_{i}", function="app:other") for i in range(25)])
                await backend.dequeue_jobs(ClaimRequest(worker=worker, limit=25, functions=frozenset({"app:other"})))

        anyio.run(another_of_that_name)
        assert shell.good("--json", *APP, "daemon", "status").json["running"] == ["mine"]
        shell.good(*APP, "daemon", "stop", "--now")
