"""A local callable is kept for as long as its job may run, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from asyncjobs import JobEvent, JobStatus
from asyncjobs.backends.committed_events import CommittedEvents
from asyncjobs.runtime import local_callables
from asyncjobs.runtime.local_callables import LocalCallables

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, SKIPPED = JobStatus


def one() -> None: ...


def two() -> None: ...


def event(job_id: str, status: JobStatus | None) -> JobEvent:
    return JobEvent("1", job_id, 1, "x", datetime.now(UTC), 1, status)


def told(callables: LocalCallables, *events: JobEvent) -> None:
    callables.committed(CommittedEvents.of(events))


def kept(*ids: str) -> LocalCallables:
    callables = LocalCallables()
    for job_id in ids:
        callables.add(job_id, one)
    callables.stored(ids)
    return callables


@pytest.mark.parametrize(("status", "there"), [(s, s not in (COMPLETED, SKIPPED)) for s in JobStatus])
def test_it_goes_when_its_job_completes_or_is_skipped(status: JobStatus, there: bool) -> None:
    committed, seen = kept("a"), kept("a")
    told(committed, event("a", None), event("other", COMPLETED), event("a", status))
    seen.seen(["a"], {"a": status})
    for callables in (committed, seen):
        assert (callables.get("a") is one) is there
        assert len(callables) == there


def test_it_goes_when_its_job_is_removed() -> None:
    callables = kept("a", "b")
    callables.seen(["a", "b"], {"a": FAILED})
    assert (callables.get("a"), callables.get("b")) == (one, None)
    callables.seen(["a"], {})
    assert len(callables) == 0


def test_of_failed_and_cancelled_jobs_the_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_callables, "KEPT", 3)
    callables = kept(*"abcdef")
    told(callables, *[event(job_id, FAILED if job_id in "ace" else CANCELLED) for job_id in "abcde"])
    assert [job_id for job_id in "abcdef" if callables.get(job_id)] == list("cdef")
    told(callables, event("c", PENDING))  # retried: it does not count any more, and is not let go
    told(callables, event("f", FAILED), event("c", PENDING), event("c", FAILED))
    assert [job_id for job_id in "abcdef" if callables.get(job_id)] == list("cef")


def test_a_refused_submission_leaves_the_callable_of_the_job_that_has_the_id() -> None:
    callables = kept("a")
    callables.add("a", two)
    assert callables.get("a") is one  # it may be claimed meanwhile
    callables.refused(["a"])
    assert callables.get("a") is one
    callables.add("b", two)
    callables.refused(["b"])
    assert callables.get("b") is None


def test_the_id_of_a_removed_job_may_be_given_again() -> None:
    callables = kept("a")
    told(callables, event("a", FAILED))
    callables.add("a", two)
    assert callables.get("a") is two
    callables.stored(["a"])
    assert callables.get("a") is two
    again = kept("a")
    told(again, event("a", FAILED))
    again.add("a", two)
    again.refused(["a"])  # it was not removed: that one may be retried
    assert again.get("a") is one


@pytest.mark.parametrize("ends", [("stored", "refused"), ("refused", "stored")])
def test_two_submissions_of_one_id_at_a_time(ends: tuple[str, str]) -> None:
    callables = LocalCallables()
    callables.add("a", one)
    callables.add("a", two)
    for end in ends:
        finish: Callable[[Any], None] = getattr(callables, end)
        finish(["a"])
        assert callables.get("a") is one


def test_a_job_that_is_being_submitted_is_not_looked_at() -> None:
    callables = kept("a")
    callables.add("b", one)
    assert callables.some(10) == ["a"]
    callables.seen(["a", "b"], {"a": PENDING})
    assert callables.get("b") is one


def test_each_look_is_at_other_jobs() -> None:
    callables = kept(*"abcde")
    assert [callables.some(2) for _ in range(3)] == [["a", "b"], ["c", "d"], ["e", "a"]]
