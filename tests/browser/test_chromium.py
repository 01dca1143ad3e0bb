"""Without a browser the tests are skipped, except where nobody would notice."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.browser import chromium


@pytest.fixture
def no_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with neither Chromium nor apt-get."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "ON_MACS", ())
    for name in ("CI", "ASYNCJOBS_REQUIRE_BROWSER", "ASYNCJOBS_CHROMIUM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.usefixtures("no_browser")
def test_where_it_cannot_be_installed_it_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert chromium.main() == 0
    assert "apt-get install chromium" in capsys.readouterr().err


@pytest.mark.usefixtures("no_browser")
@pytest.mark.parametrize("name", ["CI", "ASYNCJOBS_REQUIRE_BROWSER"])
def test_where_it_is_required_its_absence_is_a_failure(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "0")
    assert chromium.main() == 0
    monkeypatch.setenv(name, "1")
    assert chromium.main() == 1


def test_a_browser_that_is_named_or_on_the_path_is_found(monkeypatch: pytest.MonkeyPatch, no_browser: Path) -> None:
    there = no_browser / "google-chrome"
    there.touch(mode=0o755)
    assert chromium.find() == str(there)
    monkeypatch.setenv("ASYNCJOBS_CHROMIUM", sys.executable)
    assert chromium.find() == shutil.which(sys.executable)
    monkeypatch.setenv("ASYNCJOBS_CHROMIUM", str(no_browser / "not-there"))
    assert chromium.find() is None
