"""Steps in the table: each is fenced by the row, and those that callers keep at the same time go together."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from asyncjobs.backends.sqs import keys, steps
from asyncjobs.backends.values import KeptStep
from asyncjobs.core.requests import AttemptRef, Forget, Keep
from asyncjobs.core.state import Stale
from asyncjobs.models import JobStatus
from tests.conformance.support import FATAL, SUCCESS, new
from tests.unit.sqs_support import Process, World, Worlds, until_it_dies

pytestmark = pytest.mark.anyio

LARGE = b"l" * 900_000


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def running(process: Process, job_id: str = "a") -> AttemptRef:
    await process.submit(new(job_id))
    _, attempt, _ = await process.start(job_id)
    return AttemptRef(job_id, attempt, "w7-x")


async def kept(process: Process, job_id: str = "a") -> dict[str, bytes | None]:
    page = await process.steps.page(job_id, None, 1000)
    assert page.next is None
    return {step.key: step.value for step in page.steps}


async def test_a_keep_is_one_transaction(table: World) -> None:
    process = table.process()
    ref = await running(process)
    before = process.client.writes
    assert await process.steps.write([Keep(ref, f"k{i:02}", b"%d" % i) for i in range(99)]) == [None] * 99
    assert process.client.writes == before + 1
    assert await process.steps.write([Keep(ref, f"m{i:03}", b"") for i in range(100)]) == [None] * 100
    assert process.client.writes == before + 3, "one more than a transaction takes"
    assert await process.steps.count("a") == 199


async def test_what_is_kept_at_the_same_time_goes_together(table: World) -> None:
    process = table.process()
    ref = await running(process)
    before = process.client.writes
    results: list[object] = []

    async def keep(i: int) -> None:
        results.append(await process.steps.write([Keep(ref, f"k{i}", b"%d" % i), Keep(ref, "last", b"%d" % i)]))

    async with anyio.create_task_group() as tasks:
        for i in range(20):
            tasks.start_soon(keep, i)
    assert results == [[None, None]] * 20
    assert process.client.writes <= before + 2, "all that wait while one is written go with the next"
    assert await kept(process) == {**{f"k{i}": b"%d" % i for i in range(20)}, "last": b"19"}


async def test_a_caller_that_is_cancelled_takes_nothing_from_the_others(table: World) -> None:
    """Also if it was about to write for them."""
    for who in range(4):
        table_process = table.process()
        ref = await running(table_process, f"a{who}")
        scopes = [anyio.CancelScope() for _ in range(4)]
        reached = anyio.Event()

        async def meanwhile(write: int, reached: anyio.Event = reached) -> None:
            reached.set()
            await anyio.lowlevel.checkpoint()

        process = table.process(meanwhile=meanwhile)
        done: list[int] = []

        async def keep(i: int, process: Process = process, ref: AttemptRef = ref, done: list[int] = done) -> None:
            assert await process.steps.write([Keep(ref, f"k{i}", b"%d" % i)]) == [None]
            done.append(i)

        async def one(i: int, scopes: list[anyio.CancelScope] = scopes, keep: object = keep) -> None:
            with scopes[i]:
                await keep(i)

        async with anyio.create_task_group() as tasks:
            for i in range(4):
                tasks.start_soon(one, i)
            await reached.wait()
            scopes[who].cancel()
        assert set(done) >= {0, 1, 2, 3} - {who}
        assert set(await kept(process, f"a{who}")) >= {f"k{i}" for i in done}


async def test_an_error_of_one_caller_is_not_that_of_another(table: World) -> None:
    process = table.process()
    ref = await running(process)
    results: dict[str, object] = {}

    async def keep(key: str, value: object) -> None:
        try:
            results[key] = await process.steps.write([Keep(ref, key, value)])
        except TypeError as error:
            results[key] = type(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep, "first", b"1")
        tasks.start_soon(keep, "wrong", None)
        tasks.start_soon(keep, "right", b"2")
    assert results == {"first": [None], "wrong": TypeError, "right": [None]}
    assert await kept(process) == {"first": b"1", "right": b"2"}


async def test_the_row_fences_what_a_process_remembers(table: World) -> None:
    """Another process ends the attempt: this one has an old row, and learns of it by its refusal."""
    process, other = table.process(), table.process()
    ref = await running(process)
    assert await process.steps.write([Keep(ref, "k", b"1")]) == [None]
    await other.end("a", FATAL)
    stale = Stale(1, JobStatus.FAILED)
    assert await process.steps.write([Keep(ref, "k", b"2"), Forget(ref, ""), Keep(ref, "m", b"2")]) == [stale] * 3
    assert await kept(other) == {"k": b"1"}
    await other.retry("a")
    await other.start("a")
    again = AttemptRef("a", 2, "w7-x")
    assert await process.steps.write([Keep(again, "k", b"3")]) == [None], "what it remembers does not refuse either"
    assert await kept(other) == {"k": b"3"}


async def test_a_request_to_stop_and_a_dependent_change_the_row_and_refuse_nothing(table: World) -> None:
    process, other = table.process(), table.process()
    ref = await running(process)
    await other.submit(new("b", "a"))
    assert await process.steps.write([Keep(ref, "k", b"1")]) == [None]
    await other.cancel("a")
    assert await process.steps.write([Keep(ref, "m", b"1")]) == [None]


async def test_the_end_may_come_before_any_write(aws: Worlds) -> None:
    """Of a forgotten prefix of several pages and a large value, some may be gone, but nothing that was kept later."""
    at, stale = 1, 0
    while True:
        table = await aws.new()
        process, other = table.process(), table.process()
        ref = await running(process)
        await process.steps.write([Keep(ref, f"p{i:03}", b"1") for i in range(150)])

        async def meanwhile(write: int, at: int = at, other: Process = other) -> None:
            if write == at:
                await other.end("a", SUCCESS)

        late = table.process(meanwhile=meanwhile)
        results = await late.steps.write([Forget(ref, "p"), Keep(ref, "large", LARGE), Keep(ref, "k", b"1")])
        assert results == sorted(results, key=lambda result: result is not None), "what follows is refused, too"
        there = await kept(other)
        assert ("large" in there) is ("k" in there) is (results[1] is None)
        assert len(there) - 2 * ("k" in there) == (0 if results[0] is None else len(there))
        if results[2] is None:
            break
        stale += 1
        at += 1
    assert stale == 5


async def test_every_write_is_the_last_of_its_process(aws: Worlds) -> None:
    """What comes again is done: the batch is repeated by another process, and nothing is half."""
    at, died = 1, True
    while died:
        table = await aws.new()
        process = table.process()
        ref = await running(process)
        await process.steps.write([Keep(ref, "p/1", b"old"), Keep(ref, "q", LARGE)])
        changes = [Forget(ref, "p/"), Keep(ref, "p/2", LARGE), Keep(ref, "q", b"small"), Forget(ref, "r")]
        died = await until_it_dies(table.process(at).steps.write(changes))
        other = table.process()
        there = {key: await other.steps.value("a", key) for key in await kept(other)}
        assert there.get("p/2", LARGE) == LARGE
        assert there["q"] in (LARGE, b"small")
        assert await other.steps.write(changes) == [None] * 4
        assert await kept(other) == {"p/2": None, "q": b"small"}
        assert await other.steps.value("a", "p/2") == LARGE
        at += 1
    assert at > 4


async def test_a_large_value_leaves_nothing_once_it_is_replaced_or_forgotten(table: World) -> None:
    process = table.process()
    ref = await running(process)

    async def parts() -> int:
        row = await process.row("a")
        assert row is not None
        return len(await process.table.query_all(row.partition, begins="V#"))

    await process.steps.write([Keep(ref, "k", LARGE)])
    assert await parts() == 3
    await process.steps.write([Keep(ref, "k", LARGE[:100_000])])
    assert await parts() == 1
    assert await process.steps.value("a", "k") == LARGE[:100_000]
    await process.steps.write([Keep(ref, "k", b"small")])
    assert await parts() == 0
    await process.steps.write([Keep(ref, "k", LARGE), Keep(ref, "k", LARGE)])
    assert await parts() == 3, "of what was never the last one, nothing is written"
    await process.steps.write([Forget(ref, "k")])
    assert await parts() == 0


async def test_a_reader_of_a_large_value_finds_the_old_one_or_the_new_one(table: World) -> None:
    process, other = table.process(), table.process()
    ref = await running(process)
    await process.steps.write([Keep(ref, "k", b"0" * 100_000)])
    with suppress(StopIteration):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_replace, process, ref)
            for _ in range(20):
                value = await other.steps.value("a", "k")
                assert value is not None
                assert value == value[:1] * 100_000


async def _replace(process: Process, ref: AttemptRef) -> None:
    for i in range(1, 10):
        await process.steps.write([Keep(ref, "k", b"%d" % i * 100_000)])


async def test_pages_are_read_in_small_steps(table: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_PAGE", 3)
    process = table.process()
    ref = await running(process)
    names = sorted(["a", "a\0", "a\0b", "b", "\uffff", "\U00010000", "ä", "z" * 200])
    await process.steps.write([Keep(ref, key, key.encode()) for key in names])
    found: list[KeptStep] = []
    after = None
    while True:
        page = await process.steps.page("a", after, 2)
        found += page.steps
        after = page.next
        if after is None:
            break
    assert [step.key for step in found] == names
    row = await process.row("a")
    assert row is not None
    assert len(await process.table.query_all(row.partition, begins=keys.STEP)) == len(names)
