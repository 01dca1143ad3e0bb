"""Record how attempts end, and the events of those that run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter

from msgspec import msgpack, structs

from asyncjobs.backends.base import AttemptEnd, AttemptRef
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.hands import Hand
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.loading import read_rows
from asyncjobs.backends.sqs.reported import Reported
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.writing import owes
from asyncjobs.core import commands
from asyncjobs.core.plan import Plan
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import BackendError
from asyncjobs.models import BodyEvent, JobStatus


class Running:
    """The attempts of the workers of this process."""

    def __init__(
        self,
        transitions: Transitions,
        known: Known,
        hands: Callable[[str], Hand | None],
        worker_number: Callable[[str], int],
    ) -> None:
        self._transitions = transitions
        self._known = known
        self._hands = hands
        self._number = worker_number
        self._reported = Reported(transitions.table, transitions.clock.of_host)

    async def finish(self, ends: Sequence[AttemptEnd]) -> tuple[list[JobStatus | Stale], list[Row]]:
        """Record outcomes, each for itself; return them, and the rows whose dependents must be settled, in order."""
        # Several ends of one job are decided one after the other, as in one transaction.
        by_job: dict[str, list[int]] = {}
        for place, end in enumerate(ends):
            by_job.setdefault(end.attempt.job_id, []).append(place)
        ends = [structs.replace(end, body_events=self._checked(end.attempt, end.body_events)) for end in ends]

        async def finish(places: Sequence[int]) -> list[tuple[int, JobStatus | Stale, list[Row]]]:
            return [(place, *await self._finish(ends[place])) for place in places]

        found = sorted(chain.from_iterable(await at_once(finish, list(by_job.values()))), key=itemgetter(0))
        return [result for _, result, _ in found], [row for _, _, owed in found for row in owed]

    async def _finish(self, end: AttemptEnd) -> tuple[JobStatus | Stale, list[Row]]:
        job_id, worker = end.attempt.job_id, end.attempt.worker
        hand = self._hands(worker)
        in_hand = hand is not None and hand.running.get(job_id) == end.attempt.attempt
        end = structs.replace(end, body_events=await self._reported.unstored(end.attempt, end.body_events))

        def finish(plan: Plan) -> JobStatus | Stale:
            n = plan.numbers([job_id]).get(job_id, -1)
            return commands.finish(plan, [(n, self._number(worker), end)])[0]

        result, owed = await self._transitions.commit(finish, self._known_rows(job_id), in_hand=in_hand)
        self._reported.settle(end.attempt)
        if isinstance(result, Stale) and hand is not None:
            owed = await self._still_owed(hand, end.attempt)
        if hand is not None and in_hand:
            hand.end(job_id, end.attempt.attempt, owed)
        return result, owed

    async def _still_owed(self, hand: Hand, attempt: AttemptRef) -> list[Row]:
        """Return what a stale end may have left: it was written before, and its answer, or what follows, failed."""
        if attempt.job_id in hand.owing:
            return [hand.owing[attempt.job_id]]
        if hand.running.get(attempt.job_id) != attempt.attempt:
            return []
        row = (await read_rows(self._transitions.table, [attempt.job_id]))[attempt.job_id]
        return [row] if row is not None and owes(row) else []

    async def append_events(self, batches: Sequence[tuple[AttemptRef, Sequence[BodyEvent]]]) -> list[bool]:
        """Store the events of running bodies, those of one job in order; return for each whether it was stored."""
        checked = [(attempt, self._checked(attempt, events)) for attempt, events in batches]
        by_job: dict[str, list[int]] = {}
        for place, (attempt, _) in enumerate(batches):
            by_job.setdefault(attempt.job_id, []).append(place)

        async def append(places: Sequence[int]) -> list[tuple[int, bool]]:
            return [(place, await self._append(*checked[place])) for place in places]

        try:
            found = sorted(chain.from_iterable(await at_once(append, list(by_job.values()))))
        except BackendError:
            for (attempt, events), (_, by_store) in zip(batches, checked, strict=True):
                self._reported.doubt(attempt, events, by_store)
            raise
        for attempt, _ in checked:
            self._reported.settle(attempt)
        return [stored for _, stored in found]

    async def _append(self, attempt: AttemptRef, events: tuple[BodyEvent, ...]) -> bool:
        left = await self._reported.unstored(attempt, events)
        if events and not left:
            return True

        def append(plan: Plan) -> bool:
            n = plan.numbers([attempt.job_id]).get(attempt.job_id, -1)
            batch = (n, attempt.attempt, self._number(attempt.worker), left)
            return commands.append_events(plan, [batch])[0]

        stored, _ = await self._transitions.commit(append, self._known_rows(attempt.job_id))
        return stored

    def _known_rows(self, job_id: str) -> Sequence[Row]:
        row = self._known.row(job_id)
        return () if row is None else (row,)

    def _checked(self, attempt: AttemptRef, events: Sequence[BodyEvent]) -> tuple[BodyEvent, ...]:
        """Return the events by the time of the store; raise before anything is written if data cannot be stored.

        A body reports by the wall clock of its host, which may be wrong by hours.
        """
        for event in events:
            msgpack.encode(event.data)
        return self._reported.by_store(attempt, events)
