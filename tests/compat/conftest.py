"""A folder that other users may enter: those of the tests are their owner's alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def others_folder() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root may become another user, to whom a folder is read-only")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
