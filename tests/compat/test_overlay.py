"""A tracker with a processor: what the processor runs appears in all queries, and is submitted by saving it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import (
    BackendClosedError,
    BackendError,
    ConfigurationError,
    CyclicDependencyError,
    JobConflictError,
    JobProcessor,
    JobStateError,
    NotSerializableError,
    RetryPolicy,
    SQLiteConfig,
    SyncJobs,
    UnknownDependencyError,
)
from asyncjobs.compat import Job, JobStatus, JobTracker, JobType, PipelineState, records
from tests.compat import work
from tests.compat.support import job, movie_of, shown

pytestmark = pytest.mark.anyio
PENDING, IN_PROGRESS, COMPLETED, FAILED, SKIPPED = JobStatus
PATIENCE = 20


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
async def jp(path: Path) -> AsyncIterator[JobProcessor]:
    async with JobProcessor(path) as opened:
        yield opened


@pytest.fixture
def tracker(path: Path, jp: JobProcessor) -> JobTracker:
    return JobTracker(path, processor=jp)


# -- what the processor runs appears


async def test_a_job_of_the_group_with_a_tracker_id_appears_with_its_state(
    tracker: JobTracker, jp: JobProcessor
) -> None:
    metadata = {
        "tracker_id": "img_1",
        "type": "character_reference",
        "scene_id": "s1",
        "character_id": 0,
        "prompt": "x",
    }
    handle = await jp.submit_job(work.draw, "img_1", group="m", metadata=metadata)
    await jp.submit_job(work.draw, group="m", metadata={"kind": "another"})
    await jp.submit_job(work.draw, metadata={"tracker_id": "of no movie"})
    await handle
    await jp.drain()
    found = tracker.get_job("img_1")
    assert (found.type, found.status, found.scene_id, found.character_id) == (JobType.CHARACTER_REF, COMPLETED, "s1", 0)
    assert found.output_path == "/drawn/img_1.png"
    assert found.metadata == {name: value for name, value in metadata.items() if name != "tracker_id"}
    assert found.created_at.tzinfo is None
    assert shown(tracker) == {"img_1": "completed"}
    assert tracker.get_job("of no movie") is None


async def test_what_a_tracker_with_the_processor_has_read_is_shown_by_others(
    tracker: JobTracker, jp: JobProcessor
) -> None:
    await (await jp.submit_job(work.draw, "a", group="m", metadata={"tracker_id": "a"}))
    alone = JobTracker(tracker.file)
    assert alone.get_progress("m")["total"] == 0, "it looks for what trackers have submitted, and no further"
    assert tracker.get_progress("m")["completed"] == 1
    assert alone.get_progress("m")["completed"] == 1
    assert [one.id for one in alone.get_jobs_by_movie("m")] == ["a"]


async def test_a_note_that_cannot_be_made_fails_no_read_and_is_made_by_a_later_one(
    tracker: JobTracker, jp: JobProcessor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await (await jp.submit_job(work.draw, "a", group="m", metadata={"tracker_id": "a"}))

    def full(*_: object) -> None:
        raise BackendError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(records, "note_submission", full)
        assert tracker.get_progress("m")["completed"] == 1
    assert "other trackers do not show the jobs of m yet" in caplog.text
    assert JobTracker(tracker.file).get_progress("m")["total"] == 0
    assert tracker.get_progress("m")["completed"] == 1
    assert JobTracker(tracker.file).get_progress("m")["completed"] == 1


async def test_a_job_of_the_processor_wins_over_a_record_of_its_movie_and_id(
    tracker: JobTracker, jp: JobProcessor
) -> None:
    tracker.save_state(movie_of(job("a", status=FAILED, error="by hand"), job("b")))
    await (await jp.submit_job(work.draw, "a", group="m", metadata={"tracker_id": "a"}))
    assert shown(tracker) == {"b": "pending", "a": "completed"}
    assert [one.id for one in tracker.load_state("m").jobs] == ["b", "a"]
    assert tracker.get_job("a").error is None
    assert (tracker.get_progress("m")["total"], tracker.get_progress("m")["failed"]) == (2, 0)
    assert tracker.get_jobs_by_status("m", FAILED) == []


@pytest.mark.parametrize(
    ("body", "argument", "metadata", "expected"),
    [
        (work.draw, "a", {}, "/drawn/a.png"),
        (work.describe, "a", {}, "/drawn/a.png"),
        (work.tell, "a story", {}, None),
        (work.tell, "and/or. The end", {}, None),
        (work.tell, "out/a.png", {}, "out/a.png"),
        (work.draw, "a", {"output_path": "elsewhere.png"}, "elsewhere.png"),
    ],
)
async def test_the_path_is_that_of_the_metadata_or_of_the_result(
    tracker: JobTracker, jp: JobProcessor, body: Any, argument: str, metadata: dict[str, Any], expected: str | None
) -> None:
    await (await jp.submit_job(body, argument, group="m", metadata={"tracker_id": "a", **metadata}))
    assert tracker.get_job("a").output_path == expected


async def test_each_status_is_shown_by_its_name_and_cancelled_as_failed(
    tracker: JobTracker, jp: JobProcessor, tmp_path: Path
) -> None:
    flag = str(tmp_path / "flag")
    tracker.save_state(
        movie_of(
            job("running", work.wait_for, flag),
            job("waiting", work.draw, depends_on=["running"]),
            job("broken", work.fail, max_retries=0),
            job("behind", work.draw, depends_on=["broken"]),
            job("cancelled", work.draw, depends_on=["running"]),
            job("done", work.draw),
        )
    )
    await jp.cancel_job("m/cancelled")
    with anyio.fail_after(PATIENCE):
        for one in ("m/behind", "m/done"):
            await jp.wait_for_job(one)
        async for event in jp.stream_job("m/running"):
            if event.type == "started":
                break
    assert shown(tracker) == {
        "running": "in_progress", "waiting": "pending", "broken": "failed", "behind": "skipped",
        "cancelled": "failed", "done": "completed",
    }  # fmt: skip
    assert tracker.get_job("cancelled").error == "cancelled"
    assert tracker.get_job("broken").error == "no light"
    assert tracker.get_job("behind").error == "skipped because 'broken' did not complete"
    assert (tracker.get_job("broken").retry_count, tracker.get_job("broken").max_retries) == (0, 0)
    assert [one.id for one in tracker.get_jobs_by_status("m", FAILED)] == ["broken", "cancelled"]
    assert tracker.get_next_pending_job("m").id == "waiting"
    expected = {"total": 6, "completed": 1, "failed": 2, "pending": 1, "progress": pytest.approx(100 / 6)}
    assert tracker.get_progress("m") == expected
    Path(flag).touch()
    await jp.drain("m", timeout=PATIENCE)


async def test_a_movie_half_recorded_and_half_run_agrees_with_both_at_each_event(
    tracker: JobTracker, jp: JobProcessor
) -> None:
    """Seen at each event of the stream: the status of every job is one that it had from then on until now."""
    records = [job(f"rec_{i}", status=status) for i, status in enumerate([COMPLETED, PENDING, SKIPPED])]
    tracker.save_state(movie_of(*records, *(job(f"run_{i}", work.draw, str(i)) for i in range(5))))
    ended: set[str] = set()
    events = 0
    with anyio.fail_after(PATIENCE):
        async for event in jp.stream_group("m"):
            events += 1
            if event.type == "completed":
                ended.add(event.job_id.removeprefix("m/"))
            of_store = {
                one.metadata["tracker_id"]: one.status.value for one in await jp.find_jobs() if one.group == "m"
            }
            found, progress, state = shown(tracker), tracker.get_progress("m"), tracker.load_state("m")
            assert {one: found[one] for one in ("rec_0", "rec_1", "rec_2")} == {
                "rec_0": "completed", "rec_1": "pending", "rec_2": "skipped",
            }  # fmt: skip
            assert found.keys() - {"rec_0", "rec_1", "rec_2"} == of_store.keys()
            assert all(found[one] == "completed" for one in ended)
            assert progress["total"] == len(found) == len(state.jobs) == 8
            later = {one.id: one.status.value for one in state.jobs}
            assert all(later[one] == "completed" for one, status in found.items() if status == "completed")
            assert progress["completed"] >= len(ended) + 1
    assert events >= 15
    assert len(ended) == 5
    assert (await jp.get_progress("m")).completed == tracker.get_progress("m")["completed"] - 1


async def test_progress_is_that_of_the_processor_and_of_the_records(tracker: JobTracker, jp: JobProcessor) -> None:
    tracker.save_state(movie_of(job("a", work.draw), job("b", work.fail, max_retries=0), job("c", status=COMPLETED)))
    await jp.drain("m")
    of_processor = await jp.get_progress("m")
    assert (of_processor.total, of_processor.completed) == (2, 1)
    assert tracker.get_progress("m") == {
        "total": 3, "completed": 2, "failed": 1, "pending": 0, "progress": pytest.approx(200 / 3)
    }  # fmt: skip


async def test_of_several_movies_an_id_means_the_one_saved_last(tracker: JobTracker, jp: JobProcessor) -> None:
    tracker.save_job(job("a", error="a record"), "m1")
    tracker.save_job(job("a", work.draw, "second"), "m2")
    await jp.drain()
    assert tracker.get_job("a").output_path == "/drawn/second.png"
    tracker.save_job(job("a", error="saved again"), "m1")
    assert tracker.get_job("a").error == "saved again"
    tracker.update_job_status("a", COMPLETED)
    assert shown(tracker, "m1") == {"a": "completed"}


# -- saving submits


async def test_a_state_is_one_batch_in_any_order(tracker: JobTracker, jp: JobProcessor, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger")
    tracker.save_state(
        movie_of(
            job("film", work.note, ledger, "film", depends_on=["clip_1", "clip_2"], type="video"),
            job("clip_2", work.note, ledger, "clip", depends_on=["plot"]),
            job("clip_1", work.note, ledger, "clip", depends_on=["plot"]),
            job("plot", work.note, ledger, "plot"),
        )
    )
    await jp.drain("m", timeout=PATIENCE)
    assert Path(ledger).read_text().split() == ["plot", "clip", "clip", "film"]
    stored = await jp.get_job("m/film")
    assert (stored.group, stored.metadata["tracker_id"], stored.metadata["type"]) == ("m", "film", "video")
    assert set(stored.depends_on) == {"m/clip_1", "m/clip_2"}
    assert JobTracker(tracker.file).get_job("film").type is JobType.VIDEO, "shown by a tracker without a processor, too"


async def test_arguments_and_fields_come_to_the_job_and_back(tracker: JobTracker, jp: JobProcessor) -> None:
    saved = job(
        "a", work.tell, kwargs={"words": "hello"}, scene_id="s", character_id=7, max_retries=5,
        metadata={"scene_id": "its own", "prompt": "é", "pair": (1, 2)},
    )  # fmt: skip
    tracker.save_job(saved, "m")
    assert await jp.handle("m/a") == "hello"
    found = tracker.get_job("a")
    assert found.metadata == {"scene_id": "its own", "prompt": "é", "pair": [1, 2]}
    assert (found.scene_id, found.character_id, found.max_retries, found.output_path) == ("s", 7, 5, None)
    tracker.save_job(job("b", work.tell, "x", metadata={"scene_id": "its own"}), "m")
    assert tracker.get_job("b").scene_id is None


async def test_a_dependency_may_be_run_already_or_a_completed_record(tracker: JobTracker, jp: JobProcessor) -> None:
    await jp.submit_job(work.draw, job_id="named otherwise", group="m", metadata={"tracker_id": "run"})
    tracker.save_job(job("rec", status=COMPLETED), "m")
    tracker.save_state(movie_of(job("a", work.draw, depends_on=["run", "rec", "new"]), job("new", status=COMPLETED)))
    assert (await jp.get_job("m/a")).depends_on == ("named otherwise",)
    await jp.drain("m", timeout=PATIENCE)
    assert tracker.get_job("a").status is COMPLETED


@pytest.mark.parametrize(
    ("jobs", "kind", "words"),
    [
        ([job("a", work.draw, depends_on=["b"])], UnknownDependencyError, "'b'"),
        ([job("a", work.draw, depends_on=["b"]), job("b")], ConfigurationError, "a record that is pending"),
        ([job("a", work.draw, depends_on=["b"]), job("b", work.draw, depends_on=["a"])], CyclicDependencyError, "m/b"),
        ([job("a", lambda: None)], NotSerializableError, "lambda"),
        ([job("x" * 600, work.draw)], ConfigurationError, "512"),
        ([job("a", work.draw, 1, 2, 3)], Exception, "draw"),
        ([job("a", work.draw, kwargs={"nme": 1})], Exception, "nme"),
    ],
)
async def test_what_cannot_be_submitted_refuses_the_whole_call(
    tracker: JobTracker, jp: JobProcessor, jobs: list[Job], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        tracker.save_state(movie_of(job("fine", work.draw), job("rec"), *jobs))
    assert await jp.find_jobs() == []
    assert tracker.get_jobs_by_movie("m") == []
    assert tracker.load_state("m") is None


async def test_a_record_may_have_a_longer_id_than_a_job(tracker: JobTracker) -> None:
    tracker.save_job(job("x" * 10_000), "m" * 300)
    assert len(tracker.get_job("x" * 10_000).id) == 10_000
    with pytest.raises(ConfigurationError, match="group"):
        tracker.save_job(job("a", work.draw), "m" * 300)


async def test_a_job_takes_the_place_of_the_record_with_its_id(tracker: JobTracker, jp: JobProcessor) -> None:
    tracker.save_job(job("a", status=FAILED, error="by hand"), "m")
    found = tracker.get_job("a")
    found.status, found.func, found.error = PENDING, work.draw, None
    tracker.save_job(found, "m")
    await jp.drain("m")
    assert shown(tracker) == {"a": "completed"}
    await jp.remove_jobs("m/a")
    assert shown(tracker) == {}, "no second copy was left"


async def test_only_pending_jobs_are_submitted(tracker: JobTracker, jp: JobProcessor) -> None:
    tracker.save_job(job("a", work.draw, status=COMPLETED, output_path="there.png"), "m")
    assert await jp.find_jobs() == []
    assert tracker.get_job("a").output_path == "there.png"


async def test_ids_that_make_one_id_in_the_store_are_a_conflict(tracker: JobTracker, jp: JobProcessor) -> None:
    tracker.save_job(job("b/c", work.draw), "a")
    with pytest.raises(JobConflictError, match="'a/b/c'"):
        tracker.save_job(job("c", work.draw), "a/b")


# -- saving again, and setting a status


async def test_saving_what_was_not_changed_does_nothing(tracker: JobTracker, jp: JobProcessor) -> None:
    state = movie_of(job("a", work.draw), job("b", work.fail, max_retries=0))
    tracker.save_state(state)
    await jp.drain("m")
    before = [(one.id, one.version) for one in await jp.find_jobs()]
    tracker.save_state(state)  # still pending there, as when it was saved
    tracker.save_state(tracker.load_state("m"))
    tracker.save_job(tracker.get_job("b"), "m")
    tracker.save_job(job("a", work.draw), "m")  # submitted by a program that is started again
    assert [(one.id, one.version) for one in await jp.find_jobs()] == before
    assert shown(JobTracker(tracker.file)) == {"a": "completed", "b": "failed"}


async def test_pending_retries_what_has_failed(tracker: JobTracker, jp: JobProcessor, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    names = ("by update", "by save", "by state", "by a new object")
    tracker.save_state(movie_of(*(job(name, work.fail_without, str(flag), max_retries=0) for name in names)))
    await jp.drain("m")
    assert set(shown(tracker).values()) == {"failed"}
    flag.touch()
    tracker.update_job_status("by update", PENDING)
    saved = tracker.get_job("by save")
    saved.status = PENDING
    tracker.save_job(saved, "m")
    state = tracker.load_state("m")
    state.update_job_status("by state", PENDING)
    tracker.save_state(state)
    tracker.save_job(job("by a new object", work.fail_without, str(flag)), "m")
    await jp.drain("m", timeout=PATIENCE)
    assert shown(tracker) == dict.fromkeys(names, "completed")


async def test_a_program_that_is_started_again_retries_what_failed_and_what_was_skipped_for_it(
    tracker: JobTracker, jp: JobProcessor, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"

    def new_state() -> PipelineState:
        return movie_of(
            job("film", work.draw, depends_on=["clip", "plot"]),
            job("clip", work.fail_without, str(flag), max_retries=0),
            job("plot", work.draw),
        )

    tracker.save_state(new_state())
    await jp.drain("m", timeout=PATIENCE)
    assert shown(tracker) == {"film": "skipped", "clip": "failed", "plot": "completed"}
    attempts = {one.id: one.attempt for one in await jp.find_jobs()}
    flag.touch()
    tracker.save_state(new_state())
    await jp.drain("m", timeout=PATIENCE)
    assert shown(tracker) == {"film": "completed", "clip": "completed", "plot": "completed"}
    assert (await jp.get_job("m/plot")).attempt == attempts["m/plot"], "what is completed stays"


async def test_retries_are_counted(tracker: JobTracker, jp: JobProcessor, tmp_path: Path) -> None:
    retry = RetryPolicy(max_retries=2, base=0.001, cap=0.001)
    await jp.submit_job(work.fail, group="m", metadata={"tracker_id": "a"}, retry=retry)
    await jp.drain("m", timeout=PATIENCE)
    found = tracker.get_job("a")
    assert (found.status, found.retry_count, found.max_retries) == (FAILED, 2, 2)


async def test_skipped_cancels_what_has_not_ended(tracker: JobTracker, jp: JobProcessor, tmp_path: Path) -> None:
    flag = str(tmp_path / "flag")
    tracker.save_state(movie_of(job("running", work.wait_for, flag), job("waiting", work.draw, depends_on=["running"])))
    tracker.update_job_status("waiting", SKIPPED)
    assert (tracker.get_job("waiting").status, tracker.get_job("waiting").error) == (FAILED, "cancelled")
    tracker.update_job_status("waiting", SKIPPED)
    tracker.update_job_status("running", "skipped")
    with anyio.fail_after(PATIENCE):
        await jp.wait_for_job("m/running")
    assert tracker.get_job("running").error == "cancelled"


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        *(("done", status) for status in (PENDING, IN_PROGRESS, FAILED, SKIPPED)),
        *(("broken", status) for status in (COMPLETED, IN_PROGRESS, SKIPPED)),
        *(("behind", status) for status in (PENDING, COMPLETED)),
    ],
)
async def test_any_other_status_is_refused_and_refuses_the_whole_call(
    tracker: JobTracker, jp: JobProcessor, stored: str, wanted: JobStatus
) -> None:
    jobs = (
        job("done", work.draw),
        job("broken", work.fail, max_retries=0),
        job("behind", work.draw, depends_on=["broken"]),
    )
    tracker.save_state(movie_of(*jobs))
    await jp.drain("m")
    before = [(one.id, one.version) for one in await jp.find_jobs()]
    with pytest.raises(JobStateError, match="the processor runs it"):
        tracker.update_job_status(stored, wanted)
    state = tracker.load_state("m")
    state.update_job_status(stored, wanted)
    state.jobs += [job("new", work.draw), job("rec")]
    state.images_complete = True
    with pytest.raises(JobStateError, match=f"cannot be set to {wanted.value}"):
        tracker.save_state(state)
    assert [(one.id, one.version) for one in await jp.find_jobs()] == before
    assert tracker.load_state("m").images_complete is False
    assert "rec" not in shown(tracker)


async def test_the_present_status_changes_nothing(tracker: JobTracker, jp: JobProcessor) -> None:
    tracker.save_job(job("a", work.draw), "m")
    await jp.drain("m")
    version = (await jp.get_job("m/a")).version
    tracker.update_job_status("a", COMPLETED, output_path="ignored.png")
    assert (await jp.get_job("m/a")).version == version
    assert tracker.get_job("a").output_path == "/drawn/a.png"


# -- where it is called


async def test_it_never_goes_through_the_loop_of_the_caller(tracker: JobTracker, jp: JobProcessor) -> None:
    """All of this happens between two steps of the loop, which the processor needs for anything of its own."""
    steps = 0

    async def count() -> None:
        nonlocal steps
        while True:
            await anyio.lowlevel.checkpoint()
            steps += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        while not steps:
            await anyio.lowlevel.checkpoint()
        before = steps
        tracker.save_job(job("a", work.draw), "m")
        tracker.get_jobs_by_movie("m")
        tracker.get_progress("m")
        assert steps == before
        tasks.cancel_scope.cancel()
    await jp.drain("m", timeout=PATIENCE)


async def test_it_may_be_called_from_other_threads(tracker: JobTracker, jp: JobProcessor) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(anyio.to_thread.run_sync, tracker.save_job, job(str(number), work.draw), "m")
    await jp.drain("m", timeout=PATIENCE)
    assert tracker.get_progress("m")["completed"] == 4


def test_a_processor_of_a_plain_program(path: Path) -> None:
    with SyncJobs(path) as jobs:
        tracker = JobTracker(path, processor=jobs)
        tracker.save_state(movie_of(job("a", work.draw), job("b", work.describe, "b", depends_on=["a"])))
        jobs.drain("m", timeout=PATIENCE)
        assert tracker.get_progress("m")["progress"] == 100.0
        assert tracker.get_job("b").output_path == "/drawn/b.png"


@pytest.mark.parametrize("kind", ["memory", "another file", "not a processor"])
def test_a_processor_that_keeps_its_jobs_elsewhere_is_refused(path: Path, tmp_path: Path, kind: str) -> None:
    processors = {
        "memory": JobProcessor("memory"),
        "another file": JobProcessor(tmp_path / "other.db"),
        "not a processor": "jobs.db",
    }
    with pytest.raises(ConfigurationError, match="processor") as caught:
        JobTracker(path, processor=processors[kind])
    assert kind == "not a processor" or "JobProcessor(" in caught.value.hint


async def test_a_processor_that_is_not_entered_or_was_left_is_an_error(path: Path) -> None:
    jp = JobProcessor(path)
    tracker = JobTracker(path, processor=jp)
    calls = (
        lambda: tracker.save_job(job("a", work.draw), "m"),
        lambda: tracker.get_job("a"),
        lambda: tracker.get_progress("m"),
        lambda: tracker.save_state(movie_of(job("a"))),
        lambda: tracker.load_state("m"),
        lambda: tracker.update_job_status("a", PENDING),
    )
    for _ in range(2):
        for call in calls:
            with pytest.raises(BackendClosedError):
                call()
        async with jp:
            tracker.save_job(job("a"), "m")
    assert JobTracker(path).get_job("a").id == "a"


@pytest.mark.parametrize("body", [work.save_from_inside, work.save_from_inside_async])
async def test_bodies_use_a_tracker_of_their_own(tracker: JobTracker, jp: JobProcessor, body: Any) -> None:
    tracker.save_state(movie_of(job("rec"), job("a", body, str(tracker.file), depends_on=["b"]), job("b", work.draw)))
    await jp.drain("m", timeout=PATIENCE)
    assert shown(tracker) == {"rec": "completed", "a": "completed", "b": "completed", "new": "pending"}
    assert tracker.get_job("a").output_path is None


async def test_two_programs_may_save_one_state_at_once(tracker: JobTracker, jp: JobProcessor) -> None:
    def save() -> None:
        JobTracker(tracker.file, processor=jp).save_state(
            movie_of(
                *(job(str(number), work.draw, depends_on=["plot"]) for number in range(20)), job("plot", work.draw)
            )
        )

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(anyio.to_thread.run_sync, save)
    await jp.drain("m", timeout=PATIENCE)
    assert len(await jp.find_jobs()) == 21
    assert tracker.get_progress("m")["completed"] == 21


# -- the pattern of the old pipelines, with what it runs by hand beside what is submitted


async def test_a_pipeline_moves_over_step_by_step(tracker: JobTracker, jp: JobProcessor, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    tracker.save_state(
        movie_of(job("plot", type="screenplay"), job("img", work.fail_without, str(flag), max_retries=0))
    )
    await jp.drain("m")
    ran: list[str] = []
    for _ in range(2):
        state = tracker.load_state("m")
        for one in [*state.get_pending_jobs(), *state.get_jobs_by_status(FAILED)]:
            ran.append(one.id)
            state.update_job_status(one.id, COMPLETED if one.id == "plot" else PENDING)
        flag.touch()
        tracker.save_state(state)
        await jp.drain("m", timeout=PATIENCE)
    assert ran == ["plot", "img"]
    assert tracker.get_progress("m")["progress"] == 100.0


async def test_a_processor_on_the_file_of_an_import_is_on_the_file_of_the_tracker(tmp_path: Path) -> None:
    from tests.compat.old_files import old_job, write_old

    old = write_old(tmp_path / "cinema_jobs.db", [old_job("a", "m")])
    async with JobProcessor(SQLiteConfig(db_path=tmp_path / "cinema_jobs.asyncjobs.db")) as jp:
        tracker = JobTracker(old, processor=jp)
        tracker.save_job(job("b", work.draw), "m")
        await jp.drain("m", timeout=PATIENCE)
        assert shown(tracker) == {"a": "completed", "b": "completed"}
