"""What jobs have made, to be sent: nothing of a request becomes part of a path, only results of jobs do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import HTTPException

from asyncjobs import JobNotCompletedError, JobNotFoundError, JobProcessor, JobStateError

FOR_EVER = "private, max-age=31536000, immutable"  # what a completed job has made does not change
ASK_AGAIN = "private, no-cache"  # but for a film, which a later version replaces


async def result_of(jp: JobProcessor, job_id: str) -> Any:
    """Return the result of a job, or answer that there is none."""
    try:
        return await jp.get_result(job_id)
    except (JobNotFoundError, JobStateError, JobNotCompletedError) as error:
        raise HTTPException(404, f"there is nothing of it: {error}") from None


def file_in(folder: Path, path: object) -> Path:
    """Return the path of a file that a job wrote into a folder; any other is answered with 404."""
    if not isinstance(path, Path) or not path.is_relative_to(folder) or not path.is_file():
        raise HTTPException(404, "this job has made no such file")
    return path
