"""Commands on a store that is not a file: an application's own kind of store, which only ``--app`` names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from asyncjobs import SQLiteConfig, SyncJobs
from asyncjobs.cli.state_files import StateFile
from tests.cli.inside import Inside
from tests.cli.support import Shell
from tests.cli.test_unit_files import read

SHOP = '''
from dataclasses import dataclass

from asyncjobs import BackendConfig, BackendConnectionError, JobProcessor, SQLiteBackend, SQLiteConfig, SyncJobs
from asyncjobs.testing.faults import FaultyBackend


@dataclass(frozen=True, kw_only=True)
class ServiceConfig(BackendConfig):
    """Settings of a store that is no file, for whom asks."""

    @property
    def identity(self):
        return "service://shop"

    @property
    def where(self):
        return "the service 'shop'"


class Service(FaultyBackend):
    def __init__(self):
        super().__init__(SQLiteBackend(SQLiteConfig(db_path="hidden.db")))
        self.config = ServiceConfig()
        self.capabilities = self.capabilities - {"backup"}

    async def checkup(self):
        return ()


class Away(Service):
    async def open(self):
        raise BackendConnectionError("the service is away", transient=True)


async def add(a, b=1):
    return a + b


jp = JobProcessor(Service(), functions=[add])
plain = JobProcessor(FaultyBackend(SQLiteBackend(SQLiteConfig(db_path="hidden.db"))), functions=[add])
memory = JobProcessor("memory")
away = JobProcessor(Away(), functions=[add])
'''
APP = ("--app", "shop:jp")


@pytest.fixture
def shop(shell: Shell) -> Shell:
    (shell.folder / "shop.py").write_text(SHOP)
    return shell


def test_jobs_are_submitted_and_looked_at(shop: Shell) -> None:
    assert shop.good(*APP, "jobs", "submit", "shop:add", "--args", "[1]", "--id", "sum").err
    assert not (shop.folder / "asyncjobs.db").exists()
    assert [job["id"] for job in shop.good(*APP, "--json", "jobs", "list").json["items"]] == ["sum"]
    for arguments in (("jobs", "show", "sum"), ("dag", "show", "sum"), ("groups", "list")):
        shop.good(*APP, *arguments)
    assert shop.good(*APP, "jobs", "cancel", "sum", "--yes").code == 0


@pytest.mark.slow
def test_a_daemon_is_started_looked_at_and_stopped(shop: Shell) -> None:
    started = shop.good(*APP, "daemon", "start", "-d")
    assert "store  the service 'shop'\n" in started.err
    [state] = (shop.folder / "state" / "asyncjobs").glob("*.json")
    assert state.name == f"default-{hashlib.sha256(b'service://shop').hexdigest()[:12]}.json"
    assert json.loads(state.read_text())["store"] == "the service 'shop'"
    assert "is already running" in shop.good(*APP, "daemon", "start", "-d").err
    shop.good(*APP, "jobs", "submit", "shop:add", "--args", "[1]", "--id", "sum", "--wait")
    assert shop.good(*APP, "--json", "daemon", "status").json["counts"] == {"completed": 1}
    assert "daemon 'default' is ready" in shop.good(*APP, "daemon", "logs").out
    assert "worker is alive" in shop.good(*APP, "doctor").out
    assert shop.run("daemon", "status", "--check").code == 3, "the file of the settings is another store"
    shop.good(*APP, "daemon", "restart")
    assert "stopped" in shop.good(*APP, "daemon", "stop").err
    stopped = shop.run(*APP, "daemon", "status")
    assert stopped.code == 3
    assert f"asyncjobs {' '.join(APP)} daemon start -d" in stopped.err


@pytest.mark.slow
def test_doctor_says_what_is_missing_without_a_file(shop: Shell) -> None:
    shop.good(*APP, "jobs", "submit", "shop:add", "--args", "[1]")
    ran = shop.run(*APP, "doctor")
    assert ran.code == 1
    assert "no worker is alive, and 1 job is ready" in ran.out
    assert "share the file" not in ran.out


@pytest.mark.parametrize("arguments", [("backup", "copy.db"), ("compact",)])
def test_what_is_for_files_refuses(shop: Shell, arguments: tuple[str, ...]) -> None:
    ran = shop.run(*APP, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert f"{arguments[0]} is for stores in files; this is the service 'shop'" in ran.err
    assert not (shop.folder / "copy.db").exists()
    assert not (shop.folder / "hidden.db").exists(), "it is refused before the store is opened"


@pytest.mark.parametrize("kind", ["systemd", "docker", "k8s"])
def test_service_files_name_no_file(shop: Shell, kind: str) -> None:
    text = shop.good(*APP, "daemon", "unit", kind).out
    assert "volume" not in text
    found = read(kind, text)
    assert found.command[1:] == ["-m", "asyncjobs", *APP, "daemon", "start"]
    if kind != "systemd":  # the check reads the state of the daemon on this store
        assert found.check == ["python", "-m", "asyncjobs", *APP, "daemon", "status", "--check", "--name", "default"]


def test_the_flag_for_a_file_wins_over_the_applications_store(shop: Shell) -> None:
    shop.good("--db", "other.db", *APP, "jobs", "submit", "shop:add", "--args", "[1]", "--id", "sum")
    with SyncJobs(SQLiteConfig(db_path=shop.folder / "other.db"), enable_daemon=False) as jobs:
        assert jobs.get_job("sum").id == "sum"


def test_a_store_that_says_nothing_is_named_by_its_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Inside(tmp_path, monkeypatch, app="app_of_stores")
    (tmp_path / "shop_of_stores.py").write_text(SHOP)
    app = ("--app", "shop_of_stores:plain")
    inside.good(*app, "jobs", "submit", "shop_of_stores:add", "--args", "[1]", "--id", "sum")
    refused = inside.run(*app, "daemon", "status", "--check")
    assert refused.code == 3
    file = StateFile("default", f"{tmp_path} shop_of_stores:plain")
    file.path.parent.mkdir(parents=True)
    file.path.write_text("{}")
    assert inside.run(*app, "daemon", "status", "--check").code == 1, "the state of a dead daemon on this store"


def test_whether_a_daemon_runs_is_known_while_the_store_is_away(shop: Shell) -> None:
    app = ("--app", "shop:away")
    status = shop.run(*app, "daemon", "status")
    assert (status.code, "not running" in status.out) == (3, True)
    assert "to start it:  asyncjobs --app shop:away daemon start -d" in status.err
    listed = shop.run(*app, "jobs", "list")
    assert (listed.code, "the service is away" in listed.err) == (4, True)
    doctor = shop.run(*app, "doctor")
    assert (doctor.code, "the store cannot be opened: the service is away" in doctor.out) == (1, True)


def test_a_store_in_memory_is_refused(shop: Shell) -> None:
    for arguments in (("--app", "shop:memory", "jobs", "list"), ("--app", "shop:memory", "daemon", "status")):
        ran = shop.run(*arguments)
        assert (ran.code, "an in-memory store cannot be used" in ran.err) == (2, True)
    assert shop.run("jobs", "list", ASYNCJOBS_BACKEND="memory").code == 2
