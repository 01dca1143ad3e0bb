"""The suite runs once for every store (and, where a store allows it, for every event loop)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.support import STORES, Store, maker
from tests.measuring import on_stores

MEASURED = [("asyncio", "memory"), ("asyncio", "sqlite")]
"""On trio, the lines of the store in memory are the same."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store" in metafunc.fixturenames:
        metafunc.parametrize(("anyio_backend", "kind"), on_stores(STORES, MEASURED))


@pytest.fixture
async def store(kind: str, tmp_path: Path) -> AsyncIterator[Store]:
    """An open store of its own, on a clock that the test moves."""
    async with Store(maker(kind, tmp_path)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _needs_capability(request: pytest.FixtureRequest) -> None:
    marker = request.node.get_closest_marker("needs")
    if marker is not None:
        store: Store = request.getfixturevalue("store")
        missing = set(marker.args) - store.backend.capabilities
        if missing:
            pytest.skip(f"this store is not {', '.join(sorted(missing))}")
