"""Each of these defects, put in on purpose, is caught by a test of what it breaks."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs import JobProcessor, RetryPolicy, SQLiteConfig
from asyncjobs.integrations.crewai import replay, reports, results, wrappers
from asyncjobs.integrations.crewai.attempts import Occurrences
from tests.crewai import test_events, test_many, test_replay
from tests.crewai.conftest import Model

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]
SOON = RetryPolicy(max_retries=1, base=0.1)


async def test_a_sink_without_a_context(jp: JobProcessor, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """One list for the process, as handlers on the bus have it: pieces of all runs come to each."""
    from crewai.events import stream_context

    class Everywhere:
        sinks: tuple[Any, ...] = ()

        def get(self) -> tuple[Any, ...]:
            return self.sinks

        def set(self, sinks: tuple[Any, ...]) -> None:
            self.sinks = sinks

        def reset(self, token: object) -> None:
            pass

    monkeypatch.setattr(stream_context, "_stream_sinks", Everywhere())
    with pytest.raises(AssertionError):
        await test_many.test_of_twenty_crews_each_has_its_own_pieces_and_every_answer_is_whole(jp, model)


async def test_a_key_without_the_number_of_the_occurrence(
    jp: JobProcessor, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = replay.Replay._next

    def first(self: Any, *args: Any) -> Any:
        self._occurrences = Occurrences()
        return original(self, *args)

    monkeypatch.setattr(replay.Replay, "_next", first)
    with pytest.raises(AssertionError):
        await test_replay.test_the_same_question_twice_in_a_run_is_asked_twice(jp, model)


async def test_an_answer_that_is_handed_on_before_it_is_kept(
    jp: JobProcessor, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay.Replay, "_keep", lambda self, call, answer, tokens: None)
    with pytest.raises((AssertionError, StopIteration)):
        await test_replay.test_an_answer_is_durable_before_the_run_goes_on_with_it(jp, model)


async def test_the_inner_flow_of_an_executor_that_is_shown(jp: JobProcessor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "is_internal", lambda source: False)
    with pytest.raises(AssertionError):
        await test_events.test_the_executor_of_an_agent_which_is_a_flow_never_shows(jp)


async def test_a_factory_that_is_named_in_an_argument(config: SQLiteConfig, model: Model) -> None:
    """A runner of ours with the name as an argument goes round ``allowed_modules``; the adapter does not."""
    from asyncjobs import DaemonConfig

    daemon = DaemonConfig(allowed_modules=["tests.crewai.test_seeded_defects"], poll_interval=0.05)
    async with JobProcessor(config, daemon=daemon) as jp:
        assert await (await jp.submit_job(runner, "tests.crewai.crews:Strange")) == "done"
    async with JobProcessor(config, daemon=daemon) as jp:
        job = await jp.submit_flow_run("tests.crewai.crews:Strange")
        await (await jp.submit_job(runner, "tests.crewai.crews:Strange"))
        assert "not in allowed_modules" in str((await jp.why(job.id)).details)


def runner(name: str) -> Any:
    import importlib

    module, _, factory = name.partition(":")
    return getattr(importlib.import_module(module), factory)().kickoff()


async def test_usage_that_is_taken_from_token_usage(
    jp: JobProcessor, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = results.crew_result
    monkeypatch.setattr(
        "asyncjobs.integrations.crewai.results.crew_result", lambda output, metrics: original(output, {})
    )
    from asyncjobs.integrations.crewai import crew_adapter

    monkeypatch.setattr(wrappers, "_count_once", lambda output, before, after: None)
    monkeypatch.setattr(crew_adapter, "crew_result", lambda output, metrics: original(output, {}))
    with pytest.raises(AssertionError):
        await test_events.test_usage_comes_after_each_task_and_at_the_end_and_counts_each_call_once(jp, model)


async def test_answers_of_a_failed_task_that_are_replayed(
    jp: JobProcessor, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay.Replay, "forget_unfinished", lambda self: None)
    with pytest.raises(AssertionError):
        await test_replay.test_a_failure_forgets_the_answers_of_what_was_not_finished(jp, model)
