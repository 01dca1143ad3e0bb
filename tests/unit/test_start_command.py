"""A message that names the command of a daemon names the store in use and the modules of the jobs that wait."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from asyncjobs import MemoryBackend, SQLiteBackend, SQLiteConfig
from asyncjobs.runtime.start_command import start_command


@pytest.mark.parametrize(
    ("functions", "allowed"),
    [
        ([], []),
        (["app:add", "app:fail"], ["--allow", "app"]),
        (["/srv/a shop.d/shop.py:buy", "pkg.mod:Class.run"], ["--allow", "shop", "--allow", "pkg.mod"]),
        (["no-module"], []),
    ],
)
def test_the_command_names_the_store_and_the_modules(tmp_path: Path, functions: list[str], allowed: list[str]) -> None:
    backend = SQLiteBackend(SQLiteConfig(db_path=str(tmp_path / "my jobs.db")))
    command = start_command(backend, functions)
    assert command is not None
    assert shlex.split(command) == [
        *("asyncjobs", "--db", str(tmp_path / "my jobs.db"), "daemon", "start"),
        *allowed,
    ]


def test_a_store_in_memory_gets_no_command() -> None:
    assert start_command(MemoryBackend(), ["app:add"]) is None
