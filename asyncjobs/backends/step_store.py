"""Specify how a store keeps the steps of jobs: values that outlive the attempt that kept them, each under a key.

It is a part of the contract of ``backends.base``, and can be kept by a store without large transactions (ADR 30):

- each change is atomic and fenced by itself: it is applied while its attempt is the one in progress, or not at all. A
  batch is not atomic: after an error, or the death of the process, any number of its first changes may have been
  applied. Changes of one key or prefix are applied in the order of the batch;
- a ``Forget`` is atomic for each key alone: a reader may find some of the keys gone and others not. When the call
  returns, all of them are. If its attempt ends in between, it is ``Stale``, although some of them are gone;
- a read of a page sees each step as it was at some moment of the read. Between two pages, anything may change;
- the two numbers that decide which steps count, ``JobState.generation`` and ``JobState.steps_from``, are written with
  the row of the job, in the write that retries it. Steps that no longer count are never read, from then on. Upkeep
  (``JobBackend.prune``) deletes them some time later, in bounded steps, and the removal of a job all of its steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from asyncjobs.backends.values import StepPage
from asyncjobs.core.requests import StepChange
from asyncjobs.core.state import Stale


class StepStore(ABC):
    """The steps of jobs. Unknown jobs have none."""

    @abstractmethod
    async def write_steps(self, changes: Sequence[StepChange]) -> Sequence[Stale | None]:
        """Keep and forget values of running attempts, in this order; what comes last under a key remains.

        Each change is guarded by (in progress, attempt, worker), also while a request to cancel is stored. What was
        done is durable when the call returns: it does not wait for the events of bodies. Doing a batch again changes
        nothing, as long as nothing else was done in between. A kept value counts from the generation that the job has
        then; it survives retries, interruptions, releases, and the end of the job.

        :returns: per change, in order, None, or ``Stale`` where its attempt is no longer in progress or its job is
            gone, and nothing was changed.
        :raises ConfigurationError: a key or a prefix has more than 200 characters, or a key has none; nothing was
            changed.
        """

    @abstractmethod
    async def read_steps(
        self, job_id: str, after: str | None = None, limit: int = 500, *, values: bool = True
    ) -> StepPage:
        """Return a page of the steps that count, by the code points of their keys.

        A page has up to 1 MiB of values, so it may have fewer steps than ``limit`` although more follow. A value of
        more than 64 kB is left out, and read by ``read_step``.

        :param after: begin behind this key. None: with the first.
        :param values: False leaves out all values: the keys and sizes cost no read of them.
        :raises ConfigurationError: ``limit`` is not from 1 to 1,000, or ``after`` cannot be a key.
        """

    @abstractmethod
    async def read_step(self, job_id: str, key: str) -> bytes | None:
        """Return the value under this key, however large it is; None if there is none that counts.

        :raises ConfigurationError: ``key`` is not a valid key.
        """

    @abstractmethod
    async def count_steps(self, job_id: str) -> int:
        """Return the number of steps that count."""
