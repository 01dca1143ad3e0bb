"""Many runs at once in one process: nothing of one comes to another, and factories are called one at a time."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor, SQLiteConfig
from asyncjobs.integrations.crewai import building
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import data_of, events_of, log_of, wait_for

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


async def test_of_twenty_crews_each_has_its_own_pieces_and_every_answer_is_whole(
    jp: JobProcessor, model: Model
) -> None:
    jobs = [
        await jp.submit_crew_run(crews.three, {"topic": f"<{n}>"}, kwargs={"text": "[[words 24]]"}) for n in range(20)
    ]
    for number, job in enumerate(jobs):
        events = await events_of(jp, job)
        assert {data["task"].partition("<")[2].partition(">")[0] for data in data_of(events, "agent_output")} == {
            str(number)
        }
        texts: dict[str, str] = {}
        for piece in data_of(events, "agent_output", "chunk"):
            texts[piece["call"]] = texts.get(piece["call"], "") + piece["text"]
        answers = [data["text"] for data in data_of(events, "agent_output", "answer")]
        assert [text.removeprefix("Final Answer: ").strip() for text in texts.values()] == answers
        assert [len(answer.split()) for answer in answers] == [24, 24, 24]
        assert data_of(events, "usage")[-1]["paid"]["requests"] == 3


async def test_one_factory_is_called_at_a_time(jp: JobProcessor) -> None:
    crews.most.clear()
    jobs = [await jp.submit_crew_run(crews.counted, {"topic": str(n)}) for n in range(8)]
    for job in jobs:
        await job
    assert max(crews.most) == 1


FIRST = """
import sys, threading, time, anyio
from crewai.flow import runtime
from asyncjobs import JobProcessor, SQLiteConfig
from asyncjobs.integrations.crewai import CrewJobWrapper
from tests.crewai import crews

begin = threading.Barrier(12)
described = []
describe = runtime.build_flow_definition

def slowly(cls, *args):
    if cls.__name__ == "AgentExecutor":
        described.append(cls)
        time.sleep(0.2)
    return describe(cls, *args)

runtime.build_flow_definition = slowly

def body(topic):
    crew = crews.one()
    begin.wait(30)
    return CrewJobWrapper.wrap_crew_run(crew, {"topic": topic}).raw

async def main():
    async with JobProcessor(SQLiteConfig(db_path=sys.argv[1])) as jp:
        jobs = [await jp.submit_job(body, str(n), local=True, max_retries=0) for n in range(12)]
        done = [bool(await job) for job in jobs].count(True)
        print(f"\\ndone {done}, described {len(described)}\\n", flush=True)  # CrewAI prints, too

anyio.run(main)
"""


async def test_what_crewai_does_once_in_a_process_is_done_before_the_first_crews_run(
    config: SQLiteConfig, model: Model
) -> None:
    """CrewAI describes the flow of its executors at the first kickoff; several at a time break that."""
    command = [sys.executable, "-W", "ignore", "-c", FIRST, str(config.db_path)]
    ended = await anyio.run_process(command, check=False)
    assert b"\ndone 12, described 1\n" in ended.stdout, ended.stderr.decode()


async def test_a_factory_that_hangs_does_not_hold_up_the_others_for_ever(
    jp: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "PATIENCE", 0.5)
    crews.let_go.clear()
    hanging = await jp.submit_crew_run(crews.hanging)
    try:
        await wait_for(lambda: crews.hangs)
        job = await jp.submit_crew_run(crews.one, {"topic": "noir"})
        assert (await job).raw
        assert "runs for more than 0 s: not waiting for it" in await log_of(jp, job)
    finally:
        crews.let_go.set()
    await hanging


async def test_a_cancelled_run_does_not_wait_for_its_turn(jp: JobProcessor) -> None:
    crews.let_go.clear()
    hanging = await jp.submit_crew_run(crews.hanging)
    try:
        await wait_for(lambda: crews.hangs)
        job = await jp.submit_crew_run(crews.one, {"topic": "noir"})
        while (await jp.get_status(job.id)) != "in_progress":
            await anyio.sleep(0.02)
        began = time.monotonic()
        await job.cancel()
        assert (await jp.wait_for_job(job.id)).status == "cancelled"
        assert time.monotonic() - began < 5
    finally:
        crews.let_go.set()
    await hanging


async def test_no_thread_and_no_crew_is_left(jp: JobProcessor) -> None:
    import gc

    from crewai import Crew

    async def once(number: int) -> None:
        await (await jp.submit_crew_run(crews.one, {"topic": str(number)}))

    for number in range(5):
        await once(number)
    gc.collect()
    threads, alive = threading.active_count(), _alive(Crew)
    for number in range(15):
        await once(number)
    gc.collect()
    assert threading.active_count() <= threads + 1
    assert _alive(Crew) <= alive


def _alive(cls: Any) -> int:
    import gc

    return sum(isinstance(value, cls) for value in gc.get_objects())
