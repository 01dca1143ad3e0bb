"""Random histories with gates: some jobs of the random graphs are gates, and running attempts ask, wait and park.

Beside each step of a history something happens to gates; what, is drawn apart from the steps themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import anyio
from msgspec.structs import replace

from asyncjobs.backends.base import AttemptEnd, AttemptRef, NewJob
from asyncjobs.clock import from_datetime
from asyncjobs.core.gates import FUNCTION as GATE
from asyncjobs.core.gates import encode_question
from asyncjobs.core.requests import Answer, Question
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import JobConflictError, JobNotFoundError, JobStateError
from asyncjobs.models import EventType, JobError, JobStatus
from tests.conformance.gates import NO, YES, gate
from tests.conformance.support import FUNCTION, RELEASED, Store, new
from tests.properties.driver import POLICY, Driver
from tests.properties.model import Model

KEYS = ("q", "r", "s")
GIVERS = (None, "ana", "bo")
LOST = JobError("LocalJobLostError", "its process is gone")
TIMEOUTS = (None, None, 3.0, 20.0, 60.0)


class GateDriver(Driver):
    """A ``Driver`` that plays gates, too."""

    functions = (FUNCTION, GATE)
    """A gate would be run if it were ever ready."""

    def __init__(self, seed: int, store: Store) -> None:
        super().__init__(seed, store)
        self.of_gates = Random(f"gates of {seed}")
        self.questions = 0
        self.counted = 0
        self.openings: Counter[str] = Counter()

    async def beside(self) -> None:
        actions = [self.ask, self.ask, self.ask, self.park, self.park, self.park, self.answer, self.answer, self.answer]
        actions += [self.answer_at_once, self.end_due, self.end_due, self.cancel_one, self.retry_one, self.retry_one]
        actions += [self.submit_child, self.depend, self.give_up_one]
        for _ in range(3):
            await self.be_busy()
            await self.of_gates.choice(actions)()
            await self.check()

    async def be_busy(self) -> None:
        """Somebody must run, in order to ask."""
        if len(self.refs) < 2:
            self.tick()
            hand, limit = self.of_gates.randrange(len(self.hands)), self.of_gates.randint(1, 3)
            await self.claimed(hand, limit, await self.hands[hand].claims(limit))
            await self.settle()

    # -- what is asked

    def varied(self, job: NewJob) -> NewJob:
        if self.of_gates.random() < 0.7:
            return job
        asked = self.question(job.id)
        return replace(job, function=GATE, call=asked.call, gate=True, timeout=asked.timeout, limit=None, delay=None)

    def question(self, job_id: str) -> NewJob:
        """Each time another one: other words, another deadline, perhaps a default."""
        self.questions += 1
        default = self.of_gates.choice((None, None, YES, NO))
        question = Question(question=f"{job_id}? ({self.questions})", default=default)
        if default is not None:
            self.oracle.defaults[encode_question(question)] = default
        return gate(job_id, asks=question, timeout=self.of_gates.choice(TIMEOUTS))

    async def submit_child(self) -> None:
        """A body submits a gate, or a job, of the name that a question of its may want."""
        attempt = self.attempt()
        if attempt is None or self.oracle.jobs[attempt.job_id].cancel_requested:
            return
        child = self.question(f"{attempt.job_id}/{self.of_gates.choice(KEYS[2:])}")
        if child.id in self.oracle.jobs:
            return
        if self.of_gates.random() < 0.5:
            child = replace(child, function=FUNCTION, call=b"", gate=False, timeout=None)
        self.tick()
        await self.store.submit(child, parent=attempt)
        self.oracle.submit([child], attempt.job_id)

    async def depend(self) -> None:
        """A job, or a gate, that depends on questions of bodies, beside others."""
        asked = [job.id for job in self.oracle.jobs.values() if job.gate and job.gate.asker]
        if not asked:
            return
        parents = {self.of_gates.choice(asked), *self.of_gates.sample(list(self.oracle.jobs), 2)}
        self.questions += 1
        job = new(
            f"d{self.questions}",
            *(parent + self.of_gates.choice(("", "", "?")) for parent in sorted(parents)),
            require=self.of_gates.choice((None, 1, len(parents))),
            retry=POLICY,
        )
        job = self.varied(job)
        self.tick()
        await self.store.submit(job)
        self.oracle.submit([job], None)

    def attempt(self) -> AttemptRef | None:
        return self.of_gates.choice(list(self.refs.values())) if self.refs else None

    def stale(self) -> list[AttemptRef]:
        """Perhaps an attempt that is not in progress: it ended, or has another number."""
        stale = self.of_gates.sample(self.old, min(len(self.old), 1))
        stale += [replace(ref, attempt=ref.attempt - 1) for ref in list(self.refs.values())[:1]]
        return stale if self.of_gates.random() < 0.2 else []

    # -- asking and parking

    async def ask(self) -> None:
        """An attempt asks: anew, or what an earlier one asked; it may be over, or its key taken by something else."""
        stale = self.stale()
        retried = [ref for ref in self.refs.values() if self.oracle.asks_again(ref.job_id)]
        again = self.of_gates.choice(retried) if retried and self.of_gates.random() < 0.6 else None
        attempt = stale[0] if stale else again or self.attempt()
        if attempt is None:
            return
        self.tick()
        asker = self.oracle.jobs[attempt.job_id]
        question = self.question(f"{asker.id}/{self.of_gates.choice(KEYS)}")
        if (old := self.oracle.asks_again(asker.id)) and self.of_gates.random() < 0.7:
            question = replace(question, id=self.of_gates.choice(old).id)
        before = await self.store.dump()
        try:
            asked = await self.store.backend.ask_gate(attempt, question)
        except JobStateError:
            assert stale or asker.cancel_requested, f"{attempt} is in progress, and may ask"
            assert await self.store.dump() == before, "a refused question changed something"
            return
        except JobConflictError:
            assert self.oracle.ask(asker, question) is None, f"{question.id} is the question of {asker.id}"
            assert await self.store.dump() == before, "a refused question changed something"
            return
        assert not stale, f"{attempt} is over, and asked"
        assert not asker.cancel_requested, "an attempt that was asked to stop asked"
        found = self.oracle.ask(asker, question)
        assert found is not None, f"{question.id} is no question of {asker.id}"
        assert (asked.job_id, asked.status, asked.call) == (found.id, found.status, found.new.call), (
            f"{found.id} is {found.status} for the body, not {asked.status}"
        )

    async def park(self) -> None:
        """An attempt parks on a gate: one that it asked, in whatever state; or one of another job, or none at all."""
        asked = [ref for ref in self.refs.values() if self.oracle.gates_of(ref.job_id)]
        if not asked:
            await self.ask()
            await self.settle()
        stale = self.stale()
        attempt = stale[0] if stale else self.of_gates.choice(asked) if asked else self.attempt()
        if attempt is None:
            return
        job = self.oracle.jobs[attempt.job_id]
        own = [found.id for found in self.oracle.gates_of(job.id)]
        others = [found.id for found in self.oracle.open_gates() if found.id not in own]
        gate_id = self.of_gates.choice([*own * 6, *others[-2:], "nobody"])
        self.tick()
        (result,) = (
            await self.store.backend.update_job_status([AttemptEnd(attempt, RELEASED, parked_on=gate_id)])
        ).results
        if stale:
            assert isinstance(result, Stale), f"{attempt} parked, but it is not the current attempt"
            return
        self.ended(job, RELEASED)
        self.oracle.park(job, gate_id)
        assert result == job.status

    # -- answering

    async def answer(self) -> None:
        """An answer, or a rejection; the same once more; to what is late, not open, ended, or no gate."""
        job = self.answerable()
        repeated = self.again(job) if self.of_gates.random() < 0.4 else None
        await self.give(job, repeated or await self.some_answer(job))

    def answerable(self) -> Model:
        jobs = list(self.oracle.jobs.values())
        gates = [job for job in jobs if job.gate is not None]
        among = self.of_gates.choice((self.oracle.open_gates(), self.oracle.open_gates(), gates, jobs))
        return self.of_gates.choice(among or jobs)

    async def some_answer(self, job: Model) -> Answer:
        created_at = from_datetime((await self.store.job(job.id)).created_at)
        by = self.of_gates.choice(GIVERS)
        if self.of_gates.random() < 0.3:
            return Answer(job_id=job.id, created_at=created_at, reason=self.of_gates.choice(("", "no")), by=by)
        return Answer(job_id=job.id, created_at=created_at, value=self.of_gates.choice((YES, NO)), by=by)

    def again(self, job: Model) -> Answer | None:
        """The answer that it was given, sent again, or changed in one place."""
        if job.gate is None or job.gate.answered_at is None:
            return None
        given = Answer(job_id=job.id, created_at=0, value=job.gate.value, reason=job.gate.reason, by=job.gate.by)
        return self.of_gates.choice((given, given, replace(given, by="zoe")))

    async def give(self, job: Model, answer: Answer) -> None:
        self.tick()
        answer = replace(answer, created_at=from_datetime((await self.store.job(job.id)).created_at))
        if self.of_gates.random() < 0.05:
            await self.refused_answer(replace(answer, created_at=answer.created_at + 1), JobNotFoundError)
        known = None if job.gate is None else (job.gate.by, job.gate.answered_at)
        right = self.oracle.answer(job, answer.value, answer.reason, answer.by)
        if right is None:
            error = await self.refused_answer(answer, JobStateError)
            assert isinstance(error, JobStateError)
            at = None if error.answered_at is None else from_datetime(error.answered_at)
            assert (error.answered_by, at) == (known or (None, None)), f"{job.id} was not answered so"
            return
        try:
            assert await self.store.backend.answer_gate(answer) is right
        except JobStateError as error:
            raise AssertionError(f"{answer} was refused, the rules take it") from error

    async def refused_answer(self, answer: Answer, kind: type[Exception]) -> Exception:
        before = await self.store.dump()
        try:
            await self.store.backend.answer_gate(answer)
        except kind as error:
            assert await self.store.dump() == before, "a refused answer changed something"
            return error
        raise AssertionError(f"{answer} was accepted, the rules refuse it")

    async def answer_at_once(self) -> None:
        """Several answer the same gate at the same time: the first one wins, whichever that is."""
        open_gates = self.oracle.open_gates()
        if not open_gates:
            return
        self.tick()
        job = self.of_gates.choice(open_gates)
        drafts = [await self.some_answer(job) for _ in range(3)]
        answers = [replace(draft, by=f"giver {i}") for i, draft in enumerate(drafts)]
        won: list[tuple[Answer, JobStatus]] = []

        async def one(answer: Answer) -> None:
            try:
                won.append((answer, await self.store.backend.answer_gate(answer)))
            except JobStateError:
                return

        await self.together(one, answers)
        assert len(won) == (0 if self.oracle.late(job) else 1), f"{job.id} was answered by {[a.by for a, _ in won]}"
        for answer, status in won:
            assert self.oracle.answer(job, answer.value, answer.reason, answer.by) is status

    async def together(self, do: Callable[[Answer], Awaitable[None]], answers: Sequence[Answer]) -> None:
        """Do this with all of these answers at the same time."""
        async with anyio.create_task_group() as tasks:
            for answer in answers:
                tasks.start_soon(do, answer)

    # -- deadlines

    async def end_due(self) -> None:
        """Time goes on, and one or two processes look for what is due."""
        self.store.clock.advance(self.of_gates.choice((0, 0, 1, 5, 12)))
        self.tick()
        for hand in self.hands:
            await hand.beat()
        due = self.oracle.due()
        answers: list[Sequence[str]] = []

        async def look() -> None:
            answers.append(await self.store.backend.end_due_gates())

        async with anyio.create_task_group() as tasks:
            for _ in range(self.of_gates.choice((1, 2))):
                tasks.start_soon(look)
        ended = [job_id for answer in answers for job_id in answer]
        assert ended == [job.id for job in due], f"{ended} ended, due were {[job.id for job in due]}"
        for job in due:
            self.oracle.expire(job)

    # -- by hand

    async def cancel_one(self) -> None:
        """A gate, or a job that has asked, running or parked."""
        askers = {job.gate.asker for job in self.oracle.open_gates() if job.gate}
        ids = [job_id for job_id in self.oracle.jobs if job_id in askers]
        ids += [job.id for job in self.oracle.open_gates()]
        if not ids:
            return
        self.tick()
        chosen = self.of_gates.sample(ids, min(len(ids), self.of_gates.choice((1, 1, 2))))
        await self.store.backend.cancel_jobs(chosen)
        self.oracle.cancel(chosen, descendants=False)

    async def give_up_one(self) -> None:
        """Nobody can ever run a job that is parked or ready, or answer a gate."""
        ids = [job.id for job in self.oracle.jobs.values() if job.parked or job.gate]
        if not ids or self.of_gates.random() < 0.5:
            return
        self.tick()
        chosen = self.of_gates.sample(ids, min(len(ids), 2))
        right = [job_id for job_id in chosen if self.oracle.give_up(self.oracle.jobs[job_id], LOST.error_type)]
        assert list(await self.store.backend.give_up(chosen, LOST)) == right

    async def retry_one(self) -> None:
        """A gate, or a job that has asked; in order to be asked again, too."""
        jobs = [job for job in self.oracle.jobs.values() if job.gate or self.oracle.gates_of(job.id)]
        jobs = [job for job in jobs if job.status.terminal or self.oracle.may_be_retried(job)]
        likely = [job for job in jobs if self.oracle.may_be_retried(job)]
        if not jobs:
            return
        self.tick()
        job = self.of_gates.choice(likely * 4 + jobs)
        await self.retried(job.id, self.of_gates.random() < 0.4)

    async def helped(self) -> None:
        """In the end people answer, or deadlines come."""
        await self.end_due()
        await self.settle()
        for job in self.oracle.open_gates():
            if self.of_gates.random() < 0.7:
                await self.give(job, await self.some_answer(job))
                await self.settle()

    # -- checking

    async def check(self) -> None:
        await super().check()
        gates = [job for job in self.oracle.jobs.values() if job.gate is not None]
        self.oracle.compare_results(await self.store.backend.get_results([job.id for job in gates]))
        self.openings.update(event.job_id for event in self.log[self.counted :] if event.type == EventType.ASKED)
        self.counted = len(self.log)
        for job in gates:
            assert job.gate is not None
            times = self.openings[job.id]
            assert times == job.gate.openings, f"{job.id} was asked {times} times, the rules say {job.gate.openings}"
