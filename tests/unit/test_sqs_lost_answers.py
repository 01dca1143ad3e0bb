"""The answer to each write of each command is lost, in turn: whoever makes the call again finds all of it done, once.

A caller makes its call until it is answered, as the runtime does; the store must then have what it has if no answer
was lost. Each try has the next write lose its answer: alone, or followed by calls that do not reach the server.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import pytest
from botocore.exceptions import ReadTimeoutError
from msgspec.structs import replace

from asyncjobs.backends.base import AttemptEnd, AttemptRef, NewJob
from asyncjobs.backends.sqs import batches, expressions, keys, removal, reviving, submitting
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.server_clock import StoreClock
from asyncjobs.config import SQSConfig
from asyncjobs.core.requests import Answer, Forget, Keep, StepChange
from asyncjobs.core.retry import RetryPolicy
from asyncjobs.core.state import Stale
from asyncjobs.exceptions import BackendConnectionError, JobStateError
from asyncjobs.models import BodyEvent, JobStatus, Outcome, OutcomeKind
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.gates import created_at, gate
from tests.conformance.support import BOOM, FAILURE, FATAL, RELEASED, SUCCESS, Hand, new, progress
from tests.sqs_faults import WRITES, Wrapped
from tests.sqs_wrapped_store import shared_clients
from tests.unit.sqs_mortal import Troubled, owed
from tests.unit.sqs_support import EVERY

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.usefixtures("tables_in_second")]

T = TypeVar("T")
AGAIN = RetryPolicy(max_retries=3, base=10, jitter=0)
LARGE = b"x" * 450_000
"""A value that stands in parts."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Deaf(Wrapped):
    """A client to which the answer to one of its writes does not come, nor those to the calls that follow.

    ``writes`` counts, ``lost`` is the operation whose answer was lost.
    """

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self._at = self._away = self.writes = 0
        self.lost: str | None = None

    def lose(self, at: int, away: int) -> None:
        """Lose the answer to this write, from 1, and let so many calls behind it not reach the server."""
        self._at, self._away, self.writes, self.lost = at, away, 0, None

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call."""
        if self.lost is not None and self._away:
            self._away -= 1
            raise ReadTimeoutError(endpoint_url="the test")
        answer = await super().call(operation, **request)
        if operation in WRITES:
            self.writes += 1
            if self.writes == self._at:
                self.lost = operation
                raise ReadTimeoutError(endpoint_url="the test")
        return answer


class Patient(Troubled):
    """A store whose callers make each call until it is answered."""

    def __init__(self, config: SQSConfig, clock: ManualClock | None = None, shared: Clients | None = None) -> None:
        super().__init__(config, Deaf, clock, shared)

    async def until_answered(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call again until it is answered."""
        while True:
            try:
                return await call()
            except BackendConnectionError:
                continue

    async def submit(self, *jobs: NewJob, parent: AttemptRef | None = None) -> Sequence[str]:
        """Submit, as ``enqueue_patiently`` does."""
        jobs = tuple([replace(job, if_exists="return") for job in jobs])
        return await self.until_answered(lambda: self.backend.enqueue_jobs(jobs, parent=parent))

    async def play(self, hand: Hand, outcomes: Mapping[str, Outcome] = {}) -> None:
        """Run what is ready, until nothing is."""
        while ready := await self.claim(hand):
            await self.end(hand, {job_id: outcomes.get(job_id, SUCCESS) for job_id in ready})

    async def claim(self, hand: Hand) -> list[str]:
        """Claim what is ready. What a claim took, and did not hand out, comes with the next one."""
        claimed = await self.until_answered(hand.claim)
        lease = await self.until_answered(hand.beat)
        assert set(lease.held or ()) <= {(held.job_id, held.attempt) for held in hand.held.values()}, "nobody runs it"
        return claimed

    async def end(self, hand: Hand, outcomes: Mapping[str, Outcome], said: tuple[BodyEvent, ...] = ()) -> None:
        """Record outcomes, those of a call that was not answered one by one. A stale one was recorded before."""
        ends = [AttemptEnd(hand.held[job_id], outcome, said, 0.5) for job_id, outcome in outcomes.items()]
        try:
            await self.backend.update_job_status(ends)
        except BackendConnectionError:
            for end in ends:
                await self.until_answered(lambda end=end: self.backend.update_job_status([end]))

    async def keep(self, *changes: StepChange) -> None:
        """Keep and forget."""
        await self.until_answered(lambda: self.backend.write_steps(changes))

    async def told(self) -> dict[str, object]:
        """Return what the store tells, without moments: equal whether or not an answer was lost."""
        dump = await self.dump()
        jobs = [
            (job.id, job.status, job.waits_for, job.attempt, job.failures, job.interruptions, job.progress)
            for job in dump.jobs
        ]
        events: defaultdict[str, list[object]] = defaultdict(list)
        seqs: dict[str, int] = {}
        for event in dump.events:
            seqs[event.job_id] = seqs.get(event.job_id, 0) + 1
            assert event.seq == seqs[event.job_id], f"{event.job_id} {event.seq}"
            said = (event.type, event.attempt, event.status, event.data)
            if (
                said not in events[event.job_id][-1:] or event.type != "asked"
            ):  # who asks again waits again, and says so
                events[event.job_id].append(said)
        attempts = [(each.job_id, each.attempt, each.outcome) for each in dump.attempts]
        limit = await self.backend.get_limit("key")
        edges = [(edge.parent_id, edge.child_id, edge.state) for edge in dump.edges]
        groups = [(group.group, group.counts) for group in dump.groups]
        results = {job_id: (result.status, result.value) for job_id, result in dump.results.items()}
        return {
            "jobs": jobs,
            "events": events,
            "attempts": attempts,
            "edges": edges,
            "results": results,
            "counts": dump.counts,
            "groups": groups,
            "ready": dump.ready,
            "steps": dump.steps,
            "limit": limit,
        }


