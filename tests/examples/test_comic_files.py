"""Files, books and the ledger: whole or not there, and the same every time."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from examples.comic import ledger
from examples.comic.book import bind_cbz, bind_pdf
from examples.comic.files import is_drawn, save_picture, sweep, write_atomically


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "page.txt"
    path.write_text("old")

    def fail(partial: Path) -> None:
        partial.write_text("half of the n")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page.txt"]


def test_a_picture_counts_as_drawn_when_it_is_whole_and_of_the_same_recipe(tmp_path: Path) -> None:
    path = tmp_path / "scene_0001.png"
    assert not is_drawn(path, "a")
    path.touch()
    assert not is_drawn(path, "a")
    save_picture(Image.new("RGB", (8, 8)), path, "a")
    assert is_drawn(path, "a")
    assert not is_drawn(path, "b")


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f".scene_0001.{gone.pid}.partial.png").touch()
    mine = tmp_path / "images" / f".scene_0002.{os.getpid()}.partial.png"
    mine.touch()
    (tmp_path / "images" / "scene_0003.png").touch()
    assert sweep(tmp_path) == 1
    assert sorted(os.listdir(tmp_path / "images")) == [mine.name, "scene_0003.png"]


def test_the_book_holds_all_pages_in_order_and_is_the_same_twice(tmp_path: Path) -> None:
    pages = [tmp_path / f"page_{i:02d}.png" for i in range(3)]
    for i, page in enumerate(pages):
        Image.new("RGB", (60, 90), (40 * i, 80, 120)).save(page)
    pdf = bind_pdf(pages, tmp_path / "book.pdf", "A & B", "Nobody").read_bytes()
    cbz = bind_cbz(pages, tmp_path / "book.cbz", "A & B", "Nobody").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page\n") == 3
    with zipfile.ZipFile(tmp_path / "book.cbz") as archive:
        assert archive.namelist() == ["000.png", "001.png", "002.png", "ComicInfo.xml"]
        assert archive.read("001.png") == pages[1].read_bytes()
        assert "A &amp; B" in archive.read("ComicInfo.xml").decode()
    assert bind_pdf(pages, tmp_path / "again.pdf", "A & B", "Nobody").read_bytes() == pdf
    assert bind_cbz(pages, tmp_path / "again.cbz", "A & B", "Nobody").read_bytes() == cbz


def test_the_ledger_counts_starts(tmp_path: Path) -> None:
    assert not ledger.starts(tmp_path)
    for job, attempt in (("a", 1), ("b", 1), ("a", 2)):
        ledger.enter(tmp_path, job, attempt)
    assert ledger.starts(tmp_path) == {"a": 2, "b": 1}
