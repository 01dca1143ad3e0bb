"""``make docs-shots`` takes the pictures of the documentation, whatever this machine is called."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from docs._shots.terminal import Screen, draw
from docs.shots import LIMIT, TAKEN
from tests.browser.served import ROOT

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    command = [sys.executable, "-m", "docs.shots", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return folder


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.timeout(240)
@pytest.mark.usefixtures("browser")
def test_every_picture_is_taken_and_has_something_on_it(taken: Path) -> None:
    assert {path.name for path in taken.iterdir()} == {name for names in TAKEN.values() for name in names}
    for path in taken.iterdir():
        assert path.stat().st_size <= LIMIT
        if path.suffix == ".png":
            with Image.open(path) as picture:
                colours = picture.convert("RGB").getcolors(1 << 24) or []
            assert len(colours) > 20, path.name
            assert max(count for count, _ in colours) < 0.99 * picture.width * picture.height, path.name
        else:
            svg = ElementTree.parse(path).getroot()
            assert svg.findtext(f"{SVG}title"), path.name
            words = " ".join(text.text or "" for text in svg.iter(f"{SVG}text")).split()
            assert len(words) > 15, path.name
            machine = (str(ROOT), tempfile.gettempdir(), f"{socket.gethostname()}-")
            assert [one for one in machine if one in path.read_text("utf-8")] == [], path.name


def test_a_screen_shows_what_is_left_when_lines_are_written_over() -> None:
    screen = Screen(columns=10)
    screen.write("\x1b[?25lone\r\n\x1b[32mtwo\x1b[0m 2\r\n\x1b[1A\x1b[2Kthree\r\n")
    assert screen.text() == "one\nthree"
    screen.write("a line that is long")
    assert screen.text() == "one\nthree\na line tha\nt is long"


def test_a_screen_refuses_what_it_does_not_know() -> None:
    for unknown in ("\x1b[5;5H", "\x1b]8;;x\x07", "\x1b[95m"):
        with pytest.raises((ValueError, KeyError)):
            Screen().write(unknown)


def test_text_is_in_its_columns_and_colour() -> None:
    screen = Screen()
    screen.write("\x1b[31m✖ no\x1b[39m <b> █░")
    svg = ElementTree.fromstring(draw(screen, "a & b"))
    assert svg.findtext(f"{SVG}title") == "a & b"
    drawn = [(one.get("class"), one.get("x"), one.text) for one in svg.iter(f"{SVG}text")]
    assert drawn == [("red", "18.0", "✖"), ("red", "26.4", " no"), (None, "51.6", " <b> ")]
    assert [one.get("x") for one in svg.iter(f"{SVG}rect")] == [None, "93.6", "102.0"]
