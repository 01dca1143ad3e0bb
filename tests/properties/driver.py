"""Random histories: the same seed gives the same commands on every store, checked after each step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from random import Random

from msgspec.structs import replace

from asyncjobs.backends.base import AttemptEnd, AttemptRef, ClaimResult, NewJob
from asyncjobs.core.lifecycle import TRANSITIONS
from asyncjobs.core.requests import Forget, Keep, StepChange
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import JobProcessorError, JobStateError
from asyncjobs.models import (
    BodyEvent,
    Dependency,
    EdgeState,
    EventType,
    Job,
    JobEvent,
    JobStatus,
    Limit,
    Outcome,
    OutcomeKind,
)
from asyncjobs.testing import FaultyBackend, random_graph
from tests.conformance.support import (
    CANCELLED,
    COMPLETED,
    FAILED,
    FAILURE,
    FATAL,
    FUNCTION,
    PENDING,
    RELEASED,
    SKIPPED,
    STOPPED,
    SUCCESS,
    Dump,
    Hand,
    Make,
    Store,
)
from tests.properties.model import Model
from tests.properties.oracle import Oracle

LIMITS = (Limit("x", 1), Limit("y", 2))
POLICY = RetryPolicy(max_retries=1, base=1.0, factor=2.0, jitter=0.0)
OUTCOMES = (SUCCESS, SUCCESS, SUCCESS, FATAL, FAILURE, RELEASED, STOPPED, Outcome(OutcomeKind.INTERRUPTED))
STEPS = 20
KEYS = ("a", "a/1", "a/2", "ab", "b", "b/\U0010ffff")
"""Of steps that jobs keep."""


class Driver:
    """Plays a history on a store beside an ``Oracle``, and compares."""

    functions = (FUNCTION,)
    """What its workers run."""

    def __init__(self, seed: int, store: Store) -> None:
        self.rng = Random(seed)
        self.of_steps = Random(seed)  # apart, because what jobs keep changes nothing else of a history
        self.store = store
        self.oracle = Oracle()
        self.graphs = 0
        self.refs: dict[str, AttemptRef] = {}  # of the attempts in progress
        self.old: list[AttemptRef] = []  # of attempts that ended
        self.hands: list[Hand] = []
        self.cursor: str | None = None
        self.log: list[JobEvent] = []
        self.revived: list[tuple[str, str]] = []  # as the log has it: a job, and the one that was retried
        self.seen: dict[str, tuple[int, JobStatus | None]] = {}  # by job: the last seq, and the status it leads to

    async def play(self, steps: int = STEPS) -> Dump:
        """A whole history; returns what the store tells in the end.

        :raises AssertionError: the store does not do what the rules say.
        """
        self.hands = [await self.store.hand(f"hand{i}", functions=self.functions) for i in range(2)]
        await self.submit()
        await self.check()
        actions: list[Callable[[], Awaitable[None]]] = [self.submit, self.cancel, self.retry, self.lose, self.say]
        actions += [
            self.refused,
            self.recount,
            self.advance,
            self.set_the_clock,
            *(self.claim,) * 4,
            *(self.finish,) * 5,
        ]
        for _ in range(steps):
            await self.rng.choice(actions)()
            await self.check()
            await self.beside()
            await self.of_steps.choice((self.keep, self.keep, self.keep_nothing, self.clear))()
            await self.check_steps(model for model in self.oracle.jobs.values() if model.attempt)
        await self.to_the_end()
        await self.read_again()
        return await self.store.dump()

    async def beside(self) -> None:
        """What happens beside, after each step."""

    async def helped(self) -> None:
        """What is done in the end so that every job becomes terminal."""

    # -- choosing

    def some(self, count: int) -> list[str]:
        ids = list(self.oracle.jobs)
        return self.rng.sample(ids, min(count, len(ids)))

    def worker(self, job: Model) -> Hand:
        assert job.worker is not None
        return self.hands[job.worker]

    # -- steps

    async def submit(self) -> None:
        self.tick()
        self.graphs += 1
        batch = random_graph(
            self.rng,
            self.rng.randint(1, 7),
            prefix=f"g{self.graphs}-",
            function=FUNCTION,
            known=tuple(self.some(3)),
            limits=LIMITS,
            retry=POLICY,
        )
        batch = [replace(job, delay=3_000_000) if self.rng.random() < 0.15 else job for job in batch]
        batch = [self.varied(replace(job, max_interruptions=self.rng.randint(1, 3))) for job in batch]
        parent = self.rng.choice([None, None, *self.refs.values()])
        if parent is not None and self.oracle.jobs[parent.job_id].cancel_requested:
            await self.refused_as_cancelled(batch, parent)
            return
        assert list(await self.store.submit(*batch, parent=parent)) == [job.id for job in batch]
        self.oracle.submit(batch, parent.job_id if parent else None)

    def varied(self, job: NewJob) -> NewJob:
        """A job of a random graph, perhaps as another one."""
        return job

    async def refused_as_cancelled(self, batch: Sequence[NewJob], parent: AttemptRef) -> None:
        before = await self.store.dump()
        try:
            await self.store.submit(*batch, parent=parent)
        except JobStateError:
            assert await self.store.dump() == before, "a refused submission changed something"
        else:
            raise AssertionError("an attempt that was asked to stop submitted a job")

    async def refused(self) -> None:
        """A submission with one thing wrong, or a retry that is not allowed: nothing changes."""
        good = random_graph(self.rng, 3, prefix="bad-", function=FUNCTION, retry=POLICY, limits=LIMITS)
        last = good[-1]
        known = self.rng.choice(list(self.oracle.jobs))
        job = replace(last, dependencies=(), require=None)
        one = replace(job, id="bad-x", dependencies=(Dependency("bad-y"), Dependency(known)))
        two = replace(job, id="bad-y", dependencies=(Dependency("bad-z", optional=True),))
        three = replace(job, id="bad-z", dependencies=(Dependency("bad-x"),))
        wrong: list[list[NewJob]] = [
            [*good, replace(job, id=known)],
            [*good, last],
            [*good, replace(job, id="bad-x", dependencies=(Dependency("nobody"),))],
            [*good, replace(job, id="bad-x", dependencies=(Dependency("bad-x"),))],
            [*good, one, two, three],
        ]
        before = await self.store.dump()
        stale = self.rng.choice(self.old) if self.old and self.rng.random() < 0.3 else None
        try:
            await self.store.submit(*(good if stale else self.rng.choice(wrong)), parent=stale)
        except JobProcessorError:
            assert await self.store.dump() == before, "a refused submission changed something"
        else:
            raise AssertionError("a submission that the rules refuse was stored")

    async def claim(self) -> None:
        self.tick()
        hand = self.rng.randrange(len(self.hands))
        limit = self.rng.randint(1, 4)
        await self.claimed(hand, limit, await self.hands[hand].claims(limit))

    async def claimed(self, hand: int, limit: int, claims: ClaimResult) -> None:
        got = self.hands[hand].remember(claims)
        right = self.oracle.claimable(limit)
        assert got == [job.id for job in right], f"claimed {got}, the rules say {[job.id for job in right]}"
        for job in right:
            self.oracle.start(job, hand)
            ref = self.hands[hand].held[job.id]
            assert ref.attempt == job.attempt
            self.refs[job.id] = ref

    async def finish(self) -> None:
        """Some attempts end, among them perhaps some that ended before; perhaps with a claim."""
        self.tick()
        running = self.oracle.running()
        ending = self.rng.sample(running, min(len(running), self.rng.randint(1, 3)))
        ends = [AttemptEnd(self.refs[job.id], self.rng.choice(OUTCOMES)) for job in ending]
        stale = self.rng.sample(self.old, min(len(self.old), self.rng.choice((0, 0, 1, 2))))
        stale += [replace(self.refs[j.id], attempt=j.attempt - 1) for j in running[:1] if self.rng.random() < 0.2]
        stale += [replace(self.refs[j.id], worker="w9999-0") for j in running[-1:] if self.rng.random() < 0.2]
        ends += [AttemptEnd(ref, self.rng.choice(OUTCOMES)) for ref in stale]
        self.rng.shuffle(ends)
        hand, limit = self.rng.randrange(len(self.hands)), self.rng.randint(1, 3)
        wants = self.hands[hand].wants(limit) if self.rng.random() < 0.5 else None
        finished = await self.store.backend.update_job_status(ends, wants)
        late = [end.attempt for end in ends if end.attempt in stale]
        for end, result in zip(ends, finished.results, strict=True):
            job = self.oracle.jobs[end.attempt.job_id]
            if end.attempt in late:
                assert isinstance(result, Stale), f"{end.attempt} was recorded, but it is not the current attempt"
                continue
            self.ended(job, end.outcome)
            assert result == job.status, f"{job.id} ended {end.outcome.kind}: {result}, the rules say {job.status}"
        if wants is not None:
            await self.settle()
            await self.claimed(hand, limit, finished.claims)

    def ended(self, job: Model, outcome: Outcome) -> None:
        self.old.append(self.refs.pop(job.id))
        self.oracle.end(job, outcome)

    async def say(self) -> None:
        self.tick()
        said = (BodyEvent("progress", {"done": self.rng.randint(0, 9)}, self.store.clock.now()),)
        refs = [*self.refs.values(), *self.old[-2:]]
        answers = await self.store.backend.append_events([(ref, said) for ref in refs])
        assert list(answers) == [ref in self.refs.values() for ref in refs]

    async def keep(self) -> None:
        """Attempts keep and forget, some of them stale: they ended, have another number, or another worker."""
        current = list(self.refs.values())
        stale = self.of_steps.sample(self.old, min(len(self.old), self.of_steps.choice((0, 0, 1, 2))))
        stale += [replace(ref, attempt=ref.attempt - 1) for ref in current[:1] if self.of_steps.random() < 0.2]
        stale += [replace(ref, worker="w9999-0") for ref in current[-1:] if self.of_steps.random() < 0.2]
        if not current and not stale:
            return
        changes = [
            self.change(self.of_steps.choice([*current * 3, *stale])) for _ in range(self.of_steps.randint(1, 6))
        ]
        answers = await self.store.backend.write_steps(changes)
        for change, answer in zip(changes, answers, strict=True):
            late = change.attempt in stale
            assert isinstance(answer, Stale) is late, f"{change}: {answer}"
            job = self.oracle.jobs[change.attempt.job_id]
            if late:
                assert answer == Stale(job.attempt, job.status)
            elif isinstance(change, Keep):
                self.oracle.keep(job, change.key, change.value)
            else:
                self.oracle.forget(job, change.prefix)

    def change(self, attempt: AttemptRef) -> StepChange:
        key = self.of_steps.choice(KEYS)
        if self.of_steps.random() < 0.25:
            return Forget(attempt, key[: self.of_steps.randint(0, len(key))])
        return Keep(attempt, key, self.of_steps.randbytes(self.of_steps.randint(0, 9)))

    async def keep_nothing(self) -> None:
        """A batch with one thing wrong, or a call that does not reach the store: nothing of it is kept."""
        current = list(self.refs.values())
        if not current:
            return
        changes = [self.change(self.of_steps.choice(current)) for _ in range(3)]
        faulty = FaultyBackend(self.store.backend)
        if self.of_steps.random() < 0.5:
            faulty.fail("write_steps")
        else:
            changes.append(Keep(current[0], "k" * 201, b"too long a key"))
        try:
            await faulty.write_steps(changes)
        except JobProcessorError:
            return  # the next check sees whether something was kept
        raise AssertionError("a batch that the rules refuse was kept")

    async def clear(self) -> None:
        """Upkeep deletes what does not count any more, and nothing else."""
        assert await self.store.backend.prune(0) == 0

    async def cancel(self) -> None:
        self.tick()
        ids, descendants = self.some(self.rng.randint(1, 2)), self.rng.random() < 0.5
        await self.store.backend.cancel_jobs(ids, descendants=descendants)
        self.oracle.cancel(ids, descendants)

    async def retry(self) -> None:
        self.tick()
        retryable = [job.id for job in self.oracle.jobs.values() if self.oracle.may_be_retried(job)]
        job_id = self.rng.choice(retryable) if retryable and self.rng.random() < 0.9 else self.some(1)[0]
        await self.retried(job_id, self.of_steps.random() < 0.4)

    async def retried(self, job_id: str, fresh: bool) -> None:
        retryable = [job.id for job in self.oracle.jobs.values() if self.oracle.may_be_retried(job)]
        try:
            await self.store.backend.retry_job(job_id, fresh=fresh)
        except JobStateError:
            assert job_id not in retryable, f"{job_id} was not retried"
        else:
            assert job_id in retryable, f"{job_id} was retried, the rules refuse it"
            self.oracle.retry(job_id, fresh)

    async def lose(self) -> None:
        """A worker is lost, and another one comes in its place."""
        index = self.rng.randrange(len(self.hands))
        lost = self.hands[index]
        held = self.oracle.running(index)
        reaped = await self.store.lose(lost)
        self.look_at_the_clock()
        assert sorted(reaped) == sorted(job.id for job in held)
        for job in held:
            self.ended(job, Outcome(OutcomeKind.INTERRUPTED))
        self.store.hands.remove(lost)
        self.hands[index] = await self.store.hand(f"hand{index}", functions=self.functions)

    async def recount(self) -> None:
        before = await self.store.dump()
        await self.store.backend.mark_job_ready(list(self.oracle.jobs))
        assert await self.store.dump() == before, "deciding anew changed what was right"

    async def advance(self) -> None:
        self.store.clock.advance(self.rng.randint(1, 4))
        for hand in self.hands:
            await hand.beat()

    async def set_the_clock(self) -> None:
        """Delays and backoffs are durations: it changes nothing of what is ready. Deadlines of gates are moments."""
        self.store.clock.jump(self.rng.choice((-3600, -5, 5, 3600)))

    def tick(self) -> None:
        """Time goes on a little, so that moments tell steps apart."""
        self.store.clock.advance(0.001)
        self.look_at_the_clock()

    def look_at_the_clock(self) -> None:
        self.oracle.now, self.oracle.wall = self.store.clock.since_boot(), self.store.clock.now()

    # -- checking

    async def settle(self) -> Sequence[Job]:
        """Have the rules decide what follows from a step; returns what the store has."""
        jobs = await self.store.jobs()
        self.oracle.settle({job.id: job.because for job in jobs})
        return jobs

    async def check(self) -> None:
        jobs = await self.settle()
        edges: dict[str, dict[str, EdgeState]] = {}
        for edge in await self.store.backend.get_dependencies([job.id for job in jobs]):
            edges.setdefault(edge.child_id, {})[edge.parent_id] = edge.state
        self.oracle.compare(jobs, edges)
        await self.check_log()
        for job in jobs:
            assert self.seen[job.id] == (job.version, job.status), f"the log of {job.id} does not lead to what it is"
        for limit in LIMITS:
            running = sum(job.new.limit == limit for job in self.oracle.running())
            info = await self.store.backend.get_limit(limit.key)
            assert (info.in_progress if info else 0) == running <= limit.capacity, f"limit {limit.key}"

    async def check_steps(self, jobs: Iterable[Model], limit: int = 500) -> None:
        """A job keeps what its attempts kept, since it was last retried anew."""
        for job in jobs:
            steps = await self.store.steps(job.id, limit)
            assert steps == job.steps, f"{job.id} keeps {steps}, the rules say {job.steps}"

    async def check_log(self) -> None:
        """What is new in the log goes on where it ended, and each change is one that the table knows."""
        page = await self.store.backend.read_events(self.cursor, limit=1000)
        self.cursor = page.cursor
        for event in page.events:
            self.check_cause(event)
            self.log.append(event)
            seq, status = self.seen.get(event.job_id, (0, None))
            assert event.seq == seq + 1, f"{event.job_id}: after event {seq} came {event.seq}"
            if event.status is not None:
                assert TRANSITIONS.get((status, EventType(event.type))) is event.status, f"{status} {event.type}"
                status = event.status
            self.seen[event.job_id] = (event.seq, status)
            if event.type == EventType.RETRYING and "by" in event.data:
                self.revived.append((event.job_id, event.data["job"]))
        assert sorted(self.revived) == sorted(self.oracle.revivals), "what a retry revived"

    def check_cause(self, event: JobEvent) -> None:
        """The ends of parents stand in the log before what they decided about a job."""
        new = self.oracle.jobs[event.job_id].new
        ends = {dep.parent_id: self.seen.get(dep.parent_id, (0, None))[1] for dep in new.dependencies}
        required = {dep.parent_id for dep in new.dependencies if not dep.optional}
        if event.type == EventType.SKIPPED:
            assert set(ends.values()) & {FAILED, CANCELLED, SKIPPED}, f"{event.job_id} was skipped before its parents"
        elif event.type == EventType.STARTED and event.attempt == 1 and new.require is None:
            settled = all(end is not None and end.terminal for end in ends.values())
            allowed = settled and all(ends[parent] is COMPLETED for parent in required)
            assert allowed, f"{event.job_id} started early"
        elif event.type == EventType.STARTED and event.attempt == 1:
            assert list(ends.values()).count(COMPLETED) >= (new.require or 0), f"{event.job_id} started early"

    async def to_the_end(self) -> None:
        """With workers alive, every job becomes terminal."""
        for _ in range(60):
            self.store.clock.advance(12)
            self.tick()
            for hand in self.hands:
                assert (await hand.beat()).alive
            await self.helped()
            await self.claimed(0, 50, await self.hands[0].claims(50))
            ends = [AttemptEnd(ref, self.rng.choice((SUCCESS, SUCCESS, FATAL))) for ref in self.refs.values()]
            await self.store.backend.update_job_status(ends)
            for end in ends:
                self.ended(self.oracle.jobs[end.attempt.job_id], end.outcome)
            await self.check()
            if all(job.status.terminal for job in self.oracle.jobs.values()):
                return
        waiting = [job.id for job in self.oracle.jobs.values() if job.status is PENDING]
        raise AssertionError(f"pending for ever: {waiting}")

    async def read_again(self) -> None:
        """Readers that come with any cursor, page by page of any size, see each later event once."""
        self.store.check_positions(self.log)
        for _ in range(3):
            start, size = self.rng.randrange(len(self.log)), self.rng.randint(1, 9)
            cursor = self.log[start].cursor
            read: list[JobEvent] = []
            while True:
                page = await self.store.backend.read_events(cursor, limit=size)
                read += page.events
                cursor = page.cursor
                if page.end:
                    break
            assert read == self.log[start + 1 :]
        for job in self.oracle.jobs.values():
            attempts = await self.store.backend.get_attempts(job.id)
            assert [attempt.attempt for attempt in attempts] == list(range(1, job.attempt + 1))
            assert all(attempt.outcome is not None for attempt in attempts)
        assert_acyclic(self.oracle.jobs)
        await self.check_steps(self.oracle.jobs.values(), self.of_steps.randint(1, 3))
        for job in self.oracle.jobs.values():
            assert await self.store.backend.count_steps(job.id) == len(job.steps)
            key = self.of_steps.choice(KEYS)
            assert await self.store.backend.read_step(job.id, key) == job.steps.get(key)


def assert_acyclic(jobs: Mapping[str, Model]) -> None:
    left = {job.id: {dep.parent_id for dep in job.new.dependencies} for job in jobs.values()}
    while left:
        free = {job_id for job_id, parents in left.items() if not parents & left.keys()}
        assert free, f"accepted a cycle among {sorted(left)}"
        left = {job_id: parents for job_id, parents in left.items() if job_id not in free}


async def play(
    make: Make, seed: int, steps: int = STEPS, plays: Callable[[int, Store], Driver] = Driver
) -> tuple[Dump, int]:
    """The history of this seed on a new store; returns its end, and how many random graphs were in it."""
    async with Store(make) as store:
        driver = plays(seed, store)
        try:
            return await driver.play(steps), driver.graphs
        except AssertionError as error:
            error.add_note(f"seed {seed}")
            raise
