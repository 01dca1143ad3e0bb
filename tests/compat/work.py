"""Functions of the tests that processors run."""

from __future__ import annotations

import time
from pathlib import Path

import anyio

from asyncjobs import current_job
from asyncjobs.compat import Job, JobStatus, JobTracker


def draw(name: str = "a") -> Path:
    return Path("/drawn") / f"{name}.png"


def describe(name: str) -> dict[str, object]:
    return {"path": f"/drawn/{name}.png", "size": 3}


def tell(words: str) -> str:
    return words


def fail(message: str = "no light") -> None:
    raise ValueError(message)


def fail_without(flag: str) -> str:
    if not Path(flag).exists():
        raise ValueError("no light")
    return "lit"


async def wait_for(flag: str) -> str:
    while not Path(flag).exists():
        await anyio.sleep(0.01)
    return "let go"


def note(path: str, word: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{word}\n")


def note_and_fail(path: str, word: str) -> None:
    note(path, word)
    fail()


def block(flag: str) -> None:
    while not Path(flag).exists() and not current_job().cancelled:
        time.sleep(0.01)


def save_from_inside(file: str) -> str:
    tracker = JobTracker(file)
    assert tracker.get_job("b").status is JobStatus.COMPLETED
    tracker.update_job_status("rec", JobStatus.COMPLETED)
    tracker.save_job(Job(id="new", type="image"), "m")
    return "saved"


async def save_from_inside_async(file: str) -> str:
    return save_from_inside(file)
