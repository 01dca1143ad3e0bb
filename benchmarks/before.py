"""Run the scenarios of this checkout with the package of another one: what is compared is asyncjobs alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.machine import ROOT


@contextmanager
def environment(checkout: Path | None) -> Generator[Mapping[str, str]]:
    """Yield environment variables with which a scenario, and each process that it starts, imports that package.

    :param checkout: a folder with another ``asyncjobs``. None: this one's.
    """
    if checkout is None:
        yield os.environ
        return
    with tempfile.TemporaryDirectory(prefix="asyncjobs-bench-") as folder:
        # A folder with this package alone: the benchmarks of the other checkout must not be found. Its tests may be.
        (Path(folder) / "asyncjobs").symlink_to((checkout / "asyncjobs").resolve(), target_is_directory=True)
        path = os.pathsep.join([folder, str(ROOT)])
        # "Safe" is that the working directory, which has this package, is no place to import from.
        yield {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
