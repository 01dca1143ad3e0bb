"""Processes with a job that asks: ``python -m tests.faults.question_program run|answer …``.

``run FILE PARK POINT`` runs the job and tells its ``result``. ``answer FILE POINT`` answers its question, and tells the
``status``. Both tell ``point NAME`` where they stop for good: at that point of the commit that asks, parks or answers,
unless ``again`` follows.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from typing import Any

from asyncjobs import JobProcessor, RetryPolicy, SQLiteBackend, SQLiteConfig, current_job
from asyncjobs.backends.base import AttemptRef, NewJob
from asyncjobs.backends.group_commits import GroupMember, Membership, Offer
from asyncjobs.core.requests import Answer, AskedGate
from asyncjobs.models import JobStatus
from tests.faults.bodies import tell

RETRY = RetryPolicy(max_retries=0, base=0.05, jitter=0.0)


class Watched(SQLiteBackend):
    """Knows what is committed at the moment: ``ask``, ``park`` or ``answer``."""

    doing = ""

    async def ask_gate(self, attempt: AttemptRef, gate: NewJob) -> AskedGate:
        self.doing = "ask"
        return await super().ask_gate(attempt, gate)

    def join_group_commits(self, member: GroupMember) -> Membership:
        offer = member.offer

        def watched(**wanted: Any) -> Offer | None:
            made = offer(**wanted)
            if made is not None and made.ends:
                self.doing = "park" if any(end.parked_on for end in made.ends) else ""
            return made

        member.offer = watched
        return super().join_group_commits(member)

    async def answer_gate(self, answer: Answer) -> JobStatus:
        self.doing = "answer"
        return await super().answer_gate(answer)


def watched(path: str, point: str, again: str) -> Watched:
    def hook(at: str) -> None:
        if f"{backend.doing} {at}" == point and not again:
            tell("point", *point.split())
            threading.Event().wait()

    backend = Watched(SQLiteConfig(db_path=path), hook=hook)
    return backend


async def question(park: bool) -> str:
    answer = await current_job().ask("print it?", key="q", choices=["yes", "no"], park=park)
    return f"answered {answer}"


async def run(path: str, park: str, point: str, again: str = "") -> None:
    async with JobProcessor(watched(path, point, again), functions=[question]) as jp:
        job = await jp.submit_job(question, park == "park", job_id="a", if_exists="return", retry=RETRY)
        tell("submitted")
        tell("result", *(await job).split())


async def answer(path: str, point: str, again: str = "") -> None:
    async with JobProcessor(watched(path, point, again), enable_daemon=False) as jp:
        tell("status", await jp.answer_job("a/q", "yes", by="ana"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(name)s %(message)s")
    programs: dict[str, Any] = {"run": run, "answer": answer}
    asyncio.run(programs[sys.argv[1]](*sys.argv[2:]))
