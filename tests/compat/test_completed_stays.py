"""What has been completed stays when a program with functions is started on records; what would be lost is logged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from asyncjobs import JobProcessor, SyncJobs, UnknownDependencyError
from asyncjobs.compat import Job, JobStatus, JobTracker, PipelineState
from tests.compat import work
from tests.compat.old_files import old_job, old_state, write_old
from tests.compat.support import job, movie_of, shown

pytestmark = pytest.mark.anyio
PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED = JobStatus
PATIENCE = 20


@pytest.fixture
async def jp(tmp_path: Path) -> AsyncIterator[JobProcessor]:
    async with JobProcessor(tmp_path / "jobs.db") as opened:
        yield opened


@pytest.fixture
def tracker(tmp_path: Path, jp: JobProcessor) -> JobTracker:
    return JobTracker(tmp_path / "jobs.db", processor=jp)


def done(job_id: str = "plot", **fields: object) -> Job:
    given = {"scene_id": "s1", "metadata": {"prompt": "fog"}, "output_path": "plot.txt", **fields}
    return job(job_id, status=COMPLETED, **given)


async def test_a_new_program_on_an_imported_movie_runs_what_is_not_completed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    jobs = [
        old_job("plot", "m", status="completed", scene_id="s1", metadata='{"prompt": "fog"}', output_path="plot.txt"),
        old_job("panel_0", "m", status="in_progress"),
        old_job("panel_1", "m", status="failed", error="no light"),
    ]
    state = old_state("m", screenplay_complete=1, screenplay_hash="h", screenplay_data='{"scenes": [1]}')
    old = write_old(tmp_path / "cinema_jobs.db", jobs, [state])
    ledger = tmp_path / "ledger"

    def new_state() -> PipelineState:
        note = str(ledger)
        panels = [job(f"panel_{i}", work.note, note, f"panel_{i}", depends_on=["plot"]) for i in range(3)]
        return movie_of(job("plot", work.note, note, "plot"), *panels)

    async with JobProcessor(tmp_path / "cinema_jobs.asyncjobs.db") as jp:
        tracker = JobTracker(old, processor=jp)
        before = tracker.get_job("plot")
        tracker.save_state(new_state())
        await jp.drain("m", timeout=PATIENCE)
        assert sorted(ledger.read_text().split()) == ["panel_0", "panel_1", "panel_2"]
        assert tracker.get_job("plot") == before, "with its metadata, scene, path and times"
        found = tracker.load_state("m")
        assert (found.screenplay_complete, found.screenplay_hash) == (True, "h")
        assert found.screenplay_dict == {"scenes": [1]}
        assert tracker.get_progress("m")["progress"] == 100.0
        assert [record.getMessage() for record in caplog.records if record.name == "asyncjobs.compat"] == [
            "movie 'm': not submitted, and left as they are, because they completed before: 'plot'; to run one again, "
            "set the status of the job that tracker.load_state('m') returns to pending, and save it"
        ]


@pytest.mark.parametrize("save", ["job", "state"])
async def test_a_completed_record_that_is_kept_is_logged_once_for_an_object(
    tracker: JobTracker, jp: JobProcessor, caplog: pytest.LogCaptureFixture, save: str
) -> None:
    tracker.save_job(done(), "m")
    new = job("plot", work.draw)
    for _ in range(2):
        if save == "job":
            tracker.save_job(new, "m")
        else:
            tracker.save_state(movie_of(new))
    assert await jp.find_jobs() == []
    assert (tracker.get_job("plot").metadata, tracker.get_job("plot").scene_id) == ({"prompt": "fog"}, "s1")
    assert caplog.text.count("'plot'; to run one again") == 1


async def test_the_job_of_another_movie_is_not_kept_for_it(tracker: JobTracker, jp: JobProcessor) -> None:
    tracker.save_job(done(), "another")
    tracker.save_job(job("plot", work.draw), "m")
    assert [one.id for one in await jp.find_jobs()] == ["m/plot"]


@pytest.mark.parametrize("how", ["loaded", "loaded state", "own object", "update"])
async def test_a_completed_record_runs_again_where_the_program_has_set_it_to_pending(
    tracker: JobTracker, jp: JobProcessor, how: str
) -> None:
    own = done()
    tracker.save_state(movie_of(own))
    again = {"loaded": tracker.get_job("plot"), "own object": own, "update": job("plot")}.get(how)
    state = tracker.load_state("m")
    again = again or state.get_job("plot")
    if how == "update":
        tracker.update_job_status("plot", PENDING)
    again.status, again.func = PENDING, work.draw
    if how == "loaded state":
        tracker.save_state(state)
    else:
        tracker.save_job(again, "m")
    await jp.drain("m", timeout=PATIENCE)
    assert [(one.id, one.status.value) for one in await jp.find_jobs()] == [("m/plot", "completed")]


async def test_what_another_program_has_completed_since_it_was_loaded_stays(
    tracker: JobTracker, jp: JobProcessor
) -> None:
    tracker.save_state(movie_of(job("a"), job("b", status=FAILED)))
    state = tracker.load_state("m")
    other = JobTracker(tracker.file)
    for one in state.jobs:
        other.update_job_status(one.id, COMPLETED, output_path=f"{one.id}.png")
        one.status, one.func = PENDING, work.draw
    tracker.save_state(state)
    assert await jp.find_jobs() == []
    assert [one.output_path for one in tracker.get_jobs_by_movie("m")] == ["a.png", "b.png"]


async def test_a_job_that_is_kept_meets_the_dependencies_on_it(tracker: JobTracker, jp: JobProcessor) -> None:
    tracker.save_job(done(), "m")
    with pytest.raises(UnknownDependencyError):
        tracker.save_state(movie_of(job("plot", work.draw), job("a", work.draw, depends_on=["plot", "unknown"])))
    tracker.save_state(movie_of(job("a", work.draw, depends_on=["plot"]), job("plot", work.draw)))
    await jp.drain("m", timeout=PATIENCE)
    assert shown(tracker) == {"plot": "completed", "a": "completed"}
    assert (await jp.get_job("m/a")).depends_on == ()


@pytest.mark.parametrize("processor", [False, True])
def test_records_are_replaced_as_before_and_a_state_that_is_reset_is_logged(
    tmp_path: Path, processor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "jobs.db"
    with SyncJobs(path) if processor else nullcontext() as jobs:
        tracker = JobTracker(path, processor=jobs)
        state = movie_of(done())
        state.images_complete, state.screenplay_dict = True, {"scenes": [1]}
        tracker.save_state(state)
        tracker.save_state(movie_of(job("plot")))
        found = tracker.load_state("m")
        assert (found.images_complete, found.screenplay_dict) == (False, None)
        assert shown(tracker) == {"plot": "pending"}
        assert "movie 'm': saving a state" in caplog.text
        assert "has reset images_complete, screenplay_data;" in caplog.text
        caplog.clear()
        tracker.save_state(state)
        state.images_complete, state.screenplay_dict = False, None
        tracker.save_state(state)
        assert not tracker.load_state("m").images_complete
        assert caplog.text == "", "the program has reset it itself"


async def test_a_state_with_jobs_to_run_resets_what_the_program_has_reset(
    tracker: JobTracker, jp: JobProcessor
) -> None:
    state = movie_of(job("a", work.draw))
    state.images_complete = state.videos_complete = True
    tracker.save_state(state)
    loaded = tracker.load_state("m")
    loaded.images_complete = False
    loaded.add_job(job("b", work.draw))
    tracker.save_state(loaded)
    assert tracker.load_state("m").model_dump(include={"images_complete", "videos_complete"}) == {
        "images_complete": False,
        "videos_complete": True,
    }
    await jp.drain("m", timeout=PATIENCE)


async def test_a_state_for_another_movie_is_new_there(tracker: JobTracker, jp: JobProcessor) -> None:
    state = movie_of(job("a"))
    state.images_complete = True
    tracker.save_state(state)
    other = movie_of(movie="n")
    other.images_complete = True
    tracker.save_state(other)
    state.movie_id, state.images_complete, state.jobs = "n", False, [job("a", work.draw)]
    tracker.save_state(state)
    assert tracker.load_state("n").images_complete
    await jp.drain("n", timeout=PATIENCE)
