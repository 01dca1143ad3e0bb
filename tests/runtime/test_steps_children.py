"""Children without a key that steps submit: numbered in each step, so that a later attempt finds those of that step."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import JobProcessor, current_job
from tests.runtime.step_bodies import AT_ONCE, fail_first, run
from tests.runtime.support import PATIENCE, nothing, within

pytestmark = pytest.mark.anyio


class Drawings:
    """A child that draws another picture each time; and functions of steps that have it drawn."""

    def __init__(self) -> None:
        self.drawn = 0

    def draw(self) -> int:
        self.drawn += 1
        return self.drawn

    async def awaited(self) -> int:
        return await (await current_job().submit_job(self.draw, local=True))

    def plain(self) -> int:
        return current_job().submit_job_sync(self.draw, local=True).result_sync(timeout=PATIENCE)

    def returns_a_coroutine(self) -> Any:
        return self.awaited()

    async def in_a_thread(self) -> int:
        return await anyio.to_thread.run_sync(self.plain)

    async def in_a_step_inside(self) -> int:
        return await current_job().step(f"inside of {self.drawn}", self.awaited)

    async def in_tasks(self) -> list[int]:
        pictures: list[int] = []

        async def one() -> None:
            pictures.append(await self.awaited())

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(one)
        return sorted(pictures)


WAYS = ["awaited", "plain", "returns_a_coroutine", "in_a_thread", "in_a_step_inside", "in_tasks"]


def different(values: list[Any]) -> bool:
    flat = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return len(set(flat)) == len(flat)


@pytest.mark.parametrize("way", WAYS)
async def test_a_step_that_is_not_kept_does_not_get_the_child_of_one_that_is(jp: JobProcessor, way: str) -> None:
    drawings = Drawings()

    async def body() -> list[Any]:
        pictures: list[Any] = []
        for page in range(5):
            pictures.append(await current_job().step(f"page/{page}", getattr(drawings, way)))
            if page == 2:
                fail_first()
        return pictures

    pictures = await run(jp, body)
    assert different(pictures), pictures
    assert drawings.drawn == (10 if way == "in_tasks" else 5)


async def test_the_same_holds_for_steps_of_plain_bodies(jp: JobProcessor) -> None:
    drawings = Drawings()

    def body() -> list[int]:
        pictures: list[int] = []
        for page in range(5):
            pictures.append(current_job().step_sync(f"page/{page}", drawings.plain))
            if page == 2:
                fail_first()
        return pictures

    assert await run(jp, body) == [1, 2, 3, 4, 5]


async def test_the_same_holds_for_a_body_with_a_loop_of_its_own(jp: JobProcessor) -> None:
    drawings = Drawings()

    async def program() -> list[int]:
        pictures: list[int] = []
        for page in range(4):
            pictures.append(await current_job().step(f"page/{page}", drawings.plain))
            if page == 1:
                fail_first()
        return pictures

    def body() -> list[int]:
        return asyncio.run(program())

    assert await run(jp, body) == [1, 2, 3, 4]


async def test_an_attempt_finds_the_child_that_the_step_submitted_before_it_failed(jp: JobProcessor) -> None:
    """Also if steps were begun in another order then, and by several tasks."""
    drawings = Drawings()

    async def draws_and_fails() -> int:
        picture = await drawings.awaited()
        fail_first()
        return picture

    async def body() -> list[int]:
        first = current_job().attempt == 1
        pictures: dict[str, int] = {}
        for key in ("a", "b") if first else ("b", "a"):
            try:
                pictures[key] = await current_job().step(key, draws_and_fails)
            except RuntimeError:
                if key == "b":
                    raise
        return [pictures["a"], pictures["b"]]

    assert await run(jp, body) == [1, 2]
    assert drawings.drawn == 2


async def test_children_outside_of_steps_are_numbered_as_they_always_were(jp: JobProcessor) -> None:
    """Those that earlier versions stored are found; what steps submit in between is not counted."""

    async def two() -> list[str]:
        return [str(await current_job().submit_job(nothing)), str(await current_job().submit_job(nothing))]

    async def body() -> list[Any]:
        job = current_job()
        before = str(await job.submit_job(nothing))
        inside = await job.step("a/b", two)
        return [before, *inside, str(await job.submit_job(nothing)), str(await job.submit_job(nothing, key="k"))]

    assert await run(jp, body, job_id="p") == ["p/1", "p/~a/b~/1", "p/~a/b~/2", "p/2", "p/k"]


async def test_inside_of_a_step_a_key_names_the_child_of_the_job(jp: JobProcessor) -> None:
    async def body() -> str:
        async def func() -> str:
            return str(await current_job().submit_job(nothing, key="cover"))

        return await current_job().step("a", func)

    assert await run(jp, body, job_id="p") == "p/cover"


@pytest.mark.parametrize("key", ["k" * 200, "line\nbreak", "nul\x00", "ü" * 65, "..", "~"])
async def test_whatever_the_key_of_the_step_is_its_children_have_an_id(jp: JobProcessor, key: str) -> None:
    async def func() -> str:
        return str(await current_job().submit_job(nothing))

    async def body() -> list[str]:
        return [await current_job().step(key, func), await current_job().step("other", func)]

    one, other = await run(jp, body, job_id="r" * 200)
    assert one != other
    assert max(len(one), len(other)) <= 512


async def test_a_job_of_another_processor_that_a_step_runs_numbers_its_own_children(jp: JobProcessor) -> None:
    """Its worker was started by the step, and has its context."""

    async def other_body() -> str:
        return str(await current_job().submit_job(nothing))

    async def func() -> str:
        async with JobProcessor(jp.backend) as inside:
            return await (await inside.submit_job(other_body, local=True, job_id="other"))

    async def body() -> str:
        return await current_job().step("k", func)

    assert await within(PATIENCE, await jp.submit_job(body, local=True, retry=AT_ONCE)) == "other/1"
