"""The yardstick: a prototype of how fast such an engine could be, which is no part of this repository.

It is given by its path, run in a process of its own beside the scenarios that measure the same, and speaks JSON lines.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from msgspec import Struct, json

from benchmarks.result import Better, Figure

NAME = "yardstick"
_LONGEST = 300.0


class Variant(Struct, frozen=True):
    """A section of the prototype with its switches; "thread": a writer thread commits, "inline": the event loop."""

    section: str
    switches: tuple[str, ...]
    about: str


_RICH = ("pool=1", "rich=1")
VARIANTS: dict[str, Variant] = {
    "rt": Variant("rt", _RICH, "thread, NORMAL"),
    "rt-inline": Variant("rt", (*_RICH, "inline=1"), "inline, NORMAL"),
    "rt-full": Variant("rt", (*_RICH, "sync=FULL"), "thread, FULL"),
    "dag": Variant("dag", _RICH, "thread, NORMAL"),
    "dag-inline": Variant("dag", (*_RICH, "inline=1"), "inline, NORMAL"),
}
QUICK = ("rt", "rt-full", "dag")

_FIGURES: dict[str, tuple[str, str, Better]] = {
    "seq_enq_per_s": ("one_by_one_stored", "jobs/s", "higher"),
    "seq_e2e_per_s": ("one_by_one", "jobs/s", "higher"),
    "conc_e2e_per_s": ("submitters_100", "jobs/s", "higher"),
    "bulk_enq_per_s": ("batch_stored", "jobs/s", "higher"),
    "bulk_e2e_per_s": ("batch", "jobs/s", "higher"),
    "rt_p50_ms": ("p50", "ms", "lower"),
    "rt_p99_ms": ("p99", "ms", "lower"),
    "submit_p50_ms": ("submit_p50", "ms", "lower"),
    "submit_p99_ms": ("submit_p99", "ms", "lower"),
    "chain_per_s": ("chain", "nodes/s", "higher"),
    "layered_per_s": ("layered", "nodes/s", "higher"),
    "fan_per_s": ("fan", "nodes/s", "higher"),
}
"""The prototype's words for what our scenarios name otherwise."""


def run_yardstick(program: Path, variant: Variant) -> tuple[Figure, ...]:
    """One run.

    :raises subprocess.SubprocessError: it failed, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="asyncjobs-bench-") as folder:
        done = subprocess.run(
            [sys.executable, str(program), variant.section, *variant.switches],
            env={**os.environ, "BENCH_TMP": folder},
            capture_output=True,
            text=True,
            check=True,
            timeout=_LONGEST,
        )
    said: dict[str, object] = json.decode(done.stdout.splitlines()[-1])
    return tuple(
        Figure(name, float(value), unit, better)
        for key, (name, unit, better) in _FIGURES.items()
        if isinstance(value := said.get(key), (int, float))
    )
