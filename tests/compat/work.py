"""Functions of the tests that processors run."""

from __future__ import annotations

import time
from pathlib import Path

import anyio

from asyncjobs import current_job


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


def block(flag: str) -> None:
    while not Path(flag).exists() and not current_job().cancelled:
        time.sleep(0.01)
