"""``uvicorn MODULE:APP`` in a process of its own, as it is typed, on any port that is free."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def serving(app: str, folder: Path, *options: str, **variables: str) -> Generator[str]:
    """Serve an app, in a folder; give its address."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0", *options]
    environment = {**os.environ, **variables}
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        log = ""
        for line in process.stderr:
            log += line
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            raise AssertionError(log)
        try:
            yield found[1]
        finally:
            process.terminate()
            process.communicate(timeout=20)
