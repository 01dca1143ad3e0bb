"""Pictures of pages, as Chromium shows them: the web app of the comic, and the page of the tutorial."""

from __future__ import annotations

import io
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser import chromium
from tests.browser.support import Demo, Visitor, launched_from
from tests.browser.test_comic import draw, expect_the_end, expect_the_middle
from tests.uvicorn_program import serving

TUTORIAL = Path(__file__).parents[1] / "tutorial" / "4-a-page.md"
COLOURS = 256
"""Of a picture, which has half of the bytes then."""


@contextmanager
def visiting(address: str) -> Iterator[Visitor]:
    """Open a browser on an address.

    :raises RuntimeError: there is none, or it complains.
    """
    path = chromium.find()
    if path is None:
        raise RuntimeError(chromium.HINT)
    with launched_from(path) as browser:
        visitor = Visitor(browser, address, timezone_id="UTC", locale="en-GB")
        yield visitor
        visitor.context.close()
    if visitor.complaints:
        raise RuntimeError(f"the browser complains: {visitor.complaints}")


def shoot(page: Page, width: int, height: int, scheme: Literal["light", "dark"] = "light") -> bytes:
    """Take a picture of the upper part of a page."""
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.evaluate("scrollTo(0, 0)")
    whole = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    colours = whole.quantize(COLOURS)
    small = io.BytesIO()
    whole.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(small, "PNG", optimize=True)
    return small.getvalue()


def in_both_schemes(name: str, page: Page, width: int, height: int) -> Iterator[tuple[str, bytes]]:
    """Take a light picture and a dark one."""
    yield f"{name}.png", shoot(page, width, height)
    yield f"{name}-dark.png", shoot(page, width, height, "dark")


def take_comic(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Take the pictures of a comic: half drawn, and asking whether to print it.

    :param folder: an empty one.
    """
    demo = Demo(folder, quick=False)
    try:
        with visiting(demo.url) as visitor:
            page = visitor.tab()
            draw(page)
            expect_the_middle(page)
            expect(page.locator("#summary")).to_have_text("7 of 11 jobs done, 3 tried again")
            yield from in_both_schemes("comic", page, 1100, 840)
            demo.go_on()
            expect_the_end(page)
            expect(page.locator("#question")).to_be_visible()
            yield from in_both_schemes("comic-question", page, 1100, 560)
    finally:
        demo.end(signal.SIGKILL)


def take_tutorial(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Take the picture of the page of the tutorial, by its own program.

    :param folder: an empty one.
    """
    [program] = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text("utf-8"), re.DOTALL)
    (folder / "app.py").write_text(program, "utf-8")
    with serving("app:app", folder, UVICORN_ACCESS_LOG="0") as address, visiting(f"{address}/") as visitor:
        visitor.context.route("**/favicon.ico", lambda route: route.fulfill(status=204))  # the program has none
        page = visitor.tab()
        page.get_by_role("button", name="Write").click()
        expect(page.locator("p")).to_have_text("It was a dark and noir night. ")
        yield "tutorial-page.png", shoot(page, 480, 100)
