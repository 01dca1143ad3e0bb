"""Credentials that expire while a daemon runs: as if AWS were away, until there are new ones."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import BackendConnectionError, DaemonConfig, JobProcessor
from asyncjobs.backends.sqs import credentials
from tests import sqs_server
from tests.faults import bodies
from tests.sqs_answers import AnsweredSQSBackend, Answering, Refusal, key_of

pytestmark = [pytest.mark.slow, pytest.mark.anyio, pytest.mark.timeout(120)]

PATIENCE = 60
LEASE = 3.0
HEARTBEAT = "asyncjobs-sqs-heartbeat"
_EXPIRED = Refusal("ExpiredTokenException", "The security token included in the request is expired")


class Signed:
    """Refuses calls whose credentials have expired. ``seen`` counts the calls of each thread by their keys."""

    def __init__(self) -> None:
        self.expired: set[str] = set()
        self.seen: Counter[tuple[str, str]] = Counter()

    def __call__(self, operation: str, request: Any) -> Refusal | None:
        key = key_of(request)
        self.seen[threading.current_thread().name, key] += 1
        return (
            Refusal("ExpiredTokenException", "The security token included is expired") if key in self.expired else None
        )


def write(file: Path, key: str) -> None:
    file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = x\naws_session_token = y\n")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    sqs_server.endpoint()
    file = tmp_path / "credentials"
    write(file, "old")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setattr(credentials, "RENEWED_AFTER", 0.1)
    return file


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged, but for what the loop monitor says of the test itself."""
    found = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [record.getMessage() for record in found if "event loop" not in record.getMessage()]


async def status_of(jp: JobProcessor, job_id: str) -> str | None:
    """Return the status of a job, None while the store is away."""
    try:
        return (await jp.get_job(job_id)).status
    except BackendConnectionError:
        return None


async def test_a_daemon_goes_on_by_itself_with_new_credentials(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    signed, released = Signed(), threading.Event()
    backend = AnsweredSQSBackend(sqs_server.config(wait_time=1), Answering(signed))

    async def held() -> str:
        while not released.is_set():
            await anyio.sleep(0.05)
        return "done"

    async with JobProcessor(backend, daemon=DaemonConfig(lease=LEASE), functions=[bodies.nothing]) as jp:
        job = await jp.submit_job(held, local=True)
        waiting = await jp.submit_job(bodies.nothing, depends_on=[job])
        worker = (await jp.workers())[0].id
        with anyio.fail_after(PATIENCE):
            while (await status_of(jp, job.id)) != "in_progress":
                await anyio.sleep(0.05)
        signed.expired.add("old")
        signed.seen.clear()
        released.set()
        with anyio.fail_after(PATIENCE):  # the outcome cannot be stored, and the heart beats in vain
            while signed.seen[HEARTBEAT, "old"] < 3 or signed.seen[threading.main_thread().name, "old"] < 20:
                await anyio.sleep(0.05)
        write(file, "new")
        with anyio.fail_after(PATIENCE):
            while (await status_of(jp, waiting.id)) != "completed":  # by itself, so nobody asks for it but this
                await anyio.sleep(0.1)
        assert await job == "done"
        while signed.seen[HEARTBEAT, "new"] < 2:  # the loop is busy: only the thread renews the lease
            time.sleep(0.05)  # noqa: ASYNC251 - a body that holds its loop
        assert [one.id for one in await jp.workers()] == [worker]
        assert (await jp.get_job(job.id)).attempt == 1
        assert (await jp.get_job(job.id)).interruptions == 0
    lost, found = said(caplog)
    assert lost.startswith("AWS refuses the credentials of this process (this is logged once): Expired")
    assert "renew them; this process goes on by itself when it finds new ones" in lost
    assert found == "resumed: AWS accepts the credentials of this process again"
