"""The state machine of one job, transition by transition."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from asyncjobs.core import lifecycle
from asyncjobs.core.lifecycle import TRANSITIONS
from asyncjobs.core.state import Change, JobState, Stale
from asyncjobs.models import EventType, JobStatus, Outcome, OutcomeKind, WaitsFor

NOW = 1_000_000
STATES = [
    replace(
        JobState(1, "j"),
        status=status,
        waits_for=WaitsFor.WORKER if status is JobStatus.PENDING else None,
        attempt=1,
        worker=7,
        seq=3,
    )
    for status in JobStatus
]
CHANGES = [EventType(name) for name in ("started", "completed", "failed", "cancelled", "skipped", "retrying")] + [
    EventType.RELEASED,
    EventType.INTERRUPTED,
]


@pytest.mark.parametrize(
    ("job", "event"), list(itertools.product(STATES, CHANGES)), ids=lambda v: str(getattr(v, "status", v))
)
def test_a_change_happens_exactly_where_the_table_has_it(job: JobState, event: EventType) -> None:
    to = TRANSITIONS.get((job.status, event))
    if to is None:
        with pytest.raises(KeyError):
            lifecycle.transition(job, event, NOW)
        return
    change = lifecycle.transition(job, event, NOW)
    assert change.job.status is to
    assert change.job.seq == job.seq + 1
    assert [(e.seq, e.type, e.status) for e in change.events] == [(job.seq + 1, event, to)]


def test_terminal_statuses_are_left_only_by_an_explicit_retry() -> None:
    """That of the job, of the cause of its skip, or of the job that asked: then a completed gate is asked again."""
    for (status, event), to in TRANSITIONS.items():
        if status is not None and status.terminal:
            assert (event, to) == (EventType.RETRYING, JobStatus.PENDING)


def test_nothing_else_follows_an_end_of_a_job_that_never_started() -> None:
    """A gate ends as completed or failed while it is pending; any other job without an attempt only as failed."""
    ends = {event for (status, event), to in TRANSITIONS.items() if status is JobStatus.PENDING and to.terminal}
    assert ends == {EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED, EventType.SKIPPED}


@pytest.mark.parametrize("job", STATES, ids=lambda job: str(job.status))
def test_only_the_attempt_in_progress_may_write(job: JobState) -> None:
    success = Outcome(OutcomeKind.SUCCEEDED, b"\xc0")
    held = job.status is JobStatus.IN_PROGRESS
    assert isinstance(lifecycle.finish(job, 1, 7, success, NOW, 0.5), Change if held else Stale)
    assert isinstance(lifecycle.append_events(job, 1, 7, ()), Change if held else Stale)
    assert isinstance(lifecycle.interrupt(job, NOW, 0.5), Change if held else Stale)
    for attempt, worker in ((0, 7), (2, 7), (1, 8)):
        assert isinstance(lifecycle.finish(job, attempt, worker, success, NOW, 0.5), Stale)


@pytest.mark.parametrize("job", STATES, ids=lambda job: str(job.status))
def test_only_a_ready_job_starts(job: JobState) -> None:
    started = lifecycle.start(job, 9, NOW)
    if job.status is not JobStatus.PENDING:
        assert isinstance(started, Stale)
        return
    assert isinstance(started, Change)
    assert (started.job.attempt, started.job.worker, started.job.waits_for) == (2, 9, None)
    for waits_for in (WaitsFor.LIMIT, WaitsFor.TIME, WaitsFor.DEPENDENCIES):
        assert isinstance(lifecycle.start(replace(job, waits_for=waits_for), 9, NOW), Stale)


@pytest.mark.parametrize("kind", list(OutcomeKind))
def test_a_stored_request_to_cancel_turns_every_outcome_into_cancelled(kind: OutcomeKind) -> None:
    job = replace(STATES[1], cancel_requested=True)
    change = lifecycle.finish(job, 1, 7, Outcome(kind), NOW, 0.5)
    assert isinstance(change, Change)
    assert change.job.status is JobStatus.CANCELLED


def test_cancelling_twice_asks_once() -> None:
    asked = lifecycle.cancel(STATES[1], NOW)
    assert asked is not None
    assert asked.job.status is JobStatus.IN_PROGRESS
    assert lifecycle.cancel(asked.job, NOW) is None
