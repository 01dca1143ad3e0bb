"""The models of the old tracker as pydantic has them: what ours are compared with. Their fields are LEGACY's."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from asyncjobs.compat import JobStatus, JobType


class Job(BaseModel):
    id: str
    type: JobType
    status: JobStatus = JobStatus.PENDING
    scene_id: str | None = None
    character_id: int | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None
    retry_count: int = 0
    max_retries: int = 3
    created_at: datetime = Field(default_factory=datetime.now)
    updated_at: datetime = Field(default_factory=datetime.now)
    output_path: str | None = None


class PipelineState(BaseModel):
    movie_id: str
    screenplay: Any = None
    screenplay_dict: dict[str, Any] | None = None
    screenplay_hash: str | None = None
    base_dir: Path
    characters_dir: Path
    images_dir: Path
    videos_dir: Path
    audio_dir: Path
    output_dir: Path
    jobs: list[Job] = Field(default_factory=list)
    screenplay_complete: bool = False
    characters_complete: bool = False
    images_complete: bool = False
    videos_complete: bool = False
    post_production_complete: bool = False
