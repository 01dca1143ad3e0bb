"""The targets, and whether they are met.

A target is about a figure, or about the figure divided by the yardstick's of the same run, where the machine's moods
cancel out. A target that was set against another queue is turned into one against the yardstick: the other queue's
figure and the yardstick's were taken on one machine, on the same days, so their ratio stands for it. Where the other
queues themselves are run, in ``benchmarks.peers``, ``PEER_TARGETS`` are judged instead, against figures of that run.
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


def _against_peer(
    number: str, what: str, figure: str, peer: float, yardstick: float, factors: tuple[float, float], over: str
) -> Target:
    """``factors`` times the other queue's figure; for durations, which are in ms here, less is better."""
    must, aim = (round(factor * peer / yardstick, 3) for factor in factors)
    return Target(number, what, figure, "higher" if must < aim else "lower", must, aim, over, "×")


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


TARGETS = [
    Target(
        "T1", "100 submitters ÷ yardstick", "throughput.submitters_100", "higher", 0.6, 0.8, "rt.submitters_100", "×"
    ),
    _against_peer(
        "T1", "100 submitters: 8× (12×) huey", "throughput.submitters_100", 854, 17_327, (8, 12), "rt.submitters_100"
    ),
    _against_peer(
        "T2",
        "100 submitters, FULL: 7× (12×) huey",
        "throughput-full.submitters_100",
        854,
        15_317,
        (7, 12),
        "rt-full.submitters_100",
    ),
    _against_peer("T4", "one by one: 2× (4×) huey", "throughput.one_by_one", 1_059, 3_402, (2, 4), "rt.one_by_one"),
    Target("T5", "batch of 20,000, stored", "throughput.batch_stored", "higher", 40_000, 60_000, unit="jobs/s"),
    _against_peer("T5", "batch of 20,000: 2× (3×) pgqueuer", "throughput.batch", 7_898, 28_910, (2, 3), "rt.batch"),
    _against_peer("T7", "round trip p50: ½ (¼) huey", "rounds.p50", 0.97, 0.46, (0.5, 0.25), "rt.p50"),
    _against_peer(
        "T9", "round trip p50, FULL: 1.2× (0.8×) huey", "rounds-full.p50", 0.97, 0.74, (1.2, 0.8), "rt-full.p50"
    ),
    _against_peer("T10", "chain of 500: 4× (8×) streaQ", "graph.chain", 455, 2_945, (4, 8), "dag.chain"),
    _against_peer("T11", "layered 10×100: 10× (20×) Dask", "graph.layered", 702, 16_400, (10, 20), "dag.layered"),
    _against_peer("T12", "fan 1-2000-1: 10× (20×) streaQ", "graph.fan", 756, 22_028, (10, 20), "dag.fan"),
    *_claims("T13", 1, 1.3, 1.1),
    *_claims("T14", 32, 2.0, 1.3),
    Target("T15", "own memory per pending job", "pending.bytes_per_job", "lower", 100, 20, unit="B"),
    Target("T15", "the same, slope beyond the caches", "pending.bytes_per_job_slope", "lower", 100, 20, unit="B"),
    Target("T16", "200 × 20 ms in 32 threads, times ideal", "threads.times_ideal", "lower", 1.3, 1.1, unit="×"),
    Target("T17", "RSS after 20,000 jobs, handles held", "held.resident", "lower", 75, 60, unit="MB"),
    *_lags(),
    Target("T19", "two daemons on one file ÷ one", "daemons.times_one_2", "higher", 0.9, 1.3, unit="×"),
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
"""Where a factor is against another queue, its figure and the yardstick's (writer thread) stand before it."""


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


def judge(
    figures: Mapping[str, float],
    ratios: Mapping[tuple[str, str], float],
    targets: Sequence[Target] = TARGETS,
) -> list[Verdict]:
    """Compare medians of figures, and of (figure, yardstick's figure) ratios, with the targets."""
    verdicts: list[Verdict] = []
    for target in targets:
        value = figures.get(target.figure) if target.over is None else ratios.get((target.figure, target.over))
        must, aim = (met(target.better, value, wanted) for wanted in (target.must, target.aim))
        verdicts.append(Verdict(target, value, must, aim))
    return verdicts


def met(better: Better, value: float | None, wanted: float | None) -> bool | None:
    """Whether a value is as wanted; None if there is no value, or nothing is wanted."""
    if value is None or wanted is None:
        return None
    return value >= wanted if better == "higher" else value <= wanted
