"""1, 2 and 4 daemons on one file, with jobs of nothing and of 5 ms of Python: what the shared write lock costs."""

from __future__ import annotations

from benchmarks.long.work import Part
from benchmarks.sharing import computing, no_ops, share


def run(part: Part) -> None:
    """Both kinds of work, in turns."""
    size = part.size
    for about, work in (
        ("no-op jobs", no_ops(size.pick(50_000, 5_000))),
        ("jobs of 5 ms", computing(size.pick(2_000, 200))),
    ):
        part.progress(f"{len(work.arguments):,} {about}")
        part.figures(*share(part.folder, work, size.pick(5, 1), part.progress))
        part.note(f"{len(work.arguments):,} {about} a turn, stored as one batch by a process that runs none")
