"""The example in a terminal: it is killed half-way, goes on, and pays for no answer again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from examples.crew import replies
from examples.crew.agents import is_screenplay
from tests.crewai.page_demo import held_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]


def run(
    folder: Path, *options: str, module: str = "examples.crew", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "PORT"))}
    command = [sys.executable, "-W", "ignore", "-m", "tests.crewai.quick_page", "--out", str(folder), *options]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**environment, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )


def test_what_is_killed_half_way_goes_on_without_paying_again(tmp_path: Path) -> None:
    killed = run(tmp_path, "--crash-at", "Author")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "━━ Plotter · The plot" in killed.stdout
    assert "On Thursday the drops went into the milk." in killed.stdout
    assert "Investigator calls alibi_of(Hale): In London since Wednesday" in killed.stdout
    ended = run(tmp_path, "--answer", "no")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "crew: attempt 2; what was answered before is not asked again" in ended.stdout
    assert "Is this the murderer?" in ended.stdout
    assert "script: the murderer is Pike" in ended.stdout
    assert re.search(r"replayed +3 answers", ended.stdout)
    assert "The model has answered the agents 7 times, 0 of them again." in ended.stdout
    [pdf] = re.findall(r"PDF +(\S+)", ended.stdout)
    assert (ROOT / pdf).read_bytes().startswith(b"%PDF-")
    again = run(tmp_path)
    assert again.returncode == 0
    assert "has answered the agents 7 times, 0 of them again" in again.stdout


def test_another_model_is_used_where_it_is_named(tmp_path: Path) -> None:
    with held_model(tmp_path) as url:
        ended = run(tmp_path, "--answer", "yes", OPENAI_BASE_URL=url, OPENAI_API_KEY="none")
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "The model has answered" not in ended.stdout
    assert (tmp_path / "requests.jsonl").exists()  # of that model, which keeps it in the same folder here


def test_a_screenplay_that_cannot_be_drawn_goes_back_to_its_author_with_the_reason() -> None:
    assert is_screenplay(SimpleNamespace(raw=replies.DRAFT)) == (True, replies.DRAFT)
    good, reason = is_screenplay(SimpleNamespace(raw="A story."))
    assert not good
    assert reason.startswith("there is no line 'Murderer: …'. The format is:\nMurderer: one of")
