"""The small examples: they run as their heads say, are short, and are listed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.uvicorn_program import serving

pytestmark = pytest.mark.untraced  # examples, and not the package

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SMALL = sorted(EXAMPLES.glob("[!_]*.py"))
MOST_LINES = 60


def printed(name: str, folder: Path) -> list[str]:
    command = [sys.executable, str(EXAMPLES / name)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("path", SMALL, ids=lambda path: path.name)
def test_it_is_short_says_its_command_and_is_listed(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    listed = (EXAMPLES / "README.md").read_text("utf-8")
    [command] = re.findall(rf"\| \[{path.name}\]\({path.name}\) \|.*\| `(.+)` \|", listed)
    assert f"\nCommand: `{command}`" in text.partition("from __future__")[0]


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"^\| \[(.+?)\]", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE))
    folders = {path.name for path in EXAMPLES.iterdir() if (path / "README.md").is_file()}
    assert listed == folders | {path.name for path in SMALL}


def test_simple(tmp_path: Path) -> None:
    for _ in range(2):  # the second run finds the file of the first
        first, *others = printed("simple.py", tmp_path)
        assert re.fullmatch(r"completed after 0:00:0\d\.\d+", first)
        assert others == ["Hello, Ada!", "Hello, Grace! 13"]
    head = (EXAMPLES / "simple.py").read_text("utf-8").partition("from __future__")[0]
    [command] = re.findall(r"`(asyncjobs [^`]+)`", head)
    line = [sys.executable, "-m", *command.split()]
    listed = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=True).stdout
    assert listed.count("greet") >= 2


def test_dependencies(tmp_path: Path) -> None:
    lines = printed("dependencies.py", tmp_path)
    told = [line.split() for line in lines if line.startswith(("started", "completed", "failed"))]
    assert told[:2] == [["started", "text"], ["completed", "text"]]
    assert told[-2:] == [["started", "publish"], ["completed", "publish"]]
    assert ["failed", "proofread"] in told
    assert {"completed", f"picture-{3}"} < {word for line in told for word in line}
    assert "an article about queues, with 3 pictures, as it was written" in lines
    picture = "\n".join(lines[lines.index("an article about queues, with 3 pictures, as it was written") + 1 :])
    for part in ("completed write text", "draw ×3", "failed proofread proofread", "completed publish publish"):
        assert part in picture


def test_polling(tmp_path: Path) -> None:
    lines = printed("polling.py", tmp_path)
    assert re.match(r" *\d+ %  frame \d+ +\S+( s)? left", lines[1])
    assert "60 frames" in lines
    assert {line.partition(",")[0] for line in lines[-3:]} == {f"over HTTP: {n} frames" for n in (10, 20, 30)}


def test_fastapi_app(tmp_path: Path) -> None:
    with (
        serving("examples.fastapi_app:app", tmp_path, PYTHONPATH=str(ROOT)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        answer = client.post("/pages/noir")
        assert answer.status_code == 202
        links = answer.json()
        streamed = client.get(links["events"]).text  # until the job has ended
        text = "".join(re.findall(r'"type":"output".*?"text":"(.*?)"', streamed))
        assert text.strip() == "It was a dark and noir night."
        status = client.get(links["status"]).json()
        assert status["status"] == "completed"
