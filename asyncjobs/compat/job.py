"""Define what the tracker keeps about one piece of work: ``Job``, its type and its status."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any

from asyncjobs.compat.coercion import anything, mapping, member, moment, optional, refused, sequence, text, whole
from asyncjobs.compat.model import Model, field


class JobStatus(str, Enum):  # noqa: UP042 - a StrEnum prints otherwise
    """The status of a tracked job. What the processor calls ``cancelled`` is ``failed`` here."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class JobType(str, Enum):  # noqa: UP042 - as above
    """The kind of a tracked job: the stage of the pipeline that it belongs to."""

    SCREENPLAY = "screenplay"
    CHARACTER = "character"
    CHARACTER_REF = "character_reference"
    IMAGE = "image"
    VIDEO = "video"
    POST_PRODUCTION = "post_production"


def local_now() -> datetime:
    """Return the local time without a zone: what all moments of the old tracker are."""
    return datetime.now()  # noqa: DTZ005 - naive on purpose


def _function(name: str, value: Any) -> Callable[..., Any]:
    if not callable(value):
        raise refused(name, value, "a function")
    return value


def _arguments(name: str, value: Any) -> tuple[Any, ...]:
    return tuple(sequence(anything)(name, value))


class Job(Model):
    """A job of a movie.

    With ``func``, a pending job is submitted when it is saved: it is then run by the processor, after the jobs of this
    movie whose ids are in ``depends_on``. Without, it is a record: whoever saved it does the work.
    """

    id: str = field(text)
    type: JobType = field(member(JobType))
    status: JobStatus = field(member(JobStatus), default=JobStatus.PENDING)
    scene_id: str | None = field(optional(text), default=None)
    character_id: int | None = field(optional(whole), default=None)
    metadata: dict[str, Any] = field(mapping, default_factory=dict)
    error: str | None = field(optional(text), default=None)
    retry_count: int = field(whole, default=0)
    max_retries: int = field(whole, default=3)
    created_at: datetime = field(moment, default_factory=local_now)
    updated_at: datetime = field(moment, default_factory=local_now)
    output_path: str | None = field(optional(text), default=None)
    func: Callable[..., Any] | None = field(optional(_function), default=None, exclude=True)
    args: tuple[Any, ...] = field(_arguments, default=(), exclude=True)
    kwargs: dict[str, Any] = field(mapping, default_factory=dict, exclude=True)
    depends_on: list[str] = field(sequence(text), default_factory=list, exclude=True)

    def note(self, movie_id: str) -> Job:
        """Note that the tracker has saved or returned the job with its present status; return the job."""
        self.__dict__["_noted"] = movie_id, self.status
        return self

    def noted_status(self, movie_id: str) -> JobStatus | None:
        """Return the status that it was saved or returned with; None if nothing was noted for this movie."""
        noted: tuple[str, JobStatus] | None = self.__dict__.get("_noted")
        return None if noted is None or noted[0] != movie_id else noted[1]

    def is_unchanged(self, movie_id: str) -> bool | None:
        """Return whether its status is still the noted one; None if nothing was noted for this movie."""
        noted = self.noted_status(movie_id)
        return None if noted is None else noted == self.status
