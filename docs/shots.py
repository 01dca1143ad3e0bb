"""Take the pictures that the documentation shows, of real runs: ``python -m docs.shots``, or ``make docs-shots``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from ._shots import browser, commands

FOLDER = Path(__file__).parent / "pictures"
LIMIT = 200_000
"""Bytes that a picture may have."""

TAKEN: dict[Callable[[Path], Iterator[tuple[str, bytes]]], tuple[str, ...]] = {
    commands.take_commands: tuple(name for name, *_ in commands.SCREENS),
    commands.take_example: ("dependencies.svg",),
    browser.take_comic: ("comic.png", "comic-dark.png", "comic-question.png", "comic-question-dark.png"),
    browser.take_tutorial: ("tutorial-page.png",),
}
"""What takes pictures, each in an empty folder, and which they are."""


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(prog="python -m docs.shots", description=main.__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="where they are written (docs/pictures)")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for take in TAKEN:
        with TemporaryDirectory() as temporary:
            for name, picture in take(Path(temporary)):
                if len(picture) > LIMIT:
                    raise SystemExit(f"{name} has {len(picture):,} bytes, and may have {LIMIT:,}")
                (folder / name).write_bytes(picture)
                print(f"{name}: {len(picture):,} bytes", flush=True)  # noqa: T201 - what the command says


if __name__ == "__main__":
    main()
