"""A stored row that cannot be read costs its own job, or its own mark, and no process anything (rule 4.15).

Garbage is written into the file as a damaged disk or another program would do it.
"""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import pytest

from asyncjobs import Job, JobExecutionError, JobProcessor, JobQuery, JobStatus, RetryPolicy
from asyncjobs.backends.sqlite import suspects
from asyncjobs.core.state import SECOND
from tests.runtime.support import PATIENCE, Held, Stores, add, echo, everything, fail, within

pytestmark = [pytest.mark.anyio, pytest.mark.persistent]

BAD = "(SELECT n FROM jobs WHERE id = 'bad')"


def damage(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


async def submit(jp: JobProcessor) -> None:
    """The bad one first, so that whoever claims in order meets it first; its policy is not the default."""
    await jp.submit_job(
        add, 1, 2, job_id="bad", metadata={"who": "bad"}, retry=RetryPolicy(max_retries=1, base=0.01), timeout=60
    )
    for n in range(3):
        await jp.submit_job(add, 1, n, job_id=f"good-{n}", metadata={"who": "good"}, retry=RetryPolicy(base=0.01))
    await jp.submit_job(echo, jp.handle("bad"), job_id="dependent")


async def healthy(jp: JobProcessor) -> None:
    """The others run, in lists, streams and queries as in claims."""
    for n in range(3):
        assert await within(PATIENCE, jp.handle(f"good-{n}")) == 1 + n
    assert await within(PATIENCE, await jp.submit_job(add, 2, 2)) == 4
    listed: dict[str, Job] = {}
    for order in ("oldest", "newest"):
        page = await jp.find_jobs(JobQuery(order=order))
        listed = {job.id: job for job in page}
        assert {"bad", "dependent", "good-0", "good-1", "good-2"} <= set(listed), "every row is listed"
    assert len(await jp.find_jobs(JobQuery(metadata={"who": "good"}))) == 3
    await jp.poll_batch(list(listed))
    await jp.backend.count_jobs()
    await jp.workers()
    for job_id in listed:
        await jp.backend.get_attempts(job_id)


FAILS = {
    "retry policy, truncated": ("UPDATE jobs SET retry = x'93' WHERE id = 'bad'", "retry policy"),
    "retry policy, of something else": ("UPDATE jobs SET retry = x'a3616263' WHERE id = 'bad'", "retry policy"),
    "retry policy, of Decimals": (
        # As versions before stored RetryPolicy(base=Decimal("0.5")).
        "UPDATE jobs SET retry = x'9703a3302e35cb4000000000000000cb4072c00000000000cb3fb999999999999a9090' "
        "WHERE id = 'bad'",
        "retry policy",
    ),
    "retry policy, text": ("UPDATE jobs SET retry = 'often' WHERE id = 'bad'", "retry policy"),
    "call, empty": (f"UPDATE jobs SET call = x'' WHERE n = {BAD}", "cannot be read"),
    "call, garbage": (f"UPDATE jobs SET call = x'c1ff00' WHERE n = {BAD}", "cannot be read"),
    "call, of something else": (f"UPDATE jobs SET call = x'92c0c0' WHERE n = {BAD}", "stored arguments"),
    "call, text": (f"UPDATE jobs SET call = 'call me' WHERE n = {BAD}", "call"),
    "call, gone": (f"UPDATE jobs SET call = NULL WHERE n = {BAD}", "call"),
    "timeout": ("UPDATE jobs SET timeout = 'soon' WHERE id = 'bad'", "timeout"),
    "priority": ("UPDATE jobs SET priority = 'high' WHERE id = 'bad'", "priority"),
    "failures": ("UPDATE jobs SET failures = 'none' WHERE id = 'bad'", "failures"),
    "attempt": ("UPDATE jobs SET attempt = x'00' WHERE id = 'bad'", "attempt"),
    "seq": ("UPDATE jobs SET seq = 'last' WHERE id = 'bad'", "seq"),
    "counts": ("UPDATE jobs SET open = 'some', met = 'few' WHERE id = 'bad'", "open"),
    "lane, gone": ("UPDATE jobs SET lane = 4711 WHERE id = 'bad'", "function"),
    "several at once": ("UPDATE jobs SET retry = x'93', timeout = 'soon', priority = 'x' WHERE id = 'bad'", "priority"),
}


@pytest.mark.parametrize("what", FAILS)
async def test_a_claimed_row_that_cannot_be_read_is_that_jobs_failure(stores: Stores, what: str) -> None:
    statement, says = FAILS[what]
    async with stores.processor(enable_daemon=False) as jp:
        await submit(jp)
    damage(stores.path, statement)
    for _ in range(2):  # and the next process is not ended by it, either
        async with stores.processor(functions=[add, echo]) as jp:
            job = await within(PATIENCE, jp.wait_for_job("bad"))
            assert job.status is JobStatus.FAILED
            assert job.attempt <= 1, "it is not tried again"
            assert job.error is not None
            assert says in job.error.message
            dependent = await within(PATIENCE, jp.wait_for_job("dependent"))
            assert (dependent.status, dependent.because) == (JobStatus.SKIPPED, "bad")
            await healthy(jp)
            types = [event.type for event in await everything(jp.stream_job("bad"))]
            assert types[-1] == "failed"


MARKED = {
    "metadata, truncated": (f"UPDATE jobs SET metadata = '{{\"who\": ' WHERE n = {BAD}", "metadata"),
    "metadata, a list": (f"UPDATE jobs SET metadata = '[1]' WHERE n = {BAD}", "metadata"),
    "metadata, bytes": (f"UPDATE jobs SET metadata = x'ff00' WHERE n = {BAD}", "metadata"),
    "metadata, no UTF-8": (f"UPDATE jobs SET metadata = CAST(x'ff' AS TEXT) WHERE n = {BAD}", "metadata"),
    "created_at": ("UPDATE jobs SET created_at = 'once' WHERE id = 'bad'", "created_at"),
    "created_at, beyond the calendar": (
        "UPDATE jobs SET created_at = 9000000000000000000 WHERE id = 'bad'",
        "created_at",
    ),
    "finished_at": ("UPDATE jobs SET finished_at = -9000000000000000000 WHERE id = 'bad'", "finished_at"),
    "status": ("UPDATE jobs SET status = 99 WHERE id = 'bad'", "status"),
    "status, text": ("UPDATE jobs SET status = 'done' WHERE id = 'bad'", "status"),
    "retry policy": ("UPDATE jobs SET retry = x'93' WHERE id = 'bad'", "retry policy"),
    "lane": ("UPDATE jobs SET lane = 4711 WHERE id = 'bad'", "function"),
    "group": ("UPDATE jobs SET grp = x'ff' WHERE id = 'bad'", "group"),
    "progress": (
        "INSERT INTO events SELECT 100000, n, 100, 'progress', 0, attempt, NULL, NULL, x'81a4646f6e65a3616c6c' "
        "FROM jobs WHERE id = 'bad'",
        "progress",
    ),
}


@pytest.mark.parametrize("what", MARKED)
async def test_a_row_that_cannot_be_read_is_marked_wherever_it_is_shown(
    stores: Stores, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    statement, says = MARKED[what]
    async with stores.processor() as jp:
        await submit(jp)
        await within(PATIENCE, jp.handle("dependent"))
        for n in range(3):
            await within(PATIENCE, jp.handle(f"good-{n}"))
    damage(stores.path, statement)
    async with stores.processor() as jp:
        job = await jp.get_job("bad")
        assert job.unreadable is not None
        assert job.unreadable.startswith("unreadable: ")
        assert says in job.unreadable
        await healthy(jp)
        [listed] = [job for job in await jp.find_jobs() if job.unreadable is not None]
        assert listed == job
        await jp.why("bad")
        await jp.get_job("bad")
    told = [record for record in caplog.records if "unreadable" in record.getMessage()]
    assert len(told) == 1, "it is logged once"
    assert told[0].levelno == logging.ERROR


EVENTS = {
    "truncated": "x'81a1'",
    "no mapping": "x'93010203'",
    "keyed by a number": "x'8101a161'",
    "an extension": "x'81a178c70101ff'",
    "keyed by a list, inside": "x'81a178819101c0'",
    "text": "'text'",
    "far too deep": f"x'81a178{'91' * 100_000}c0'",
}


@pytest.mark.parametrize("data", EVENTS)
async def test_an_event_that_cannot_be_read_is_marked_and_the_stream_goes_on(
    stores: Stores, data: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with stores.processor() as jp:
        await submit(jp)
        await within(PATIENCE, jp.handle("dependent"))
    damage(stores.path, f"UPDATE events SET data = {EVENTS[data]} WHERE job = {BAD} AND type = 'started'")
    async with stores.processor() as jp:
        events = await everything(jp.stream_job("bad"))
        assert [event.type for event in events] == ["submitted", "started", "completed"]
        assert events[1].data["unreadable"].startswith("unreadable: event data")
        frames = b"".join([frame async for frame in jp.subscribe_sse(job_id="bad")])
        assert b"unreadable: event data" in frames
        assert b"event: completed" in frames
        await healthy(jp)
        assert await within(PATIENCE, _first_of_all(jp)) == "submitted"
    assert len([record for record in caplog.records if "unreadable" in record.getMessage()]) == 1


async def _first_of_all(jp: JobProcessor) -> str:
    stream = jp.stream_all()
    try:
        return (await anext(stream)).type
    finally:
        await stream.aclose()


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE events SET at = 'then' WHERE job = {BAD} AND type = 'started'",
        f"UPDATE events SET at = 9000000000000000000 WHERE job = {BAD} AND type = 'started'",
        f"UPDATE events SET status = 99 WHERE job = {BAD} AND type = 'started'",
        f"UPDATE events SET attempt = x'00' WHERE job = {BAD} AND type = 'started'",
        f"UPDATE events SET grp = CAST(x'ff' AS TEXT), data = x'c1' WHERE job = {BAD} AND type = 'started'",
    ],
)
async def test_so_is_one_of_which_another_column_cannot_be_read(stores: Stores, statement: str) -> None:
    async with stores.processor() as jp:
        await submit(jp)
        await within(PATIENCE, jp.handle("dependent"))
    damage(stores.path, statement)
    async with stores.processor() as jp:
        events = await everything(jp.stream_job("bad"))
        assert [event.type for event in events] == ["submitted", "started", "completed"]
        assert events[1].data["unreadable"].startswith("unreadable: ")
        await healthy(jp)


OTHERS = {
    "error": f"UPDATE attempts SET error_type = x'ff', message = x'ff', traceback = x'ff' WHERE job = {BAD}",
    "error, no UTF-8": f"UPDATE attempts SET message = CAST(x'ff' AS TEXT), error_type = 'E' WHERE job = {BAD}",
    "how it ended": f"UPDATE attempts SET kind = 'strangely' WHERE job = {BAD}",
    "when it ended": f"UPDATE attempts SET started_at = 'then', finished_at = 'then' WHERE job = {BAD}",
    "a worker's queues": "UPDATE workers SET queues = '[1', gone = 0",
    "a worker's refusals": "UPDATE workers SET refused = x'ff', gone = 0",
    "a worker's lease": "UPDATE workers SET expires = 'never', gone = 0",
    "a worker's process": "UPDATE workers SET pid = 'me', boot = x'00', gone = 0",
    "an edge": f"UPDATE edges SET state = 99 WHERE parent = {BAD}",
    "an edge that leads nowhere": "INSERT INTO edges VALUES ((SELECT max(n) FROM jobs), 4711, 0, 0)",
    "an edge from nowhere": "INSERT INTO edges VALUES (4711, (SELECT max(n) FROM jobs), 0, 0)",
    "a lane": "INSERT INTO lanes(queue, function, owner) VALUES (x'ff', x'ff', x'ff')",
    "a limit": "UPDATE limits SET capacity = 'many', in_progress = 'few'",
    "a delayed job": "UPDATE jobs SET waits_for = 2, run_at = 'later', status = 0, finished_at = NULL WHERE id = 'bad'",
    "a ready job of no lane": (
        "UPDATE jobs SET lane = 4711, waits_for = 0, status = 0, finished_at = NULL WHERE id = 'bad'"
    ),
    "a function without a name": "UPDATE lanes SET function = 'no name' WHERE function LIKE '%:fail'",
}


@pytest.mark.parametrize("what", OTHERS)
async def test_whatever_else_cannot_be_read_others_go_on(stores: Stores, what: str) -> None:
    async with stores.processor() as jp:
        await jp.submit_job(fail, job_id="bad", max_retries=0, limit=("k", 3))
        for n in range(3):
            await jp.submit_job(add, 1, n, job_id=f"good-{n}", metadata={"who": "good"})
        await jp.submit_job(echo, 1, depends_on=[jp.optional("bad")], job_id="dependent")
        await within(PATIENCE, jp.handle("dependent"))
    damage(stores.path, OTHERS[what])
    async with stores.processor(lease=1.0, heartbeat=0.1) as jp:
        await healthy(jp)
        limited = [await jp.submit_job(add, 1, n, limit=("k", 1)) for n in range(2)]
        assert [await within(PATIENCE, job) for job in limited] == [1, 2]
        child = await jp.submit_job(echo, limited[0])
        assert await within(PATIENCE, child) == 1


async def test_a_job_of_which_something_cannot_be_read_can_still_be_cancelled_and_removed(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        await submit(jp)
    damage(stores.path, FAILS["several at once"][0])
    async with stores.processor(enable_daemon=False) as jp:
        assert await jp.cancel_job("bad") is JobStatus.CANCELLED
        assert (await jp.get_job("bad")).unreadable is not None
        assert await jp.remove_jobs(["bad", "dependent"]) == ["bad", "dependent"]


async def test_a_row_that_is_mended_runs_after_a_retry(stores: Stores) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        await submit(jp)
    damage(stores.path, FAILS["retry policy, truncated"][0])
    async with stores.processor(functions=[add, echo]) as jp:
        assert (await within(PATIENCE, jp.wait_for_job("bad"))).status is JobStatus.FAILED
    damage(stores.path, "UPDATE jobs SET retry = NULL WHERE id = 'bad'")
    async with stores.processor(functions=[add, echo]) as jp:
        await jp.retry_job("bad")
        assert await within(PATIENCE, jp.handle("dependent")) == 3


MOMENTS = {
    "text": "run_at = 'later', due = NULL, boot = NULL",
    "nothing": "run_at = NULL, due = NULL, boot = NULL",
    "a number that no moment has": "run_at = 1e300, due = NULL, boot = NULL",
    "bytes": "run_at = x'ff', due = NULL, boot = NULL",
    "the end of a duration, text": "due = 'later'",
    "the end of a duration, nothing": "due = NULL",
}


@pytest.mark.parametrize("what", MOMENTS)
async def test_a_delayed_job_whose_moment_cannot_be_read_fails_alone(stores: Stores, what: str) -> None:
    async with stores.processor(enable_daemon=False) as jp:
        for job_id in ("bad", "later"):
            await jp.submit_job(add, 1, 2, job_id=job_id, delay=3600)
        await jp.submit_job(add, 1, 2, job_id="soon", delay=0.3)
        await jp.submit_job(echo, 1, depends_on=["bad"], job_id="dependent")
    damage(stores.path, f"UPDATE jobs SET {MOMENTS[what]} WHERE id = 'bad'")
    async with stores.processor() as jp:
        with pytest.raises(JobExecutionError, match="UnreadableJobError: .* unreadable: run_at"):
            await within(PATIENCE, jp.handle("bad"))
        assert await within(PATIENCE, jp.handle("soon")) == 3
        assert [(await jp.get_job(job_id)).status for job_id in ("later", "dependent")] == ["pending", "skipped"]


WORKERS = {
    "a lease that is text": "expires = 'never'",
    "a lease that no worker gets": "expires = 9000000000000000000",
    "a lease that is no whole number": "expires = 1e300",
    "a length of a lease that is text": "expires = 'x', lease = 'long', pid = 'me'",
    "a process that is text": "expires = 0, pid = 'me', host = x'ff'",
    "a mark that is none": "gone = 'perhaps'",
    "nothing": "",
}


@pytest.mark.parametrize("what", WORKERS)
async def test_a_worker_whose_row_cannot_be_read_loses_its_jobs_and_no_other_is_kept_from_it(
    stores: Stores, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are dead: of the one the row is damaged, or removed; of the other the lease has run out."""
    monkeypatch.setattr(suspects, "_LEASE", SECOND)
    async with stores.processor(enable_daemon=False) as jp:
        held = await jp.submit_job(add, 1, 2, job_id="held")
        other = await jp.submit_job(add, 2, 2, job_id="other")
    rows = [
        "INSERT INTO workers(n, name, slots, host, boot, pid_namespace, pid, process_start, registered_at, lease, "
        f"expires) VALUES ({n}, 'w', 1, 'elsewhere', '', '', 1, '', 0, 1000000, 0)"
        for n in (4711, 4712)
    ]
    change = f"UPDATE workers SET {WORKERS[what]}" if WORKERS[what] else "DELETE FROM workers"
    running = [
        f"UPDATE jobs SET status = 1, waits_for = NULL, attempt = 1, worker = {n} WHERE id = '{job_id}'"
        for n, job_id in ((4711, "held"), (4712, "other"))
    ]
    damage(stores.path, *rows, f"{change} WHERE n = 4711", *running)
    async with stores.processor(lease=1.0, heartbeat=0.1) as jp:
        assert await within(PATIENCE, jp.handle(other)) == 4
        assert await within(PATIENCE, jp.handle(held)) == 3
        assert (await jp.get_job("held")).interruptions == 1


async def test_a_living_worker_whose_lease_was_damaged_writes_it_anew_and_keeps_its_jobs(stores: Stores) -> None:
    async with stores.processor(lease=3.0, heartbeat=0.2) as jp:
        held = Held()
        job = await jp.submit_job(held.body, job_id="held", local=True)
        await within(PATIENCE, held.started.wait())
        damage(stores.path, "UPDATE workers SET expires = 'never'")
        [worker] = await jp.workers()
        assert worker.alive
        await jp.backend.reap()
        held.go.open()
        await within(PATIENCE, job)
        assert (await jp.get_job("held")).interruptions == 0
