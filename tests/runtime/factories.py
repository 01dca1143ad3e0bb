"""Factories of what an adapter runs. They are imported in child processes, so this imports nothing of the tests."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from asyncjobs import current_job, job
from asyncjobs.core.codec import adapted

made: list[str] = []


@dataclass
class Mood:
    name: str


class Poem:
    """What the factories make; ``run`` is what the demo adapter calls."""

    def __init__(self, title: str, mood: Mood | None = None, **more: Any) -> None:
        self.title, self.mood, self.more = title, mood, more

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        current_job().emit("output", {"text": self.title}, append="text")
        mood = None if self.mood is None else self.mood.name
        return {"title": self.title, "mood": mood, "more": self.more, "inputs": inputs, "process": os.getpid()}


def make(title: str, mood: Mood | None = None) -> Poem:
    """Make a poem. Its annotation is not that of the job's result."""
    made.append(title)
    return Poem(title, mood)


@job(queue="poems", max_retries=7, isolation="process")
def make_marked(title: str) -> Poem:
    return Poem(title)


class Maker:
    @classmethod
    def of_class(cls, title: str) -> Poem:
        return Poem(title)

    @staticmethod
    def static(title: str) -> Poem:
        return Poem(title)


def make_badly(title: str) -> Poem:
    raise LookupError(title)


def make_nothing() -> None:
    """Makes nothing that has ``run``."""


def with_inputs(inputs: int) -> Poem:
    return Poem(str(inputs))


async def make_async(title: str) -> Poem:
    return Poem(title)


def make_many(title: str) -> Any:
    yield Poem(title)


def title_of(poem: dict[str, Any]) -> str:
    return poem["title"]


def choose(module: str, adapter: str, func: str) -> Poem:
    """Its arguments look like names of code, and are arguments."""
    return Poem(f"{adapter}+{module}:{func}")


def submit_one() -> str:
    handle = current_job().submit_job_sync(adapted("demo", make), "inner")
    return handle.result_sync()["title"]
