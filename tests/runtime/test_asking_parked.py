"""Jobs that are parked on a question: they hold nothing, and run again once it is answered."""

from __future__ import annotations

import sys
import types as types_of
from typing import Any

import anyio
import pytest

from asyncjobs import JobHandle, JobProcessor, current_job
from tests.runtime.asking_bodies import KINDS, Kind, answer, ask_and_give_up, everything, parked, submit
from tests.runtime.support import CANCELLED, FAILED, PENDING, Gate, Stores, echo, within

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("where", KINDS)
async def test_a_parked_job_holds_nothing(stores: Stores, where: Kind) -> None:
    async with stores.processor(num_workers=1) as jp:
        handle = await submit(jp, where, park=True)
        job = await parked(jp)
        assert (job.status, job.parked, job.worker, job.interruptions) == (PENDING, "a/q", None, 0)
        assert await within(10, await jp.submit_job(echo, 1)) == 1
        await answer(jp)
        assert await within(10, handle) is True
        events = [event for event in await everything(jp) if event.type in ("released", "started", "asked", "answered")]
        assert [event.type for event in events] == ["started", "asked", "released", "answered", "started"]
        assert events[2].data == {"gate": "a/q"}


@pytest.mark.parametrize("where", ["async", "thread"])
async def test_a_body_that_catches_the_interruption_is_parked_all_the_same(jp: JobProcessor, where: str) -> None:
    async def body() -> Any:
        try:
            return await current_job().ask("go on?", key="q", park=True)
        except BaseException:
            return "caught"

    def plain() -> Any:
        try:
            return current_job().ask_sync("go on?", key="q", park=True)
        except BaseException:
            return "caught"

    handle = await jp.submit_job(body if where == "async" else plain, job_id="a", local=True)
    await parked(jp)
    await answer(jp)
    assert await within(10, handle) is True


async def test_its_side_tasks_are_cancelled(jp: JobProcessor) -> None:
    ended: list[str] = []

    async def side() -> None:
        try:
            await anyio.sleep(60)
        except anyio.get_cancelled_exc_class():
            ended.append("cancelled")
            raise

    async def body() -> Any:
        got = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(side)
            await anyio.sleep(0)
            got = await current_job().ask("go on?", key="q", park=True)
            tasks.cancel_scope.cancel()
        return got

    handle = await jp.submit_job(body, job_id="a", local=True)
    await parked(jp)
    assert ended == ["cancelled"]
    await answer(jp)
    assert await within(10, handle) is True


async def test_steps_are_kept_while_it_is_parked(jp: JobProcessor) -> None:
    paid: list[int] = []

    async def body() -> Any:
        draft = await current_job().step("draft", write)
        return draft, await current_job().ask("print?", key="q", park=True)

    async def write() -> str:
        paid.append(1)
        return "a draft"

    handle = await jp.submit_job(body, job_id="a", local=True)
    await parked(jp)
    await answer(jp)
    assert await within(10, handle) == ("a draft", True)
    assert paid == [1]


async def test_an_answer_before_it_parks_lets_it_run_again_at_once(jp: JobProcessor) -> None:
    asked, go = Gate(), Gate()

    async def body() -> Any:
        if current_job().attempt == 1:
            await ask_and_give_up(jp)
            asked.open()
            await go.wait()
        return await current_job().ask("go on?", key="q", park=True)

    handle = await jp.submit_job(body, job_id="a", local=True)
    await asked.wait()
    await answer(jp)
    go.open()
    assert await within(10, handle) is True


@pytest.mark.persistent
async def test_a_parked_job_whose_code_is_gone_says_so_once_it_is_answered(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone() -> Any:
        return await current_job().ask("go on?", key="q", park=True)

    gone.__module__, gone.__qualname__ = "a_module_of_before", "gone"
    module: Any = types_of.ModuleType("a_module_of_before")
    module.gone = gone
    with monkeypatch.context() as before:
        before.setitem(sys.modules, "a_module_of_before", module)
        async with stores.processor() as jp:
            await jp.submit_job(gone, job_id="a")
            await parked(jp)
    async with stores.processor() as jp:
        await jp.answer_job("a/q")
        assert (await jp.get_job("a")).parked is None
        with anyio.fail_after(10):
            while (await jp.why("a")).code != "not_allowed":
                await anyio.sleep(0.01)
    monkeypatch.setitem(sys.modules, "a_module_of_before", module)
    async with stores.processor(functions=[gone]) as jp:
        handle: JobHandle[Any] = jp.handle("a")
        assert await within(10, handle) is True


@pytest.mark.persistent
async def test_a_parked_job_that_is_local_fails_with_its_process_and_its_question_is_closed(stores: Stores) -> None:
    async def body() -> Any:
        return await current_job().ask("go on?", key="q", park=True)

    async with stores.processor() as jp:
        await jp.submit_job(body, job_id="a", local=True)
        await parked(jp)
    async with stores.processor(enable_daemon=False) as jp:
        assert [(await jp.get_job(job_id)).status for job_id in ("a", "a/q")] == [FAILED, CANCELLED]


async def test_what_a_body_raises_while_it_is_parked_is_in_its_log(jp: JobProcessor) -> None:
    async def body() -> Any:
        try:
            return await current_job().ask("go on?", key="q", park=True)
        finally:
            if current_job().attempt == 1:
                raise ValueError("in the clean-up")

    handle = await jp.submit_job(body, job_id="a", local=True)
    await parked(jp)
    await jp.answer_job("a/q")
    assert await within(10, handle) is True
    assert "in the clean-up" in str([event.data for event in await everything(jp) if event.type == "log"])
