"""What an attempt has paid for, no later attempt of the job pays for again."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from crewai.crews.crew_output import CrewOutput
from pydantic import BaseModel

from asyncjobs import DaemonConfig, JobEvent, JobExecutionError, JobProcessor, RetryPolicy, SQLiteConfig
from asyncjobs.integrations.crewai.attempts import Occurrences
from asyncjobs.integrations.crewai.replay import Replay
from tests.crewai import crews
from tests.crewai.conftest import Model, environment
from tests.crewai.looking import data_of, events_of, first_piece, until, wait_for
from tests.crewai.workers import TAKING_UP, worker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

SOON = RetryPolicy(max_retries=3, base=0.1)
SLOW = {"topic": "noir [[slow 0.7]]"}
"""A call is killed before it is answered: none is paid that is not kept."""


async def run_until(*when: object, config: SQLiteConfig, model: Model, folder: Path) -> None:
    """Run a worker on the store in a process of its own, which kills itself when so many answers are kept.

    :param when: the number, or ``"before"`` and the number: just before it is kept.
    """
    command = [sys.executable, "-W", "ignore", "-m", "tests.crewai.dying_worker", str(config.db_path), *map(str, when)]
    ended = await anyio.run_process(command, env={**os.environ, **environment(model, folder)}, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()


async def submit(config: SQLiteConfig, kind: str, factory: Any, inputs: Any = SLOW, **options: Any) -> str:
    async with JobProcessor(config, enable_daemon=False) as jp:
        submit = jp.submit_crew_run if kind == "crew" else jp.submit_flow_run
        return str(await submit(factory, inputs, max_interruptions=50, retry=SOON, **options))


async def finish(config: SQLiteConfig, job_id: str) -> tuple[Any, list[JobEvent]]:
    async with JobProcessor(config, daemon=TAKING_UP) as jp:
        output = await jp.handle(job_id).result(timeout=60)
        return output, await events_of(jp, job_id)


def once(model: Model) -> bool:
    """Whether no call was answered twice."""
    finished = model.finished()
    return len(set(finished)) == len(finished)


async def test_answers_and_results_of_tools_are_replayed_after_a_kill(
    model: Model, config: SQLiteConfig, tmp_path: Path
) -> None:
    log = tmp_path / "tools"
    job_id = await submit(config, "crew", crews.three, kwargs={"log": str(log)})
    await run_until(
        3, config=config, model=model, folder=tmp_path
    )  # the tool's call, the answer after it, and that of the second task
    output, events = await finish(config, job_id)
    assert isinstance(output, CrewOutput)
    assert once(model)
    assert log.read_text() == "Holmes\n"
    last = data_of(events, "usage")[-1]
    assert (last["replayed"]["requests"], last["paid"]["requests"]) == (3, 1)
    assert output.token_usage.successful_requests == 4
    assert output.token_usage.total_tokens == last["paid"]["total_tokens"] + last["replayed"]["total_tokens"]
    show = [sys.executable, "-m", "asyncjobs", "--db", str(config.db_path), "jobs", "show", job_id]
    printed = (await anyio.run_process(show)).stdout.decode()
    assert "1 paid in the last attempt" in printed
    assert "3 replayed" in printed


@pytest.mark.parametrize(
    ("kind", "factory", "calls", "inputs"),
    [
        ("crew", crews.hierarchical, 2, SLOW),
        ("crew", crews.asynchronous, 2, SLOW),
        ("crew", crews.modelled_first, 1, SLOW),
        ("flow", crews.Story, 1, SLOW),
        ("flow", crews.Direct, 1, SLOW),
    ],
    ids=[
        "hierarchical",
        "async_execution",
        "a model as output",
        "flow",
        "durable(llm)",
    ],
)
async def test_so_they_are_in_crews_and_flows_of_every_kind(
    model: Model, config: SQLiteConfig, tmp_path: Path, kind: str, factory: Any, calls: int, inputs: Any
) -> None:
    job_id = await submit(config, kind, factory, inputs)
    await run_until(calls, config=config, model=model, folder=tmp_path)
    output, events = await finish(config, job_id)
    assert output
    assert once(model)
    # Whom the manager has asked is not asked again where the tool that asked them had ended, too, when the worker died.
    least = 1 if factory is crews.hierarchical else calls
    assert data_of(events, "usage")[-1]["replayed"]["requests"] >= least


async def test_a_call_whose_answer_was_not_kept_is_the_only_one_that_is_paid_again(
    model: Model, config: SQLiteConfig, tmp_path: Path
) -> None:
    """A worker dies between the answer of the second task and its commit."""
    log = tmp_path / "tools"
    job_id = await submit(config, "crew", crews.three, kwargs={"log": str(log)})
    await run_until("before", 3, config=config, model=model, folder=tmp_path)
    asked = model.finished()
    assert len(asked) == 3
    output, events = await finish(config, job_id)
    assert output.raw
    assert model.finished()[3:] == [asked[2], model.finished()[4]]
    assert log.read_text() == "Holmes\n"
    last = data_of(events, "usage")[-1]
    assert (last["replayed"]["requests"], last["paid"]["requests"]) == (2, 2)


async def test_an_answer_whose_class_is_gone_is_asked_for_again(
    model: Model, config: SQLiteConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program was changed between two attempts: the class has the same fields, in another module."""
    job_id = await submit(config, "crew", crews.modelled_first)
    await run_until(1, config=config, model=model, folder=tmp_path)
    monkeypatch.delattr(crews, "Clue")
    monkeypatch.setitem(crews.outputs, "Clue", Clue)
    output, events = await finish(config, job_id)
    assert output.tasks_output[0].pydantic == Clue(name="text", weight=7)
    assert sorted(Counter(model.finished()).values()) == [1, 2]
    log = [data["message"] for data in data_of(events, "log")]
    assert [text for text in log if text.startswith("an answer that is kept cannot be used, so its call is made again")]


