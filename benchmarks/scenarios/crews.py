"""Crews of CrewAI as jobs: what a job adds to a kickoff, and how many events a second twenty crews store that stream.

The model is a process of its own on this machine, which answers from a script.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from asyncjobs import JobProcessor
from benchmarks.jobs import processor
from benchmarks.machine import ROOT
from benchmarks.result import Place, Result, higher, lower

_CREWS = 20
_CALL = "[[slow 0.4]] [[words 24]]"
_STREAM = "[[words 300]] [[every 0.01]]"


def run(place: Place) -> Result:
    """Jobs and kickoffs in turns; then all crews at once."""
    logging.getLogger("crewai").setLevel(logging.ERROR)
    with _model(place.folder):
        return asyncio.run(_run(place))


@contextmanager
def _model(folder: Path) -> Generator[None]:
    from asyncjobs.integrations.crewai import recommended_env

    log = folder / "calls"
    log.touch()
    command = [sys.executable, "-m", "tests.crewai.model_process", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        variables = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": url, "CREWAI_STORAGE_DIR": str(folder / "crewai")}
        os.environ.update(recommended_env() | variables)
        try:
            yield
        finally:
            process.terminate()


async def _run(place: Place) -> Result:
    async with processor(place.folder) as jp:
        jobs, kickoffs = await _in_turns(jp, place.pick(6, 2))
        events, words, seconds = await _all_at_once(jp)
    return Result(
        (
            lower("times_kickoff", median(jobs) / median(kickoffs), "×"),
            lower("job", 1e3 * median(jobs), "ms"),
            lower("kickoff", 1e3 * median(kickoffs), "ms"),
            higher("events", events / seconds, "events/s"),
            higher("words", words / seconds, "words/s"),
        ),
        (f"{_CREWS} crews of 3 tasks: {events:,} events for {words:,} streamed words in {seconds:.1f} s",),
    )


async def _in_turns(jp: JobProcessor, turns: int) -> tuple[list[float], list[float]]:
    """Return the seconds of a crew of three calls as a job, and in a thread."""
    from tests.crewai import crews

    def kick_off(topic: str) -> None:
        crews.three(_CALL).kickoff(inputs={"topic": topic})

    jobs: list[float] = []
    kickoffs: list[float] = []
    for turn in range(turns + 1):
        began = time.perf_counter()
        await asyncio.to_thread(kick_off, f"kickoff {turn}")
        between = time.perf_counter()
        await (await jp.submit_crew_run(crews.three, {"topic": f"job {turn}"}, args=(_CALL,)))
        if turn:  # the first one is warm-up
            kickoffs.append(between - began)
            jobs.append(time.perf_counter() - between)
    return jobs, kickoffs


async def _all_at_once(jp: JobProcessor) -> tuple[int, int, float]:
    """Return how many events were stored, of how many streamed words, in how many seconds."""
    from tests.crewai import crews

    before = int(await jp.backend.last_cursor())
    began = time.perf_counter()
    topics = [{"topic": str(number)} for number in range(_CREWS)]
    runs = [await jp.submit_crew_run(crews.three, topic, args=(_STREAM,)) for topic in topics]
    outputs = [await each for each in runs]
    seconds = time.perf_counter() - began
    words = sum(len(task.raw.split()) for output in outputs for task in output.tasks_output)
    return int(await jp.backend.last_cursor()) - before, words, seconds
