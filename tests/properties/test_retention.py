"""Random graphs, ended at random times, in part: what a store removes, and what is left, against a naive reading of
rule 4.12, and one store against another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

import anyio
import networkx
import pytest
from msgspec.structs import replace

from asyncjobs.backends.base import NewJob
from asyncjobs.exceptions import JobStateError
from asyncjobs.models import Job, WaitsFor
from asyncjobs.testing import random_graph
from tests.conformance.gates import answer, ask, gate, reject
from tests.conformance.support import FATAL, FUNCTION, MAKERS, ONCE, SUCCESS, Dump, Hand, Make, Store, comparable, maker
from tests.measuring import first_measured
from tests.properties.test_sqs_histories import of_a_table

SEEDS = 60


async def components(store: Store) -> list[set[str]]:
    """As anybody would find them: from all edges of all jobs."""
    graph = networkx.Graph()
    jobs = await store.jobs()
    graph.add_nodes_from(job.id for job in jobs)
    graph.add_edges_from((job.id, job.parent_id) for job in jobs if job.parent_id)
    edges = await store.backend.get_dependencies([job.id for job in jobs])
    graph.add_edges_from((edge.parent_id, edge.child_id) for edge in edges)
    return list(networkx.connected_components(graph))


def now(store: Store) -> float:
    return store.clock.now() / 1_000_000


def ended_before(job: Job, moment: float) -> bool:
    return job.finished_at is not None and job.finished_at.timestamp() < moment


async def history(make: Make, seed: int, *, gates: bool) -> Dump:
    """Submit, run, retry, remove, in turns; returns what is left. Perhaps some jobs are gates, and some ask."""
    rng, of_gates = Random(seed), Random(f"gates of {seed}")
    async with Store(make) as store:
        hand = await store.hand(lease=1_000_000)
        for turn in range(6):
            known = [job.id for job in await store.jobs()]
            batch = random_graph(
                rng,
                rng.randint(3, 12),
                prefix=f"g{turn}-",
                function=FUNCTION,
                known=tuple(rng.sample(known, min(2, len(known)) if rng.random() < 0.4 else 0)),
                retry=ONCE,
            )
            if gates:
                batch = [as_gate(job) if of_gates.random() < 0.3 else job for job in batch]
            parents = [ref for job_id, ref in hand.held.items() if await store.status(job_id) == "in_progress"]
            await store.submit(*batch, parent=rng.choice([None, *parents]))
            for _ in range(rng.randint(1, 5)):
                await hand.claim(rng.randint(1, 6))
                running = [job_id for job_id in hand.held if await store.status(job_id) == "in_progress"]
                ending = rng.sample(running, rng.randint(0, len(running)))
                await hand.ends({job_id: rng.choice((SUCCESS, SUCCESS, FATAL)) for job_id in ending})
                store.clock.advance(rng.randint(1, 20))
                if gates:
                    await ask_and_answer(store, hand, of_gates)
            failed = [job.id for job in await store.jobs() if job.status == "failed" and not is_question(job)]
            if failed and rng.random() < 0.4:
                await store.backend.retry_job(rng.choice(failed))
            await (by_age if rng.random() < 0.7 else by_hand)(store, rng)
            for job_id in set(hand.held) - {job.id for job in await store.jobs()}:
                del hand.held[job_id]
        return await store.dump()


def as_gate(job: NewJob) -> NewJob:
    return replace(gate(job.id), dependencies=job.dependencies, require=job.require)


def is_question(job: Job) -> bool:
    """Whether a body asked it: once that has ended, it is not retried by itself."""
    return job.gate is not None and job.gate.asked_by is not None


async def ask_and_answer(store: Store, hand: Hand, rng: Random) -> None:
    """Some running jobs ask, and some gates are answered."""
    for job_id, ref in hand.held.items():
        if rng.random() < 0.3 and await store.status(job_id) == "in_progress":
            await ask(store, ref, rng.choice("qr"))
    for job in await store.jobs():
        if job.waits_for is WaitsFor.ANSWER and rng.random() < 0.7:
            await (answer if rng.random() < 0.7 else reject)(store, job.id)


async def by_age(store: Store, rng: Random) -> None:
    moment = now(store) - rng.choice((0, 0, 10, 40))
    jobs = {job.id: job for job in await store.jobs()}
    due = [ids for ids in await components(store) if all(ended_before(jobs[job_id], moment) for job_id in ids)]
    removed, limit = 0, rng.choice((1, 3, 1000))
    while count := await store.backend.prune(round(moment * 1_000_000), limit):
        removed += count
        assert count <= limit + max(map(len, due)), "a call is bounded"
        await check(store, jobs, due)
    assert removed == sum(map(len, due))
    assert {job.id for job in await store.jobs()} == set(jobs) - set().union(*due)


async def by_hand(store: Store, rng: Random) -> None:
    jobs = {job.id: job for job in await store.jobs()}
    named = rng.sample(list(jobs), min(len(jobs), rng.randint(1, 4)))
    whole = rng.random() < 0.6
    touched = set().union(*(ids for ids in await components(store) if ids & set(named)))
    allowed = all(jobs[job_id].status.terminal for job_id in touched) and (whole or touched == set(named))
    before = await store.dump()
    if allowed:
        removed = await store.backend.remove_jobs(named, components=whole)
        assert removed == [job_id for job_id in jobs if job_id in touched], "by submission"
        await check(store, jobs, [touched])
    else:
        with pytest.raises(JobStateError) as caught:
            await store.backend.remove_jobs(named, components=whole)
        assert caught.value.job_id in touched
        assert await store.dump() == before


async def check(store: Store, before: Mapping[str, Job], may_go: list[set[str]]) -> None:
    """Each of these components is there or not; everything else is as it was, and its log is whole."""
    left = {job.id: job for job in await store.jobs()}
    for ids in may_go:
        assert len(ids & set(left)) in (0, len(ids)), "a part of a graph is left"
    assert all(left[job_id] == job for job_id, job in before.items() if job_id in left)
    seqs: dict[str, int] = {}
    for event in await store.events():
        seqs[event.job_id] = seqs.get(event.job_id, 0) + 1
        assert event.seq == seqs[event.job_id]
    assert seqs == {job.id: job.version for job in left.values()}


STORES = [kind for kind in MAKERS if not kind.startswith("sqs")]
SQS_SEEDS = range(5, SEEDS, 5 if "ASYNCJOBS_TEST_HISTORIES" in os.environ else 20)
"""A history of the SQS store takes a hundred times as long as one of another store."""


async def compare(seed: int, gates: bool, makers: Mapping[str, Make]) -> None:
    """Play a history on each of these stores: what is left of it is the same."""
    histories: list[tuple[Make, Dump]] = []
    for kind, make in makers.items():
        try:
            histories.append((make, await history(make, seed, gates=gates)))
        except AssertionError as error:
            error.add_note(f"seed {seed}, {kind}")
            raise
    first, *others = comparable(histories)
    for other in others:
        for field in first.__struct_fields__:
            assert getattr(first, field) == getattr(other, field), f"seed {seed}: {field}"


def makers(kinds: Iterable[str], folder: Path, seed: int) -> dict[str, Make]:
    found: dict[str, Make] = {}
    for kind in kinds:
        (place := folder / f"{kind}-{seed}").mkdir()
        found[kind] = maker(kind, place)
    return found


@pytest.mark.parametrize("gates", [False, True], ids=["jobs", "gates"])
@pytest.mark.parametrize("first", first_measured(range(0, SEEDS, 10)))
def test_stores_remove_what_the_rule_says(first: int, gates: bool, tmp_path: Path) -> None:
    async def chunk() -> None:
        for seed in range(first, first + 10):
            await compare(seed, gates, makers(STORES, tmp_path, seed))

    anyio.run(chunk)


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("tables_in_second")
@pytest.mark.parametrize("gates", [False, True], ids=["jobs", "gates"])
@pytest.mark.parametrize("seed", SQS_SEEDS)
def test_the_sqs_store_removes_the_same_and_tells_the_same(seed: int, gates: bool, tmp_path: Path) -> None:
    """``ASYNCJOBS_TEST_HISTORIES=300`` plays four times as many."""
    anyio.run(compare, seed, gates, {"sqs": of_a_table(), **makers(["memory"], tmp_path, seed)})
