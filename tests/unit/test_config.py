"""Settings are checked when they are made: the field, the value, what is allowed, and the nearest correct name."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from asyncjobs import (
    BackendConfig,
    BackendType,
    ConfigurationError,
    DaemonConfig,
    JobProcessor,
    MemoryBackend,
    MemoryConfig,
    SQLiteConfig,
    SQSBackend,
    SQSConfig,
)
from asyncjobs.config import MEBIBYTE
from asyncjobs.processor import get_engine
from asyncjobs.runtime.setup import run_app_with
from asyncjobs.testing import ManualClock


class OnAWS(MemoryBackend):
    """A store that has the settings of one on AWS, which is all that is read of it."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SQSConfig()


def test_the_defaults_are_the_documented_ones() -> None:
    sqlite, daemon = SQLiteConfig(), DaemonConfig()
    assert sqlite.db_path == "asyncjobs.db"
    assert (sqlite.synchronous, sqlite.busy_timeout, sqlite.readers) == ("NORMAL", 30.0, 2)
    assert (sqlite.cache_size, sqlite.mmap_size, sqlite.checkpoint_size) == (64, 256, 4 * MEBIBYTE)
    assert (sqlite.max_size, sqlite.allow_network_filesystem) == (None, False)
    assert BackendConfig().max_value_size == MemoryConfig().max_value_size == sqlite.max_value_size == 64 * MEBIBYTE
    assert (daemon.num_workers, daemon.queues, daemon.allowed_modules, daemon.name) == (32, None, None, None)
    assert (daemon.shutdown_timeout, daemon.cancel_grace, daemon.poll_interval) == (30.0, 5.0, 0.25)
    assert (daemon.lease, daemon.heartbeat, daemon.preload) == (None, None, ())
    for store in (sqlite, MemoryConfig()):
        assert (daemon.for_store(store).lease, daemon.for_store(store).heartbeat) == (15.0, 5.0)
    assert (daemon.capture_logging, daemon.capture_print) == ("INFO", False)


