"""Let a worker take part in the group commits of its store: it is asked when a group is put together.

Without this, each outcome and each claim is an operation of its own, with a task that sends it and a future that it
waits for. Where they can join, the outcomes of bodies that have ended and a claim for the free slots go with whatever
is committed next, and the worker is told by a plain call. Stores without group commits do not offer it, and a worker
does not need it: ``JobBackend.update_job_status`` and ``dequeue_jobs`` do the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from asyncjobs.backends.values import ClaimRequest, Finished
from asyncjobs.core.requests import AttemptEnd


class Offer(Struct, frozen=True):
    """What a worker adds to a group: outcomes, and a claim, which may be for no job at all.

    ``ends`` belongs to the store from then on.
    """

    ends: Sequence[AttemptEnd]
    claim: ClaimRequest


class GroupMember(Protocol):
    """A worker, as its store calls it, always on the event loop. After an offer comes one call of the other two."""

    def offer(self, *, submitted: bool, claiming: Collection[str]) -> Offer | None:
        """Return what goes with the group that is put together now, None for nothing.

        :param submitted: whether the group has submissions, so that a claim may find new jobs.
        :param claiming: the workers for which the group has claims already.
        """
        ...

    def renewed(self, claim: ClaimRequest) -> ClaimRequest:
        """Return a claim of this group, which was made a moment ago, with what the worker may run by now.

        A claim of another worker is returned as it is.
        """
        ...

    def committed(self, finished: Finished) -> None:
        """Take the answer: the group is committed."""
        ...

    def failed(self, error: Exception) -> None:
        """Take the offer back: nothing of it is stored, or that is not known."""
        ...


class Membership(Protocol):
    """The place of a member in the group commits of a store."""

    def ask_soon(self) -> None:
        """Have a group put together soon, although nothing else may be waiting: the member has outcomes."""
        ...

    def leave(self) -> None:
        """Make no more offers. One that was made is still answered."""
        ...
