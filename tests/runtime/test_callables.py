"""Any callable can be a job: where it runs, what it gets, what comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import anyio
import pytest

from asyncjobs import (
    JobProcessor,
    JobStateError,
    current_job,
)
from tests.runtime.support import PATIENCE, Gate, Held, Stores, add, echo, echo_sync, fail

pytestmark = pytest.mark.anyio

who: ContextVar[str] = ContextVar("who", default="nobody")


# -- kinds of callables


def thread_name() -> str:
    return threading.current_thread().name


async def thread_name_async() -> str:
    return threading.current_thread().name


class Greeting:
    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def static(name: str) -> str:
        return f"static {name}"

    @classmethod
    def by_class(cls, name: str) -> str:
        return f"{cls.__name__} {name}"

    @classmethod
    async def by_class_async(cls, name: str) -> str:
        return f"async {cls.__name__} {name}"


class Polite(Greeting):
    pass


class Adder:
    def __init__(self, much: int) -> None:
        self.much = much

    def __call__(self, value: int) -> int:
        return value + self.much


class AsyncAdder(Adder):
    async def __call__(self, value: int) -> int:
        return value + self.much


add_five = Adder(5)
add_six = AsyncAdder(6)


async def test_an_async_function_runs_on_the_event_loops_thread(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(thread_name_async)) == threading.current_thread().name


async def test_a_plain_function_runs_in_a_thread_of_its_own(jp: JobProcessor) -> None:
    name = await (await jp.submit_job(thread_name))
    assert name != threading.current_thread().name
    assert name.startswith("asyncjobs-")


async def test_a_plain_function_does_not_hold_the_loop(jp: JobProcessor) -> None:
    held = Held("done")
    job = await jp.submit_job(held.sync, local=True)
    await held.started.wait()
    assert await (await jp.submit_job(add, 1, 2)) == 3  # the loop is free meanwhile
    held.go.open()
    assert await job == "done"


async def test_idle_threads_are_used_again(jp: JobProcessor) -> None:
    names = {await (await jp.submit_job(thread_name)) for _ in range(5)}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("callee", "args", "wanted"),
    [
        (partial(add, 1), (2,), 3),
        (partial(partial(add, b=10), 1), (), 11),
        (partial(echo_sync), ("x",), "x"),
        (Greeting.static, ("Ada",), "static Ada"),
        (Greeting.by_class, ("Ada",), "Greeting Ada"),
        (Polite.by_class, ("Ada",), "Polite Ada"),
        (Greeting.by_class_async, ("Ada",), "async Greeting Ada"),
        (add_five, (1,), 6),
        (add_six, (1,), 7),
        (partial(add_five, 2), (), 7),
        (int, ("7",), 7),
        (len, ([1, 2],), 2),
        (str.upper, ("a",), "A"),
    ],
    ids=[
        "partial", "partial of partial", "partial of nothing", "static", "class", "class of a subclass", "async class",
        "instance", "async instance", "partial of an instance", "int", "len", "str.upper",
    ],
)  # fmt: skip
async def test_callables_that_import_by_name(
    jp: JobProcessor, callee: Callable[..., Any], args: tuple[Any, ...], wanted: Any
) -> None:
    job = await jp.submit_job(callee, *args)
    assert await job == wanted


@dataclass
class Point:
    x: int
    y: int = 0


def make_point(x: int) -> Point:
    return Point(x, -x)


async def move_point(point: Point, by: int) -> Point:
    return Point(point.x + by, point.y + by)


async def type_of_point(point: Any) -> str:
    return type(point).__name__


async def test_a_class_is_a_callable_that_returns_its_object(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(Point, 3)) == Point(3)


@pytest.mark.parametrize("body", ["lambda", "closure", "async closure", "method"])
async def test_what_has_no_name_runs_with_local(jp: JobProcessor, body: str) -> None:
    kept: list[int] = []

    def closure(value: int) -> int:
        kept.append(value)
        return value * 2

    async def async_closure(value: int) -> int:
        return closure(value)

    bodies: dict[str, Callable[..., Any]] = {
        "lambda": lambda value: closure(value),
        "closure": closure,
        "async closure": async_closure,
        "method": Adder(21).__call__,
    }
    job = await jp.submit_job(bodies[body], 21, local=True)
    assert await job == 42
    assert kept == ([] if body == "method" else [21])


async def test_two_local_jobs_of_one_name_run_their_own_closure(jp: JobProcessor) -> None:
    def make(value: int) -> Callable[[], int]:
        return lambda: value

    jobs = [await jp.submit_job(make(i), local=True) for i in range(3)]
    assert [await job for job in jobs] == [0, 1, 2]


# -- context


async def set_and_see(name: str) -> str:
    before = who.get()
    who.set(name)
    return before


def set_and_see_sync(name: str) -> str:
    before = who.get()
    who.set(name)
    return before


async def test_what_one_job_sets_the_next_does_not_see(jp: JobProcessor) -> None:
    for func in (set_and_see, set_and_see_sync, set_and_see, set_and_see_sync):
        assert await (await jp.submit_job(func, "somebody")) == "nobody"


async def test_jobs_see_the_context_in_which_the_processor_was_entered(stores: Stores) -> None:
    token = who.set("the program")
    try:
        async with stores.processor() as jp:
            who.set("later")  # not seen: a job may run in another process altogether
            for func in (set_and_see, set_and_see_sync):
                assert await (await jp.submit_job(func, "job")) == "the program"
    finally:
        who.reset(token)


async def test_each_attempt_has_a_fresh_context(stores: Stores) -> None:
    seen: list[str] = []

    async def body() -> None:
        seen.append(who.get())
        who.set("first attempt")
        if len(seen) < 3:
            raise ValueError

    from asyncjobs import RetryPolicy

    async with stores.processor() as jp:
        await (await jp.submit_job(body, local=True, retry=RetryPolicy(base=0.0)))
    assert seen == ["nobody"] * 3


async def test_concurrent_jobs_do_not_see_each_others_context(jp: JobProcessor) -> None:
    inside = [Gate(), Gate()]
    seen: list[str] = []

    async def body(me: int) -> None:
        who.set(f"job {me}")
        inside[me].open()
        await inside[1 - me].wait()
        seen.append(f"{me} sees {who.get()}")

    jobs = [await jp.submit_job(body, i, local=True) for i in range(2)]
    for job in jobs:
        await job
    assert sorted(seen) == ["0 sees job 0", "1 sees job 1"]


async def test_cancelling_one_attempt_leaves_nothing_for_the_next(jp: JobProcessor) -> None:
    """Cancel scopes and cancel counts are the attempt's own; the next in the same slot is not touched."""
    for _ in range(3):
        held = Held()
        job = await jp.submit_job(held.body, local=True)
        await held.started.wait()
        await job.cancel()
        await jp.wait_for_job(job, timeout=PATIENCE)
        assert held.was_cancelled

    async def clean() -> bool:
        await anyio.lowlevel.checkpoint()
        return anyio.current_effective_deadline() == float("inf")

    assert await (await jp.submit_job(clean, local=True))


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_of_its_own_with_no_cancel_requests(tmp_path: Any, anyio_backend: str) -> None:
    import asyncio

    async def task_state() -> tuple[int, bool]:
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling(), task is user_task

    user_task = asyncio.current_task()
    stores = Stores("sqlite", tmp_path)
    async with stores.processor(num_workers=1) as jp:
        held = Held()
        job = await jp.submit_job(held.body, local=True)
        await held.started.wait()
        await job.cancel()
        assert await (await jp.submit_job(task_state, local=True)) == (0, False)


