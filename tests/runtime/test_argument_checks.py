"""Input is checked at the first door: an error of the tree that names the field, the value and the fix."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import (
    BackendType,
    ConfigurationError,
    DaemonConfig,
    JobProcessor,
    JobQuery,
    JobRequest,
    MemoryBackend,
    MemoryConfig,
    SQLiteBackend,
    SQLiteConfig,
    SyncJobs,
)
from asyncjobs.processor import get_engine
from asyncjobs.testing import ManualClock
from tests.runtime.support import add, nothing

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("make", "problem", "hint"),
    [
        (lambda: JobQuery(stauts="failed"), "JobQuery.stauts is not a field", "did you mean 'status'?"),
        (lambda: JobQuery("failed"), "JobQuery takes its fields by name", "JobQuery(ids=…)"),
        (lambda: JobQuery(ids=[1]), "JobQuery.ids cannot be [1]", None),
        (lambda: JobQuery(group=5), "JobQuery.group cannot be 5", None),
        (lambda: JobQuery(parent_id=b"x"), "JobQuery.parent_id cannot be b'x'", None),
        (lambda: JobQuery(metadata=[("a", 1)]), "JobQuery.metadata cannot be [('a', 1)]", None),
        (lambda: JobQuery(limit=0), "JobQuery.limit cannot be 0", None),
        (lambda: JobQuery(limit=1001), "JobQuery.limit cannot be 1001", None),
        (lambda: JobQuery(limit=True), "JobQuery.limit cannot be True", None),
        (lambda: JobRequest(func=add, quue="x"), "JobRequest.quue is not a field", "did you mean 'queue'?"),
        (lambda: JobRequest(add, 1, 2), "JobRequest takes its fields by name", "JobRequest(func=…)"),
        (lambda: JobRequest(args=(1,)), "JobRequest needs func=", None),
        (lambda: JobProcessor(bakend="memory"), "JobProcessor.bakend is not a parameter", "did you mean 'backend'?"),
        (lambda: SyncJobs("memory", deamon=None), "SyncJobs.deamon is not a parameter", "did you mean 'daemon'?"),
        (lambda: JobProcessor("memory", enable_daemon="no"), "enable_daemon cannot be 'no'", None),
        (lambda: JobProcessor("memory", functions=add), "functions cannot be <function add", "functions=[…]"),
        (lambda: JobProcessor("memory", daemon={"slots": 3}), "daemon cannot be {'slots': 3}", None),
        (lambda: JobProcessor("memory", clock=5), "clock cannot be 5", "ManualClock()"),
        (lambda: JobProcessor("memory", clock=ManualClock), "clock cannot be <class", "ManualClock()"),
        (lambda: SyncJobs("memory", clock=time), "clock cannot be <module 'time'", "ManualClock()"),
        (lambda: SQLiteBackend(clock=False), "SQLiteBackend.clock cannot be False", "ManualClock()"),
        (lambda: MemoryBackend(clock="utc"), "MemoryBackend.clock cannot be 'utc'", "ManualClock()"),
        (lambda: SQLiteBackend(MemoryConfig()), "SQLiteBackend.config cannot be MemoryConfig", None),
        (lambda: MemoryBackend("x.db"), "MemoryBackend.config cannot be 'x.db'", None),
        (lambda: DaemonConfig(leese=3), "DaemonConfig.leese is not a setting", "did you mean 'lease'?"),
        (lambda: DaemonConfig(lease=3, heartbeat=2), "DaemonConfig.heartbeat cannot be 2", None),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_nearest_name(make: Any, problem: str, hint: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value.args[0]).startswith(problem)
    assert hint is None or hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"queue": ""}, "queue"),
        ({"group": ""}, "group"),
        ({"priority": ""}, "priority"),
        ({"priority": False}, "priority"),
        ({"local": "yes"}, "local"),
        ({"local": 1}, "local"),
        ({"job_id": "."}, "job_id"),
        ({"job_id": ".."}, "job_id"),
        ({"args": "abc"}, "args"),
        ({"kwargs": [("a", 1)]}, "kwargs"),
    ],
)
async def test_an_option_that_cannot_work_is_refused_and_nothing_is_stored(
    jp: JobProcessor, options: dict[str, Any], field: str
) -> None:
    for submit in (
        lambda: jp.submit_job(nothing, **options),
        lambda: jp.submit_jobs([JobRequest(func=nothing, **options)]),
    ):
        with pytest.raises(ConfigurationError) as caught:
            await submit()
        assert caught.value.field == field
    assert await jp.find_jobs() == []


async def test_one_id_is_one_id(jp: JobProcessor) -> None:
    job = await jp.submit_job(add, 1, 2, job_id="abc")
    await job
    with pytest.raises(ConfigurationError, match=r"job_ids=\[…\]"):
        await jp.poll_batch(job)
    with pytest.raises(ConfigurationError, match="job_ids cannot be 5"):
        await jp.poll_batch([5])
    assert list(await jp.poll_batch([job, "nobody"])) == ["abc", "nobody"]
    assert [found.id for found in await jp.find_jobs(JobQuery(ids=job))] == ["abc"]
    assert [found.id for found in await jp.find_jobs(JobQuery(ids="abc"))] == ["abc"]


# -- where jobs are kept


@pytest.mark.parametrize("kind", [JobProcessor, SyncJobs])
@pytest.mark.parametrize("form", ["Path", "slash", "suffix", "config", "backend"])
def test_a_path_is_a_path(kind: Any, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backend: Any = {
        "Path": Path("jobs"),
        "slash": "./jobs",
        "suffix": "jobs.db",
        "config": SQLiteConfig(db_path="jobs"),
        "backend": SQLiteBackend("jobs"),
    }[form]
    made = kind(backend)
    processor = made.processor if isinstance(made, SyncJobs) else made
    config: Any = get_engine(processor).settings.backend_config
    name = "jobs.db" if form == "suffix" else "jobs"
    assert tmp_path / name in (config.db_path, config.file)


@pytest.mark.parametrize("kind", [JobProcessor, SyncJobs])
def test_any_other_text_is_the_name_of_a_backend(kind: Any) -> None:
    for good in ("memory", "sqlite", BackendType.MEMORY):
        kind(good)
    for bad, hint in (("memry", "did you mean 'memory'?"), ("jobs", "'./jobs' or 'jobs.db'"), ("", None)):
        with pytest.raises(ConfigurationError) as caught:
            kind(bad)
        assert caught.value.field == "backend"
        assert hint is None or hint in str(caught.value.hint)
    with pytest.raises(ConfigurationError, match="a path needs no config="):
        kind("jobs.db", config=SQLiteConfig(db_path="other.db"))


def test_a_short_lease_has_a_short_heartbeat() -> None:
    assert DaemonConfig(lease=3).heartbeat == 1.0
    assert DaemonConfig(lease=60).heartbeat == 5.0
    assert DaemonConfig(lease=3, heartbeat=0.5).heartbeat == 0.5
