"""Bodies that ask, importable by child processes, and what the tests of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import anyio
from msgspec.structs import replace

from asyncjobs import Job, JobHandle, JobProcessor, current_job
from asyncjobs.models import JobStatus, WaitsFor
from asyncjobs.processor import get_engine
from asyncjobs.requests import JobQuery
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.answers import encode_answer, encode_rejection
from tests.runtime.support import PATIENCE

Kind = Literal["async", "thread", "process"]
KINDS: tuple[Kind, ...] = ("async", "thread", "process")
LARGEST = 1 << 20


@dataclass
class Review:
    """An answer that is a record."""

    stars: int
    words: str = ""


TYPES: Mapping[str, Any] = {"review": Review, "int": int}


def _with_type(options: dict[str, Any]) -> dict[str, Any]:
    named = options.pop("type", None)
    return options if named is None else {**options, "answer_type": TYPES[named]}


async def ask(question: str, options: dict[str, Any]) -> Any:
    return _shown(await current_job().ask(question, **_with_type({"key": "q", **options})))


def ask_sync(question: str, options: dict[str, Any]) -> Any:
    return _shown(current_job().ask_sync(question, **_with_type({"key": "q", **options})))


def _shown(answer: Any) -> Any:
    return repr(answer) if isinstance(answer, Review) else answer


async def submit(
    jp: JobProcessor, kind: Kind, question: str = "go on?", job: Mapping[str, Any] | None = None, **options: Any
) -> JobHandle[Any]:
    """A job that asks; ``job`` are options of the job, the others those of the question."""
    func: Callable[..., Any] = ask if kind == "async" else ask_sync
    isolation = "process" if kind == "process" else None
    return await jp.submit_job(func, question, options, job_id="a", isolation=isolation, **(job or {}))


def is_open(job: Job | None) -> bool:
    return job is not None and job.status is JobStatus.PENDING and job.waits_for is WaitsFor.ANSWER


async def opened(jp: JobProcessor, gate_id: str = "a/q") -> Job:
    """Wait until the gate is open."""
    with anyio.fail_after(PATIENCE):
        while not is_open(job := await get_engine(jp).backend.get_job(gate_id)):
            await anyio.sleep(0.002)
    assert job is not None
    return job


async def parked(jp: JobProcessor, job_id: str = "a") -> Job:
    """Wait until the job is parked."""
    with anyio.fail_after(PATIENCE):
        while (job := await jp.get_job(job_id)).parked is None:
            await anyio.sleep(0.002)
    return job


async def ask_and_give_up(jp: JobProcessor) -> None:
    """Ask, and stop waiting for the answer once the question is stored."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, "go on?", {})
        await opened(jp)
        tasks.cancel_scope.cancel()


async def open_gates(jp: JobProcessor) -> list[str]:
    jobs = await get_engine(jp).backend.find_jobs(replace(JobQuery(), waits_for="answer"))
    return [job.id for job in jobs if job.gate is not None]


async def answer(
    jp: JobProcessor, value: Any = True, by: str | None = None, gate_id: str = "a/q", answer_type: Any = None
) -> JobStatus:
    known = None if answer_type is None else AnswerType(answer_type)
    given = encode_answer(await jp.get_job(gate_id), value, by, known, LARGEST)
    return await get_engine(jp).backend.answer_gate(given)


async def reject(jp: JobProcessor, reason: str = "no", by: str | None = None, gate_id: str = "a/q") -> JobStatus:
    return await get_engine(jp).backend.answer_gate(encode_rejection(await jp.get_job(gate_id), reason, by))


async def everything(jp: JobProcessor) -> list[Any]:
    """All events of the job ``a``, which has ended."""
    return [event async for event in jp.stream_job("a")]
