"""The targets, and whether they are met.

A target is about a figure, or about the figure divided by the yardstick's of the same run, where the machine's moods
cancel out. Those that are set against other libraries, ``PEER_TARGETS``, are judged where these are run beside, in
``benchmarks.peers``; ``COUNT_TARGETS`` are counted by ``benchmarks.account``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from benchmarks.result import Better


class Target(Struct, frozen=True):
    """``figure`` is ``scenario.name``; ``over``, if given, the yardstick's figure that it is divided by.

    ``must`` or ``aim`` None: it is only aimed at, or nothing lies beyond the must.
    """

    number: str
    what: str
    figure: str
    better: Better
    must: float | None
    aim: float | None
    over: str | None = None
    unit: str = ""


class Verdict(Struct, frozen=True):
    """A target with what was measured; ``value`` None: not measured in this run."""

    target: Target
    value: float | None
    must: bool | None
    aim: bool | None


def _claims(number: str, size: int, must: float, aim: float) -> list[Target]:
    return [
        Target(
            number,
            f"claim of {size}, large backlog ÷ 1,000: {kind}",
            f"backlog-{kind}.claim_{size}_ratio",
            "lower",
            must,
            aim,
            unit="×",
        )
        for kind in ("waiting", "delayed", "ready")
    ]


def _lags() -> list[Target]:
    names = ("submitters", "batch_store", "batch_run", "checkpoints")
    longest = [
        Target("T18", f"loop lag, max: {name}", f"stalls.{name}_max", "lower", 50, None, unit="ms") for name in names
    ]
    usual = [
        Target("T18", f"loop lag, p99.9: {name}", f"stalls.{name}_p99.9", "lower", None, 5, unit="ms") for name in names
    ]
    return longest + usual


def _of_yardstick(number: str, what: str, figure: str, over: str, must: float | None, aim: float | None) -> Target:
    """A share of the yardstick's rate."""
    return Target(number, f"{what} ÷ yardstick", figure, "higher", must, aim, over, "×")


def _times_yardstick(number: str, what: str, figure: str, over: str, must: float | None, aim: float | None) -> Target:
    """How many times as long as the yardstick."""
    return Target(number, f"{what} ÷ yardstick", figure, "lower", must, aim, over, "×")


TARGETS = [
    _of_yardstick("T1", "100 submitters", "throughput.submitters_100", "rt.submitters_100", 0.6, 0.8),
    _of_yardstick("T2", "100 submitters, FULL", "throughput-full.submitters_100", "rt-full.submitters_100", 0.45, 0.6),
    _of_yardstick("T4", "one by one", "throughput.one_by_one", "rt.one_by_one", 1.2, None),
    _of_yardstick("T4", "one by one, inline", "throughput.one_by_one", "rt-inline.one_by_one", None, 0.9),
    _of_yardstick("T5", "batch of 20,000", "throughput.batch", "rt.batch", 0.4, None),
    _of_yardstick("T5", "batch of 20,000, stored", "throughput.batch_stored", "rt.batch_stored", 0.6, 0.75),
    _times_yardstick("T7", "round trip p50", "rounds.p50", "rt.p50", 0.9, None),
    _times_yardstick("T7", "round trip p99", "rounds.p99", "rt.p99", 0.5, None),
    _times_yardstick("T7", "round trip p50, inline", "rounds.p50", "rt-inline.p50", None, 1.5),
    _times_yardstick("T9", "round trip p50, FULL", "rounds-full.p50", "rt-full.p50", 1.3, None),
    _of_yardstick("T10", "chain of 500", "graph.chain", "dag.chain", 0.7, 0.9),
    _of_yardstick("T11", "layered 10×100", "graph.layered", "dag.layered", 0.28, 0.5),
    _of_yardstick("T12", "fan 1-2000-1", "graph.fan", "dag.fan", 0.28, 0.5),
    *_claims("T13", 1, 1.3, 1.1),
    *_claims("T14", 32, 1.5, 1.1),
    Target("T15", "own memory per pending job", "pending.bytes_per_job", "lower", 100, 20, unit="B"),
    Target("T15", "the same, slope beyond the caches", "pending.bytes_per_job_slope", "lower", 100, 20, unit="B"),
    Target("T16", "200 × 20 ms in 32 threads, times ideal", "threads.times_ideal", "lower", 1.3, 1.1, unit="×"),
    Target("T17", "RSS after 20,000 jobs, handles held", "held.resident", "lower", 75, 60, unit="MB"),
    *_lags(),
    Target("T19", "two daemons on one file ÷ one", "daemons.times_one_2", "higher", 0.9, 1, unit="×"),
    Target("T20", "job rate with 500 readers ÷ without", "fanout.jobs_500_share", "higher", 0.6, 0.8, unit="×"),
    Target(
        "S1", "delivery p95 here, 100 jobs/s, 20 listeners", "delivery.in_process_p95", "lower", 20, None, unit="ms"
    ),
    Target("S2", "the same, to another process", "delivery.cross_process_p95", "lower", 100, None, unit="ms"),
    Target("S2", "the same, over HTTP", "delivery.http_p95", "lower", 100, None, unit="ms"),
    Target("K1", "a crew of 0.4-s calls as a job ÷ its kickoff", "crews.times_kickoff", "lower", 1.1, 1.02, unit="×"),
    Target("C1", "short job on AWS, without the log", "sqs-costs.short_job_written", "lower", 9, 8.1, unit="WCU"),
    Target("C1", "calls of one in a batch of 10", "sqs-costs.short_job_of_a_batch_calls", "lower", 2.5, None),
    Target("C2", "edge of a fan-in on AWS", "sqs-costs.edge_of_a_fan_in_written", "lower", 4, None, unit="WCU"),
    Target(
        "C3",
        "loop lag of a daemon on SQS with 100 slots busy, p99.9",
        "sqs-lag.daemon_p99.9",
        "lower",
        50,
        None,
        unit="ms",
    ),
]
"""The yardstick commits in a thread, or inline, which is on the event loop."""


