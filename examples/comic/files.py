"""Files that are there whole or not at all, and that know what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

RECIPE = "recipe"


def write_atomically(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary file beside `path`, then give it its name in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def sweep(folder: Path) -> int:
    """Remove what killed processes left half-written under a folder; return how many files that were."""
    swept = 0
    for partial in folder.rglob(".*.partial*"):
        owner = partial.name.split(".")[-3]
        if not (owner.isdigit() and _is_alive(int(owner))):
            partial.unlink(missing_ok=True)
            swept += 1
    return swept


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_text(path: Path, text: str) -> Path:
    """Write a text file atomically."""

    def write(partial: Path) -> None:
        partial.write_text(text, encoding="utf-8")

    return write_atomically(path, write)


def recipe_of(*parts: Any) -> str:
    """Return a short digest of everything a picture depends on."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def save_picture(image: Image.Image, path: Path, recipe: str) -> Path:
    """Save a PNG atomically, with its recipe inside."""
    notes = PngImagePlugin.PngInfo()
    notes.add_text(RECIPE, recipe)

    def write(partial: Path) -> None:
        image.save(partial, "PNG", pnginfo=notes, compress_level=3)

    return write_atomically(path, write)


def is_drawn(path: Path, recipe: str) -> bool:
    """Tell whether a picture needs no drawing: it exists, is not empty, and was made from the same recipe."""
    try:
        if path.stat().st_size == 0:
            return False
        with Image.open(path) as image:
            return image.info.get(RECIPE) == recipe
    except OSError:
        return False