Part = Callable[[Patient], Awaitable[None]]


class Command(NamedTuple):
    """A command: what is there before, and how it is given. ``writes`` are those that it has, at least."""

    prepare: Part
    act: Part
    writes: int


async def nothing(_: Patient) -> None:
    """Prepare nothing."""


def submits(*jobs: NewJob) -> Part:
    """Submit jobs."""

    async def part(store: Patient) -> None:
        await store.submit(*jobs)

    return part


def claimed(*jobs: NewJob, hands: int = 1) -> Part:
    """Submit jobs, and claim what of them is ready."""

    async def part(store: Patient) -> None:
        for _ in range(hands):
            await store.hand()
        await store.submit(*jobs)
        await store.claim(store.hands[0])

    return part


def ends(**outcomes: Outcome) -> Part:
    """End attempts, with what their bodies said last."""

    async def part(store: Patient) -> None:
        await store.end(store.hands[0], outcomes, (progress(9, 10, "last"),))

    return part


# -- submissions


async def three_that_ended(store: Patient) -> None:
    hand = await store.hand()
    await store.submit(new("done"), new("bad"))
    await store.claim(hand)
    await store.end(hand, {"done": SUCCESS, "bad": FATAL})
    await store.submit(new("waits"))


BELOW = (new("child", "done", "waits", "bad?", group="g"), new("lost", "bad"), new("below", "lost"))
IDS = [f"j{i:02d}" for i in range(12)]
STAGED = [
    new(IDS[i], *([IDS[i - 1]] if i % 4 else ["done"]), *([IDS[i - 7] + "?"] if i >= 7 else []), group="g")
    for i in range(12)
]


async def submit_inside(store: Patient) -> None:
    parent = store.hands[0].held["a"]
    await store.submit(new("a/c"), new("a/d", "a/c", limit=("key", 1)), parent=parent)


# -- runs

RUN = (
    *(new(f"f{i}") for i in range(3)),
    new("fan", "f0", "f1", "f2"),
    new("bad"),
    new("skipped", "bad"),
    new("below", "skipped"),
    new("late", "bad?", "below?"),
    *(new(f"l{i}", limit=("key", 1), group="g") for i in range(3)),
)


async def run(store: Patient) -> None:
    await store.play(await store.until_answered(store.hand), {"bad": FATAL})