class PeerTarget(Struct, frozen=True):
    """``figure`` of asyncjobs with ``synchronous``, divided by the best figure of any of ``peers``.

    ``against``: their figures that count, if that is not the same one.
    """

    number: str
    what: str
    figure: str
    synchronous: str
    peers: tuple[str, ...]
    must: float
    aim: float
    better: Better = "higher"
    against: tuple[str, ...] = ()


_REDIS, _GRAPHS = ("saq", "taskiq"), ("dask", "streaq")
_FLEXIQ = ("flexiq default", "flexiq tuned")
PEER_TARGETS = [
    PeerTarget("T4", "one by one ÷ huey", "one_by_one", "NORMAL", ("huey",), 3.3, 4),
    PeerTarget("T4", "one by one, FULL ÷ huey", "one_by_one", "FULL", ("huey",), 1.25, 1.6),
    PeerTarget("T7", "round trip p50 ÷ huey", "p50", "NORMAL", ("huey",), 0.45, 0.3, "lower"),
    PeerTarget("T9", "round trip p50, FULL ÷ huey", "p50", "FULL", ("huey",), 1.3, 1, "lower"),
    PeerTarget(
        "T1",
        "100 submitters ÷ huey's best rate of any kind",
        "submitters_100",
        "NORMAL",
        ("huey",),
        9,
        13,
        against=("one_by_one", "submitters_100", "batch"),
    ),
    PeerTarget("T2", "100 submitters, FULL ÷ huey", "submitters_100", "FULL", ("huey",), 7, 12),
    PeerTarget("T3", "100 submitters ÷ the better of SAQ and taskiq", "submitters_100", "NORMAL", _REDIS, 7, 10),
    PeerTarget("T5", "batch ÷ PgQueuer", "batch", "NORMAL", ("pgqueuer",), 1.1, 2),
    PeerTarget("T5", "batch ÷ flexiq", "batch", "NORMAL", _FLEXIQ, 5, 7),
    PeerTarget("T5", "batch stored ÷ PgQueuer", "batch_stored", "NORMAL", ("pgqueuer",), 0.85, 1.2),
    PeerTarget("T5", "batch stored ÷ flexiq", "batch_stored", "NORMAL", _FLEXIQ, 1.05, 1.5),
    PeerTarget("T10", "chain ÷ streaQ", "chain", "NORMAL", ("streaq",), 5, 7),
    PeerTarget("T11", "layered ÷ the better of Dask and streaQ", "layered", "NORMAL", _GRAPHS, 8.5, 15),
    PeerTarget("T12", "fan ÷ the better of Dask and streaQ", "fan", "NORMAL", _GRAPHS, 9.5, 15),
]
"""Against other libraries that were run beside, by ``make bench-peers``."""


class CountTarget(Struct, frozen=True):
    """The most of something that a job of a shape may take, warm and alone on its file: ``benchmarks.account``."""

    shape: str
    name: str
    counter: str
    most: float


COUNT_TARGETS = [
    CountTarget("one by one", "statements", "times", 7),
    CountTarget("one by one", "commits", "commits", 1),
    CountTarget("one by one", "pages", "pages", 9),
    CountTarget("one by one", "tasks", "tasks", 1),
    CountTarget("one by one", "futures", "futures", 2),
    CountTarget("round trip", "statements", "times", 11),
    CountTarget("round trip", "commits", "commits", 2),
    CountTarget("chain", "statements", "times", 11),
    CountTarget("chain", "commits", "commits", 1),
    CountTarget("batch", "statements, of 32 jobs in a commit", "times", 14 / 32),
]
"""Counters instead of clocks: these are the same on every machine."""


def judge(
    figures: Mapping[str, float],
    ratios: Mapping[tuple[str, str], float],
    targets: Sequence[Target] = TARGETS,
) -> list[Verdict]:
    """Compare medians of figures, and of (figure, yardstick's figure) ratios, with the targets."""
    verdicts: list[Verdict] = []
    for target in targets:
        value = figures.get(target.figure) if target.over is None else ratios.get((target.figure, target.over))
        verdicts.append(verdict_of(target, value))
    return verdicts


def verdict_of(target: Target, value: float | None) -> Verdict:
    """Judge a value."""
    return Verdict(target, value, met(target.better, value, target.must), met(target.better, value, target.aim))


def met(better: Better, value: float | None, wanted: float | None) -> bool | None:
    """Whether a value is as wanted; None if there is no value, or nothing is wanted."""
    if value is None or wanted is None:
        return None
    return value >= wanted if better == "higher" else value <= wanted
