"""Every test that takes ``stores`` (or ``jp``) runs once for every store and event loop that fit together.

One with cases of its own runs with each store, and on each loop, but in two pairs instead of three: what a case does
depends on the store, or on the loop. Where it may depend on both (``ON_ALL``), it has all three.
"""

from __future__ import annotations

import gc
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from asyncjobs import JobProcessor
from asyncjobs.runtime.isolation import process
from asyncjobs.runtime.slots import Slots
from tests.forked import forked
from tests.measuring import on_stores
from tests.runtime import isolated
from tests.runtime.isolated_jobs import processes, run
from tests.runtime.support import STORES, Stores

MEASURED = [("asyncio", "sqlite")]
"""With the store in memory it is the same lines, and those of the store itself are measured by its conformance."""
ON_ALL = {
    "actions_cancelling",
    "crew_left_behind",
    "draining",
    "engine_life",
    "engine_restart",
    "local_callables",
    "loops_barriers",
}
"""The modules whose tests measure what is different with the store in memory, and on trio."""
PAIRS = [("asyncio", "sqlite"), ("trio", "memory")]
"""Each store and each loop, once."""
READING = {"events_publisher", "streams"}
"""The modules whose tests read the log: they run with one that has holes, too."""


NEW_INTERPRETERS = {"main_script", "preload"}
"""The modules whose tests are about what processes of ``isolation="process"`` begin with, and have them as users do."""
NEW_AT_FIRST = {"forks_in_bodies", "isolation", "isolation_surroundings", "steps_forked"}
"""The modules about those processes themselves: each test has them as users do in the first of its cases."""


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "new_interpreters: its isolated processes are no forks, in each of its cases")
    config.addinivalue_line("markers", "persistent: only for stores that several processors can share")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stores" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition("test_")[2]
        chosen = [*STORES, ("asyncio", "sparse")] if module in READING else STORES
        if metafunc.definition.get_closest_marker("persistent"):
            chosen = [(loop, kind) for loop, kind in STORES if kind == "sqlite"]
        elif module not in ON_ALL and metafunc.definition.get_closest_marker("parametrize"):
            chosen = [pair for pair in chosen if pair in PAIRS or pair[1] == "sparse"]
        measured = chosen if module in ON_ALL else MEASURED
        metafunc.parametrize(("anyio_backend", "kind"), on_stores(chosen, measured))


@pytest.fixture
def stores(kind: str, tmp_path: Path) -> Stores:
    """Makes processors on one store."""
    return Stores(kind, tmp_path)


@pytest.fixture
async def jp(stores: Stores) -> AsyncIterator[JobProcessor]:
    """A running processor with the default settings."""
    async with stores.processor() as processor:
        yield processor


@pytest.fixture(autouse=True)
def _children_are_forks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes of ``isolation="process"``, which are 20 ms instead of 300, where they are not the subject."""
    if not _wants_new_interpreters(request):
        monkeypatch.setattr(process, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": _fork_of}))


def _wants_new_interpreters(request: pytest.FixtureRequest) -> bool:
    module = request.module.__name__.rpartition("test_")[2]
    case = getattr(request.node, "callspec", None)
    is_first = case is None or not any(case.indices.values())
    marked = request.node.get_closest_marker("new_interpreters") is not None
    return marked or module in NEW_INTERPRETERS or (module in NEW_AT_FIRST and is_first)


def _fork_of(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    return forked(command[command.index("-m") + 1 :], **options)


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    """What a test forgot (a coroutine, a stream) is found in that test, and not in the next one."""
    yield
    gc.collect(0)


@pytest.fixture(autouse=True)
def _slots_are_counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After every test, every slot and every thread's token of each worker is free again, and there are no more."""
    made: list[Slots] = []
    make = Slots.__init__

    def made_here(self: Slots, count: int, freed: Callable[[], None]) -> None:
        make(self, count, freed)
        made.append(self)

    monkeypatch.setattr(Slots, "__init__", made_here)
    yield
    for slots in made:
        assert (slots.busy, slots.reserved) == (0, 0), "(busy, reserved)"
        assert slots.limiter.total_tokens == slots.limiter.available_tokens == slots.count


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[JobProcessor]:
    """A processor on the store in memory, for what does not depend on the store."""
    async with Stores("memory", tmp_path).processor(num_workers=4, cancel_grace=0.3) as jp:
        processes(jp).grace = 0.3
        yield jp


@pytest.fixture
async def warm(here: JobProcessor) -> JobProcessor:
    """A processor that has an idle process."""
    await run(here, isolated.pid)
    return here