# -- current_job


async def who_am_i() -> Any:
    return [current_job().id, current_job().attempt, current_job().group, current_job().cancelled]


def who_am_i_sync() -> Any:
    return [current_job().id, current_job().attempt, current_job().group, current_job().cancelled]


class WhoAmI:
    def __init__(self) -> None:
        self.id = current_job().id

    @classmethod
    def of_class(cls) -> str:
        return cls().id

    def __call__(self) -> str:
        return current_job().id


@pytest.mark.parametrize(
    "callee",
    [who_am_i, who_am_i_sync, partial(who_am_i), partial(who_am_i_sync)],
    ids=["async", "plain", "partial of async", "partial of plain"],
)
async def test_current_job_in_every_kind_of_body(jp: JobProcessor, callee: Callable[..., Any]) -> None:
    assert await (await jp.submit_job(callee, job_id="me", group="us")) == ["me", 1, "us", False]


async def test_current_job_in_class_methods_and_local_callables(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(WhoAmI.of_class, job_id="m")) == "m"
    assert await (await jp.submit_job(lambda: current_job().id, job_id="l", local=True)) == "l"


async def test_current_job_in_what_a_body_starts(jp: JobProcessor) -> None:
    """Tasks and threads that a body starts belong to its job."""

    async def body() -> list[str]:
        found: list[str] = []

        async def child() -> None:
            found.append(current_job().id)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        found.append(await anyio.to_thread.run_sync(lambda: current_job().id))
        return found

    assert await (await jp.submit_job(body, job_id="me", local=True)) == ["me", "me"]


