"""Which jobs a command means."""

from __future__ import annotations

from msgspec.structs import replace

from asyncjobs.cli.failures import USAGE, Failure
from asyncjobs.models import Job, JobQuery
from asyncjobs.paging import take_jobs
from asyncjobs.processor import JobProcessor
from asyncjobs.settings import duration

_PAGE = 500


async def find(jp: JobProcessor, query: JobQuery, limit: int) -> list[Job]:
    """Return up to ``limit`` jobs of a query, read page by page."""
    return (await take_jobs(jp.find_jobs, replace(query, limit=min(_PAGE, limit)), limit))[0]


def count(number: int, what: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def parse_seconds(text: str) -> float:
    """A duration that a person wrote.

    :raises Failure: it is none.
    """
    try:
        return duration(text)
    except ValueError as error:
        raise Failure(str(error), exit_code=USAGE) from None
