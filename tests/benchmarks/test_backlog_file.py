"""The benchmarks' file of many jobs is what the backend itself would have written: ``make`` compares them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import get_args

import pytest

from benchmarks.backlog_file import Kind, make

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("kind", get_args(Kind))
async def test_the_copies_of_a_job_are_like_the_rows_of_one_that_is_submitted(kind: Kind, tmp_path: Path) -> None:
    path = tmp_path / "backlog.db"
    await make(path, kind, 12)
    with sqlite3.connect(path) as connection:
        copies = connection.execute("SELECT count(*) FROM jobs WHERE id LIKE 'seed%'").fetchone()[0]
    connection.close()
    assert copies == 12