class Clue(BaseModel):  # without a docstring: as that of crews, or its schema would be another one
    name: str
    weight: int


async def test_without_durable_all_is_paid_again(model: Model, config: SQLiteConfig) -> None:
    async with JobProcessor(config, daemon=DaemonConfig(shutdown_timeout=0.1)) as jp:
        job = await jp.submit_crew_run(crews.two, {"topic": "noir", "second": "[[slow 1]]"}, durable=False)
        await until(jp, job, lambda event: event.data.get("kind") == "task")
    await finish(config, job.id)
    assert not once(model)
    async with JobProcessor(config, enable_daemon=False) as jp:
        assert await jp.backend.count_steps(job.id) == 0


async def test_a_failure_forgets_the_answers_of_what_was_not_finished(jp: JobProcessor, model: Model) -> None:
    crews.failed.clear()
    job = await jp.submit_crew_run(crews.failing_once, {"topic": "noir"}, max_retries=1, retry=SOON)
    assert (await job.result(timeout=60)).raw
    asked = model.finished()
    assert [asked.count(key) for key in dict.fromkeys(asked)] == [1, 2]  # the finished task once, the bad answer anew


async def test_a_failure_in_a_flow_keeps_the_answers_of_finished_methods(jp: JobProcessor, model: Model) -> None:
    crews.failed.clear()
    job = await jp.submit_flow_run(crews.FailingOnce, max_retries=1, retry=SOON)
    assert await job.result(timeout=60) == "done"
    asked = model.finished()
    assert [asked.count(key) for key in dict.fromkeys(asked)] == [1, 2]


async def test_a_timeout_keeps_all(jp: JobProcessor, model: Model) -> None:
    inputs = {"topic": "noir", "second": "[[words 200]] [[every 0.05]]"}
    job = await jp.submit_crew_run(crews.two, inputs, timeout=3, max_retries=0)
    with pytest.raises(JobExecutionError, match="timeout"):
        await job
    assert await jp.backend.count_steps(job.id) == 1


async def test_a_cancelled_run_that_is_retried_pays_nothing_again(jp: JobProcessor, model: Model) -> None:
    inputs = {"topic": "noir", "second": "[[slow 1.5]]"}
    job = await jp.submit_crew_run(crews.two, inputs)
    await until(jp, job, lambda event: event.data.get("kind") == "task")
    await job.cancel()
    assert (await jp.wait_for_job(job.id)).status == "cancelled"
    await jp.retry_job(job.id)
    assert (await job).raw
    assert once(model)


async def test_the_same_question_twice_in_a_run_is_asked_twice(jp: JobProcessor, model: Model) -> None:
    job = await jp.submit_flow_run(crews.Twice)
    assert await job == [1, 2]
    assert await jp.backend.count_steps(job.id) == 2
    assert len(model.finished()) == 2


async def test_an_answer_is_durable_before_the_run_goes_on_with_it(jp: JobProcessor, model: Model) -> None:
    """When the tool that an answer asks for runs, the answer is kept."""
    crews.seen.clear()
    job = await jp.submit_crew_run(crews.looking, {"topic": "noir"})
    await job
    assert crews.seen == [1]


async def test_a_changed_prompt_is_another_call(jp: JobProcessor, model: Model) -> None:
    crews.failed.clear()
    job = await jp.submit_flow_run(crews.Changing, max_retries=1, retry=SOON)
    assert await job.result(timeout=60)
    assert len(set(model.finished())) == len(model.finished()) == 2


async def test_a_call_is_known_by_all_of_its_content() -> None:
    nothing: Any = None
    replay = Replay(nothing, nothing, nothing, Occurrences())
    keys = {
        replay._next("tool", ["tool", {"clue": crews.Clue(name="x" * 50_000 + end, weight=1)}], None).key
        for end in "ab"
    }
    assert len(keys) == 2


async def test_nothing_of_a_zombie_is_stored(model: Model, config: SQLiteConfig) -> None:
    """Its lease is lost while it goes on listening: another has the job, none of its pieces or answers counts, and
    its run ends."""
    inputs = {"topic": "noir [[words 30]] [[every 0.2]]"}
    job_id = await submit(config, "crew", crews.one, inputs)
    async with worker(config) as zombie:
        async with JobProcessor(config, enable_daemon=False) as jp:
            await first_piece(jp, job_id)
            zombie.send_signal(signal.SIGSTOP)
        async with JobProcessor(config, daemon=TAKING_UP) as jp:
            await until(jp, job_id, lambda event: event.type == "interrupted")
            zombie.send_signal(signal.SIGCONT)
            output = await jp.handle(job_id)
            events = await events_of(jp, job_id)
        await wait_for(lambda: sorted(call["what"] for call in model.calls()) == ["begun", "begun", "finished", "left"])
    second = [event.data["text"] for event in events if event.attempt == 2 and event.data.get("kind") == "chunk"]
    assert "".join(second).strip().endswith(output.raw)
    at = [event.type for event in events].index("interrupted")
    assert {event.attempt for event in events[at + 1 :]} == {2}


async def test_what_cannot_be_kept_is_a_warning_and_is_paid_again(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.unkept, {"topic": "noir"})
    assert (await job).raw == "an answer"
    log = json.dumps([event.data for event in await events_of(jp, job) if event.type == "log"])
    assert "is not kept, so that a later attempt makes it again" in log
