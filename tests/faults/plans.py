"""What the client of the crash test submits: the same seed gives the same submissions, with the same ids."""

from __future__ import annotations

from random import Random
from typing import Any

from msgspec import Struct

from asyncjobs import JobRequest, RetryPolicy
from asyncjobs.models import Limit
from asyncjobs.runtime.submission import Optional
from tests.faults import bodies

RETRY = RetryPolicy(max_retries=2, base=0.01, factor=1.0, jitter=0.0)
MAX_INTERRUPTIONS = 4
_AT_ONCE = 4


class Planned(Struct, frozen=True):
    """One job of a plan; what it will be given is in ``request``."""

    id: str
    parents: tuple[tuple[str, bool], ...]
    require: int | None
    request: JobRequest


class Submission(Struct, frozen=True):
    """What is submitted with one call: a job, or a batch."""

    jobs: tuple[Planned, ...]

    @property
    def batch(self) -> bool:
        return len(self.jobs) > 1


def plan(seed: int, graph: int, size: int, handle: Any) -> list[list[Submission]]:
    """Windows of submissions that are sent at once; a window begins when the one before was acknowledged.

    :param handle: makes a handle of an id.
    """
    rng = Random(f"{seed}:{graph}")
    windows: list[list[Submission]] = []
    known: list[str] = []
    made = 0
    while made < size:
        window: list[Submission] = []
        fresh: list[str] = []
        for _ in range(_AT_ONCE):
            count = rng.choice((1, 1, 1, rng.randint(2, 8)))
            jobs: list[Planned] = []
            inside: list[str] = []
            for _ in range(count):
                job_id = f"g{graph}-{made}"
                made += 1
                jobs.append(_job(rng, job_id, known, inside, handle))
                inside.append(job_id)
            rng.shuffle(jobs)  # members may refer to each other in any order
            window.append(Submission(tuple(jobs)))
            fresh += inside
        windows.append(window)
        known += fresh
    return windows


def _job(rng: Random, job_id: str, known: list[str], inside: list[str], handle: Any) -> Planned:
    pool = known[-60:] + inside * 3  # most edges are to jobs that were submitted just before
    chosen = list(dict.fromkeys(rng.choice(pool) for _ in range(rng.choice((0, 1, 1, 2, 2, 3))))) if pool else []
    parents = tuple((parent, rng.random() < 0.35) for parent in chosen)
    require = rng.randint(1, len(parents)) if parents and rng.random() < 0.25 else None
    fails = rng.choice((0,) * 14 + (1, 1, 1, 99))
    inputs = [parent for parent, optional in parents if not optional and rng.random() < 0.3]
    threaded = rng.random() < 0.25
    kwargs: dict[str, Any] = {"inputs": [handle(parent) for parent in inputs], "expected": inputs, "fails": fails}
    if not threaded:
        kwargs["turns"] = rng.choice((0, 0, 1, 3, 20))
        kwargs["children"] = rng.choice((0,) * 8 + (1, 2))
        kwargs["waits"] = rng.random() < 0.5
    request = JobRequest(
        func=bodies.work_in_thread if threaded else bodies.work,
        kwargs=kwargs,
        job_id=job_id,
        depends_on=[Optional(parent) if optional else parent for parent, optional in parents],
        require=require,
        group=job_id.partition("-")[0],
        priority=rng.choice((0, 0, 0, 1, 2)),
        limit=Limit("narrow", 3) if rng.random() < 0.2 else None,
        retry=RETRY,
        max_interruptions=MAX_INTERRUPTIONS,
        if_exists="return",
    )
    return Planned(job_id, parents, require, request)
