"""A job in a kept process finds the process as a fresh one, whatever the bodies before it changed of it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor
from tests.runtime import changing, isolated
from tests.runtime.support import Stores

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def jp(tmp_path: Path) -> AsyncIterator[JobProcessor]:
    async with Stores("memory", tmp_path).processor(num_workers=2) as jp:
        yield jp


async def run(jp: JobProcessor, func: Any, *args: Any) -> Any:
    with anyio.fail_after(20):
        return await (await jp.submit_job(func, *args, isolation="process"))


@pytest.mark.parametrize("callee", [changing.change, changing.change_async], ids=["plain", "async"])
async def test_what_a_body_changes_of_its_process_is_put_back(jp: JobProcessor, callee: Any) -> None:
    before = await run(jp, changing.surroundings)
    for what in changing.CHANGES:
        changed = await run(jp, callee, what)
        assert changed[what] != before[what], f"{what} was not changed"
        assert await run(jp, changing.surroundings) == before, what  # its process, too


async def test_what_modules_keep_stays(jp: JobProcessor) -> None:
    """Globals and caches, and what a module sets when it is imported."""
    assert await run(jp, changing.remember, "ink") == ["ink"]
    assert await run(jp, changing.remember, "paper") == ["ink", "paper"]
    assert (await run(jp, changing.surroundings))["environment"]["SET_BY_THE_MODULE"] == "at import"


async def test_a_folder_that_is_gone_is_left_for_the_one_before(jp: JobProcessor) -> None:
    process = await run(jp, changing.lose_the_folder, True)
    found = await run(jp, changing.surroundings)
    assert (found["pid"], found["folder"]) == (process, os.getcwd())


async def test_a_process_that_cannot_be_put_back_is_not_used_again(
    jp: JobProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder was removed; it is another one where the next job runs."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with monkeypatch.context() as here:
        here.chdir(folder)
        first = await run(jp, isolated.pid)
    assert await run(jp, changing.lose_the_folder, False) == first
    found = await run(jp, changing.surroundings)
    assert (found["pid"] != first, found["folder"]) == (True, os.getcwd())


async def test_nor_is_one_whose_limits_cannot_be_raised_again(jp: JobProcessor) -> None:
    first = await run(jp, changing.lower_a_limit)
    assert await run(jp, isolated.pid) != first
