"""How a page looks: in both schemes, wide and narrow."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

Scheme = Literal["light", "dark"]
SIZES = {"wide": (1280, 900), "narrow": (360, 740)}


def look(page: Page, what: str, folder: Path, *, whole: bool = False) -> None:
    """In both schemes and sizes: accessible, nothing wider than the window, a picture for people to look at.

    :param whole: the picture has all of the page, not what the window shows.
    """
    schemes: tuple[Scheme, ...] = ("light", "dark")
    for scheme in schemes:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for size, (width, height) in SIZES.items():
            page.set_viewport_size({"width": width, "height": height})
            page.screenshot(path=folder / f"{what}-{size}-{scheme}.png", full_page=whole)
            needed = page.evaluate("document.documentElement.scrollWidth")
            assert needed <= width, f"{what}, {size}: it scrolls sideways"
        expect_accessible(page, f"{what}, {scheme}")


def expect_accessible(page: Page, what: str) -> None:
    """Axe finds nothing in a page as it is shown now."""
    found = Axe().run(page)
    assert found.violations_count == 0, f"{what}: {found.generate_report()}"
