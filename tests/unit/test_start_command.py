"""A message that names the command of a daemon names the store in use and the modules of the jobs that wait."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from asyncjobs import BackendConfig, MemoryBackend, SQLiteBackend, SQLiteConfig, SQSConfig
from asyncjobs.runtime.start_command import start_command
from asyncjobs.settings import load


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


class OnAWS(MemoryBackend):
    """A store that has the settings of one on AWS, which is all that the command reads."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__()
        self.config = config


@pytest.mark.parametrize(
    "config",
    [
        SQSConfig(),
        SQSConfig(table="jobs", region="eu-west-1", queue_url="https://sqs.eu-west-1.amazonaws.com/1/jobs"),
        SQSConfig(queues={"big images": "jobs-images", "mails": "jobs-mails"}, bucket="jobs-values", create=True),
        SQSConfig(bucket="jobs-values", max_value_size=1 << 20, endpoint_url="http://localhost:4566", tries=7),
    ],
)
def test_the_command_names_a_store_on_aws_by_variables(config: SQSConfig, tmp_path: Path) -> None:
    command = start_command(OnAWS(config), ["app:add"])
    assert command is not None
    env, *words = shlex.split(command)
    variables = words[: words.index("asyncjobs")]
    assert env == "env"
    assert words[len(variables) :] == ["asyncjobs", "daemon", "start", "--allow", "app"]
    environ = dict(variable.split("=", 1) for variable in variables)
    assert load(environ=environ, folder=tmp_path).backend_config == config
