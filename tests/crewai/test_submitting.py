"""Runs are submitted as jobs are: everywhere, with all options, and what cannot work is refused before it is stored."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import pytest
from crewai import Crew
from crewai.crews.crew_output import CrewOutput

from asyncjobs import (
    ConfigurationError,
    DaemonConfig,
    JobExecutionError,
    JobProcessor,
    JobQuery,
    NotSerializableError,
    SQLiteConfig,
    SubmissionError,
    SyncJobs,
    current_job,
)
from tests.crewai import crews
from tests.crewai.conftest import Model
from tests.crewai.looking import log_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


async def test_a_run_has_its_kind_and_name_as_metadata(jp: JobProcessor) -> None:
    crew = await jp.submit_crew_run(crews.one, {"topic": "noir"})
    flow = await jp.submit_flow_run(crews.Story, {"topic": "noir"}, metadata={"name": "mine", "user": "ana"})
    assert (await jp.get_job(crew.id)).metadata == {"kind": "crew", "name": "one"}
    assert (await jp.get_job(flow.id)).metadata == {"kind": "flow", "name": "mine", "user": "ana"}
    page = await jp.find_jobs(JobQuery(metadata={"kind": "crew"}))
    assert [job.id for job in page] == [crew.id]
    with pytest.raises(ConfigurationError, match="of a run is 'crew'"):
        await jp.submit_crew_run(crews.one, metadata={"kind": "mine"})


async def test_a_crew_base_class_is_a_factory(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.Mystery, {"topic": "noir"})
    assert (await job).raw
    stored = await jp.get_job(job.id)
    assert stored.func == "crew+tests.crewai.crews:Mystery"
    assert stored.metadata == {"kind": "crew", "name": "Mystery"}


async def test_options_are_those_of_jobs(jp: JobProcessor) -> None:
    first = await jp.submit_crew_run(crews.one, {"topic": "noir"}, job_id="first", group="book", priority=3)
    second = await jp.submit_crew_run(
        crews.one, {"topic": first}, job_id="second", group="book", depends_on=["first"], timeout=60, max_retries=1
    )
    again = await jp.submit_crew_run(crews.one, {"topic": "noir"}, job_id="first", if_exists="return")
    assert again.id == "first"
    found = await jp.get_job("second")
    assert (found.group, found.timeout, found.max_retries, found.depends_on) == ("book", 60, 1, ("first",))
    assert (await second).tasks_output[0].description == f"Write about {(await first).raw}."


async def test_handles_in_inputs_and_arguments_are_dependencies(jp: JobProcessor) -> None:
    word = await jp.submit_job(str, "gothic")
    text = await jp.submit_job(str, "On {topic}, {style}")
    job = await jp.submit_crew_run(crews.one, {"topic": "noir", "style": word}, args=(text,))
    assert sorted((await jp.get_job(job.id)).depends_on) == sorted([word.id, text.id])
    assert (await job).tasks_output[0].description == "On noir, gothic"


async def test_a_batch_submits_runs(jp: JobProcessor) -> None:
    async with jp.batch() as b:
        crew = b.submit_crew_run(crews.one, {"topic": "noir"})
        flow = b.submit_flow_run(crews.WithCrew, depends_on=[crew])
    assert isinstance(await crew, CrewOutput)
    assert isinstance(await flow, CrewOutput)


async def test_a_body_submits_runs(jp: JobProcessor) -> None:
    awaited = await jp.submit_job(parent)
    threaded = await jp.submit_job(parent_in_thread)
    assert await awaited == await threaded == ["Writer", "done"]
    assert (await jp.get_job(f"{awaited.id}/crew")).metadata == {"kind": "crew", "name": "one"}
    assert (await jp.get_job(f"{threaded.id}/2")).metadata == {"kind": "flow", "name": "Strange"}


async def parent() -> list[str]:
    job = current_job()
    crew = await job.submit_crew_run(crews.one, {"topic": "noir"}, key="crew")
    flow = await job.submit_flow_run(crews.Strange)
    return [(await crew).tasks_output[0].agent, await flow]


def parent_in_thread() -> list[str]:
    job = current_job()
    crew = job.submit_crew_run_sync(crews.one, {"topic": "noir"})
    flow = job.submit_flow_run_sync(crews.Strange)
    return [crew.result_sync().tasks_output[0].agent, flow.result_sync()]


async def test_a_plain_program_submits_runs(config: SQLiteConfig, model: Model) -> None:
    def program() -> None:
        with SyncJobs(config) as jobs:
            crew = jobs.submit_crew_run(crews.one, {"topic": "noir"})
            flow = jobs.submit_flow_run(crews.Strange)
            assert crew.result(timeout=60).raw
            assert flow.result(timeout=60) == "done"

    await anyio.to_thread.run_sync(program)


async def test_a_crew_object_is_copied_when_it_is_submitted_and_runs_here(jp: JobProcessor) -> None:
    crew = crews.one()
    jobs = [await jp.submit_crew_run(crew, {"topic": topic}, local=True) for topic in ("noir", "gothic")]
    crew.tasks[0].description = "Changed"
    assert [(await job).tasks_output[0].description for job in jobs] == ["Write about noir.", "Write about gothic."]


# -- by name


SUBMIT = """
import sys, anyio
from asyncjobs import JobProcessor, SQLiteConfig

