"""The book: the pages bound into one PDF and one CBZ, each there whole or not at all."""

from __future__ import annotations

import time
import zipfile
from contextlib import ExitStack
from pathlib import Path
from xml.sax.saxutils import escape

from PIL import Image

from .art.canvas import Canvas
from .art.type import write as letter
from .files import write_atomically

DPI = 200.0
_COLUMNS, _THUMB, _GAP, _HEAD = 5, (280, 420), 20, 70
_EPOCH = (1980, 1, 1, 0, 0, 0)


def stem_of(title: str) -> str:
    """Return the name of a book's files, without what follows the dot."""
    return "".join(c if c.isalnum() else "-" for c in title.lower()).strip("-") or "comic"


def bind_pdf(pages: list[Path], path: Path, title: str, author: str) -> Path:
    """Write all pages into one PDF; the same pages give the same bytes."""

    def write(partial: Path) -> None:
        with ExitStack() as stack:
            images = [stack.enter_context(Image.open(page)).convert("RGB") for page in pages]
            born = time.gmtime(0)
            images[0].save(
                partial,
                "PDF",
                save_all=True,
                append_images=images[1:],
                resolution=DPI,
                quality=92,
                title=title,
                author=author,
                creationDate=born,
                modDate=born,
            )

    return write_atomically(path, write)


def bind_cbz(pages: list[Path], path: Path, title: str, author: str) -> Path:
    """Write all pages into a comic archive, in order, with the usual ComicInfo.xml."""

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for i, page in enumerate(pages):
                archive.writestr(zipfile.ZipInfo(f"{i:03d}{page.suffix}", _EPOCH), page.read_bytes())
            facts = (
                f"<Title>{escape(title)}</Title><Writer>{escape(author)}</Writer><PageCount>{len(pages)}</PageCount>"
            )
            info = f'<?xml version="1.0" encoding="utf-8"?>\n<ComicInfo>{facts}</ComicInfo>\n'
            archive.writestr(zipfile.ZipInfo("ComicInfo.xml", _EPOCH), info)

    return write_atomically(path, write)


def make_contact_sheet(pages: list[Path], path: Path, title: str) -> Path:
    """Set all pages side by side on one picture, to be looked at."""
    columns = min(_COLUMNS, len(pages))
    rows = -(-len(pages) // columns)
    canvas = Canvas(columns * (_THUMB[0] + _GAP) + _GAP, _HEAD + rows * (_THUMB[1] + _GAP), (24, 22, 28))
    letter(canvas, title, (_GAP, _HEAD / 2), 30, (246, 236, 210), anchor="lm")
    sheet = canvas.finish()
    for i, page in enumerate(pages):
        with Image.open(page) as picture:
            thumb = picture.convert("RGB").resize(_THUMB, Image.Resampling.LANCZOS)
        sheet.paste(thumb, (_GAP + i % columns * (_THUMB[0] + _GAP), _HEAD + i // columns * (_THUMB[1] + _GAP)))

    def write(partial: Path) -> None:
        sheet.save(partial, "PNG")

    return write_atomically(path, write)
