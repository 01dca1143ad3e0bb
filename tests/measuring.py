"""Measure coverage once of what many tests run: tracing makes code three times as slow.

A test marked ``untraced`` is a test as any other; only its lines are not counted, and those of its children neither.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

CHILDREN = "COVERAGE_PROCESS_CONFIG"
"""By this variable, a process that a test starts knows that it measures coverage."""


def first_measured(values: Iterable[object]) -> list[pytest.ParameterSet]:
    """Return parameters for runs of the same code: of the first, coverage is measured."""
    return [pytest.param(value, marks=[pytest.mark.untraced] if i else []) for i, value in enumerate(values)]


def on_stores(stores: Sequence[tuple[str, str]], measured: Collection[tuple[str, str]]) -> list[pytest.ParameterSet]:
    """Return the parameters ``anyio_backend`` and ``kind``, and measure coverage with some of them only."""
    return [
        pytest.param(loop, kind, id=f"{kind}-{loop}", marks=[] if (loop, kind) in measured else [pytest.mark.untraced])
        for loop, kind in stores
    ]


@contextmanager
def untraced() -> Generator[None, None, None]:
    """Measure no coverage, in this process and in those that are started now. Without coverage, nothing changes."""
    request = os.environ.pop(CHILDREN, None)
    stopped: list[Any] = []
    coverage = sys.modules.get("coverage")
    while coverage and (running := coverage.Coverage.current()):  # a process of xdist has two, one below the other
        running.stop()
        stopped.append(running)
    try:
        yield
    finally:
        for running in reversed(stopped):
            running.start()
        if request is not None:
            os.environ[CHILDREN] = request
