"""Take back what a worker holds that is gone: what it runs, what it was about to claim, what only it could run.

A worker may hold thousands of jobs, and all of them wait for this. So they are decided in pages, each in one
transaction, which costs no more than one for each job: the record of an attempt is written together with its row.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.dependents import Dependents
from asyncjobs.backends.sqs.errors import NOT_PERMITTED
from asyncjobs.backends.sqs.hands import forget, held_by
from asyncjobs.backends.sqs.loading import read_rows
from asyncjobs.backends.sqs.table import Item
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.writing import owes
from asyncjobs.core import commands
from asyncjobs.core.lifecycle import LOCAL_JOB_LOST
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import JobState
from asyncjobs.exceptions import BackendConnectionError, BackendError
from asyncjobs.models import JobStatus

_PAGE = 50
"""Jobs of a transaction, which takes 100 actions: the row of each, and the record of its attempt. Also rows of a read:
one of more would keep the event loop busy for too long."""
_PAGES_AT_ONCE = 2
"""Each keeps the event loop busy for some milliseconds at a time."""


class TakingBack:
    """Takes back what workers hold that were marked as gone."""

    def __init__(self, transitions: Transitions, dependents: Dependents) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._dependents = dependents

    async def take_back(self, item: Item, number: int) -> list[str]:
        """Interrupt what a worker runs, refuse what it was about to claim, settle what it has ended; then forget it.

        :param item: that of the worker, which is marked as gone; ``number`` is the number in its id.
        :returns: the ids of the jobs that were taken back, or given up.
        """
        worker = item["sk"]
        held = await held_by(self._table, item)
        ended: dict[str, None] = {}
        taken = await _by_page(lambda page: self._interrupt(page, number, ended), held)
        await self._settle_ended([job_id for job_id in held if job_id in ended])
        taken += await self.give_up_owned(worker)
        await forget(self._table, worker)
        return list(dict.fromkeys(taken))

    async def _interrupt(self, page: Sequence[str], number: int, ended: dict[str, None]) -> list[str]:
        """Interrupt what the worker runs of these jobs; return the ids of those.

        :param ended: takes those that were over before: their worker may not have settled them.
        """
        draws = [random.random() for _ in page]

        def take_back(plan: Plan) -> tuple[list[JobState], list[str]]:
            found = plan.numbers(page)
            plan.load(found.values())
            jobs = [(job, draw) for job_id, draw in zip(page, draws, strict=True) if (job := _job(plan, found, job_id))]
            for job, _ in jobs:
                if job.status is JobStatus.PENDING:
                    plan.put(job)  # unchanged, but for its version: a claim of the dead worker is refused from now on
            run = [(job.n, draw) for job, draw in jobs if job.status is JobStatus.IN_PROGRESS and job.worker == number]
            reaped = commands.reap(plan, [n for n, _ in run], [draw for _, draw in run])
            return reaped, [job.id for job, _ in jobs if job.status.terminal]

        (reaped, over), owed = await self._transitions.commit(take_back)
        ended |= dict.fromkeys(over)
        await self._dependents.settle(owed)
        return [job.id for job in reaped]

    async def _settle_ended(self, ids: Sequence[str]) -> None:
        for start in range(0, len(ids), _PAGE):
            rows = await read_rows(self._table, ids[start : start + _PAGE])
            await self._dependents.settle([row for row in rows.values() if row is not None and owes(row)])

    async def give_up_owned(self, worker: str) -> list[str]:
        """Fail the pending jobs that only this worker could run; return their ids."""
        members = await self._table.query_all(keys.owned(worker))
        return await _by_page(self._give_up, [member["id"] for member in members])

    async def _give_up(self, page: Sequence[str]) -> list[str]:
        def fail(plan: Plan) -> list[JobState]:
            return commands.give_up(plan, list(plan.numbers(page).values()), LOCAL_JOB_LOST)

        failed, owed = await self._transitions.commit(fail)
        await self._dependents.settle(owed)
        return [job.id for job in failed]


def _job(plan: Plan, numbers: dict[str, int], job_id: str) -> JobState | None:
    return plan.get(numbers[job_id]) if job_id in numbers else None


async def _by_page(do: Callable[[Sequence[str]], Awaitable[list[str]]], ids: Sequence[str]) -> list[str]:
    """Do this with all of these jobs, page by page; return what it returned.

    An error is raised once all were tried. A page with one that cannot be written, or with rows that are too large for
    one transaction, is halved: then the others have been taken back.
    """

    async def page(some: Sequence[str]) -> list[str]:
        try:
            return await do(some)
        except BackendConnectionError:
            raise
        except BackendError as error:
            if len(some) == 1 or error.code == NOT_PERMITTED:
                raise
        middle = len(some) // 2
        return [done for part in await at_once(page, [some[:middle], some[middle:]]) for done in part]

    pages = [ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE)]
    return [done for part in await at_once(page, pages, most=_PAGES_AT_ONCE) for done in part]
