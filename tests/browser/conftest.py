"""A real Chromium, or the reason why there is none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.support import Demo, Visitor, launched_browser


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with launched_browser() as launched:
        yield launched


@pytest.fixture(scope="package")
def lasting_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    running = Demo(tmp_path_factory.mktemp("demo"), quick=True)
    yield running
    running.end(signal.SIGKILL)


@pytest.fixture
def demo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Demo]:
    """The web app, held: one for all tests, except those with an `own_server`."""
    marker = request.node.get_closest_marker("own_server")
    if marker is None:
        lasting: Demo = request.getfixturevalue("lasting_demo")
        lasting.hold()
        yield lasting
        lasting.go_on()
        return
    own = Demo(tmp_path, quick=marker.kwargs.get("quick", True))
    yield own
    if own.process.poll() is None:
        own.end(signal.SIGKILL)


@pytest.fixture
def visitor(browser: Browser, demo: Demo) -> Iterator[Visitor]:
    """Somebody who looks at the demo, and sees no error, no violation of the CSP (an error, too), nothing foreign."""
    somebody = Visitor(browser, demo.url)
    yield somebody
    somebody.context.close()
    assert somebody.complaints == []
