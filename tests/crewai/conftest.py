"""A scripted model as a process, and processors that run crews; nothing of it is collected without CrewAI."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
from asyncjobs.integrations.crewai import recommended_env

HERE = Path(__file__)
INSTALLED = importlib.util.find_spec("crewai") is not None
if INSTALLED:
    os.environ.update(recommended_env())  # modules of tests import CrewAI, which reads them once
else:
    collect_ignore_glob = ["test_*.py"]


def pytest_configure(config: pytest.Config) -> None:
    """CrewAI and what it needs warn of many things: warnings of ours alone are errors."""
    if INSTALLED:
        config.addinivalue_line("filterwarnings", "ignore")
        config.addinivalue_line("filterwarnings", "error:::asyncjobs")


class Model:
    """The scripted model: where it listens, and what it was asked."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self._log = log

    def calls(self) -> list[dict[str, Any]]:
        """What happened so far: ``what`` ("begun", "finished", "left"), ``key`` (of the content) and ``number``."""
        return [json.loads(line) for line in self._log.read_text("utf-8").splitlines()]

    def finished(self) -> list[str]:
        """The keys of the calls that were answered to the end."""
        return [call["key"] for call in self.calls() if call["what"] == "finished"]

    def forget(self) -> None:
        """Begin anew."""
        self._log.write_text("")


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    log = tmp_path_factory.mktemp("model") / "calls.jsonl"
    log.touch()
    command = [sys.executable, "-m", "tests.crewai.model_process", str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[2]) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), url
        yield Model(url, log)
        process.terminate()


@pytest.fixture
def model(_server: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The scripted model, which was asked nothing yet."""
    for name, value in environment(_server, tmp_path).items():
        monkeypatch.setenv(name, value)
    _server.forget()
    return _server


def environment(model: Model, folder: Path) -> dict[str, str]:
    """What processes that run crews have in their environment."""
    return {
        **recommended_env(),
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": model.url,
        "CREWAI_STORAGE_DIR": str(folder / "crewai"),
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")]),
    }


@pytest.fixture
def config(tmp_path: Path) -> SQLiteConfig:
    return SQLiteConfig(db_path=tmp_path / "jobs.db")


@pytest.fixture
async def jp(model: Model, config: SQLiteConfig) -> AsyncIterator[JobProcessor]:
    async with JobProcessor(config, daemon=DaemonConfig(num_workers=32, shutdown_timeout=0.5)) as jp:
        yield jp
