"""The pictures of the documentation are those that ``make docs-shots`` takes, and pages show each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.shots import FOLDER, LIMIT, TAKEN

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(name for names in TAKEN.values() for name in names)
SHOWN = re.compile(r"!\[([^\]]+)\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    built = ROOT / "docs" / "_build"
    found = [page for page in (ROOT / "docs").rglob("*.md") if not page.is_relative_to(built)]
    return [ROOT / "README.md", *found]


def test_each_picture_is_one_that_is_taken_and_the_other_way_round() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_no_picture_is_large(name: str) -> None:
    assert 500 < (FOLDER / name).stat().st_size <= LIMIT


def test_each_picture_is_shown_by_a_page_with_its_words() -> None:
    shown: set[Path] = set()
    for page in pages():
        for words, target in SHOWN.findall(page.read_text("utf-8")):
            path = (page.parent / target).resolve()
            assert path.exists(), f"{page.name} shows {target}, which is not there"
            assert len(words.split()) > 5, f"{page.name} does not describe {target}"
            shown.add(path)
    # The site shows a dark picture where it shows the light one (docs/_extensions/pictures.py).
    shown |= {dark for path in shown if (dark := path.with_name(f"{path.stem}-dark.png")).exists()}
    assert {FOLDER / name for name in NAMES} <= shown
