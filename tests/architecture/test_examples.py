"""The examples in the docstrings of the public classes run as they are printed."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import asyncjobs
from asyncjobs import MemoryBackend, SQLiteBackend
from tests.runtime.support import PATIENCE

pytestmark = pytest.mark.anyio

PRINTED = {
    "EventPublisher": "submitted started completed",
    "GateRequest": "PAGE",
    "JobDAG": "['pages']",
    "JobDaemon": "REPORT",
    "MemoryBackend": "{<JobStatus.COMPLETED: 'completed'>: 1}",
    "SQLiteBackend": "{<JobStatus.COMPLETED: 'completed'>: 1}",
    "StatusStreamer": "submitted started completed completed",
    "Worker": "REPORT",
}
"""What the example of each class prints."""


async def render(name: str) -> str:
    return name.upper()


def example_of(name: str) -> str:
    """The first block of code behind a ``::``."""
    text = inspect.getdoc(getattr(asyncjobs, name)) or ""
    found = re.search(r"::\n\n((?:    .*\n|\n)+)", text + "\n")
    assert found is not None, f"{name} has no example"
    return textwrap.dedent(found[1])


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("kind", ["sqlite", "memory"])
@pytest.mark.parametrize("name", sorted(PRINTED))
async def test_the_example_in_the_docstring_of_a_public_class_runs(
    name: str, kind: str, anyio_backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    printed: list[str] = []
    namespace: dict[str, Any] = {
        **{public: getattr(asyncjobs, public) for public in asyncjobs.__all__},
        "render": render,
        "backend": MemoryBackend() if kind == "memory" else SQLiteBackend("example.db"),
        "print": lambda value: printed.append(str(value)),
    }
    code = "async def example():\n" + textwrap.indent(example_of(name), "    ")
    exec(compile(code, f"<example of {name}>", "exec"), namespace)
    example: Callable[[], Awaitable[None]] = namespace["example"]
    with anyio.fail_after(PATIENCE):
        await example()
    assert " ".join(printed) == PRINTED[name]
