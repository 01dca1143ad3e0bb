"""The documentation as ``make docs`` builds it, as somebody reads it in Chromium."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.looks import SIZES, expect_accessible, look
from tests.browser.served import ROOT, Served
from tests.browser.support import PATIENCE, Visitor

pytestmark = [pytest.mark.slow, pytest.mark.untraced, pytest.mark.timeout(240), pytest.mark.usefixtures("browser")]
expect.set_options(timeout=PATIENCE)

PAGES = (
    "index.html",
    "tutorial/4-a-page.html",
    "guides/graphs.html",
    "reference/commands.html",
    "reference/processor.html",
)
"""One of each kind: the contents, a step, a guide with pictures, what is written by a program, and the API."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built once for all processes that run these tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of the run: those of its processes are in it
    built = folder / "site"
    with (folder / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (built / "done").exists():
            command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", "-j", "2", "-d", folder / "trees"]
            ran = subprocess.run([*command, ROOT / "docs", built], capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stderr
            (built / "done").touch()
    return built


@pytest.fixture(scope="module")
def address(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = ["http.server", "--bind", "127.0.0.1", "--directory", str(site), "0"]
    server = Served(tmp_path_factory.mktemp("server"), command, {"PYTHONUNBUFFERED": "1"})
    yield server.url
    server.end(signal.SIGKILL)


@pytest.fixture
def reader(browser: Browser, address: str) -> Iterator[Visitor]:
    """Somebody who reads the site, and sees no error, and nothing from another host."""
    somebody = Visitor(browser, address)
    yield somebody
    somebody.context.close()
    assert somebody.complaints == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_accessible_and_fits_wide_and_narrow_light_and_dark(
    reader: Visitor, path: str, tmp_path: Path
) -> None:
    page = reader.tab(path)
    width, height = SIZES["wide"]
    page.set_viewport_size({"width": width, "height": height})
    expect_accessible(page, f"{path}, wide")
    folder = Path(os.environ.get("ASYNCJOBS_SCREENSHOTS", tmp_path))
    look(page, "site-" + path.removesuffix(".html").replace("/", "-"), folder)


def test_what_scrolls_is_a_stop_of_the_tab_key_as_long_as_it_does(reader: Visitor) -> None:
    page = reader.tab("tutorial/1-a-job.html")
    program = page.locator("pre", has_text="anyio.run(main)")
    expect(program).not_to_have_attribute("tabindex", "0")
    page.set_viewport_size({"width": 360, "height": 740})
    expect(program).to_have_attribute("tabindex", "0")
    program.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.activeElement.scrollLeft > 0")
    page.set_viewport_size({"width": 1280, "height": 900})
    expect(program).not_to_have_attribute("tabindex", "0")


@pytest.mark.parametrize(
    ("word", "page_of_it"), [("retention", "guides/retention.html"), ("prune", "reference/backends.html")]
)
def test_a_word_that_is_searched_for_leads_to_its_page(reader: Visitor, word: str, page_of_it: str) -> None:
    page = reader.tab("tutorial/4-a-page.html")
    box = page.get_by_role("textbox", name="Search")
    box.fill(word)
    box.press("Enter")
    results = page.locator("#search-results")
    expect(results).to_contain_text("Search finished")
    result = results.locator(f"a[href*='{page_of_it}']").first
    expect(result).to_be_visible()
    result.click()
    expect(page.locator("article")).to_contain_text(word)
    assert page_of_it in page.url


def shown_pictures(page: Page) -> list[str]:
    """The names of the pictures that a reader sees. Each is loaded, and described."""
    pictures = page.locator("article img:visible")
    for picture in pictures.all():
        assert len((picture.get_attribute("alt") or "").split()) > 3
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("(one) => one.decode().then(() => one.naturalWidth)") > 0
    return [(picture.get_attribute("src") or "").rpartition("/")[2] for picture in pictures.all()]


def test_a_picture_is_light_or_dark_as_the_page_is(reader: Visitor) -> None:
    page = reader.tab("index.html")
    page.emulate_media(color_scheme="light")
    light = shown_pictures(page)
    page.emulate_media(color_scheme="dark")
    dark = shown_pictures(page)
    assert light
    assert dark == [name.replace(".png", "-dark.png") for name in light]
