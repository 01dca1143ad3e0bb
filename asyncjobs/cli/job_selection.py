"""Find the jobs that a command is for, and parse its durations."""

from __future__ import annotations

from typing import overload

from msgspec.structs import replace

from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.models import Job
from asyncjobs.paging import take_jobs
from asyncjobs.processor import JobProcessor
from asyncjobs.requests import JobQuery
from asyncjobs.settings import duration

_PAGE = 500


async def find(jp: JobProcessor, query: JobQuery, limit: int) -> list[Job]:
    """Return up to ``limit`` jobs of a query, read page by page."""
    return (await take_jobs(jp.find_jobs, replace(query, limit=min(_PAGE, limit)), limit))[0]


@overload
def parse_seconds(text: str) -> float: ...
@overload
def parse_seconds(text: str | None) -> float | None: ...
def parse_seconds(text: str | None) -> float | None:
    """Return the seconds of a duration on the command line; None where the option was not given.

    :raises Failure: the text is not a duration.
    """
    if text is None:
        return None
    try:
        return duration(text)
    except ValueError as error:
        raise Failure(str(error), exit_code=USAGE) from None
