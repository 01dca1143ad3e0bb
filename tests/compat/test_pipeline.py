"""Pipelines and states: what the old repository's own tests check, and what callers rely on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from asyncjobs.compat import Job, JobStatus, JobType, Pipeline, PipelineState, Runner


class Add(Runner[int, int]):
    async def run(self, inputs: int) -> int:
        return inputs + 1


class Double(Runner[int, int]):
    async def run(self, inputs: int) -> int:
        return inputs * 2


class Say(Runner[int, str]):
    async def run(self, inputs: int) -> str:
        return f"Result: {inputs}"


class Write(Runner[PipelineState, PipelineState]):
    async def run(self, inputs: PipelineState) -> PipelineState:
        inputs.add_job(Job(id="plot", type=JobType.SCREENPLAY, status=JobStatus.COMPLETED))
        inputs.mark_stage_complete(JobType.SCREENPLAY)
        return inputs


@pytest.fixture
def state(tmp_path: Path) -> PipelineState:
    return PipelineState.create("m1", str(tmp_path))


@pytest.mark.anyio
async def test_each_step_takes_what_the_one_before_returns() -> None:
    pipeline = Pipeline[int, int]().then(Add()).then(Double()).then(Say())
    assert await pipeline.execute(5) == "Result: 12"
    assert await pipeline.run(5) == "Result: 12"


@pytest.mark.anyio
async def test_a_pipeline_does_not_change_when_a_step_is_appended() -> None:
    empty = Pipeline[int, int]()
    longer = empty.then(Add())
    assert await empty.execute(5) == 5
    assert await longer.execute(5) == 6
    assert await Pipeline([Add(), longer]).execute(5) == 7


@pytest.mark.anyio
async def test_a_step_may_change_the_state(state: PipelineState) -> None:
    changed = await Pipeline[PipelineState, PipelineState]([Write()]).execute(state)
    assert changed is state
    assert changed.is_stage_complete(JobType.SCREENPLAY)
    assert [job.id for job in changed.jobs] == ["plot"]


@pytest.mark.anyio
async def test_a_step_without_run_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Runner.run"):
        await Pipeline([Runner()]).execute(1)


def test_a_state_has_its_folders_below_the_movie(state: PipelineState, tmp_path: Path) -> None:
    names = ["characters", "images", "videos", "audio", "output"]
    assert state.base_dir == tmp_path / "m1"
    assert [getattr(state, f"{name}_dir") for name in names] == [tmp_path / "m1" / name for name in names]
    assert not state.base_dir.exists()
    state.ensure_directories()
    state.ensure_directories()
    assert sorted(path.name for path in state.base_dir.iterdir()) == sorted(names)


def test_paths_of_files(state: PipelineState, tmp_path: Path) -> None:
    base = tmp_path / "m1"
    assert state.get_character_image_path(0) == base / "characters" / "char_0_front.png"
    assert state.get_character_image_path(1, "back") == base / "characters" / "char_1_back.png"
    assert state.get_scene_image_path("s1", "first_frame") == base / "images" / "s1_first_frame.png"
    assert state.get_scene_video_path("s1") == base / "videos" / "s1.mp4"
    assert state.get_scene_audio_path("s1") == base / "audio" / "s1.mp3"
    assert state.get_final_video_path() == base / "output" / "m1_final.mp4"


def test_stages_are_marked_but_for_references(state: PipelineState) -> None:
    stages = [JobType.SCREENPLAY, JobType.CHARACTER, JobType.IMAGE, JobType.VIDEO, JobType.POST_PRODUCTION]
    assert not any(map(state.is_stage_complete, stages))
    for stage in stages:
        state.mark_stage_complete(stage)
        assert state.is_stage_complete(stage)
    state.mark_stage_complete(JobType.CHARACTER_REF)
    assert state.is_stage_complete(JobType.CHARACTER_REF) is False


def test_jobs_of_a_state(state: PipelineState) -> None:
    for status, kind in ((JobStatus.PENDING, "image"), (JobStatus.FAILED, "video"), (JobStatus.PENDING, "video")):
        state.add_job(Job(id="a" if kind == "image" else "b", type=kind, status=status))
    assert len(state.jobs) == 3, "an id that is there already is appended, too"
    assert state.get_job("b") is state.jobs[1]
    assert state.get_job("c") is None
    assert state.get_jobs_by_type(JobType.VIDEO) == state.jobs[1:]
    assert state.get_jobs_by_status(JobStatus.FAILED) == [state.jobs[1]]
    assert state.get_pending_jobs() == [state.jobs[0], state.jobs[2]]


def test_a_status_keeps_the_error_that_is_not_given(state: PipelineState) -> None:
    state.add_job(Job(id="a", type="image"))
    before = state.jobs[0].updated_at
    state.update_job_status("a", JobStatus.FAILED, "no")
    state.update_job_status("a", JobStatus.COMPLETED)
    assert (state.jobs[0].status, state.jobs[0].error) == (JobStatus.COMPLETED, "no")
    assert state.jobs[0].updated_at >= before
    state.update_job_status("unknown", JobStatus.FAILED)


def test_a_screenplay_has_changed_until_its_hash_is_kept(state: PipelineState) -> None:
    assert state.compute_screenplay_hash() is None
    state.screenplay_dict = {"b": 1, "a": "é"}
    assert state.has_screenplay_changed({"a": "é", "b": 1})
    state.screenplay_hash = state.compute_screenplay_hash()
    assert state.screenplay_hash == hashlib.sha256(json.dumps({"a": "é", "b": 1}).encode()).hexdigest()
    assert not state.has_screenplay_changed({"a": "é", "b": 1})
    assert state.has_screenplay_changed({"a": "é"})