async def fail_once(store: Patient) -> None:
    (hand,) = store.hands
    await store.end(hand, {"a": FAILURE}, (progress(1, 2),))
    store.clock.advance(11)
    await store.claim(hand)
    await store.end(hand, {"a": FAILURE})
    store.clock.advance(11)
    await store.play(hand)


async def lose_the_first(store: Patient) -> None:
    lost, other = store.hands
    store.clock.advance(16)
    await store.until_answered(other.beat)
    await store.until_answered(store.backend.reap)
    assert (await store.until_answered(lost.beat)).alive is False
    store.hands = [other]


async def leave(store: Patient) -> None:
    (leaving, _) = store.hands
    await store.until_answered(lambda: store.backend.deregister_worker(leaving.id))
    store.hands.remove(leaving)


async def register(store: Patient) -> None:
    hand = await store.until_answered(store.hand)
    await store.until_answered(lambda: store.backend.report_refusals(hand.id, {"app:other": "no"}))
    await store.until_answered(hand.beat)


# -- what bodies say, keep and ask


async def say(store: Patient) -> None:
    (hand,) = store.hands

    async def until_stored(*said: BodyEvent) -> None:
        assert await store.until_answered(lambda: hand.say("a", *said))

    await until_stored(progress(1, 10), BodyEvent("output", {"line": "few"}, 1))
    await until_stored(*(BodyEvent("log", {"message": f"{i} " + "many " * 40}, 2 + i) for i in range(9)))
    await until_stored(BodyEvent("output", {"line": "large" * 20_000}, 20))
    await store.end(hand, {"a": SUCCESS}, (progress(10, 10), BodyEvent("output", {"line": "last" * 20_000}, 21)))


async def keep(store: Patient) -> None:
    attempt = store.hands[0].held["a"]
    await store.keep(Keep(attempt, "one", b"1"), Keep(attempt, "two", LARGE), Keep(attempt, "x-three", b"3"))
    await store.keep(Keep(attempt, "one", b"another"), Keep(attempt, "two", LARGE + b"y"))
    await store.keep(Forget(attempt, "x-"), Keep(attempt, "four", b"4"))


async def ask(store: Patient) -> None:
    (hand,) = store.hands
    attempt = hand.held["a"]
    asked = await store.until_answered(lambda: store.backend.ask_gate(attempt, gate("a/q", timeout=3600.0)))
    parked = AttemptEnd(attempt, RELEASED, (), 0.5, asked.job_id)
    await store.until_answered(lambda: store.backend.update_job_status([parked]))
    at = await created_at(store, "a/q")
    yes = Answer(job_id="a/q", created_at=at, value=b"\xc3", by="ana")
    await store.until_answered(lambda: store.backend.answer_gate(yes))
    await store.play(hand)


async def end_due(store: Patient) -> None:
    store.clock.advance(61)
    await store.until_answered(store.backend.end_due_gates)


# -- by hand


async def cancel(store: Patient) -> None:
    await store.until_answered(lambda: store.backend.cancel_jobs(["a", "free"], descendants=True))


async def children_of_a(store: Patient) -> None:
    await claimed(new("a"), new("free", group="g"), new("after", "free?"))(store)
    await store.end(store.hands[0], {"free": RELEASED})
    await store.submit(new("a/c"), new("a/d", "a/c"), parent=store.hands[0].held["a"])


async def retry(store: Patient) -> None:
    try:
        await store.until_answered(lambda: store.backend.retry_job("root"))
    except JobStateError:
        assert await store.status("root") is JobStatus.PENDING, "it is retried already"


def skipped(count: int) -> Part:
    """Let a job fail, with so many descendants."""

    async def part(store: Patient) -> None:
        ids = [f"c{i:03d}" for i in range(count)]
        await store.submit(new("root", group="g"), *(new(job_id, "root", group="g") for job_id in ids))
        hand = await store.hand()
        await store.claim(hand)
        await store.end(hand, {"root": FATAL})

    return part


async def by_hand(store: Patient) -> None:
    await store.until_answered(lambda: store.backend.mark_job_ready(["b", "c"]))
    await store.until_answered(lambda: store.backend.give_up(["b"], BOOM))


