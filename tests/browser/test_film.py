"""The page of the film, as somebody sees it who opens it in Chromium."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.support import PATIENCE, Demo, Visitor
from tests.browser.test_looks import look
from tests.examples.movies import Ffmpeg, card, scene, screenplay

pytestmark = [pytest.mark.slow, pytest.mark.untraced, pytest.mark.usefixtures("browser")]
expect.set_options(timeout=PATIENCE)

SOON = 3.0
"""Seconds until the first pictures are seen."""
JOBS = 11
"""Of the film here: screenplay, four views, a keyframe, two clips, two finished scenes, film."""


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ffmpeg:
    play = tmp_path / "play.json"
    play.write_text(
        json.dumps(screenplay(card("S1"), scene("S2", duration=0.5, title="On the lane"))), encoding="utf-8"
    )
    monkeypatch.setenv("MOVIE_SCREENPLAY", str(play))
    return Ffmpeg(tmp_path, monkeypatch)


@pytest.fixture
def film_demo(ffmpeg: Ffmpeg, tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path, quick=True)
    yield demo
    if demo.process.poll() is None:
        demo.end(signal.SIGKILL)


@pytest.fixture
def somebody(browser: Browser, film_demo: Demo) -> Iterator[Visitor]:
    visitor = Visitor(browser, film_demo.url)
    yield visitor
    visitor.context.close()
    assert visitor.complaints == []


def film(page: Page, title: str = "Seen") -> None:
    page.get_by_role("textbox", name="Title").fill(title)
    page.get_by_role("button", name="Film it").click()


def expect_the_film(page: Page, jobs: int = JOBS) -> None:
    expect(page.locator("#connection")).to_have_text(re.compile("complete"))
    expect(page.locator("#summary")).to_contain_text(f"{jobs} of {jobs} jobs done")
    expect(page.locator(".reel .picture[data-drawn]")).to_have_count(5)
    seen = page.evaluate(
        """async () => {
            const player = document.getElementById("player");
            player.muted = true;
            await player.play();
            await new Promise((done) => player.addEventListener("ended", done, { once: true }));
            return [player.videoWidth, player.videoHeight, player.duration, player.currentTime];
        }"""
    )
    assert seen[:2] == [854, 480]
    assert abs(seen[2] - 0.75) < 0.2
    assert seen[3] > 0.5


def test_pictures_and_clips_appear_as_they_are_made_a_reload_shows_them_and_the_film_plays(
    somebody: Visitor, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    ffmpeg.breaks("S2", "hangs")
    page = somebody.tab("film")
    film(page)
    for _ in range(2):
        expect(page.get_by_role("img", name="Tom, from the front")).to_be_visible()
        expect(page.get_by_role("img", name="Wide shot of the lane, a man walks.")).to_be_visible()
        expect(page.locator(".reel video")).to_have_count(1)
        expect(page.locator("#player")).to_be_hidden()
        expect(page.locator("#connection")).to_have_text(re.compile("live"))
        page.reload()
    page.get_by_role("button", name="Stop filming").click()
    expect(page.locator("#connection")).to_have_text(re.compile("ended"))
    ffmpeg.is_mended("S2")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#player")).to_be_visible()
    expect(page.locator("#connection")).to_have_text(re.compile("complete"))
    expect(page.locator("#player")).to_have_js_property("ariaLabel", "Seen")


@pytest.mark.serial
@pytest.mark.parametrize("turn", range(3))
def test_the_first_pictures_of_a_film_are_there_at_once(browser: Browser, tmp_path: Path, turn: int) -> None:
    """The screenplay of ``make demo-web``, in its quality: three seconds on a machine that does nothing else."""
    demo = Demo(tmp_path, quick=False)
    visitor = Visitor(browser, demo.url)
    try:
        page = visitor.tab("film")
        began = time.monotonic()
        film(page)
        expect(page.locator(".reel .picture[data-drawn] img").nth(1)).to_be_visible()
        took = time.monotonic() - began
        print(f"two pictures after {took:.2f} s")
        assert took < 3 * SOON
    finally:
        visitor.context.close()
        demo.end(signal.SIGKILL)


def test_a_film_that_lacks_a_scene_says_which_and_is_made_whole(
    somebody: Visitor, ffmpeg: Ffmpeg, tmp_path: Path
) -> None:
    folder = Path(os.environ.get("ASYNCJOBS_SCREENSHOTS", tmp_path))
    ffmpeg.breaks("S2", "dies")
    page = somebody.tab("film")
    film(page)
    expect(page.locator("#missing")).to_have_text("Not in it: S2.")
    expect(page.locator("#log")).to_contain_text("post S2 is skipped, because of video S2")
    ffmpeg.is_mended("S2")
    page.get_by_role("button", name="Try again").click()
    expect_the_film(page, JOBS + 1)
    expect(page.locator("#missing")).to_be_hidden()
    look(page, "film", folder)
    page.get_by_role("link", name="The film").click()
    expect(page.locator("#shelf li")).to_have_count(1)
    look(page, "films", folder)


def test_films_are_sent_in_the_ranges_that_are_asked_for_and_nothing_else_is(
    somebody: Visitor, film_demo: Demo
) -> None:
    page = somebody.tab("film")
    film(page)
    expect_the_film(page)
    movie = page.url.partition("#")[2]
    address = f"{film_demo.url}films/{movie}%2Ffilm"
    request = page.context.request
    whole = request.get(address)
    assert (whole.status, whole.headers["content-type"]) == (200, "video/mp4")
    part = request.get(address, headers={"range": "bytes=100-199"})
    assert (part.status, part.body()) == (206, whole.body()[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(whole.body())}"
    assert request.get(address, headers={"range": f"bytes={len(whole.body())}-"}).status == 416
    for other in (f"{movie}%2Fchar_0_front", f"{movie}%2Fnone", "..%2F..%2Fjobs.db", f"{movie}%2Fscreenplay_{movie}"):
        assert request.get(f"{film_demo.url}films/{other}").status == 404, other
    assert "media-src 'self'" in request.get(f"{film_demo.url}film").headers["content-security-policy"]


def test_an_address_of_no_film_says_so(somebody: Visitor) -> None:
    page = somebody.tab("film#0000")
    expect(page.get_by_role("heading", name="There is no such film")).to_be_visible()
    assert len(somebody.complaints) == 1  # the browser's own, of the 404
    somebody.complaints.clear()


def test_a_server_without_ffmpeg_says_how_to_get_one(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "imageio_ffmpeg.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", str(blocked))
    demo = Demo(tmp_path, quick=True)
    visitor = Visitor(browser, demo.url)
    try:
        page = visitor.tab("film")
        film(page)
        expect(page.locator("#trouble")).to_contain_text("pip install imageio-ffmpeg")
        assert page.context.request.get(f"{demo.url}jobs/v1/jobs").json()["items"] == []
    finally:
        visitor.context.close()
        demo.end(signal.SIGKILL)
