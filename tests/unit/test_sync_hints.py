"""Hints of ``SyncJobs`` name its own calls, which nobody awaits."""

from __future__ import annotations

import pytest

from asyncjobs import JobCancelledError, JobTimeoutError, MemoryBackend, SyncJobs


def test_a_hint_of_sync_jobs_awaits_nothing() -> None:
    with SyncJobs(MemoryBackend(), enable_daemon=False) as jobs:
        handle = jobs.submit_job(len, "abc")
        with pytest.raises(JobTimeoutError) as late:
            handle.result(timeout=0.01)
        assert str(late.value.hint).endswith("cancel it with handle.cancel()")
        handle.cancel()
        with pytest.raises(JobCancelledError) as cancelled:
            handle.result(timeout=5)
        assert cancelled.value.hint == "handle.retry() runs it again"