async def main():
    async with JobProcessor(SQLiteConfig(db_path=sys.argv[1]), enable_daemon=False) as jp:
        await jp.submit_crew_run("tests.crewai.crews:one", {"topic": "noir"}, job_id="named")
    assert not any(name.startswith(("crewai", "tests")) for name in sys.modules)

anyio.run(main)
"""


async def test_a_name_needs_neither_crewai_nor_the_module(config: SQLiteConfig, model: Model) -> None:
    await anyio.run_process([sys.executable, "-W", "ignore", "-c", SUBMIT, str(config.db_path)])
    async with JobProcessor(config, daemon=DaemonConfig(allowed_modules=["tests.crewai.crews"])) as jp:
        assert isinstance(await jp.handle("named"), CrewOutput)


@pytest.mark.parametrize("name", ["crews", "tests.crewai.crews", ":one", "a b:one", "crew+tests.crewai.crews:one"])
async def test_what_cannot_be_a_name_is_refused(jp: JobProcessor, name: str) -> None:
    with pytest.raises(SubmissionError, match="is not the name of a function"):
        await jp.submit_crew_run(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("tests.crewai.missing:make", "No module named 'tests.crewai.missing'"),
        ("tests.crewai.crews:missing", "has no missing"),
        ("shutil:rmtree", "module 'shutil' is not in allowed_modules"),
    ],
)
async def test_what_no_worker_may_run_waits_and_says_why(
    config: SQLiteConfig, model: Model, name: str, reason: str
) -> None:
    async with JobProcessor(config, daemon=DaemonConfig(allowed_modules=["tests.crewai"], poll_interval=0.05)) as jp:
        job = await jp.submit_crew_run(name)
        done = await jp.submit_crew_run("tests.crewai.crews:one", {"topic": "noir"})
        await done
        with anyio.fail_after(20):
            while reason not in str((await jp.why(job.id)).details):
                await anyio.sleep(0.05)
        assert (await jp.get_job(job.id)).attempt == 0


# -- what is refused before anything is stored


async def test_a_crew_object_is_refused_and_the_error_names_what_to_give(jp: JobProcessor) -> None:
    with pytest.raises(SubmissionError) as raised:
        await jp.submit_crew_run(crews.one())
    for form in ("a function that makes it", "@CrewBase class", '"package.module:make_crew"', "local=True"):
        assert form in str(raised.value)


async def test_a_flow_object_is_refused(jp: JobProcessor) -> None:
    with pytest.raises(SubmissionError, match="keeps the state of one run"):
        await jp.submit_flow_run(crews.Strange())


def _closure() -> Callable[[], Crew]:
    def make() -> Crew:
        return crews.one()

    return make


@pytest.mark.parametrize("factory", [lambda: crews.one(), _closure()])
async def test_a_factory_that_no_other_process_finds_is_refused(jp: JobProcessor, factory: Any) -> None:
    with pytest.raises(NotSerializableError, match="another process could not find again"):
        await jp.submit_crew_run(factory, {"topic": "noir"})
    assert (await (await jp.submit_crew_run(factory, {"topic": "noir"}, local=True))).raw


async def test_an_async_factory_is_refused(jp: JobProcessor) -> None:
    with pytest.raises(SubmissionError, match="is an async def function"):
        await jp.submit_crew_run(crews.later)


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ({"a": object()}, "$.inputs.a is a object"),
        ({"a": {"b": [1, (2,)]}}, r"$.inputs.a.b[1]"),
        ({"a": b"bytes"}, "$.inputs.a"),
        ({"a": "\ud800"}, "$.inputs.a is a string with a lone surrogate at index 0"),
        ({1: "a"}, "$.inputs"),
        (["a"], "$.inputs"),
    ],
)
async def test_inputs_that_crewai_would_refuse_are_refused_first(jp: JobProcessor, inputs: Any, path: str) -> None:
    with pytest.raises(NotSerializableError) as raised:
        await jp.submit_crew_run(crews.one, inputs)
    assert path.split(" is ")[0] in str(raised.value)
    assert await jp.find_jobs() == []


async def test_arguments_that_the_factory_does_not_take_are_refused(jp: JobProcessor) -> None:
    with pytest.raises(SubmissionError, match="nope"):
        await jp.submit_crew_run(crews.one, kwargs={"nope": 1})


# -- what the factory makes


@pytest.mark.parametrize(
    ("factory", "problem"),
    [
        (crews.nothing, "returned None, which is not a crew"),
        (crews.a_class, "returned the class Crew"),
        (crews.Story, r"submit it with submit_flow_run\(\)"),
        (crews.a_coroutine, "returned coroutine"),
        (crews.broken, "no model today"),
    ],
)
async def test_what_is_no_crew_fails_and_says_so(jp: JobProcessor, factory: Any, problem: str) -> None:
    job = await jp.submit_crew_run(factory, max_retries=0)
    with pytest.raises(JobExecutionError, match=problem):
        await job


async def test_a_crew_that_is_submitted_as_a_flow_fails_at_once(jp: JobProcessor) -> None:
    job = await jp.submit_flow_run(crews.one)
    with pytest.raises(JobExecutionError, match=r"(?s)failed after 1 attempt.*submit it with submit_crew_run\(\)"):
        await job


async def test_a_placeholder_without_an_input_is_a_warning_in_the_log(jp: JobProcessor) -> None:
    job = await jp.submit_crew_run(crews.one)
    assert "{topic}" in (await job).tasks_output[0].description
    assert "there is no input 'topic': the model reads the placeholder {topic} itself" in await log_of(jp, job)


def test_a_program_without_crewai_may_submit_and_a_worker_without_it_leaves_the_job(tmp_path: Any) -> None:
    script = (
        "import sys, anyio, importlib.metadata as m\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name == 'crewai': raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
        "from asyncjobs import *\n"
        "def make(): pass\n"
        "async def main():\n"
        "    config, daemon = SQLiteConfig(db_path=sys.argv[1]), DaemonConfig(poll_interval=0.05)\n"
        "    async with JobProcessor(config, daemon=daemon) as jp:\n"
        "        job = await jp.submit_crew_run(make)\n"
        "        while 'needs the extra' not in str((await jp.why(job.id)).details): await anyio.sleep(0.05)\n"
        "        print((await jp.get_job(job.id)).attempt)\n"
        "anyio.run(main)\n"
    )
    file = tmp_path / "script.py"
    file.write_text(script)
    command = [sys.executable, "-W", "ignore", str(file), str(tmp_path / "jobs.db")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "0\n", ended.stderr
