"""The example's page with an artist who paints everything in one colour."""

from __future__ import annotations

from typing import Any

from PIL import Image

from examples.comic import jobs, pages
from examples.comic.layout import PAGE
from examples.crew.__main__ import main


def draw(panel: Any, looks: Any, size: tuple[int, int], *rest: Any) -> Image.Image:
    """Draw a panel."""
    return Image.new("RGB", size, "slategrey")


if __name__ == "__main__":
    jobs.draw = draw
    pages.cover = lambda *_: Image.new("RGB", PAGE, "midnightblue")
    jobs.draw_sheet = lambda *_: Image.new("RGB", (600, 400), "tan")
    main()
