"""The comic on two daemons that share a store on AWS, of which one is killed: `make demo-sqs`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import sqs_server
from tests.examples.test_comic_run import JOBS, ROOT, SHORT

pytestmark = [pytest.mark.slow, pytest.mark.untraced, pytest.mark.timeout(300)]


def test_a_comic_is_completed_by_the_daemon_that_is_left(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.comic.sqs_demo", "--out", str(tmp_path), "--script", str(SHORT)]
    command += ["--emulator", str(sqs_server.program())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=290, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"SIGKILL to daemon '(first|second)'", done.stdout)
    assert f"4. {len(JOBS)} of {len(JOBS)} jobs are completed" in done.stdout
    said = re.search(r"(\d+) of the (\d+) jobs that were completed before the kill\n +were not run again", done.stdout)
    assert said is not None
    assert said[1] == said[2] != "0"
    assert (tmp_path / "sqs-demo" / "a-short-case.pdf").stat().st_size > 0
