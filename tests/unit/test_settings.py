"""Settings from files, the environment and flags: which wins, what is refused, and where each came from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import BackendType, ConfigurationError, SQLiteConfig, SQSConfig
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
    assert found.daemon.num_workers == 32
    assert {source for _, _, source in found.rows()} == {"default"}


def test_what_is_shown_of_values_is_set_by_name(tmp_path: Path) -> None:
    assert settings(tmp_path).redact == "asyncjobs.web:redact_secrets"
    file = write(tmp_path, 'redact = "shop.secrets:hide"\n')
    assert settings(tmp_path).redact == "shop.secrets:hide"
    assert source(settings(tmp_path), "redact") == str(file)
    shown = settings(tmp_path, environ={"ASYNCJOBS_REDACT": ""})
    assert (shown.redact, source(shown, "redact")) == (None, "ASYNCJOBS_REDACT"), "everything"


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, "[daemon]\nnum_workers = 1\nlease = 20\nheartbeat = 5\n")
    found = settings(
        tmp_path,
        environ={"ASYNCJOBS_DAEMON_NUM_WORKERS": "2", "ASYNCJOBS_DAEMON_LEASE": "30"},
        flags={"daemon.num_workers": 3, "daemon.queues": None},
    )
    assert (found.daemon.num_workers, found.daemon.lease, found.daemon.heartbeat) == (3, 30.0, 5)
    assert source(found, "daemon.num_workers") == "the flag --num-workers"
    assert source(found, "daemon.lease") == "ASYNCJOBS_DAEMON_LEASE"
    assert source(found, "daemon.heartbeat") == str(file)
    assert source(found, "daemon.queues") == "default"


def test_a_named_file_wins_over_the_projects(tmp_path: Path) -> None:
    write(tmp_path, "[daemon]\nnum_workers = 1\n")
    other = write(tmp_path / "other", "[daemon]\nnum_workers = 2\n", "mine.toml")
    third = write(tmp_path / "third", "[daemon]\nnum_workers = 3\n", "mine.toml")
    assert settings(tmp_path, environ={"ASYNCJOBS_CONFIG": str(other)}).daemon.num_workers == 2
    assert settings(tmp_path, environ={"ASYNCJOBS_CONFIG": str(other)}, config=third).daemon.num_workers == 3


def test_the_nearest_project_upwards_counts_up_to_the_repository(tmp_path: Path) -> None:
    write(tmp_path, "[daemon]\nnum_workers = 1\n")
    inner = tmp_path / "repository" / "package"
    inner.mkdir(parents=True)
    assert settings(inner).daemon.num_workers == 1
    write(
        tmp_path / "repository", '[project]\nname = "x"\n\n[tool.asyncjobs.daemon]\nnum_workers = 2\n', "pyproject.toml"
    )
    assert settings(inner).daemon.num_workers == 2
    write(inner, '[project]\nname = "y"\n', "pyproject.toml")  # says nothing about asyncjobs
    assert settings(inner).daemon.num_workers == 2
    (inner / ".git").mkdir()
    assert settings(inner).daemon.num_workers == 32


def test_the_users_own_file_comes_last(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".git").mkdir()
    write(tmp_path / "home" / ".config" / "asyncjobs", "[daemon]\nnum_workers = 4\n", "config.toml")
    environ = {"HOME": str(tmp_path / "home")}
    assert settings(project, environ=environ).daemon.num_workers == 4
    write(project, "[daemon]\nnum_workers = 1\n")
    assert settings(project, environ=environ).daemon.num_workers == 1


# -- what values are


def test_a_path_in_a_file_is_beside_the_file(tmp_path: Path) -> None:
    write(tmp_path, '[sqlite]\ndb_path = "data/jobs.db"\n')
    inner = tmp_path / "inner"
    inner.mkdir()
    assert settings(inner).sqlite.file == tmp_path / "data" / "jobs.db"


@pytest.mark.parametrize(
    ("variable", "text", "section", "field", "value"),
    [
        ("DB", "/tmp/jobs.db", "sqlite", "db_path", "/tmp/jobs.db"),
        ("SQLITE_CHECKPOINT_SIZE", "8MB", "sqlite", "checkpoint_size", 8 << 20),
        ("SQLITE_BUSY_TIMEOUT", "2m", "sqlite", "busy_timeout", 120.0),
        ("SQLITE_ALLOW_NETWORK_FILESYSTEM", "yes", "sqlite", "allow_network_filesystem", True),
        ("SQLITE_MAX_SIZE", "", "sqlite", "max_size", None),
        ("SQS_QUEUE_URL", "jobs", "sqs", "queue_url", "jobs"),
        ("SQS_SHARDS", "8", "sqs", "shards", 8),
        ("SQS_CREATE", "yes", "sqs", "create", True),
        ("SQS_MAX_VALUE_SIZE", "2MB", "sqs", "max_value_size", 2 << 20),
        ("SQS_REGION", "", "sqs", "region", None),
        (
            "SQS_QUEUES",
            "images=jobs-images, mails = jobs-mails",
            "sqs",
            "queues",
            {"images": "jobs-images", "mails": "jobs-mails"},
        ),
        ("SQS_QUEUES", "", "sqs", "queues", {}),
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
    with pytest.raises(ValueError, match="use 30s, 5m, 2h or 1d"):
        duration("soon")


def test_the_store_is_that_of_the_chosen_kind(tmp_path: Path) -> None:
    write(
        tmp_path, 'backend = "sqs"\n\n[sqs]\ntable = "jobs"\nregion = "eu-west-1"\n\n[sqs.queues]\nbig = "jobs-big"\n'
    )
    found = settings(tmp_path)
    assert found.backend_config == SQSConfig(table="jobs", region="eu-west-1", queues={"big": "jobs-big"})
    assert source(found, "sqs.queues") == str(tmp_path / "asyncjobs.toml")
    assert ("daemon.lease", 45.0, "default") in list(found.rows())
    lite = settings(tmp_path, environ={"ASYNCJOBS_BACKEND": "sqlite"})
    assert lite.backend_config == SQLiteConfig()
    assert ("daemon.lease", 15.0, "default") in list(lite.rows())


def test_the_flag_that_names_a_file_wins_over_another_kind_of_store(tmp_path: Path) -> None:
    write(tmp_path, 'backend = "sqs"\n')
    found = settings(tmp_path, flags={"sqlite.db_path": "x.db"})
    assert found.backend_config == SQLiteConfig(db_path="x.db")
    assert source(found, "backend") == "the flag --db"
    assert settings(tmp_path, flags={"sqlite.db_path": None}).backend is BackendType.SQS


# -- what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[daemon]\nnum_worker = 1\n",
            "daemon.num_worker is not a setting\n  hint: did you mean 'daemon.num_workers'?",
        ),
        ("[daemon]\nslots = 1\n", "daemon.slots is not a setting\n  hint: did you mean 'daemon.num_workers'?"),
        ("[daemon]\nconcurrency = 1\n", "hint: did you mean 'daemon.num_workers'?"),
        ("[sqlite]\npath = 'x'\n", "sqlite.path is not a setting\n  hint: did you mean 'sqlite.db_path'?"),
        ("[sqlite]\nattempts = 3\n", "hint: did you mean 'sqlite.tries'?"),
        (
            "[daemon]\nzzz = 1\n",
            "daemon.zzz is not a setting\n  hint: known settings: daemon.num_workers, daemon.queues, ",
        ),
        ("zzz = 1\n", "zzz is not a setting\n  hint: known settings: app, backend, redact, [sqlite], "),
        ("[deamon]\nnum_workers = 1\n", "deamon is not a setting\n  hint: did you mean 'daemon'?"),
        (
            "[daemon]\nnum_workers = 0\n",
            "daemon.num_workers cannot be 0 (from {file}); allowed: a whole number from 1 to 10000",
        ),
        ("[daemon]\nnum_workers = 'many'\n", "daemon.num_workers cannot be 'many' (from {file}); allowed: a number"),
        (
            "[daemon]\nnum_workers = 'x'\n",
            "daemon.num_workers cannot be 'x' (from {file}); allowed: a number, such as 8",
        ),
        (
            "[sqlite]\nmax_value_size = 'x'\n",
            "sqlite.max_value_size cannot be 'x' (from {file}); allowed: a number, such as 1000000 or '10MB'",
        ),
        (
            "[logging]\nbackups = 'x'\n",
            "logging.backups cannot be 'x' (from {file}); allowed: a number, such as 8",
        ),
        (
            'backend = "postgres"\n',
            "backend cannot be 'postgres' (from {file}); allowed: 'sqlite' or 'sqs' or 'memory'",
        ),
        (
            "[sqs]\ntable_name = 'x'\n",
            "{file}: sqs.table_name is not a setting\n  hint: did you mean 'sqs.table'?",
        ),
        (
            "[sqs]\nqueue_url = 'jobs.fifo'\n",
            "sqs.queue_url cannot be 'jobs.fifo' (from {file}); allowed: the name of a standard queue",
        ),
        (
            "[sqs.queues]\nimages = 'a b'\n",
            "sqs.queues cannot be {{'images': 'a b'}} (from {file}); allowed: the name of a standard queue",
        ),
        ("[sqs]\nwait_time = 21\n", "sqs.wait_time cannot be 21 (from {file}); allowed: a whole number from 0 to 20"),
        ('app = "shop"\n', "app cannot be 'shop' (from {file}); allowed: module:attribute"),
        ('redact = "hide"\n', "redact cannot be 'hide' (from {file}); allowed: module:function"),
        ("redact = false\n", "redact cannot be False (from {file}); allowed: module:function"),
        ('redcat = "shop:hide"\n', "did you mean 'redact'?"),
        ("num_workers = 1 2\n", "{file} is not TOML"),
        ('[logging]\nlevel = "warn"\n', "did you mean 'warning'?"),
    ],
)
def test_what_a_file_cannot_say(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path)
    assert message.format(file=file) in str(caught.value)


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("DAEMON_SLOTS", "DAEMON_NUM_WORKERS"),
        ("SQLITE_PATH", "SQLITE_DB_PATH"),
        ("SQLITE_ATTEMPTS", "SQLITE_TRIES"),
    ],
)
def test_a_variable_under_its_former_name_is_named_with_the_one_it_has(former: str, now: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"did you mean ASYNCJOBS_{now}"):
        settings(tmp_path, environ={f"ASYNCJOBS_{former}": "1"})


def test_pairs_in_a_variable_have_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"from ASYNCJOBS_SQS_QUEUES\); allowed: pairs, such as 'images=jobs-"):
        settings(tmp_path, environ={"ASYNCJOBS_SQS_QUEUES": "images"})


def test_variables_of_the_tests_are_never_settings(tmp_path: Path) -> None:
    environ = {"ASYNCJOBS_TEST_SQS_TABLE": "x", "ASYNCJOBS_TEST_DAEMON_NUM_WORKERS": "0"}
    assert settings(tmp_path, environ=environ).origins == {}


def test_an_unknown_variable_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, environ={"ASYNCJOBS_DAEMON_NUM_WORKER": "1"})
    assert str(caught.value) == (
        "the environment variable ASYNCJOBS_DAEMON_NUM_WORKER is not a setting\n"
        "  hint: did you mean ASYNCJOBS_DAEMON_NUM_WORKERS?"
    )


def test_a_value_of_the_environment_is_refused_with_its_variable(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be 'maybe' \(from ASYNCJOBS_SQLITE_ALLOW_NETWORK"):
        settings(tmp_path, environ={"ASYNCJOBS_SQLITE_ALLOW_NETWORK_FILESYSTEM": "maybe"})


def test_a_named_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no configuration file 'missing.toml'"):
        settings(tmp_path, config="missing.toml")


def test_a_heartbeat_that_does_not_fit_the_lease_of_the_store_names_its_source(tmp_path: Path) -> None:
    assert (settings(tmp_path).daemon.lease, settings(tmp_path).daemon.heartbeat) == (15.0, 5.0)
    file = write(tmp_path, "[daemon]\nheartbeat = 6\n")
    with pytest.raises(ConfigurationError, match=re.escape(str(file))):
        settings(tmp_path)
