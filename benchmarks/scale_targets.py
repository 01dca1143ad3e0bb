"""The targets that need a large store, a long time, or another checkout of this repository beside this one."""

from __future__ import annotations

from benchmarks.targets import Target

BEFORE = "before"
"""What a figure is divided by: the same figure of the checkout that was run beside (``--before``)."""


def _against_before(
    number: str, what: str, figure: str, must: float, aim: float | None, *, lower: bool = False
) -> Target:
    return Target(number, f"{what} ÷ before", figure, "lower" if lower else "higher", must, aim, BEFORE, "×")


def _as_before(what: str, figure: str) -> Target:
    """What must not have become slower."""
    return _against_before("T22", what, figure, 1.1, 1.0, lower=True)


def _at_most(number: str, what: str, figure: str, must: float, aim: float | None = None) -> Target:
    """Milliseconds."""
    return Target(number, what, figure, "lower", must, aim, unit="ms")


BEFORE_TARGETS = [
    _against_before("T4", "one by one", "throughput.one_by_one", 2.1, 2.9),
    _against_before("T4", "one by one, FULL", "throughput-full.one_by_one", 1.6, None),
    _against_before("T7", "round trip p99", "rounds.p99", 0.3, None, lower=True),
    _against_before("T1", "100 submitters", "throughput.submitters_100", 1.4, 2),
    *(_as_before(f"argument and result of {size}", f"values.echo_{size}") for size in ("4kB", "100kB", "1MB")),
    _as_before("find_jobs at 10⁶, first page", "queries.find_first"),
    _as_before("find_jobs at 10⁶, by status", "queries.find_status"),
    _as_before("find_jobs at 10⁶, of a group", "queries.find_group"),
    _as_before("find_jobs at 10⁶, half-way", "queries.find_middle"),
    _as_before("groups at 10⁶", "queries.groups"),
    _as_before("durations at 10⁶", "queries.durations"),
    _as_before("counts at 10⁶", "queries.count"),
    _as_before("counts of a group at 10⁶", "queries.count_group"),
    _as_before("prune at 10⁶", "queries.prune"),
]

_LARGE = {"fan": "a root of 10,000 ends", "cancel": "10,000 are cancelled", "remove": "100,000 are removed"}
"""What changes very many rows at once."""
_SUBMIT = {"fan": 250, "cancel": 250, "remove": 1_000}
"""Milliseconds that a submit may take meanwhile."""

SCALE_TARGETS = [
    Target("T15", "drain of 10⁶, last tenth ÷ first", "drain.last_share", "higher", 0.65, None, unit="×"),
    Target("T15", "memory meanwhile, end ÷ first tenth", "drain.own_growth", "lower", 1.2, 1.05, unit="×"),
    _at_most("T18", "commit on the loop, p99.9", "stalls.commit_p99.9", 10),
    _at_most("T18", "commit on the loop, longest", "stalls.commit_max", 25),
    *(
        _at_most("T18", f"the same while {what}", f"stalls-large.{name}_commit_max", 25)
        for name, what in _LARGE.items()
    ),
    *(
        _at_most("T18", f"submit while {_LARGE[name]}, longest", f"stalls-large.{name}_submit_max", must)
        for name, must in _SUBMIT.items()
    ),
    *(
        _at_most("T18", f"loop lag while {what}, max", f"stalls-large.{name}_max", 50, 10)
        for name, what in _LARGE.items()
    ),
    Target("T19", "two daemons ÷ one, jobs of 5 ms", "daemons.computing_times_one_2", "higher", 1.6, 1.8, unit="×"),
    _at_most("T20", "age of an event, 500 readers, p95", "fanout.age_500_p95", 100, 60),
]
"""At a million jobs, and while very many change at once."""

LONG_TARGETS = [
    Target("L1", "drain of all, last tenth ÷ first", "drain.drain_last_share", "higher", None, 0.5, unit="×"),
    Target("L1", "memory of its own, end ÷ first tenth", "drain.drain_own_growth", "lower", 1.2, 1.05, unit="×"),
    Target("L2", "start beside all ÷ beside 100,000", "drain.start_ratio", "lower", 1.3, 1.1, unit="×"),
    Target("L3", "removable jobs, as seconds of work", "retention.removable_seconds", "lower", 75, None, unit="s"),
    Target("L3", "file at the end ÷ at half-time", "retention.file_growth", "lower", 1.2, 1.05, unit="×"),
    Target("T19", "two daemons ÷ one: no-op", "daemons.times_one_2", "higher", 0.9, 1, unit="×"),
    Target("T19", "two daemons ÷ one: 5 ms", "daemons.computing_times_one_2", "higher", 1.6, 1.8, unit="×"),
]
"""What shows only after a long time: ``make bench-long``."""
