"""One file a scenario, one function each; here is what they are called, in the order in which they run."""

from __future__ import annotations

from functools import partial

from msgspec import Struct

from benchmarks.result import Run
from benchmarks.scenarios import (
    backlog,
    crews,
    crowds,
    daemons,
    draining,
    film,
    gates,
    graph,
    imports,
    large,
    memory,
    queries,
    rounds,
    sqs,
    sqs_costs,
    sqs_lag,
    stalls,
    steps,
    streams,
    threads,
    throughput,
    values,
    wal,
)


class Scenario(Struct, frozen=True):
    """``beside``: the yardstick's runs that measure the same, to be run next to it.

    ``once``: too long to be repeated, and a ratio or a size, which wanders little. ``named``: run only if it is named,
    since it needs what is not part of the development environment.
    """

    run: Run
    about: str
    beside: tuple[str, ...] = ()
    once: bool = False
    named: bool = False


SCENARIOS: dict[str, Scenario] = {
    "throughput": Scenario(throughput.run, "one by one, 100 submitters, one batch", ("rt", "rt-inline")),
    "throughput-full": Scenario(
        partial(throughput.run, synchronous="FULL"), "the same, each commit synced", ("rt-full",)
    ),
    "rounds": Scenario(rounds.run, "submit and await the result, one at a time", ("rt", "rt-inline")),
    "rounds-full": Scenario(partial(rounds.run, synchronous="FULL"), "the same, each commit synced", ("rt-full",)),
    "steps": Scenario(steps.run, "one step after the other, in each kind of body, beside one submit"),
    "gates": Scenario(gates.run, "answers, and parked jobs that all go on at once"),
    "graph": Scenario(graph.run, "a chain, layers, a fan", ("dag", "dag-inline")),
    "threads": Scenario(threads.run, "blocking jobs in 32 slots"),
    "stalls": Scenario(stalls.run, "how long the event loop is held up under load"),
    "stalls-large": Scenario(
        large.run, "the same, and a neighbour's submits, while very many jobs change at once", once=True
    ),
    "values": Scenario(values.run, "arguments and results of 4 kB, 100 kB and 1 MB"),
    "held": Scenario(memory.held, "memory with 20,000 finished jobs' handles held"),
    "fanout": Scenario(
        streams.fanout, "events stored and delivered with 0, 1, 50, 500 readers, here and over HTTP", once=True
    ),
    "delivery": Scenario(
        streams.delivery, "how soon 20 listeners have an event: here, another process, over HTTP", once=True
    ),
    "cut-readers": Scenario(
        crowds.cut, "500 readers cut and reconnected among 20,000 events, here and over HTTP", once=True
    ),
    "stalled-readers": Scenario(crowds.stalled, "jobs and one reader beside 200 clients that never read", once=True),
    "open-streams": Scenario(crowds.crowd, "memory of an open stream; 500 opened at once", once=True),
    "imports": Scenario(imports.run, "the cost of import asyncjobs"),
    "pending": Scenario(memory.pending, "memory per pending job that nobody awaits", once=True),
    "backlog-waiting": Scenario(
        partial(backlog.run, kind="waiting"), "claims beside jobs that wait for a parent", once=True
    ),
    "backlog-delayed": Scenario(partial(backlog.run, kind="delayed"), "claims beside jobs that are not due", once=True),
    "backlog-ready": Scenario(partial(backlog.run, kind="ready"), "claims out of as many ready jobs", once=True),
    "queries": Scenario(queries.run, "pages, groups, counts, durations and prune beside 1,000,000 jobs", once=True),
    "drain": Scenario(draining.run, "1,000,000 ready jobs drained by one process", once=True),
    "daemons": Scenario(daemons.several, "1, 2 and 4 daemons on one file, also with jobs that compute", once=True),
    "daemon-backlog": Scenario(daemons.backlog, "a daemon beside 10,000 and 1,000,000 ready jobs", once=True),
    "storm": Scenario(daemons.storm, "daemons killed and frozen while they run random graphs", once=True),
    "wal": Scenario(wal.run, "the write-ahead log under a minute of load", once=True),
    "crews": Scenario(crews.run, "a crew as a job beside its kickoff, and the events of 20 that stream", named=True),
    "film": Scenario(film.run, "the film of the examples, and how late the loop is meanwhile", once=True),
    "sqs": Scenario(
        sqs.throughput, "1, 2 and 4 daemons on SQS and DynamoDB, emulated, beside others", once=True, named=True
    ),
    "sqs-costs": Scenario(sqs_costs.run, "units of capacity and dollars of jobs in DynamoDB", once=True, named=True),
    "sqs-lag": Scenario(
        sqs_lag.run, "how long the loop of a daemon on SQS is held up, with 100 slots busy", once=True, named=True
    ),
}
