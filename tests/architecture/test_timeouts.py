"""A test that takes too long fails, its fixtures are closed, and the others run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SUITE = """
import anyio.lowlevel, pytest

closed = []

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.fixture
async def thing():
    yield 1
    await anyio.lowlevel.checkpoint()
    closed.append(1)

@pytest.mark.anyio
@pytest.mark.timeout(0.3)
async def test_waits_for_ever(thing):
    await anyio.sleep_forever()

@pytest.mark.anyio
async def test_is_closed(thing):
    assert closed

@pytest.mark.anyio
async def test_is_as_any_other_that_fails(thing):
    assert False
"""


@pytest.mark.slow
@pytest.mark.untraced
def test_a_test_that_waits_for_ever_does_not_hold_up_the_others(tmp_path: Path) -> None:
    (tmp_path / "test_them.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", f"--rootdir={tmp_path}"]
    command += ["-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:xdist", tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, cwd=tmp_path, env=environment)
    summary = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert done.stdout.splitlines()[-1].startswith("4 failed, 2 passed"), done.stdout
    assert sum("Timeout" in line for line in summary) == 2, done.stdout