def ended(count: int) -> Part:
    """Let jobs end that depend on one."""

    async def part(store: Patient) -> None:
        await store.submit(new("root", group="g"), *(new(f"c{i:03d}", "root", group="g") for i in range(count)))
        await store.play(await store.hand())
        await store.submit(new("stays"))

    return part


async def remove(store: Patient) -> None:
    await store.until_answered(lambda: store.backend.remove_jobs(["root"], components=True))
    assert await store.backend.get_job("root") is None


async def prune(store: Patient) -> None:
    store.clock.advance(100)
    for _ in range(2):
        await store.until_answered(lambda: store.backend.prune(store.clock.now() - 1))
    assert await store.backend.get_job("root") is None


async def look(store: Patient) -> None:
    await store.until_answered(store.backend.last_cursor)


COMMANDS = {
    "enqueue one": Command(nothing, submits(new("a", group="g", limit=("key", 1))), 5),
    "enqueue below others": Command(three_that_ended, submits(*BELOW), 2),
    "enqueue staged": Command(three_that_ended, submits(*STAGED), 27),
    "enqueue inside": Command(claimed(new("a")), submit_inside, 3),
    "run": Command(submits(*RUN), run, 30),
    "fail": Command(claimed(new("a", retry=AGAIN), new("b", "a")), fail_once, 10),
    "large results": Command(claimed(new("a"), new("b", "a")), ends(a=Outcome(OutcomeKind.SUCCEEDED, value=LARGE)), 3),
    "release": Command(claimed(new("a"), new("b", "a")), ends(a=RELEASED), 1),
    "reap": Command(claimed(new("a"), new("b"), new("c", "a"), hands=2), lose_the_first, 4),
    "deregister": Command(claimed(new("a"), new("b"), new("c", "a"), hands=2), leave, 3),
    "register": Command(submits(new("a")), register, 3),
    "append events": Command(claimed(new("a")), say, 5),
    "write steps": Command(claimed(new("a")), keep, 7),
    "ask and answer": Command(claimed(new("a")), ask, 6),
    "end due gates": Command(submits(gate("q", timeout=60.0), new("b", "q?")), end_due, 2),
    "cancel": Command(children_of_a, cancel, 4),
    "retry": Command(skipped(3), retry, 1),
    "retry staged": Command(skipped(8), retry, 10),
    "recount and give up": Command(submits(new("a"), new("b"), new("c", "a", "b?"), new("d", "b")), by_hand, 3),
    "remove": Command(ended(3), remove, 3),
    "remove staged": Command(ended(8), remove, 10),
    "prune": Command(ended(3), prune, 3),
    "log": Command(submits(*RUN), look, 12),
}
"""What of the contract writes. ``extend_leases``, ``claim`` and what a sweep does come with them."""
OUTAGE = 4
"""Calls that do not reach the server after an answer was lost."""
MOST = 5
"""Of the writes of a command, so many lose their answers: the first, the last, and others between; with
``ASYNCJOBS_TEST_EVERY=1`` each of them does."""
_ROUNDS = 12


async def mend(store: Patient) -> None:
    """Let the sweeps of this process do what is left to them."""
    for place in range(_ROUNDS):
        store.clock.advance(61 if place < 4 else 301)
        for hand in store.hands:
            await hand.beat()
        await store.backend.reap()
        left = [each for each in owed(await store.items()) if not each.startswith("worker")]
        if place > 0 and not left:
            break
    else:
        raise AssertionError("it is not mended")


async def tried(command: Command, shared: Clients, at: int, away: int) -> tuple[Patient, dict[str, object]]:
    """Give a command while the answer to one of its writes is lost, then let everything run to its end.

    What is left to a sweep by then waits for that.

    :returns: what the store tells in the end.
    """
    async with Patient(sqs_server.made(), shared=shared) as store:
        await command.prepare(store)
        store.dynamodb.lose(at, away)
        await command.act(store)
        writes, lost = store.dynamodb.writes, store.dynamodb.lost
        store.dynamodb.lose(0, 0)
        await mend(store)
        hand = store.hands[0] if store.hands else await store.hand()
        await store.play(hand)
        await store.end(hand, dict.fromkeys(hand.held, SUCCESS))  # those that nothing has ended yet
        await store.play(hand)
        await mend(store)
        told = await store.told()
        store.dynamodb.writes, store.dynamodb.lost = writes, lost
        return store, told