def test_every_setting_is_documented() -> None:
    for config in (BackendConfig, SQLiteConfig, SQSConfig, DaemonConfig):
        documented = (config.__doc__ or "") + (BackendConfig.__doc__ or "")
        for field in fields(config):
            assert f":param {field.name}:" in documented, f"{config.__name__}.{field.name}"


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: SQLiteConfig(db_pth="x"), "SQLiteConfig.db_pth is not a setting\n  hint: did you mean 'db_path'?"),
        (
            lambda: DaemonConfig(colour="red"),
            "DaemonConfig.colour is not a setting\n  hint: known settings: num_workers, queues, allowed_modules, "
            "preload, shutdown_timeout, cancel_grace, poll_interval, lease, heartbeat, name, capture_logging, "
            "capture_print, retention, unrunnable_after",
        ),
        (
            lambda: MemoryConfig(path="x"),
            "MemoryConfig.path is not a setting\n  hint: known settings: max_value_size, tries",
        ),
        (
            lambda: DaemonConfig(5),
            "DaemonConfig takes its settings by name\n  hint: DaemonConfig(num_workers=5)",
        ),
        (
            lambda: SQLiteConfig(synchronous="OFF"),
            "SQLiteConfig.synchronous cannot be 'OFF'; allowed: 'NORMAL' or 'FULL'",
        ),
        (
            lambda: SQLiteConfig(db_path=":memory:"),
            "SQLiteConfig.db_path cannot be ':memory:'; allowed: the path of a file\n"
            "  hint: use BackendType.MEMORY in tests",
        ),
        (lambda: SQLiteConfig(db_path=""), "SQLiteConfig.db_path cannot be ''; allowed: the path of a file"),
        (lambda: SQLiteConfig(db_path=5), "SQLiteConfig.db_path cannot be 5; allowed: the path of a file"),
        (
            lambda: SQLiteConfig(db_path="a\0b"),
            "SQLiteConfig.db_path cannot be 'a\\x00b'; allowed: a path without NUL characters",
        ),
        (
            lambda: DaemonConfig(heartbeat=6, lease=15),
            "DaemonConfig.heartbeat cannot be 6; allowed: a number above 0 to 5",
        ),
        (
            lambda: DaemonConfig(queues="images"),
            "DaemonConfig.queues cannot be 'images'; allowed: a tuple of names, or None",
        ),
        (lambda: DaemonConfig(queues=()), "DaemonConfig.queues cannot be (); allowed: a tuple of names, or None"),
        (
            lambda: DaemonConfig(allowed_modules=("a", "")),
            "DaemonConfig.allowed_modules cannot be ('a', ''); allowed: a tuple of names, or None",
        ),
        (
            lambda: DaemonConfig(allowed_modules=(1,)),
            "DaemonConfig.allowed_modules cannot be (1,); allowed: a tuple of names, or None",
        ),
    ],
)
def test_a_setting_is_refused_in_these_words(make: Any, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert str(caught.value) == text
    assert isinstance(caught.value, ValueError)
    assert "." in caught.value.field or caught.value.field == "DaemonConfig"


NUMBERS: list[tuple[type[Any], str, float, float]] = [
    (BackendConfig, "max_value_size", 1024, 1 << 30),
    (SQLiteConfig, "busy_timeout", 0, 600),
    (SQLiteConfig, "cache_size", 1, 65_536),
    (SQLiteConfig, "mmap_size", 0, 1 << 20),
    (SQLiteConfig, "readers", 1, 64),
    (SQLiteConfig, "checkpoint_size", 65_536, 1 << 40),
    (SQLiteConfig, "max_size", 262_144, 1 << 40),
    (DaemonConfig, "num_workers", 1, 10_000),
    (DaemonConfig, "shutdown_timeout", 0, 1e9),
    (DaemonConfig, "cancel_grace", 0, 1e9),
    (DaemonConfig, "poll_interval", 0.001, 60),
    (DaemonConfig, "lease", 0.5, 86_400),
    (DaemonConfig, "heartbeat", 0.001, 28_800),
]


@pytest.mark.parametrize(("config", "name", "low", "high"), NUMBERS)
def test_numbers_have_their_range(config: type[Any], name: str, low: float, high: float) -> None:
    for good in (low, high):
        assert getattr(config(**{name: good}), name) == good
    for bad in (low - 1, -1, math.nan, math.inf, -math.inf, "5", True, [1]):
        with pytest.raises(ConfigurationError) as caught:
            config(**{name: bad})
        assert caught.value.field == f"{config.__name__}.{name}"
        assert caught.value.value is bad
        assert caught.value.allowed is not None


@dataclass(frozen=True, kw_only=True)
class Remote(BackendConfig):
    default_lease: ClassVar[float] = 45.0


def test_the_lease_is_that_of_the_store_unless_it_is_given() -> None:
    found = DaemonConfig(num_workers=3).for_store(Remote())
    assert found == DaemonConfig(num_workers=3, lease=45.0, heartbeat=5.0)
    assert DaemonConfig(heartbeat=15).for_store(Remote()).heartbeat == 15
    given = DaemonConfig(lease=3)
    assert given.heartbeat == 1.0
    assert given.for_store(Remote()) is given
    with pytest.raises(ConfigurationError, match=r"heartbeat cannot be 6; allowed: a number above 0 to 5"):
        DaemonConfig(heartbeat=6).for_store(SQLiteConfig())


@pytest.mark.anyio
async def test_a_processor_has_the_lease_of_its_store(anyio_backend: str) -> None:
    class Far(MemoryBackend):
        def __init__(self) -> None:
            super().__init__()
            self.config = Remote()

    async with JobProcessor(Far()) as jp:
        assert [worker.lease for worker in await jp.workers()] == [45.0]
        assert (jp.daemon.config.lease, jp.daemon.config.heartbeat) == (45.0, 5.0)
    async with JobProcessor(MemoryBackend()) as jp:
        assert [worker.lease for worker in await jp.workers()] == [15.0]
    with pytest.raises(ConfigurationError, match="heartbeat"):
        JobProcessor(MemoryBackend(), daemon=DaemonConfig(heartbeat=6))


def test_whole_numbers_are_whole() -> None:
    for config, name in ((DaemonConfig, "num_workers"), (SQLiteConfig, "readers"), (BackendConfig, "max_value_size")):
        with pytest.raises(ConfigurationError, match="a whole number"):
            config(**{name: 2000.5})


def test_settings_are_frozen_and_comparable() -> None:
    assert DaemonConfig(num_workers=3) == DaemonConfig(num_workers=3) != DaemonConfig(num_workers=4)
    with pytest.raises(AttributeError):
        DaemonConfig().num_workers = 5
    assert hash(SQLiteConfig(db_path="a")) == hash(SQLiteConfig(db_path="a"))


def test_the_lease_has_a_default_for_each_store() -> None:
    for backend, lease in (("memory", 15.0), (SQLiteConfig(), 15.0), (OnAWS(), 45.0)):
        for config in (DaemonConfig(), replace(DaemonConfig(), num_workers=3), None):
            daemon = get_engine(JobProcessor(backend, daemon=config)).settings.daemon
            assert daemon is not None
            assert (daemon.lease, daemon.heartbeat, type(daemon.lease)) == (lease, 5.0, float)
        for given in (DaemonConfig(lease=15.0), replace(DaemonConfig(), lease=15.0)):
            engine = get_engine(JobProcessor(backend, daemon=given))
            assert engine.settings.daemon == given
            run_app_with(engine, backend if isinstance(backend, OnAWS) else SQLiteConfig(), DaemonConfig())
            assert engine.settings.daemon is not None
            assert engine.settings.daemon.lease == lease


def test_names_become_a_tuple() -> None:
    assert DaemonConfig(queues=["a", "b"]).queues == ("a", "b")
    assert DaemonConfig(allowed_modules={"a"}).allowed_modules == ("a",)
    assert DaemonConfig(preload=["b", "a.c"]).preload == ("b", "a.c")
    assert DaemonConfig(preload=[]).preload == ()


@pytest.mark.parametrize(
    "value", ["numpy", None, 5, ("",), ("a b",), ("a:b",), ("a/b.py",), ("a..b",), (b"a",), (json,), {"a"}, {"a": 1}]
)
def test_what_is_preloaded_is_named_in_its_order_by_names_of_modules(value: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"allowed: a tuple of names of modules, such as \('numpy', "
    ) as caught:
        DaemonConfig(preload=value)
    assert (caught.value.field, caught.value.value) == ("DaemonConfig.preload", value)


def test_the_file_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert SQLiteConfig(db_path="x.db").file == tmp_path / "x.db"
    assert SQLiteConfig(db_path=Path("a/../x.db")).file == tmp_path / "x.db"
    assert SQLiteConfig(db_path="~/x.db").file == tmp_path / "home" / "x.db"


@pytest.mark.parametrize("kind", [BackendType.SQS, "sqs", SQSConfig(), SQSBackend()])
def test_a_store_on_aws_has_the_time_of_aws(kind: Any) -> None:
    backend = get_engine(JobProcessor(kind)).backend
    assert isinstance(backend, SQSBackend)
    assert backend._given_clock is None
    clock = ManualClock()
    tested = get_engine(JobProcessor(SQSConfig(), clock=clock)).backend
    assert isinstance(tested, SQSBackend)
    assert tested._given_clock is clock


@pytest.mark.parametrize("kind", [BackendType.MEMORY, "memory", MemoryConfig(), MemoryBackend()])
def test_a_backend_is_named_configured_or_made(kind: Any) -> None:
    assert isinstance(get_engine(JobProcessor(kind)).backend, MemoryBackend)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("sqllite",),
            "backend cannot be 'sqllite'; allowed: 'sqlite', 'sqs', 'memory', a path, SQLiteConfig(…), SQSConfig(…), "
            "MemoryConfig(…) or a JobBackend\n  hint: did you mean 'sqlite'?",
        ),
        (
            ("postgres",),
            "backend cannot be 'postgres'; allowed: 'sqlite', 'sqs', 'memory', a path, SQLiteConfig(…), SQSConfig(…), "
            "MemoryConfig(…) or a JobBackend\n"
            "  hint: a path has a slash or a suffix: './postgres' or 'postgres.db'",
        ),
        (
            (5,),
            "backend cannot be 5; allowed: 'sqlite', 'sqs', 'memory', a path, SQLiteConfig(…), SQSConfig(…), "
            "MemoryConfig(…) or a JobBackend",
        ),
        ((MemoryConfig(), MemoryConfig()), "the settings are given twice\n  hint: drop config="),
        (
            (MemoryBackend(), MemoryConfig()),
            "config= has no meaning beside a backend object\n  hint: configure the object",
        ),
        (
            (BackendConfig(),),
            "backend cannot be BackendConfig(max_value_size=67108864, tries=5); "
            "allowed: a BackendType, SQLiteConfig, SQSConfig, MemoryConfig or a JobBackend",
        ),
        (
            ("sqlite", MemoryConfig()),
            "config cannot be MemoryConfig(max_value_size=67108864, tries=5); "
            "allowed: a SQLiteConfig for the backend 'sqlite'",
        ),
    ],
)
def test_what_is_no_backend_is_refused_in_these_words(arguments: tuple[Any, ...], text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        JobProcessor(*arguments)
    assert str(caught.value) == text
