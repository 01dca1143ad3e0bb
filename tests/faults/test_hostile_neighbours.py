"""Rule 4.15 as a whole: 200 jobs, one in ten poisonous in every way, and two daemons, an embedded processor, a web
process and streams on one file. All healthy jobs complete, every process lives, every row can be listed."""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from msgspec import to_builtins

from asyncjobs import (
    DaemonConfig,
    Job,
    JobProcessor,
    JobQuery,
    JobRequest,
    JobStatus,
    RetryPolicy,
    SQLiteConfig,
)
from tests.faults import hostile_bodies as bodies
from tests.faults.children import PATIENCE, Child
from tests.faults.hostile_program import Away
from tests.faults.web_server import Uvicorn

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.untraced]

OF = "(SELECT n FROM jobs WHERE id = '{}')"
DAMAGE = {
    "policy": "UPDATE jobs SET retry = x'93' WHERE id = '{}'",
    "call": f"UPDATE jobs SET call = x'c1ff' WHERE n = {OF}",
    "no-call": f"UPDATE jobs SET call = NULL WHERE n = {OF}",
    "timeout": "UPDATE jobs SET timeout = 'soon' WHERE id = '{}'",
    "no-lane": "UPDATE jobs SET lane = 4711 WHERE id = '{}'",
    "priority": "UPDATE jobs SET priority = x'ff', seq = 'last' WHERE id = '{}'",
}
"""What fails when it is claimed."""
MARKS = {
    "metadata": f"UPDATE jobs SET metadata = '{{{{' WHERE n = {OF}",
    "text": f"UPDATE jobs SET metadata = CAST(x'ff' AS TEXT) WHERE n = {OF}",
    "event": f"UPDATE events SET data = x'c1' WHERE job = {OF}",
    "moment": "UPDATE jobs SET created_at = 9000000000000000000 WHERE id = '{}'",
}
"""What completes, and is shown with a mark."""
BECAME: list[Callable[..., Any]] = [bodies.became_generator, bodies.became_class]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def away() -> Iterator[None]:
    """The log server of the embedded processor is away, too."""
    handler = Away()
    logging.getLogger("asyncjobs").addHandler(handler)
    yield
    logging.getLogger("asyncjobs").removeHandler(handler)


