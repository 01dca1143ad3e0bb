"""Claim ready jobs: read the rows, write down their ids on the worker, then take them.

What a worker has in hand is written down before it is taken. So whoever finds it dead knows what it may hold: what
runs is interrupted, and the version of what does not is raised, which refuses the claim of a worker that only slept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from asyncjobs.backends.base import AttemptRef, ClaimedJob, ClaimRequest, ClaimResult
from asyncjobs.backends.sqs import keys, payloads
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.hands import Hand, write_down
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.loading import Loaded, decide, read_rows
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.sharing import Sharing
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.core import commands
from asyncjobs.core.lanes import Lane, split_lanes
from asyncjobs.core.plan import Plan
from asyncjobs.exceptions import BackendError
from asyncjobs.models import JobStatus, WaitsFor


class Looked(Struct, frozen=True):
    """What a claim found out about jobs for which messages have arrived.

    ``ready`` are those that some worker could take, ``runnable`` those of them that this one may run.
    """

    ready: Collection[str] = ()
    runnable: Collection[str] = ()


class Index(Protocol):
    """Where lanes are found that this process knows nothing of."""

    async def lanes(self) -> Mapping[str, Lane]:
        """Return every lane that jobs were submitted for, by its short name."""
        ...

    async def has_ready(self, lane: str) -> bool:
        """Return whether any job of this lane may be ready."""
        ...


class Claims:
    """Claims for the workers of this process."""

    def __init__(
        self,
        transitions: Transitions,
        known: Known,
        index: Index,
        sharing: Sharing,
        hands: Callable[[str], Hand | None],
        met: Callable[[], object],
    ) -> None:
        self._transitions = transitions
        self._table = transitions.table
        self._known = known
        self._index = index
        self._sharing = sharing
        self._hands = hands
        self._met = met

    async def claim(self, claim: ClaimRequest, hinted: Mapping[str, float | None]) -> tuple[ClaimResult, Looked]:
        """Claim up to ``claim.limit`` jobs for a worker of this process.

        :param hinted: jobs for which messages have arrived: no other daemon has those. See ``Outlook.note_messages``.
        """
        hand = self._hands(claim.worker)
        if hand is None:
            return ClaimResult(lost=True), Looked()
        hand.outlook.note_messages(hinted.values(), self._transitions.clock.lease_time())
        hints = await self._read_hinted(list(hinted))
        async with hand.lock:
            lanes, unknown = await self._lanes(claim)
            found = {
                row.id: keys.rank(row.state.priority, row.n) for row in hints if keys.lane(row.fixed.lane) in lanes
            }
            failures: list[BackendError] = []
            claimed = await self._recover(claim, hand, failures)
            if not await self._fill(claim, hand, lanes, found, claimed, failures):
                return ClaimResult(lost=True), Looked()
            for row in hints:
                if row.id not in hand.running:
                    self._known.forget(row.id)  # its message goes to others
            if failures and not claimed:
                raise failures[0]
            again = self._again(hand, claim.limit - len(claimed))
        return ClaimResult(claimed, again, unknown), Looked({row.id for row in hints}, found.keys())

    def _again(self, hand: Hand, free: int) -> int | None:
        """Return when to claim again, by the wall clock; None if whatever there is comes by itself."""
        clock = self._transitions.clock
        now = clock.lease_time()
        if self._sharing.alone:
            return None
        hand.outlook.note_claim(free, now)
        at = hand.outlook.again_at
        return None if at is None or at <= now else clock.now() + at - now

    async def _fill(
        self,
        claim: ClaimRequest,
        hand: Hand,
        lanes: Sequence[str],
        hinted: Mapping[str, str],
        claimed: list[ClaimedJob],
        failures: list[BackendError],
    ) -> bool:
        """Take jobs until there are as many as were asked for, or no more; return False if the worker is gone."""
        tried: set[str] = set()
        found: list[str] = []
        more = True
        while (room := claim.limit - len(claimed)) > 0:
            chosen = [job_id for job_id in found if job_id not in tried][:room]
            if not chosen:
                if not more:
                    break
                found = await self._sharing.find(hand.outlook, lanes, hinted, room, tried)
                more = len(found) >= room
                chosen = found[:room]
            if not chosen:
                break
            tried.update(chosen)
            certain = {job_id for job_id in chosen if job_id in hinted or self._sharing.is_private(job_id)}
            with self._sharing.reserved(chosen):
                rows = await self._ready_rows(chosen, certain)
                taken = await self._take(rows, claim.worker, hand, failures) if rows else []
            if taken is None:
                return False
            claimed += taken
        return True

    async def _ready_rows(self, chosen: Sequence[str], certain: Collection[str]) -> list[Row]:
        """Return the rows of those jobs that are ready; what other processes may have taken is read again."""
        rows = {job_id: self._known.candidate(job_id) if job_id in certain else None for job_id in chosen}
        rows |= await read_rows(self._table, [job_id for job_id, row in rows.items() if row is None])
        return [row for job_id in chosen if (row := rows[job_id]) is not None and is_ready(row)]

    async def _read_hinted(self, hinted: Sequence[str]) -> list[Row]:
        """Read the rows of jobs for which messages have arrived, and return those that are ready."""
        if not hinted:
            return []
        rows = await read_rows(self._table, hinted)
        ready = [row for row in rows.values() if row is not None and is_ready(row)]
        for row in ready:
            self._known.notice(row)
        return ready

    async def _lanes(self, claim: ClaimRequest) -> tuple[list[str], tuple[str, ...]]:
        """Return the lanes to claim from, and the functions of ready jobs that the worker has not looked up."""
        every = await self._index.lanes()
        looked_up = claim.functions | claim.refused
        ready = [
            (name, lane)
            for name, lane in every.items()
            if lane.function in looked_up or self._known.has_ready(name) or await self._index.has_ready(name)
        ]
        return split_lanes(
            ready,
            worker=claim.worker,
            queues=claim.queues,
            functions=claim.functions,
            refused=claim.refused,
        )

    async def _recover(self, claim: ClaimRequest, hand: Hand, failures: list[BackendError]) -> list[ClaimedJob]:
        """Hand out what an earlier claim has taken, although its answer was lost; forget what it has not."""
        rows = await read_rows(self._table, list(hand.in_doubt)) if hand.in_doubt else {}
        claimed: list[ClaimedJob] = []
        for job_id, row in rows.items():
            if row is None or not runs_on(row, hand.number) or job_id in hand.running:
                del hand.in_doubt[job_id]
            elif len(claimed) < claim.limit:
                try:
                    call = await self._call(row)
                except BackendError as error:  # it stays in doubt, and does not hold up the others
                    failures.append(error)
                else:
                    claimed.append(_hand_out(row, call, claim.worker, hand))
        return claimed

    async def _take(
        self, rows: Sequence[Row], worker: str, hand: Hand, failures: list[BackendError]
    ) -> list[ClaimedJob] | None:
        """Write down what is to be taken, then take it; None if the worker is gone.

        A job whose write fails stays in doubt, one whose call cannot be read stays ready, and the others are handed
        out all the same.
        """
        hand.in_doubt |= dict.fromkeys(row.id for row in rows)
        if not await write_down(self._table, worker, hand, self._transitions.clock.lease_time()):
            return None

        async def take(row: Row) -> ClaimedJob | None:
            try:
                call = await self._call(row)
            except BackendError as error:
                hand.in_doubt.pop(row.id, None)
                failures.append(error)
                return None
            try:
                started = await self._start(row, hand)
            except BackendError as error:
                failures.append(error)
                return None
            if started is None:
                hand.in_doubt.pop(row.id, None)
                return None
            return _hand_out(started, call, worker, hand)

        return [job for job in await at_once(take, rows) if job is not None]

    async def _call(self, row: Row) -> bytes | None:
        """Return the call of a job; None if a part of it is missing."""
        if row.fixed.call is not None or not row.fixed.call_parts:
            return row.fixed.call or b""
        return await payloads.read_call(self._table, row)

    async def _start(self, row: Row, hand: Hand) -> Row | None:
        """Start one job, unless it changed since it was read: then it is not this worker's to decide again."""
        view = Loaded(self._transitions.clock)
        view.put(row.id, row)

        def start(plan: Plan) -> None:
            commands.start(plan, [row.n], hand.number)

        _, plan = await decide(start, view, self._table, self._transitions.clock)
        decided = self._transitions.translator.changes(plan, plan.take(), view)
        if not decided.changed:
            return None
        refused = await self._transitions.write(decided)
        if refused is not None:
            self._known.forget(row.id)
            for now in refused:
                self._transitions.noticed(now)
            self._met()
            # It may be this worker's all the same: the answer to the write was lost, and others wrote before it was
            # repeated. Then an event of it was not reported to the listeners; the log has it.
            return next((now for now in refused if runs_on(now, hand.number) and now.id not in hand.running), None)
        self._transitions.settled(decided)
        return decided.changed[0].after


def _hand_out(row: Row, call: bytes | None, worker: str, hand: Hand) -> ClaimedJob:
    """Return a job that was taken; from then on its worker runs it."""
    hand.running[row.id] = row.state.attempt
    hand.in_doubt.pop(row.id, None)
    state, fixed = row.state, row.fixed
    missing = "unreadable: call (a part of it is missing)" if call is None else None
    return ClaimedJob(
        attempt=AttemptRef(row.id, state.attempt, worker, row.n),
        function=fixed.function,
        call=call or b"",
        injects=fixed.injects,
        retry=state.retry,
        timeout=fixed.timeout,
        group=state.group,
        started_at=state.started_at or 0,
        cancel_requested=state.cancel_requested,
        isolation=fixed.isolation,
        unreadable=missing or state.unreadable,
    )


def is_ready(row: Row) -> bool:
    """Return whether a claim can take this job."""
    return row.batch is None and row.state.status is JobStatus.PENDING and row.state.waits_for is WaitsFor.WORKER


def runs_on(row: Row, worker: int) -> bool:
    """Return whether a job is in progress on this worker."""
    return row.state.status is JobStatus.IN_PROGRESS and row.state.worker == worker
