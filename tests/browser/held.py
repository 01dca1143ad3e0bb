"""The web app with an artist who puts the pen down after the first panel of a story, until he is told to go on.

So a test has all the time it needs in the middle of a comic, however fast or slow the machine is. Told to be quick, he
paints everything in one colour.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from PIL import Image

from examples.comic import jobs, pages
from examples.comic.layout import PAGE
from examples.comic.script import Panel
from examples.web_app.__main__ import main

GO_ON = Path(os.environ["HELD_UNTIL"])
QUICK = os.environ.get("HELD_QUICK") == "1"
draw_with_care = jobs.draw


def draw(panel: Panel, looks: Any, size: tuple[int, int], *rest: Any) -> Image.Image:
    """Draw a panel, and all but the first one only once the file exists."""
    while panel.number > 1 and not GO_ON.exists():
        time.sleep(0.01)
    return Image.new("RGB", size, "slategrey") if QUICK else draw_with_care(panel, looks, size, *rest)


if __name__ == "__main__":
    jobs.draw = draw
    if QUICK:
        pages.cover = lambda *_: Image.new("RGB", PAGE, "midnightblue")
        jobs.draw_sheet = lambda *_: Image.new("RGB", (600, 400), "tan")
    main()
