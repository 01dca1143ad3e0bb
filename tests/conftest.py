"""What every test may rely on, and running a part of them."""

from __future__ import annotations

import gc
import os
import pkgutil
from collections.abc import Generator
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from zlib import crc32

import pytest

from tests.loggers import as_they_were
from tests.measuring import untraced
from tests.timeouts import ended_with_its_error


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--part", metavar="K/N", help="run the K-th of N parts of the tests: the same tests every time")
    parser.addoption("--measure", metavar="FOLDER", action="append", help="measure coverage of these tests only")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): skipped for stores that do not have them")
    if (part := config.getoption("--part")) is not None:
        part_of(part)
    if _is_roomy(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)


_MEMORY = "/dev/shm"
"""The folders of tests are made in memory: syncing files costs a test of SQLite half of its time. ``--basetemp=FOLDER``
has them on a disk."""
_ROOM = 2 << 30
"""Bytes. A run needs some hundred MiB at a time, since the folder of a test that has passed is removed at once."""


def _is_roomy(folder: str) -> bool:
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize >= _ROOM


_SQS = os.environ.get("ASYNCJOBS_TEST_SQS") == "1"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is not to be imported.

    The tests of the SQS store, unless they are asked for: they need an emulator, and what botocore brings.
    With ``-m serial`` the files that mark no test so: importing them takes as long as some of the tests.
    """
    if collection_path.match("test_sqs_*.py") and collection_path.name != "test_sqs_config.py" and not _SQS:
        return True
    if config.option.markexpr != "serial" or not collection_path.match("test_*.py"):
        return None
    marking = [path for path in (collection_path, collection_path.with_name("conftest.py")) if path.exists()]
    return None if any("mark.serial" in path.read_text("utf-8") for path in marking) else True


_ON_EMULATOR = 300
"""Seconds that a test may take that calls an emulator for everything."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("first") is None)
    for item in filter(is_on_sqs, items):
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(_ON_EMULATOR))
    part = config.getoption("--part")
    if part is None:
        return
    which, of = part_of(part)
    chosen = [item for item in items if crc32(item.nodeid.encode()) % of == which - 1]
    names = {item.nodeid for item in chosen}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in names])
    items[:] = chosen


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """Hide thirteen thousand tests from the garbage collector, which would go through them again and again.

    Coverage is running again before pytest-cov, which wraps this, takes what it has.
    """
    gc.freeze()
    try:
        return (yield)
    finally:
        gc.unfreeze()
        _unmeasured.stop()


class _Unmeasured:
    """A time without coverage, from one test that is not to be measured to the next one that is.

    Stopping it and starting it again takes 1 ms, which ten thousand tests one after the other need not do each.
    """

    def __init__(self) -> None:
        self._running: ExitStack | None = None

    def start(self) -> None:
        if self._running is None:
            self._running = ExitStack()
            self._running.enter_context(untraced())

    def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.close()


_unmeasured = _Unmeasured()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Measure no coverage of a test that is marked `untraced`, and none of the processes that it starts."""
    if is_measured(item):
        _unmeasured.stop()
    else:
        _unmeasured.start()


def is_on_sqs(item: pytest.Item) -> bool:
    """Return whether a test is about the SQS store: by its file, or by the store that it is run with."""
    parameters = getattr(item, "callspec", None)
    kind = "" if parameters is None else str(parameters.params.get("kind", ""))
    return item.path.name.startswith("test_sqs_") or kind.startswith("sqs")


def is_measured(item: pytest.Item) -> bool:
    """Return whether coverage of a test is to be measured, if any is."""
    folders = item.config.getoption("--measure")
    if folders and is_on_sqs(item):
        return False  # what these folders measure, it runs as others do
    inside = any(item.path.is_relative_to(item.config.rootpath / folder) for folder in folders or ["."])
    return inside and item.get_closest_marker("untraced") is None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Measure the import of the package, and not that of the tests, which takes twice as long if it is traced."""
    if session.config.pluginmanager.hasplugin("_cov"):
        for module in pkgutil.walk_packages(import_module("asyncjobs").__path__, "asyncjobs."):
            import_module(module.name)
    gc.disable()  # all that is made is kept
    try:
        with untraced():
            return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    with ended_with_its_error(pyfuncitem):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Spell out lone surrogates, which tests log on purpose: no report of a test that runs beside others has them."""
    report = yield
    report.sections = [(name, _encodable(text)) for name, text in report.sections]
    if (written := _encodable(report.longreprtext)) != report.longreprtext:
        report.longrepr = written
    return report


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def part_of(text: str) -> tuple[int, int]:
    """The K and the N of ``K/N``."""
    which, _, of = text.partition("/")
    if not (which.isdigit() and of.isdigit() and 1 <= int(which) <= int(of)):
        raise pytest.UsageError(f"--part {text!r} is not K/N, such as 3/10")
    return int(which), int(of)


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Generator[None]:
    with as_they_were():
        yield


@pytest.fixture
def tables_in_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tables of a test of the SQS store in the emulator that takes less time, if there is one."""
    from tests import sqs_server

    sqs_server.have_tables_in_second(monkeypatch)


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests, unless they are parametrised by it."""
    return "asyncio"
