"""Random command sequences: the store against a naive reading of the rules, and one store against another.

A failure names its seed; ``await play(maker(kind, folder), seed, plays=…)`` repeats it.
``ASYNCJOBS_TEST_GATE_HISTORIES=600`` plays more of those with gates.
"""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from tests.conformance.support import MAKERS, comparable, maker
from tests.measuring import first_measured
from tests.properties.driver import Driver, play
from tests.properties.gate_driver import GateDriver

pytestmark = pytest.mark.slow

SEEDS = 500
CHUNK = 50
"""They have more than 1,000 random graphs."""
WITH_GATES = int(os.environ.get("ASYNCJOBS_TEST_GATE_HISTORIES", "150"))
"""Histories with gates have all that others have, and take eight times as long. Each seeded defect of gates is caught
by the first 81 (``test_seeded_defects.py``)."""
ON_TRIO = 20
OTHERS = [kind for kind in MAKERS if kind not in ("memory", "sqs")]
"""``test_sqs_histories`` has those of SQS."""


async def chunk(folder: Path, seeds: range, plays: type[Driver]) -> int:
    """Histories in memory; returns how many random graphs were in them."""
    return sum([(await play(maker("memory", folder), seed, plays=plays))[1] for seed in seeds])


@pytest.mark.parametrize("first", first_measured(range(0, SEEDS, CHUNK)))
def test_the_store_does_what_the_rules_say(first: int, tmp_path: Path) -> None:
    graphs = anyio.run(chunk, tmp_path, range(first, first + CHUNK), Driver)
    assert graphs >= CHUNK, "in each history at least one random graph"


@pytest.mark.parametrize("first", first_measured(range(0, WITH_GATES, CHUNK)))
def test_so_it_does_with_gates(first: int, tmp_path: Path) -> None:
    anyio.run(chunk, tmp_path, range(first, first + CHUNK), GateDriver)


@pytest.mark.untraced
def test_so_it_does_on_trio(tmp_path: Path) -> None:
    anyio.run(chunk, tmp_path, range(1_000, 1_000 + ON_TRIO), GateDriver, backend="trio")


async def compare(kind: str, folder: Path, seeds: range, plays: type[Driver]) -> None:
    for seed in seeds:
        own = folder / str(seed)
        own.mkdir()
        makers = [maker(one, own) for one in (kind, "memory")]
        there, here = comparable([(make, (await play(make, seed, plays=plays))[0]) for make in makers])
        for field in here.__struct_fields__:
            assert getattr(there, field) == getattr(here, field), f"seed {seed}: {field}"


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("first", first_measured(range(1_000, 1_060, 10)))
def test_two_stores_have_the_same_history(kind: str, first: int, tmp_path: Path) -> None:
    anyio.run(compare, kind, tmp_path, range(first, first + 10), Driver)


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("first", first_measured(range(1_000, 1_020, 10)))
def test_two_stores_have_the_same_history_with_gates(kind: str, first: int, tmp_path: Path) -> None:
    anyio.run(compare, kind, tmp_path, range(first, first + 10), GateDriver)
