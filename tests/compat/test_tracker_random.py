"""Random calls: ours returns what the old tracker did, but for what is mended, by name."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import SyncJobs
from asyncjobs.compat import Job, JobStatus, JobTracker, JobType, PipelineState
from tests.compat.old_tracker import MENDED, OldTracker, without_updates

CALLS = 2000
IDS = ["plot", "char_1_front", "char_2_front", "img_1_first", "o'brien; --", "a/b", "é" * 40]
MOVIES = ["m1", "m2", "m3/x"]
Call = Callable[[Any], Any]


def new_job(draw: random.Random) -> Job:
    moment = datetime(2024, 1, 1) + timedelta(seconds=draw.randrange(50), microseconds=draw.choice([0, 0, 5]))
    return Job(
        id=draw.choice(IDS),
        type=draw.choice(list(JobType)),
        status=draw.choice(list(JobStatus)),
        scene_id=draw.choice([None, "s1"]),
        character_id=draw.choice([None, 0, 7]),
        metadata=draw.choice([{}, {"prompt": "näive"}, {"list": [1, 2.5, None], "nested": {"a": True}}]),
        error=draw.choice([None, "no"]),
        retry_count=draw.choice([0, 0, 2]),
        max_retries=draw.choice([3, 3, 5]),
        output_path=draw.choice([None, "a.png"]),
        created_at=moment,
        updated_at=moment,
    )


def new_state(draw: random.Random) -> PipelineState:
    state = PipelineState.create(draw.choice(MOVIES))
    state.screenplay_dict = draw.choice([None, {}, {"scenes": [1]}])
    state.screenplay_hash = state.compute_screenplay_hash()
    state.images_complete = draw.random() < 0.5
    state.jobs = [new_job(draw) for _ in range(draw.randrange(5))]
    return state


def draw_call(draw: random.Random) -> Call:
    movie, job_id, status = draw.choice(MOVIES), draw.choice([*IDS, "unknown"]), draw.choice(list(JobStatus))
    job, state = new_job(draw), new_state(draw)
    error, output_path = draw.choice([None, "oh"]), draw.choice([None, "b.png"])
    return draw.choice(
        [
            lambda tracker: tracker.save_job(job, movie),
            lambda tracker: tracker.get_job(job_id),
            lambda tracker: tracker.get_jobs_by_movie(movie),
            lambda tracker: tracker.get_jobs_by_status(movie, status),
            lambda tracker: tracker.get_next_pending_job(movie),
            lambda tracker: tracker.update_job_status(job_id, status, error, output_path),
            lambda tracker: tracker.save_state(state),
            lambda tracker: tracker.load_state(movie, "out"),
            lambda tracker: tracker.get_progress(movie),
        ]
    )


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("processor", "calls"), [(False, CALLS), (True, CALLS // 10)])
def test_every_deviation_is_one_of_the_mended_ones(tmp_path: Path, processor: bool, calls: int) -> None:
    """Ours is the model with all faults mended. What the model with one fault returns otherwise is due to that one.

    Of records, a tracker with a processor returns the same.
    """
    path = tmp_path / "jobs.db"
    with SyncJobs(path) if processor else nullcontext() as jobs:
        compare(JobTracker(path, processor=jobs), calls)


def compare(ours: JobTracker, calls: int) -> None:
    draw = random.Random(1)
    old, mended = OldTracker(), OldTracker(MENDED)
    but_one = {name: OldTracker(set(MENDED) - {name}) for name in MENDED}
    deviations: Counter[str] = Counter()
    for number in range(calls):
        call = draw_call(draw)
        result = without_updates(call(ours))
        assert result == without_updates(call(mended)), f"call {number}"
        before = without_updates(call(old))
        due_to = [name for name, model in but_one.items() if without_updates(call(model)) != result]
        assert due_to or before == result, f"call {number} deviates, and nothing explains it"
        deviations.update(due_to)
    assert set(deviations) == set(MENDED), "a fault that never showed was not tested"
