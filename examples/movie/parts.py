"""Files that are there whole or not at all: written as `.part`, renamed when they are whole, swept if nobody writes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, PngImagePlugin

RECIPE = "recipe"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a file to be written; it gets its name if the block ends well, and is removed otherwise.

    :raises OSError: nothing was written into it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield part
        if not part.is_file() or part.stat().st_size == 0:
            raise OSError(f"nothing was written to {path.name}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> list[Path]:
    """Remove the parts that processes have left which are no more; return them."""
    swept: list[Path] = []
    for part in folder.rglob("*.part"):
        owner = part.name.split(".")[-3] if part.name.count(".") >= 3 else ""
        if not (owner.isdigit() and _is_alive(int(owner))):
            part.unlink(missing_ok=True)
            swept.append(part)
    return swept


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def save_picture(image: Image.Image, path: Path, recipe: str) -> Path:
    """Save a PNG with what it was made from inside."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text(RECIPE, recipe)
    with whole(path) as part:
        image.save(part, "PNG", pnginfo=notes, compress_level=3)
    return path


def open_picture(path: Path, recipe: str) -> Image.Image | None:
    """Return a picture that was made from this recipe; None if there is no such one, or it is broken."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            image.load()
            return image.convert("RGB") if image.info.get(RECIPE) == recipe else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # what Pillow raises for broken files
        return None
