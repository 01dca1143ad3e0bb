"""Settings from files, the environment and flags: which wins, what is refused, and where each came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asyncjobs import BackendType, ConfigurationError
from asyncjobs.settings import Settings, duration, load


def settings(folder: Path, **options: Any) -> Settings:
    return load(folder=folder, environ=options.pop("environ", {}), **options)


def write(folder: Path, text: str, name: str = "asyncjobs.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def source(found: Settings, name: str) -> str:
    return next(source for key, _, source in found.rows() if key == name)


# -- which wins


def test_without_anything_all_is_default(tmp_path: Path) -> None:
    found = settings(tmp_path)
    assert (found.app, found.backend, found.file) == (None, BackendType.SQLITE, None)
    assert found.daemon.slots == 32
    assert {source for _, _, source in found.rows()} == {"default"}


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[daemon]\nslots = 1\nlease = 20\nheartbeat = 5\n")
    found = settings(
        tmp_path,
        environ={"ASYNCJOBS_DAEMON_SLOTS": "2", "ASYNCJOBS_DAEMON_LEASE": "30"},
        flags={"daemon.slots": 3, "daemon.queues": None},
    )
    assert (found.daemon.slots, found.daemon.lease, found.daemon.heartbeat) == (3, 30.0, 5)
    assert source(found, "daemon.slots") == "the flag --slots"
    assert source(found, "daemon.lease") == "ASYNCJOBS_DAEMON_LEASE"
    assert source(found, "daemon.heartbeat") == str(file)
    assert source(found, "daemon.queues") == "default"


def test_a_named_file_wins_over_the_projects(tmp_path: Path) -> None:
    write(tmp_path, "[daemon]\nslots = 1\n")
    other = write(tmp_path / "other", "[daemon]\nslots = 2\n", "mine.toml")
    third = write(tmp_path / "third", "[daemon]\nslots = 3\n", "mine.toml")
    assert settings(tmp_path, environ={"ASYNCJOBS_CONFIG": str(other)}).daemon.slots == 2
    assert settings(tmp_path, environ={"ASYNCJOBS_CONFIG": str(other)}, config=third).daemon.slots == 3


def test_the_nearest_project_upwards_counts_up_to_the_repository(tmp_path: Path) -> None:
    write(tmp_path, "[daemon]\nslots = 1\n")
    inner = tmp_path / "repository" / "package"
    inner.mkdir(parents=True)
    assert settings(inner).daemon.slots == 1
    write(tmp_path / "repository", '[project]\nname = "x"\n\n[tool.asyncjobs.daemon]\nslots = 2\n', "pyproject.toml")
    assert settings(inner).daemon.slots == 2
    write(inner, '[project]\nname = "y"\n', "pyproject.toml")  # says nothing about asyncjobs
    assert settings(inner).daemon.slots == 2
    (inner / ".git").mkdir()
    assert settings(inner).daemon.slots == 32


def test_the_users_own_file_comes_last(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".git").mkdir()
    write(tmp_path / "home" / ".config" / "asyncjobs", "[daemon]\nslots = 4\n", "config.toml")
    environ = {"HOME": str(tmp_path / "home")}
    assert settings(project, environ=environ).daemon.slots == 4
    write(project, "[daemon]\nslots = 1\n")
    assert settings(project, environ=environ).daemon.slots == 1


# -- what values are


def test_a_path_in_a_file_is_beside_the_file(tmp_path: Path) -> None:
    write(tmp_path, '[sqlite]\npath = "data/jobs.db"\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    assert settings(inner).sqlite.file == tmp_path / "data" / "jobs.db"


@pytest.mark.parametrize(
    ("variable", "text", "section", "field", "value"),
    [
        ("DB", "/tmp/jobs.db", "sqlite", "path", "/tmp/jobs.db"),
        ("SQLITE_CHECKPOINT_SIZE", "8MB", "sqlite", "checkpoint_size", 8 << 20),
        ("SQLITE_BUSY_TIMEOUT", "2m", "sqlite", "busy_timeout", 120.0),
        ("SQLITE_ALLOW_NETWORK_FILESYSTEM", "yes", "sqlite", "allow_network_filesystem", True),
        ("SQLITE_MAX_SIZE", "", "sqlite", "max_size", None),
        ("DAEMON_QUEUES", "fast, slow", "daemon", "queues", ("fast", "slow")),
        ("DAEMON_SHUTDOWN_TIMEOUT", "1.5", "daemon", "shutdown_timeout", 1.5),
        ("DAEMON_CANCEL_GRACE", "2m", "daemon", "cancel_grace", 120.0),
        ("DAEMON_NAME", "7", "daemon", "name", "7"),
        ("LOGGING_FORMAT", "json", "logging", "format", "json"),
    ],
)
def test_text_of_the_environment_becomes_what_the_field_is(
    tmp_path: Path, variable: str, text: str, section: str, field: str, value: Any
) -> None:
    found = settings(tmp_path, environ={f"ASYNCJOBS_{variable}": text})
    assert getattr(getattr(found, section), field) == value


@pytest.mark.parametrize(("text", "value"), [("30s", 30), ("5m", 300), ("2h", 7200), ("1.5d", 129_600), ("7", 7)])
def test_durations(text: str, value: float) -> None:
    assert duration(text) == value


def test_no_duration() -> None:
    with pytest.raises(ValueError, match="write 30s, 5m, 2h or 1d"):
        duration("soon")


# -- what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[daemon]\nslot = 1\n", "daemon.slot is no setting\n  hint: did you mean 'daemon.slots'?"),
        ("[daemon]\nzzz = 1\n", "daemon.zzz is no setting\n  hint: there are daemon.slots, daemon.queues, "),
        ("zzz = 1\n", "zzz is no setting\n  hint: there are app, backend, [sqlite], "),
        ("[deamon]\nslots = 1\n", "deamon is no setting\n  hint: did you mean 'daemon'?"),
        ("[daemon]\nslots = 0\n", "daemon.slots cannot be 0 (from {file}); allowed: a whole number from 1 to 10000"),
        ("[daemon]\nslots = 'many'\n", "daemon.slots cannot be 'many' (from {file}); allowed: a number"),
        ('backend = "postgres"\n', "backend cannot be 'postgres' (from {file}); allowed: 'sqlite' or 'memory'"),
        ('app = "shop"\n', "app cannot be 'shop' (from {file}); allowed: module:attribute"),
        ("slots = 1 2\n", "{file} is not TOML"),
        ('[logging]\nlevel = "warn"\n', "did you mean 'warning'?"),
    ],
)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path)
    assert message.format(file=file) in str(caught.value)


def test_an_unknown_variable_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, environ={"ASYNCJOBS_DAEMON_SLOT": "1"})
    assert str(caught.value) == (
        "the environment variable ASYNCJOBS_DAEMON_SLOT is no setting\n  hint: did you mean ASYNCJOBS_DAEMON_SLOTS?"
    )


def test_a_value_of_the_environment_is_refused_with_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be 'maybe' \(from ASYNCJOBS_SQLITE_ALLOW_NETWORK"):
        settings(tmp_path, environ={"ASYNCJOBS_SQLITE_ALLOW_NETWORK_FILESYSTEM": "maybe"})


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no configuration file 'missing.toml'"):
        settings(tmp_path, config="missing.toml")