def requests() -> tuple[list[JobRequest], dict[str, str]]:
    """200 jobs, every tenth poisonous; and how each of those has to end."""
    poison: list[tuple[str, Any]] = [(name, bodies.healthy) for name in DAMAGE]
    poison += [(name, bodies.healthy) for name in MARKS]
    poison += [(function.__name__, function) for function in (*bodies.POISON, *BECAME)]
    poison += [("proxy", bodies.became_proxy), ("reports", bodies.reports_oddly), ("false", bodies.steps)]
    assert len(poison) == 20
    ends = dict.fromkeys([name for name, _ in poison], "failed")
    # A proxy that raises for whatever it is asked can be called: that is all that a job needs.
    ends |= dict.fromkeys([*MARKS, "proxy", "reports", "false"], "completed")
    jobs: list[JobRequest] = []
    for n in range(200):
        if n % 10 == 0:
            name, function = poison[n // 10]
        else:
            name, function = f"good-{n}", [bodies.healthy, bodies.healthy_plain, bodies.expression][n % 3]
        retry = RetryPolicy(max_retries=0, base=0.5)
        jobs.append(JobRequest(func=function, args=(n,), job_id=name, retry=retry, group="all", metadata={"n": n}))
    return jobs, ends


def damage(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    for name, statement in (DAMAGE | MARKS).items():
        connection.execute(statement.format(name))
    connection.close()


@asynccontextmanager
async def followed(jp: JobProcessor, port: int) -> AsyncIterator[tuple[list[Any], list[Any]]]:
    """Everything that a stream in the process and one over HTTP bring, from the first event."""
    here: list[Any] = []
    there: list[Any] = []

    async def follow_here() -> None:
        async for event in jp.stream_all("0"):
            here.append(to_builtins(event))

    async def follow_there() -> None:
        async with httpx.AsyncClient(timeout=None) as client:
            url = f"http://127.0.0.1:{port}/v1/events"
            async with client.stream("GET", url, params={"after": "0"}) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data: "):
                        there.append(json.loads(line[6:]))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow_here)
        tasks.start_soon(follow_there)
        yield here, there
        tasks.cancel_scope.cancel()


async def listed(jp: JobProcessor) -> dict[str, Job]:
    found: dict[str, Job] = {}
    cursor: str | None = None
    while True:
        page = await jp.find_jobs(JobQuery(limit=30, cursor=cursor))
        found |= {job.id: job for job in page}
        cursor = page.next
        if cursor is None:
            return found


async def listed_over_http(port: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    cursor: str | None = None
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
        while True:
            answer = await client.get("/v1/jobs", params={"limit": 30} | ({} if cursor is None else {"cursor": cursor}))
            answer.raise_for_status()
            page = answer.json()
            found |= {job["id"]: job for job in page["items"]}
            cursor = page["next"]
            if cursor is None:
                return found


async def test_healthy_jobs_complete_processes_live_and_rows_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "jobs.db"
    jobs, ends = requests()
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        await jp.submit_jobs(jobs)
    damage(path)
    monkeypatch.setenv(bodies.VERSION, "new")
    # Of this version: it leaves alone what became something else, which the daemons of the next one then get.
    embedded = JobProcessor(
        SQLiteConfig(db_path=path),
        functions=[*bodies.FINE, *bodies.POISON],
        daemon=DaemonConfig(num_workers=2, allowed_modules=("nothing.else",)),
    )
    with ExitStack() as stack:
        web = stack.enter_context(Uvicorn(tmp_path, "alone"))
        web.until("Uvicorn running")
        daemons = [
            stack.enter_context(Child("tests.faults.hostile_program", path, ledger=tmp_path / f"daemon-{n}"))
            for n in range(2)
        ]
        for daemon in daemons:
            daemon.until("opened")
        async with embedded as jp, followed(jp, web.port) as (here, there):
            with anyio.fail_after(PATIENCE):
                for job_id in [str(job.job_id) for job in jobs]:
                    await jp.wait_for_job(job_id)
                assert await (await jp.submit_job(bodies.healthy, 7, job_id="afterwards")) == 7
            found = await listed(jp)
            assert {job_id: str(job.status) for job_id, job in found.items()} == {
                **{str(job.job_id): ends.get(str(job.job_id), "completed") for job in jobs},
                "afterwards": "completed",
            }
            assert [job_id for job_id, job in found.items() if job.status is JobStatus.COMPLETED and job.failures] == []
            marked = {job_id for job_id, job in found.items() if job.unreadable is not None}
            assert marked == {"policy", "timeout", "no-lane", "priority", "metadata", "text", "moment"}
            assert set(await listed_over_http(web.port)) == set(found)
            with anyio.fail_after(PATIENCE):
                while not (_ended(here, found) and _ended(there, found)):
                    await anyio.sleep(0.05)
            assert any("unreadable" in event["data"] for event in there if event.get("job_id") == "event")
            for daemon in daemons:
                daemon.say("tell")
                daemon.until("alive")
            assert web.process.poll() is None, web.log()
        for daemon in daemons:
            daemon.say("leave")
            assert daemon.end() == 0, daemon.errors()
        web.terminate()
        assert "Traceback" not in web.log()


def _ended(seen: list[Any], found: dict[str, Job]) -> bool:
    """Whether a stream has brought the end of every job."""
    ended = {event["job_id"] for event in seen if event.get("status") in ("completed", "failed")}
    return ended >= {job_id for job_id, job in found.items() if job.status.terminal}