def losses(writes: int) -> list[tuple[int, int]]:
    """Return which write loses its answer in each try, and how many calls behind it do not reach the server."""
    if EVERY == 1:
        return [(at, away) for at in range(1, writes + 1) for away in (0, OUTAGE)]
    places = sorted({round(1 + (writes - 1) * place / (MOST - 1)) for place in range(MOST)})
    return [(at, try_ % 2 * OUTAGE) for try_, at in enumerate(places, 1)]


@pytest.fixture
def few_are_many(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have few jobs written in the way of more than a transaction takes, if the command is of that kind."""
    if name.endswith("staged"):
        monkeypatch.setattr(submitting, "_IN_ONE", 8)
        monkeypatch.setattr(removal, "_IN_ONE", 3)
        monkeypatch.setattr(reviving, "_IN_ONE", 4)
        monkeypatch.setattr(batches, "SLICE", 5)


@pytest.mark.parametrize("name", COMMANDS)
async def test_a_call_whose_answer_was_lost_is_made_again_and_all_is_done_once(name: str, few_are_many: None) -> None:
    command = COMMANDS[name]
    async with shared_clients() as shared:
        store, expected = await tried(command, shared, 0, 0)
        writes = store.dynamodb.writes
        assert writes >= command.writes
        for at, away in losses(writes):
            store, told = await tried(command, shared, at, away)
            what = f"the answer to write {at} was lost, a {store.dynamodb.lost}"
            assert store.dynamodb.lost is not None
            for topic, is_told in expected.items():
                assert told[topic] == is_told, f"{what}: {topic}"


async def test_a_report_is_known_again_though_the_time_of_the_store_is_known_better_by_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drift = itertools.count()
    monkeypatch.setattr(StoreClock, "of_host", lambda _, moment: moment + next(drift))
    async with Patient(sqs_server.made()) as store:
        hand = await store.hand()
        await store.submit(new("a"), new("b"))
        await store.claim(hand)
        store.dynamodb.lose(1, OUTAGE)
        hello, more = (BodyEvent("output", {"text": text}, 5) for text in ("hello", "hello, world"))
        both = [(hand.held["b"], [progress(1, at=4)]), (hand.held["a"], [hello])]
        with pytest.raises(BackendConnectionError):
            await store.backend.append_events(both)
        assert await store.until_answered(lambda: hand.say("b", progress(1, at=4), progress(2, at=6)))
        assert await store.until_answered(lambda: hand.say("a", more))
        said = {job_id: [event.data for event in (await store.events(job_id))[2:]] for job_id in ("a", "b")}
        assert [data["text"] for data in said["a"]] == ["hello", ", world"]
        assert [data["done"] for data in said["b"]] == [1, 2]


class Repeating(Wrapped):
    """A client of which the first write of a row is made twice, as botocore does if the first answer is lost.

    :param meanwhile: what others do between the two.
    """

    def __init__(self, client: Any, row: str, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(client)
        self._key: Any = expressions.key(keys.row(row))
        self._meanwhile = meanwhile

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call."""
        if operation == "update_item" and request["Key"] == self._key:
            self._key = None
            await super().call(operation, **request)
            await self._meanwhile()
        return await super().call(operation, **request)


async def test_a_large_result_stays_whose_first_write_was_done_though_others_wrote_before_the_second() -> None:
    config = sqs_server.made()
    async with Patient(config) as store, SQSBackend(config, clock=store.clock) as other:
        hand = await store.hand()
        await store.submit(new("a"))
        await store.claim(hand)
        store.dynamodb.client = Repeating(store.dynamodb.client, "a", lambda: other.enqueue_jobs([new("b", "a")]))
        result = await hand.end("a", Outcome(OutcomeKind.SUCCEEDED, value=LARGE))
        assert isinstance(result, Stale)
        found = await store.backend.get_results(["a"])
        assert (found["a"].status, found["a"].value) == (JobStatus.COMPLETED, LARGE)
        assert await store.claim(hand) == ["b"]
