"""CrewAI is imported when it is needed, beside the loop, and sends nothing to its makers."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs import ConfigurationError, JobProcessor, MissingExtraError, SQLiteConfig
from asyncjobs.integrations.crewai import recommended_env
from asyncjobs.integrations.crewai.library import check_version, crewai_module
from tests.crewai import crews, lagging
from tests.crewai.conftest import Model

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def run(script: str, *arguments: str, **variables: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    environment = {**os.environ, **variables}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_importing_changes_no_environment_and_imports_no_crewai() -> None:
    script = (
        "import os, sys; before = dict(os.environ)\n"
        "import asyncjobs, asyncjobs.integrations.crewai as ours\n"
        "from asyncjobs.integrations.crewai import CrewJobWrapper, FlowJobWrapper, capturing, durable\n"
        "assert before == dict(os.environ); assert 'crewai' not in sys.modules"
    )
    run(script)


def test_the_tracing_of_the_program_is_left_alone() -> None:
    assert recommended_env() == {"CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}


CONNECTIONS = """
import json, os, sys
os.environ.update({variables})
seen = []
def hook(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple) and args[1][0] not in ("127.0.0.1", "::1"):
        seen.append(str(args[1]))
    if event == "socket.getaddrinfo" and args[0] not in ("127.0.0.1", "localhost", None):
        seen.append(str(args[0]))
sys.addaudithook(hook)
from tests.crewai import crews
crews.one().kickoff(inputs={{"topic": "noir"}})
crews.Story().kickoff(inputs={{"topic": "noir"}})
print(json.dumps(seen))
"""


def test_with_the_recommended_environment_no_connection_leaves(model: Model, tmp_path: Path) -> None:
    script = CONNECTIONS.format(variables=repr(recommended_env()))
    printed = run(script, HOME=str(tmp_path), CREWAI_DISABLE_TELEMETRY="", CREWAI_TRACING_ENABLED="")
    assert json.loads(printed.splitlines()[-1]) == []


# -- versions


@pytest.fixture
def _forgetful() -> Iterator[None]:
    check_version.cache_clear()
    yield
    check_version.cache_clear()


@pytest.mark.usefixtures("_forgetful")
@pytest.mark.parametrize("version", ["1.15.2", "1.9", "2.0.0", "0.80.1"])
def test_a_version_that_is_not_supported_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    with pytest.raises(ConfigurationError, match=f"crewai {version} is installed, and crewai>=1.15.3,<2 is supported"):
        crewai_module()


@pytest.mark.usefixtures("_forgetful")
def test_without_crewai_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(MissingExtraError, match="needs the extra 'crewai'"):
        crewai_module()


def test_a_part_that_is_gone_names_the_versions() -> None:
    with pytest.raises(ConfigurationError, match="has no crewai.nothing") as raised:
        crewai_module("crewai.nothing")
    assert "crewai>=1.15.3,<2 is supported" in str(raised.value)


# -- asyncjobs daemon


@asynccontextmanager
async def start(config: SQLiteConfig, *arguments: str, **variables: str) -> AsyncIterator[anyio.abc.Process]:
    """``asyncjobs daemon start``, which is killed if an error leaves the block: else that would wait for its end."""
    command = [sys.executable, "-m", "asyncjobs", "--db", str(config.db_path), "daemon", "start", *arguments]
    removed = {name: value for name, value in os.environ.items() if not name.startswith("CREWAI_")}
    environment = {**removed, "CREWAI_STORAGE_DIR": os.environ["CREWAI_STORAGE_DIR"], **variables}
    quiet = subprocess.DEVNULL
    async with await anyio.open_process(command, env=environment, stdout=quiet, stderr=quiet) as daemon:
        try:
            yield daemon
        except BaseException:
            daemon.kill()
            raise


async def surroundings(config: SQLiteConfig, *arguments: str, **variables: str) -> dict[str, Any]:
    """What a flow finds in a daemon, which then drains after SIGTERM."""
    async with JobProcessor(config, enable_daemon=False) as jp:
        job = await jp.submit_flow_run("tests.crewai.crews:Surroundings", max_retries=0)
        async with start(config, *arguments, **variables) as daemon:
            found = await job.result(timeout=60)
            daemon.send_signal(signal.SIGTERM)
            assert await daemon.wait() == 0
    return found


@pytest.mark.parametrize("preload", [(), ("--preload", "crewai")])
async def test_a_daemon_sets_the_environment_and_takes_turns_more_often(
    config: SQLiteConfig, model: Model, preload: tuple[str, ...]
) -> None:
    found = await surroundings(config, "--allow", "tests.crewai.crews", *preload)
    assert found["environment"] == recommended_env()
    assert found["interval"] == pytest.approx(0.001)
    assert found["warm"]  # before the first call of a model


async def test_what_the_operator_has_set_stays_and_signals_stay_ours(config: SQLiteConfig, model: Model) -> None:
    theirs = {"CREWAI_DISABLE_TELEMETRY": "false", "CREWAI_TRACING_ENABLED": "false", "OTEL_SDK_DISABLED": "true"}
    found = await surroundings(config, "--allow", "tests.crewai.crews", **theirs)
    assert found["environment"] == {name: theirs[name] for name in recommended_env()}


async def test_a_daemon_without_runs_keeps_its_switch_interval(config: SQLiteConfig, model: Model) -> None:
    async with JobProcessor(config, enable_daemon=False) as jp:
        job = await jp.submit_job(sys.getswitchinterval, job_id="plain")
        async with start(config, "--allow", "sys") as daemon:
            assert await job.result(timeout=60) == pytest.approx(0.005)
            daemon.send_signal(signal.SIGTERM)


async def test_an_embedded_worker_leaves_the_switch_interval_alone(jp: JobProcessor) -> None:
    before = sys.getswitchinterval()
    await (await jp.submit_crew_run(crews.one, {"topic": "noir"}))
    assert sys.getswitchinterval() == before


IMPORTING = """
import sys, threading, anyio
from asyncjobs import DaemonConfig, JobProcessor, SQLiteConfig
threads = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "crewai": threads.append(threading.current_thread() is threading.main_thread())
sys.meta_path.insert(0, Finder())
async def main():
    daemon = DaemonConfig(allowed_modules=["tests.crewai.crews"])
    async with JobProcessor(SQLiteConfig(db_path=sys.argv[1]), daemon=daemon) as jp:
        job = await jp.submit_flow_run("tests.crewai.crews:Surroundings", max_retries=0)
        await job
    print(threads)
anyio.run(main)
"""


def test_crewai_is_imported_beside_the_loop(config: SQLiteConfig, model: Model) -> None:
    assert run(IMPORTING, str(config.db_path)).splitlines()[-1] == "[False]"


async def test_a_daemon_collects_what_a_run_leaves_behind_when_it_ends(config: SQLiteConfig, model: Model) -> None:
    """Else that of many comes together, and holds up the loop for long."""
    async with JobProcessor(config, enable_daemon=False) as jp:
        async with start(config, "--allow", "tests.crewai", "--preload", "crewai") as daemon:
            for _ in range(4):
                assert await (await jp.submit_crew_run(crews.three, {"topic": "noir"})).result(timeout=60)
            # A thread of CrewAI's may have held the last one for a moment longer.
            assert await (await jp.submit_job(lagging.crews_alive)).result(timeout=60) <= 1
            daemon.terminate()
            await daemon.wait()
