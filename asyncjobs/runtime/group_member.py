"""Take part in the group commits of the store: outcomes and a claim go with whatever is committed next.

A body that ends asks the store for a group; a submission of this process makes one anyway. In both cases the store asks
here, when it puts the group together, and answers by a call: no task, no future and no transaction of their own. What
fails goes the patient way, by ``OutcomeWriter.run`` and the scheduler, which also wait out an unavailable store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from asyncjobs.backends.base import AttemptEnd, ClaimRequest, ClaimResult, Finished, JobBackend
from asyncjobs.backends.group_commits import Membership, Offer
from asyncjobs.runtime.claims import Claims
from asyncjobs.runtime.outcomes import OutcomeWriter


class _Made(Struct, frozen=True):
    """An offer that is not answered yet. ``short``: an earlier claim holds slots, and does not see what it releases."""

    ends: Sequence[AttemptEnd]
    claim: ClaimRequest
    short: bool


class WorkerMember:
    """A worker as a ``GroupMember``.

    :param claimed: called with the result of a claim, once its jobs have started.
    :param nudge: called when a claim must be made in another way.
    :param written: called when an offer is answered.
    """

    def __init__(
        self,
        outcomes: OutcomeWriter,
        claims: Claims,
        *,
        claimed: Callable[[ClaimResult], None],
        nudge: Callable[[], None],
        written: Callable[[], None],
    ) -> None:
        self._outcomes = outcomes
        self._claims = claims
        self._claimed = claimed
        self._nudge = nudge
        self._written = written
        self._membership: Membership | None = None
        self._made: _Made | None = None

    @property
    def joined(self) -> bool:
        """Whether the store asks."""
        return self._membership is not None

    def join(self, backend: JobBackend) -> None:
        """Join the group commits of this store, if it has them."""
        self._membership = backend.join_group_commits(self)
        if self._membership is not None:
            self._outcomes.join(self._membership.ask_soon)

    def leave(self) -> None:
        """Make no more offers."""
        if self._membership is not None:
            self._membership.leave()
            self._membership = None
            self._outcomes.part()

    def look_again(self) -> None:
        """Ask for a group if outcomes wait: should a request for one be lost, they would wait for the next body."""
        if self._membership is not None and self._outcomes.queued:
            self._membership.ask_soon()

    def offer(self, *, submitted: bool, claiming: Collection[str]) -> Offer | None:
        """Offer the outcomes of bodies that have ended, and a claim for the free slots."""
        outcomes, slots = self._outcomes, self._claims.slots
        if self._made is not None or not outcomes.may_be_taken:
            return None
        if not outcomes.queued and not (submitted and not self._claims.closed and slots.may_claim()):
            return None
        pending = slots.reserved > 0
        claim = self._claims.request()
        short = pending and claim.worker not in claiming  # in this group, it sees what the outcomes release
        self._made = _Made(outcomes.take(), claim, short)
        return Offer(self._made.ends, claim)

    def renewed(self, claim: ClaimRequest) -> ClaimRequest:
        """Return a claim of the scheduler, with the functions that have been submitted here since."""
        return self._claims.renew(claim)

    def committed(self, finished: Finished) -> None:
        """Start what the claim brought."""
        made = self._answered()
        try:
            self._outcomes.on_written(made.ends, finished)
        finally:
            self._claims.settle(made.claim, finished.claims)
        self._claimed(finished.claims)
        if made.short:
            self._claims.slots.freed()
        self._go_on()

    def failed(self, error: Exception) -> None:
        """Send the outcomes again, the patient way."""
        made = self._answered()
        self._claims.settle(made.claim, None)
        if made.ends:
            self._outcomes.take_back(made.ends)  # and with them a claim
        else:
            self._nudge()
        self._go_on()

    def _answered(self) -> _Made:
        made, self._made = self._made, None
        assert made is not None, "an offer is answered once"
        return made

    def _go_on(self) -> None:
        self.look_again()
        self._written()