async def test_current_job_outside_of_one_is_refused(jp: JobProcessor) -> None:
    with pytest.raises(JobStateError, match="current_job"):
        current_job()
    await (await jp.submit_job(who_am_i))
    with pytest.raises(JobStateError):
        current_job()


async def test_the_attempt_number_counts_attempts(jp: JobProcessor) -> None:
    from asyncjobs import RetryPolicy

    attempts: list[int] = []

    def body() -> None:
        attempts.append(current_job().attempt)
        if len(attempts) < 3:
            raise ValueError

    await (await jp.submit_job(body, local=True, retry=RetryPolicy(base=0.0)))
    assert attempts == [1, 2, 3]


# -- values


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(1 << 100),
        1.5,
        "ä\N{GRINNING FACE}",
        b"\x00\xff",
        [1, [2]],
        (1, (2, 3)),
        {"a": 1, 2: (3,)},
        {1, 2},
        frozenset({"a"}),
        Decimal("1.10"),
        datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        datetime(2026, 1, 2),
        date(2026, 1, 2),
        timedelta(microseconds=1),
        UUID(int=5),
        PurePosixPath("a/b"),
        Colour.RED,
        2 + 3j,
    ],
    ids=repr,
)
@pytest.mark.parametrize("callee", [echo, echo_sync])
async def test_values_come_back_as_they_were(jp: JobProcessor, callee: Callable[..., Any], value: Any) -> None:
    back = await (await jp.submit_job(callee, value))
    assert back == value
    assert type(back) is type(value)


async def test_dataclasses_come_back_by_annotation(jp: JobProcessor) -> None:
    made = await jp.submit_job(make_point, 2)
    moved = await jp.submit_job(move_point, made, 1)
    assert await made == Point(2, -2)
    assert await moved == Point(3, -1)


async def test_without_an_annotation_the_parents_return_annotation_counts(jp: JobProcessor) -> None:
    made = await jp.submit_job(make_point, 2)
    assert await (await jp.submit_job(type_of_point, made)) == "Point"
    assert await (await jp.submit_job(type_of_point, Point(1))) == "dict"


async def test_a_handle_made_from_an_id_gives_plain_data_unless_it_is_told_the_function(stores: Stores) -> None:
    async with stores.processor() as jp:
        await (await jp.submit_job(make_point, 2, job_id="p"))
    async with stores.processor(enable_daemon=False) as jp:
        assert await jp.handle("p") == {"x": 2, "y": -2}
        assert await jp.handle("p", make_point) == Point(2, -2)


async def test_arguments_are_fixed_when_they_are_submitted(jp: JobProcessor) -> None:
    given = {"list": [1]}
    job = await jp.submit_job(echo, given, delay=0)
    given["list"].append(2)
    given["more"] = [3]
    assert await job == {"list": [1]}


async def test_results_are_copies_also_in_the_same_process(jp: JobProcessor) -> None:
    kept: list[Any] = []

    async def body(value: list[int]) -> list[int]:
        kept.append(value)
        return value

    given = [1]
    job = await jp.submit_job(body, given, local=True)
    first, second = await job, await job
    kept[0].append(99)
    first.append(98)
    assert given == [1]
    assert second == [1]
    assert await job == [1]


async def test_each_attempt_gets_its_own_copy_of_the_arguments(jp: JobProcessor) -> None:
    from asyncjobs import RetryPolicy

    async def body(items: list[int]) -> list[int]:
        items.append(0)
        if current_job().attempt < 3:
            raise ValueError
        return items

    assert await (await jp.submit_job(body, [1], local=True, retry=RetryPolicy(base=0.0))) == [1, 0]


async def test_two_dependents_do_not_share_their_parents_result(jp: JobProcessor) -> None:
    parent = await jp.submit_job(echo, [1])

    async def grow(items: list[int]) -> list[int]:
        items.append(2)
        return items

    jobs = [await jp.submit_job(grow, parent, local=True) for _ in range(2)]
    assert [await job for job in jobs] == [[1, 2], [1, 2]]
    assert await parent == [1]


async def test_a_job_may_return_the_exception_it_did_not_raise(jp: JobProcessor) -> None:
    from asyncjobs import JobExecutionError

    with pytest.raises(JobExecutionError, match=r"\$.result is a ValueError"):
        await (await jp.submit_job(lambda: ValueError("x"), local=True))
    with pytest.raises(JobExecutionError, match="boom"):
        await (await jp.submit_job(fail, max_retries=0))
