"""What every test may rely on."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(*capabilities): skipped for stores that do not have them")


@pytest.fixture
def anyio_backend() -> str:
    """The event loop of asynchronous tests, unless they are parametrised by it."""
    return "asyncio"
