"""The terminal program: mistakes are a line each, and what it needs and leaves is said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from examples.movie import __main__ as program
from tests.examples.movies import Ffmpeg, card, screenplay

pytestmark = pytest.mark.untraced

CARDS = screenplay(card("S1"), card("S2"), character_description=[])


class Terminal:
    """Runs the program on a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, play: Any, *options: str) -> Result:
        file = self.folder / "play.json"
        file.write_text(play if isinstance(play, str) else json.dumps(play), encoding="utf-8")
        command = ["--out", str(self.folder / "out"), "--movie-id", "small", "--screenplay", str(file), *options]
        return CliRunner().invoke(program.main, command)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_each_mistake_of_a_screenplay_is_a_line_with_its_path(terminal: Terminal) -> None:
    play = screenplay(card("S1", duration=0), card("S1"))
    done = terminal.run(play)
    assert done.exit_code == 1
    assert "$.scenes[0].duration: a number from 0.5 to 60 is needed, not 0" in done.stderr
    assert "$.scenes[1].scene_id: another scene has the id 'S1', too" in done.stderr
    assert not (terminal.folder / "out").exists()


def test_what_is_no_screenplay_or_no_movie_id_is_refused(terminal: Terminal) -> None:
    assert "this is no JSON" in terminal.run("{").stderr
    assert "a movie id is" in terminal.run(CARDS, "--movie-id", "..").stderr


def test_without_ffmpeg_it_says_how_to_get_one(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(terminal.folder))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    done = terminal.run(CARDS)
    assert done.exit_code == 1
    assert "pip install imageio-ffmpeg" in done.stderr
    assert not (terminal.folder / "out").exists()


@pytest.mark.slow
def test_a_film_that_lacks_a_scene_is_reported_and_made_whole_by_the_next_run(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ffmpeg = Ffmpeg(terminal.folder, monkeypatch)
    ffmpeg.breaks("S1", "dies")
    done = terminal.run(CARDS)
    assert done.exit_code == 1
    assert "small/video_S1 failed" in done.stdout
    assert "missing scenes: S1; run it again" in done.stdout
    ffmpeg.is_mended("S1")
    done = terminal.run(CARDS)
    assert done.exit_code == 0, done.output
    assert "version 2" in done.stdout
    assert (terminal.folder / "out" / "small" / "output" / "contact_sheet.png").stat().st_size > 1000

    other = screenplay(card("S1"), card("S2", title="Other"), character_description=[])
    refused = terminal.run(other)
    assert refused.exit_code == 1
    assert "$.scenes[1].title is 'Other' instead of 'S2'" in refused.stderr
    assert "--restart" in refused.stderr
    done = terminal.run(other, "--restart")
    assert (done.exit_code, "version 1" in done.stdout) == (0, True), done.output
