"""Daemons as processes: several on one file, one beside a large backlog, and the kill storm of the tests."""

from __future__ import annotations

import asyncio
import time

from benchmarks.backlog_file import make
from benchmarks.result import Figure, Place, Result, higher, lower
from benchmarks.sharing import computing, daemon, no_ops, ran, share

_TURNS = 3
_MEGABYTE = 1 << 20


# -- 1, 2, 4 of them


def several(place: Place) -> Result:
    """Jobs a second by 1, 2 and 4 daemons: of no-ops, and of 5 ms of Python; and what the shared lock costs."""
    works = (no_ops(place.pick(20_000, 5_000)), computing(place.pick(800, 200)))
    figures: list[Figure] = []
    for work in works:
        figures += share(place.folder, work, place.pick(_TURNS, 1))
    notes = [
        f"{len(work.arguments):,} {about}, stored as one batch by a process that runs none"
        for work, about in zip(works, ("no-op jobs", "jobs of 5 ms of Python"), strict=True)
    ]
    return Result(tuple(figures), tuple(notes))


# -- one, and a backlog


def backlog(place: Place) -> Result:
    """A daemon's start, rate and memory on 10,000 and on 1,000,000 ready jobs, within the same time."""
    sizes = (10_000, place.pick(1_000_000, 100_000))
    figures: list[Figure] = []
    rates: list[float] = []
    for name, size in zip(("small", "large"), sizes, strict=True):
        path = place.folder / f"{size}.db"
        asyncio.run(make(path, "ready", size))
        with daemon(path) as one:
            time.sleep(place.pick(6, 2))
            facts = one.look()
        came = ran(path)
        rates.append(came.rate)
        figures += [
            lower(f"start_{name}", 1e3 * one.ready.start, "ms"),
            higher(f"jobs_{name}", rates[-1], "jobs/s"),
            lower(f"own_{name}", facts.own / _MEGABYTE, "MB"),
            lower(f"own_ready_{name}", one.ready.own / _MEGABYTE, "MB"),
        ]
    figures.append(higher("jobs_large_share", rates[1] / rates[0], "of small"))
    return Result(
        tuple(figures), (f"{sizes[0]:,} and {sizes[1]:,} ready jobs; memory after {place.pick(6, 2)} s of them",)
    )


# -- the storm


def storm(place: Place) -> Result:
    """Daemons that are killed and frozen while they run random graphs; whatever the witnesses find ends it."""
    from tests.faults.storm import Weather
    from tests.faults.storm import storm as rage
    from tests.faults.storm_stores import InFile

    weather = (
        Weather(kills=10, freezes=1, client_kills=1, graphs=1, size=80)
        if place.quick
        else Weather(kills=200, freezes=16, client_kills=8, graphs=8, size=500, longest=1500)
    )
    seed = time.time_ns() % 2**32
    came = rage(InFile(place.folder / "storm.db"), place.folder, seed, weather)
    if came.problems:
        raise AssertionError(f"seed {seed}: {came.problems[:20]}")
    return Result(
        (
            higher("kills", sum(came.kills.values()), "SIGKILLs"),
            higher("freezes", came.freezes, "SIGSTOPs"),
            higher("jobs", came.jobs, "jobs"),
            lower("interruptions", came.interruptions, "attempts"),
            higher("refused", came.stale, "late outcomes"),
            lower("seconds", came.seconds, "s"),
        ),
        (f"seed {seed}: nothing lost, nothing twice, nothing out of order",),
    )
