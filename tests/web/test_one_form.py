"""A job's status reads the same wherever it is asked for: in Python, over HTTP, of an own route, by a command."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx
import pytest
from msgspec import json, to_builtins

from asyncjobs import JobProcessor, SQLiteConfig, StatusReport, SyncJobs, current_job
from asyncjobs.client import JobsClient
from asyncjobs.web.json_models import as_json
from tests.cli.inside import Inside
from tests.web.bodies import add, fail
from tests.web.support import serving

pytestmark = pytest.mark.anyio
SHARED = ("status", "percent", "elapsed", "remaining", "attempt", "error", "because")
IDS = ("done", "half", "bad", "skipped", "later", "cancelled")


async def half() -> None:
    current_job().progress(1, 2, "half of it")


def sent(report: StatusReport | None) -> dict[str, Any]:
    """What a route sends of it, as its client reads it."""
    assert report is not None
    return json.decode(json.encode(as_json(report)))


async def test_a_status_reads_the_same_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "jobs.db"
    async with JobProcessor(SQLiteConfig(db_path=path), functions=[add, fail, half]) as jp:
        await (await jp.submit_job(add, 1, job_id="done", group="g"))
        await (await jp.submit_job(half, job_id="half", group="g"))
        bad = await jp.submit_job(fail, "no", job_id="bad", group="g", max_retries=0)
        await jp.wait_for_job(bad)
        await jp.submit_job(add, bad, job_id="skipped", group="g")
        await jp.submit_job(add, 1, job_id="later", delay=3600)
        await jp.cancel_job(await jp.submit_job(add, 1, job_id="cancelled", delay=3600))
        batch = await jp.poll_batch(IDS)
        reports = {job_id: await jp.poll_status(job_id) for job_id in IDS}
        assert batch == reports
        app = jp.asgi_app()
        async with serving(app) as url, httpx.AsyncClient(base_url=url) as http, JobsClient(url) as client:
            for job_id, report in reports.items():
                ours = sent(report)
                theirs = (await http.get(f"/v1/jobs/{job_id}")).json()
                assert {name: theirs[name] for name in SHARED} == {name: ours[name] for name in SHARED}, job_id
                read = to_builtins(await client.poll_status(job_id))
                expected = to_builtins(report) | {"result": None}  # over HTTP it is asked for by itself
                assert read == expected
            remote = await client.poll_batch(IDS)
            assert remote == {job_id: await client.poll_status(job_id) for job_id in IDS}

    def by_other_ways() -> None:
        with SyncJobs(path, enable_daemon=False) as jobs:
            assert jobs.poll_batch(IDS) == {job_id: jobs.poll_status(job_id) for job_id in IDS} == reports
        shell = Inside(tmp_path, monkeypatch)
        listed = shell.good("--db", str(path), "--json", "jobs", "list").json["items"]
        for item in listed:
            ours = sent(reports[item["id"]])
            assert {name: item[name] for name in SHARED} == {name: ours[name] for name in SHARED}
            shown = shell.good("--db", str(path), "--json", "jobs", "show", item["id"]).json
            assert {name: shown[name] for name in item} == item

    await anyio.to_thread.run_sync(partial(by_other_ways))
