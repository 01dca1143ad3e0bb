"""Doing what messages about steps say."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from asyncjobs import JobProcessor, MemoryBackend, current_job
from tests.architecture.hints.following import Hints, refusal, refused


@dataclass
class Before:
    width: int


@dataclass
class After:
    title: str


def before() -> Before:
    return Before(1)


def after() -> After:
    return After("a")


async def three() -> int:
    return 3


async def steps(hints: Hints) -> None:
    async def on_the_loop() -> list[object]:
        job, call = current_job(), {"current_job": current_job}
        step = refused(lambda: job.step_sync("k", before))
        recall = refused(lambda: job.recall_sync("k"))
        keep = refused(lambda: job.keep_sync("k", 1))
        forget = refused(lambda: job.forget_sync("k"))
        for error in (step, recall, keep, forget):
            hints.follow(error)
        return [
            await hints.awaited(step.hint, "await current_job().step(…)", "'k', f", f=three, **call),
            await hints.awaited(keep.hint, "await current_job().keep(…)", "'kept', 1", **call),
            await hints.awaited(recall.hint, "await current_job().recall(…)", "'kept'", **call),
            await hints.awaited(forget.hint, "await current_job().forget(…)", "'k'", **call),
        ]

    def in_a_thread() -> int:
        job = current_job()
        awaits = refused(lambda: job.step_sync("k", three))
        hints.follow(refused(lambda: job.step_sync("again", lambda: three())))
        hints.follow(awaits)
        code = "current_job().step('k', …)"
        return job.run_sync(lambda: hints.awaited(awaits.hint, code, "f", current_job=current_job, f=three))

    async def again() -> str:
        job = current_job()
        await job.step("k", before)
        used = await refusal(job.step("k", after))
        assert used.hint == "add the difference to the key: in a loop, the index"
        await job.step("k/1", before)
        await job.keep("other", {"width": 1})
        misfit = await refusal(job.step("other", after))
        assert misfit.hint.startswith("give the step a new key, so that its function runs")
        hints.follow(await refusal(job.step("lock", threading.Lock)))
        return (await job.step("other v2", after)).title

    async with JobProcessor(MemoryBackend()) as jp:
        assert await (await jp.submit_job(on_the_loop, local=True)) == [3, None, 1, None]
        assert await (await jp.submit_job(in_a_thread, local=True)) == 3
        assert await (await jp.submit_job(again, local=True)) == "a"
