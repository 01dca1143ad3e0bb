"""Define ``PipelineState``: what the stages of a pipeline hand on, with the paths of its files and its jobs."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from asyncjobs.compat.coercion import anything, boolean, mapping, optional, path, sequence, text
from asyncjobs.compat.job import Job, JobStatus, JobType, local_now
from asyncjobs.compat.model import Model, field

_FLAGS = {
    JobType.SCREENPLAY: "screenplay_complete",
    JobType.CHARACTER: "characters_complete",
    JobType.IMAGE: "images_complete",
    JobType.VIDEO: "videos_complete",
    JobType.POST_PRODUCTION: "post_production_complete",
}
"""The flag of each stage; references of characters are part of another one and have none."""
FLAGS = tuple(_FLAGS.values())


def hash_screenplay(screenplay: Mapping[str, Any]) -> str:
    """Return a hash of a screenplay that does not depend on the order of its keys."""
    return hashlib.sha256(json.dumps(screenplay, sort_keys=True).encode()).hexdigest()


class PipelineState(Model):
    """The state of one movie."""

    movie_id: str = field(text)
    screenplay: Any = field(anything, default=None)
    screenplay_dict: dict[str, Any] | None = field(optional(mapping), default=None)
    screenplay_hash: str | None = field(optional(text), default=None)
    base_dir: Path = field(path)
    characters_dir: Path = field(path)
    images_dir: Path = field(path)
    videos_dir: Path = field(path)
    audio_dir: Path = field(path)
    output_dir: Path = field(path)
    jobs: list[Job] = field(sequence(Job.coerce), default_factory=list)
    screenplay_complete: bool = field(boolean, default=False)
    characters_complete: bool = field(boolean, default=False)
    images_complete: bool = field(boolean, default=False)
    videos_complete: bool = field(boolean, default=False)
    post_production_complete: bool = field(boolean, default=False)

    @classmethod
    def create(cls, movie_id: str, base_dir: str | os.PathLike[str] = "./output") -> Self:
        """Return the state of a new movie, with its folders below ``base_dir/movie_id``. None of them is made."""
        base = Path(base_dir) / movie_id
        return cls(
            movie_id=movie_id,
            base_dir=base,
            characters_dir=base / "characters",
            images_dir=base / "images",
            videos_dir=base / "videos",
            audio_dir=base / "audio",
            output_dir=base / "output",
        )

    def ensure_directories(self) -> None:
        """Make the folders of this movie."""
        own = (self.base_dir, self.characters_dir, self.images_dir, self.videos_dir, self.audio_dir, self.output_dir)
        for folder in own:
            folder.mkdir(parents=True, exist_ok=True)

    def note(self, row: Sequence[Any]) -> None:
        """Note the row that the tracker has saved for this state, or made it of."""
        self.__dict__["_noted"] = self.movie_id, tuple(row)

    def noted_row(self) -> tuple[Any, ...] | None:
        """Return the row that it was saved or loaded with; None if nothing was noted for this movie."""
        noted: tuple[str, tuple[Any, ...]] | None = self.__dict__.get("_noted")
        return None if noted is None or noted[0] != self.movie_id else noted[1]

    # -- jobs

    def add_job(self, job: Job) -> None:
        """Append a job, also one whose id is there already."""
        self.jobs.append(job)

    def get_job(self, job_id: str) -> Job | None:
        """Return the first job with this id, or None."""
        return next((job for job in self.jobs if job.id == job_id), None)

    def get_jobs_by_type(self, job_type: JobType) -> list[Job]:
        """Return the jobs of a type."""
        return [job for job in self.jobs if job.type == job_type]

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        """Return the jobs with a status."""
        return [job for job in self.jobs if job.status == status]

    def get_pending_jobs(self) -> list[Job]:
        """Return the pending jobs."""
        return self.get_jobs_by_status(JobStatus.PENDING)

    def update_job_status(self, job_id: str, status: JobStatus, error: str | None = None) -> None:
        """Set the status of a job; keep its error unless another one is given. An unknown id changes nothing."""
        job = self.get_job(job_id)
        if job is not None:
            job.status = status
            job.updated_at = local_now()
            if error:
                job.error = error

    # -- stages

    def mark_stage_complete(self, stage: JobType) -> None:
        """Set the flag of a stage. References of characters have none: nothing changes."""
        flag = _FLAGS.get(stage)
        if flag is not None:
            setattr(self, flag, True)

    def is_stage_complete(self, stage: JobType) -> bool:
        """Return the flag of a stage; False for references of characters, which have none."""
        flag = _FLAGS.get(stage)
        return flag is not None and getattr(self, flag)

    # -- paths

    def get_character_image_path(self, character_id: int, view: str = "front") -> Path:
        """Return the path of a view of a character."""
        return self.characters_dir / f"char_{character_id}_{view}.png"

    def get_scene_image_path(self, scene_id: str, frame_type: str) -> Path:
        """Return the path of a keyframe; ``frame_type`` is ``first_frame`` and the like."""
        return self.images_dir / f"{scene_id}_{frame_type}.png"

    def get_scene_video_path(self, scene_id: str) -> Path:
        """Return the path of the clip of a scene."""
        return self.videos_dir / f"{scene_id}.mp4"

    def get_scene_audio_path(self, scene_id: str) -> Path:
        """Return the path of the sound of a scene."""
        return self.audio_dir / f"{scene_id}.mp3"

    def get_final_video_path(self) -> Path:
        """Return the path of the whole film."""
        return self.output_dir / f"{self.movie_id}_final.mp4"

    # -- the screenplay

    def compute_screenplay_hash(self) -> str | None:
        """Return a hash of the screenplay, or None without one."""
        return hash_screenplay(self.screenplay_dict) if self.screenplay_dict else None

    def has_screenplay_changed(self, new_screenplay_dict: dict[str, Any]) -> bool:
        """Return whether a screenplay differs from the one whose hash is kept here; True where none is kept."""
        return not self.screenplay_hash or hash_screenplay(new_screenplay_dict) != self.screenplay_hash
