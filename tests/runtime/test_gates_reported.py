"""What waits for people is reported as such: by ``why``, by drains, on leaving; never as a lack of workers."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import anyio
import pytest

from asyncjobs import JobHandle, JobProcessor, JobQuery, current_job
from asyncjobs.testing import ManualClock
from tests.runtime.support import COMPLETED, IN_PROGRESS, PENDING, Stores, WatchedBackend, nothing, until, within

pytestmark = pytest.mark.anyio


async def asks() -> bool:
    return await current_job().ask("from inside?", key="q", timeout=3600)


async def parks() -> bool:
    return await current_job().ask("park?", key="q", park=True)


async def leaves_a_gate() -> bool:
    """It waits for something else than the gate that it submitted."""
    await current_job().submit_gate("outlives?", key="g")
    return await current_job().ask("from inside?", key="q")


async def answer(jp: JobProcessor, code: str, job_id: str) -> dict[str, Any]:
    reason = await jp.why(job_id)
    assert reason.code == code, reason
    return reason.details


# -- why


async def test_why_of_an_open_gate(stores: Stores) -> None:
    clock = ManualClock()
    async with stores.processor(clock=clock, enable_daemon=False) as jp:
        gate = await jp.submit_gate("print this page?", job_id="g", timeout=60)
        since = (await jp.get_job(gate)).created_at
        reason = await jp.why(gate)
        assert (reason.code, reason.sentence) == ("answer", "it waits for an answer: 'print this page?'")
        until = since + timedelta(seconds=60)
        assert reason.details == {"gate": "g", "since": since.isoformat(), "until": until.isoformat()}
        without_end = await jp.submit_gate("?")
        assert (await jp.why(without_end)).details["until"] is None


async def test_why_of_a_gate_that_is_not_open_yet(jp: JobProcessor) -> None:
    first = await jp.submit_gate("first?", job_id="first")
    gate = await jp.submit_gate("then?", depends_on=first)
    assert await answer(jp, "dependencies", gate) == {"parents": {"first": "pending"}}


async def test_why_of_a_long_question_is_short(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("x" * 10_000)
    assert len((await jp.why(gate)).sentence) < 300


async def test_why_of_gates_that_have_ended(jp: JobProcessor) -> None:
    gate = await jp.submit_gate("?")
    await gate.reject("too dark", by="ada")
    assert (await jp.why(gate)).sentence == "it failed: RejectedError: too dark"
    done = await jp.submit_gate("?")
    await done.answer()
    assert (await jp.why(done)).code == "completed"


async def test_why_of_a_running_body_that_asks_and_of_one_that_does_not(jp: JobProcessor) -> None:
    job = await jp.submit_job(asks, job_id="a")
    await until(jp, "a", "asked")
    gate = (await jp.get_job("a/q")).gate
    assert gate is not None
    assert gate.opened_at is not None
    assert gate.deadline is not None
    assert await job.status() is IN_PROGRESS
    assert (await jp.why(job)).sentence == "it waits for an answer: 'from inside?'"
    assert await answer(jp, "answer", "a") == {
        "gate": "a/q",
        "since": gate.opened_at.isoformat(),
        "until": gate.deadline.isoformat(),
    }
    await jp.answer_job("a/q")
    assert await within(5, job.result()) is True


async def test_a_gate_that_outlives_the_body_is_no_reason_of_the_body(jp: JobProcessor) -> None:
    job = await jp.submit_job(leaves_a_gate, job_id="a")
    await until(jp, "a", "asked")
    assert (await answer(jp, "answer", "a"))["gate"] == "a/q"
    await jp.answer_job("a/q")
    assert await within(5, job.result()) is True
    assert (await jp.find_jobs(JobQuery(waits_for="answer")))[0].id == "a/g"


async def test_why_of_a_parked_job_names_its_gate(jp: JobProcessor) -> None:
    job = await jp.submit_job(parks, job_id="a")
    await until(jp, "a", "released")
    assert await job.status() is PENDING
    reason = await jp.why(job)
    assert (reason.code, reason.sentence, reason.details["gate"]) == (
        "answer",
        "it waits for an answer: 'park?'",
        "a/q",
    )
    assert {found.id for found in await jp.find_jobs(JobQuery(waits_for="answer"))} == {"a", "a/q"}
    await jp.answer_job("a/q")
    assert await within(5, job.result()) is True


async def test_queries_find_what_waits_for_an_answer_alone_and_with_other_fields(jp: JobProcessor) -> None:
    await jp.submit_gate("?", job_id="a", group="comic", metadata={"page": 1})
    await jp.submit_gate("?", job_id="b", group="comic", metadata={"page": 2})
    await jp.submit_gate("?", job_id="later", depends_on="b", group="comic")
    await jp.submit_gate("?", job_id="c")
    found = [
        sorted([job.id async for job in jp.iter_jobs(JobQuery(waits_for="answer", limit=1, **fields))])
        for fields in ({}, {"group": "comic"}, {"metadata": {"page": 2}}, {"group": "other"})
    ]
    assert found == [["a", "b", "c"], ["a", "b"], ["b"], []]
    assert sorted(await jp.cancel_jobs(JobQuery(waits_for="answer", group="comic"))) == ["a", "b"]
    assert [job.id for job in await jp.find_jobs(JobQuery(waits_for="answer"))] == ["c"]


# -- workers


async def waits_long(
    stores: Stores, caplog: pytest.LogCaptureFixture, submit: Any, *, seconds: float = 5.0
) -> list[str]:
    """Wait for what ``submit`` gives, in a process without a worker; return the warnings until then."""
    clock = ManualClock()
    store = WatchedBackend(stores.backend(clock))
    async with stores.processor(clock=clock, backend=store, enable_daemon=False) as jp:
        handles: list[JobHandle[Any]] = await submit(jp)
        async with anyio.create_task_group() as tasks:
            for handle in handles:
                tasks.start_soon(handle.result)
            for _ in range(round(seconds / 0.5)):
                await store.settled()
                clock.advance(0.5)
            tasks.cancel_scope.cancel()
        await jp.cancel_jobs(JobQuery())
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_no_lack_of_workers_is_reported_of_a_gate(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    async def submit(jp: JobProcessor) -> list[Any]:
        return [await jp.submit_gate("?")]

    assert await waits_long(stores, caplog, submit) == []


async def test_nor_of_a_job_behind_a_gate(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    async def submit(jp: JobProcessor) -> list[Any]:
        gate = await jp.submit_gate("?")
        return [await jp.submit_job(nothing, depends_on=gate)]

    assert await waits_long(stores, caplog, submit) == []


async def test_nor_of_a_gate_beside_jobs_that_nobody_waits_for(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    async def submit(jp: JobProcessor) -> list[Any]:
        await jp.submit_job(nothing)
        return [await jp.submit_gate("?")]

    assert await waits_long(stores, caplog, submit) == []


@pytest.mark.parametrize("delay", [None, 0.1])
async def test_it_is_reported_of_the_job_that_needs_one_beside_a_gate(
    stores: Stores, caplog: pytest.LogCaptureFixture, delay: float | None
) -> None:
    async def submit(jp: JobProcessor) -> list[Any]:
        return [await jp.submit_gate("?"), await jp.submit_job(nothing, job_id="needs", delay=delay)]

    [line] = await waits_long(stores, caplog, submit)
    assert line.startswith("waiting for job 'needs', but no worker is alive; ")
    assert "gate" not in line


# -- draining


async def drain(jp: JobProcessor, group: str | None = None) -> None:
    await within(10, jp.drain(group))


async def test_a_drain_waits_for_gates_and_logs_once_which(jp: JobProcessor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asyncjobs")
    gates = [await jp.submit_gate(f"page {i}?", job_id=f"g{i}", group="comic") for i in range(7)]
    await jp.submit_gate("other?")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain, jp, "comic")
        with anyio.fail_after(5):
            while not lines_of_drain(caplog):
                await anyio.sleep(0.01)
        for gate in gates:
            await gate.answer()
            await jp.wait_for_job(await jp.submit_job(nothing, group="comic"))
    five = ", ".join(f"'g{i}' ('page {i}?')" for i in range(5))
    assert lines_of_drain(caplog) == [f"drain waits for an answer to: {five}, and more"]


def lines_of_drain(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("drain waits")]


async def test_a_drain_names_a_gate_that_opens_meanwhile(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asyncjobs")
    clock = ManualClock()
    async with stores.processor(clock=clock) as jp:
        gate = await jp.submit_gate("first?", job_id="g", depends_on=await jp.submit_job(nothing, delay=60))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(drain, jp)
            await anyio.wait_all_tasks_blocked()
            assert lines_of_drain(caplog) == []
            with anyio.fail_after(10):
                while not lines_of_drain(caplog):
                    clock.advance(1)
                    await anyio.sleep(0.001)
            await gate.answer()
    assert lines_of_drain(caplog) == ["drain waits for an answer to: 'g' ('first?')"]


async def test_a_drain_without_gates_logs_nothing(jp: JobProcessor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asyncjobs")
    await jp.submit_job(nothing)
    await drain(jp)
    assert lines_of_drain(caplog) == []


# -- leaving


async def test_leaving_counts_gates_apart(stores: Stores, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asyncjobs")
    async with stores.processor(enable_daemon=False) as jp:
        gate = await jp.submit_gate("?")
        await jp.submit_gate("?")
        await jp.submit_job(nothing, depends_on=gate)
        await jp.submit_job(nothing)
    lines = [record for record in caplog.records if record.name == "asyncjobs"]
    assert [line.getMessage().partition(":")[0] for line in lines] == [
        "2 jobs are left unfinished, and no worker is alive to run them",
        "2 gates wait for an answer",
    ]
    persistent = stores.kind != "memory"
    assert [line.levelno for line in lines] == [logging.WARNING, logging.INFO if persistent else logging.WARNING]
    assert ("any process that opens the store may answer" in lines[1].getMessage()) is persistent


async def test_leaving_with_parked_jobs_counts_them_with_their_gates(
    stores: Stores, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asyncjobs")
    async with stores.processor() as jp:
        await jp.submit_job(parks, job_id="a")
        await until(jp, "a", "released")
    [line] = [record.message for record in caplog.records if record.message.startswith("1 gate")]
    assert line.startswith("1 gate waits for an answer, and 1 job is parked on one: ")
    assert not [record for record in caplog.records if "left unfinished" in record.message]


# -- what runs at its submit


@pytest.mark.parametrize("kind_of_answer", ["here", "elsewhere"])
async def test_jobs_behind_a_gate_go_on_where_jobs_run_at_their_submit(stores: Stores, kind_of_answer: str) -> None:
    if kind_of_answer == "elsewhere" and stores.kind == "memory":
        pytest.skip("one store, two processors")
    async with JobProcessor(stores.backend(), enable_daemon=False, fallback="sync") as jp:
        gate = await within(5, jp.submit_gate("?"))
        after = await within(5, jp.submit_job(nothing, depends_on=gate))
        if kind_of_answer == "here":
            await gate.answer()
        else:
            async with stores.processor(enable_daemon=False) as other:
                await other.answer_job(gate)
        assert (await jp.wait_for_job(after, timeout=5)).status is COMPLETED
