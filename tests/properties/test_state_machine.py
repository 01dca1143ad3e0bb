"""Random command sequences: the store against a naive reading of the rules, and one store against another.

A failure names its seed; ``await play(maker(kind, folder), seed)`` repeats it.
"""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from tests.conformance.support import MAKERS, maker
from tests.measuring import first_measured
from tests.properties.driver import play

pytestmark = pytest.mark.slow

SEEDS = 1_500
CHUNK = 50


@pytest.mark.parametrize("first", first_measured(range(0, SEEDS, CHUNK)))
def test_the_store_does_what_the_rules_say(first: int, tmp_path: Path) -> None:
    async def chunk() -> int:
        return sum([(await play(maker("memory", tmp_path), seed))[1] for seed in range(first, first + CHUNK)])

    graphs = anyio.run(chunk)
    assert graphs >= CHUNK, "in each history at least one random graph"


@pytest.mark.parametrize("kind", [kind for kind in MAKERS if kind != "memory"])
@pytest.mark.parametrize("first", first_measured(range(1_000, 1_060, 10)))
def test_two_stores_have_the_same_history(kind: str, first: int, tmp_path: Path) -> None:
    async def chunk() -> None:
        for seed in range(first, first + 10):
            folder = tmp_path / str(seed)
            folder.mkdir()
            there, _ = await play(maker(kind, folder), seed)
            here, _ = await play(maker("memory", folder), seed)
            for field in here.__struct_fields__:
                assert getattr(there, field) == getattr(here, field), f"seed {seed}: {field}"

    anyio.run(chunk)
