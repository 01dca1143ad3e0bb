"""Make random job graphs: the same seed gives the same graph."""

from __future__ import annotations

from random import Random

from asyncjobs.backends.base import NewJob
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.models import DEFAULT_QUEUE, Dependency, Limit


def random_graph(
    rng: Random,
    n: int,
    *,
    prefix: str = "j",
    function: str = "tests:work",
    known: tuple[str, ...] = (),
    limits: tuple[Limit, ...] = (),
    retry: RetryPolicy | None = None,
) -> list[NewJob]:
    """Make a batch of ``n`` jobs in any order, without a cycle, ready for ``JobBackend.enqueue_jobs``.

    Ids are ``prefix`` and a number. A job has up to three parents, of the batch or of ``known`` (stored ids); edges
    are optional and ``require=k`` is set now and then; priorities are 0 to 2; some have one of ``limits``.
    """
    jobs: list[NewJob] = []
    names: list[str] = list(known)
    for i in range(n):
        parents = rng.sample(names, min(len(names), rng.choice((0, 1, 1, 2, 2, 3))))
        job_id = f"{prefix}{i}"
        jobs.append(
            NewJob(
                id=job_id,
                function=function,
                call=b"",
                queue=DEFAULT_QUEUE,
                priority=rng.choice((0, 0, 0, 1, 2)),
                retry=retry or RetryPolicy(),
                dependencies=tuple(Dependency(parent, rng.random() < 0.3) for parent in parents),
                require=rng.randint(1, len(parents)) if parents and rng.random() < 0.3 else None,
                limit=rng.choice(limits) if limits and rng.random() < 0.4 else None,
            )
        )
        names.append(job_id)
    rng.shuffle(jobs)
    return jobs
