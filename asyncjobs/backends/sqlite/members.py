"""Ask the workers that take part in group commits for what they add to a group, and answer them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from asyncjobs.backends.base import Finished
from asyncjobs.backends.group_commits import GroupMember
from asyncjobs.backends.sqlite.operations import Dequeue, Enqueue, Finish, Operation
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqlite")


class Members:
    """The members of one writer.

    :param ask_soon: called when a member has something for a group.
    """

    def __init__(self, ask_soon: Callable[[], None]) -> None:
        self._ask_soon = ask_soon
        self._members: dict[Member, None] = {}

    def join(self, worker: GroupMember) -> Member:
        """Add a worker."""
        member = Member(worker, self._ask_soon, self._members)
        self._members[member] = None
        return member

    def ask(self, group: Sequence[Operation], *, outcomes: bool) -> list[Finish]:
        """Return what the members add to this group, which is put together now.

        :param outcomes: whether a member has asked for a group since the last one.
        """
        kinds = set(map(type, group))
        submitted = Enqueue in kinds
        if not (submitted or outcomes):
            return []
        claiming: list[str] = []
        if Dequeue in kinds:
            claims = [operation for operation in group if type(operation) is Dequeue]
            if submitted:
                self._renew(claims)
            claiming = [operation.claim.worker for operation in claims]
        offers: list[Finish] = []
        for member in list(self._members):
            try:
                offer = member.worker.offer(submitted=submitted, claiming=claiming)
            except Exception:  # border: one worker must not keep the others, and all callers, from being served
                logger.exception("a worker could not be asked for its outcomes")
                continue
            if offer is not None:
                finish = Finish(ends=offer.ends, claim=offer.claim)
                finish.future = Reply(member.worker)
                offers.append(finish)
        return offers

    def _renew(self, claims: Sequence[Dequeue]) -> None:
        """Renew claims that know nothing of functions which are submitted first in their group.

        Otherwise a job of such a function would be overtaken by one of lower priority.
        """
        for operation in claims:
            for member in self._members:
                try:
                    operation.claim = member.worker.renewed(operation.claim)
                except Exception:  # border: as below; the claim is right, if a moment old
                    logger.exception("a worker could not be asked what it may run")


class Member:
    """A ``Membership``."""

    def __init__(self, worker: GroupMember, ask_soon: Callable[[], None], members: dict[Member, None]) -> None:
        self.worker = worker
        self._members = members
        self._ask_soon = ask_soon

    def ask_soon(self) -> None:
        """Have a group put together soon."""
        if self in self._members:
            self._ask_soon()

    def leave(self) -> None:
        """Make no more offers."""
        self._members.pop(self, None)


class Reply:
    """Stands for the future of an offer: its answer is a plain call."""

    def __init__(self, worker: GroupMember) -> None:
        self._worker = worker

    def done(self) -> bool:
        """Return False: nobody can withdraw an offer."""
        return False

    def set_result(self, finished: Finished) -> None:
        """Answer the worker."""
        try:
            self._worker.committed(finished)
        except Exception:  # border: it is committed; the others of the group must be answered
            logger.exception("a worker could not be told of its outcomes")

    def set_exception(self, error: Exception) -> None:
        """Give the worker its offer back."""
        try:
            self._worker.failed(error)
        except Exception:  # border: as above
            logger.exception("a worker could not be told of an error")
