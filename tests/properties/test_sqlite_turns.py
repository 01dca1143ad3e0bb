"""What a writing connection remembers is never wrong, whoever writes in between: random histories beside the rules.

A failure names its seed; ``await play(in_turns(folder, seed, connections), seed, plays=…)`` repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from asyncjobs.backends.sqlite import operations as ops
from asyncjobs.backends.sqlite.claims import Claiming
from asyncjobs.backends.sqlite.connection_cache import ConnectionCache
from tests.properties.driver import Driver, play
from tests.properties.sqlite_turns import TogetherDriver, in_turns

pytestmark = pytest.mark.slow

SEEDS = range(40)

Patch = pytest.MonkeyPatch


async def histories(folder: Path, seeds: Iterable[int], connections: int) -> None:
    for seed in seeds:
        own = folder / f"{connections}-{seed}"
        own.mkdir()
        plays = Driver if connections > 1 else TogetherDriver  # two connections share no transaction
        await play(in_turns(own, seed, connections), seed, plays=plays)


@pytest.mark.parametrize("connections", [1, 2, 3])
def test_turns_change_nothing(connections: int, tmp_path: Path) -> None:
    anyio.run(histories, tmp_path, SEEDS, connections)


# -- the histories catch what they are made for


def it_survives_what_others_commit(patch: Patch) -> None:
    begin = ConnectionCache.begin

    def blind(cache: ConnectionCache, connection: Any, operations: Any) -> ConnectionCache:
        cache._version = connection.execute("PRAGMA data_version").fetchone()[0]
        return begin(cache, connection, operations)

    patch.setattr(ConnectionCache, "begin", blind)


def it_survives_a_rollback(patch: Patch) -> None:
    class Kept(ConnectionCache):
        def forget(self) -> None:
            """Keep everything, unless others have written."""

    patch.setattr("asyncjobs.backends.sqlite.writer.ConnectionCache", Kept)


def it_survives_a_cancel(patch: Patch) -> None:
    begin = ConnectionCache.begin

    def deaf(cache: ConnectionCache, connection: Any, operations: Any) -> ConnectionCache:
        if any(type(operation) is ops.Cancel for operation in operations):
            return ConnectionCache()  # and its own entries stay
        return begin(cache, connection, operations)

    patch.setattr(ConnectionCache, "begin", deaf)


def it_does_not_follow_events(patch: Patch) -> None:
    patch.setattr(ConnectionCache, "follow", lambda cache, writes: None)


def a_fresh_job_overtakes_stored_ones(patch: Patch) -> None:
    stored = Claiming._stored

    def none_beside_fresh_ones(claiming: Claiming, *arguments: Any) -> Any:
        return iter(()) if claiming._unwritten() else stored(claiming, *arguments)

    patch.setattr(Claiming, "_stored", none_beside_fresh_ones)


def stored_jobs_overtake_fresh_ones(patch: Patch) -> None:
    unwritten = Claiming._unwritten
    patch.setattr(Claiming, "_unwritten", lambda claiming: {} if claiming._cache.ready else unwritten(claiming))


def a_ready_lane_is_forgotten(patch: Patch) -> None:
    """What a transaction leaves ready is not entered."""
    note = Claiming._note_place

    def deaf(claiming: Claiming, job: Any) -> None:
        ready, claiming._cache.ready = claiming._cache.ready, {}
        note(claiming, job)
        claiming._cache.ready = ready

    patch.setattr(Claiming, "_note_place", deaf)


def a_delay_is_forgotten(patch: Patch) -> None:
    note = Claiming._note_place

    def deaf(claiming: Claiming, job: Any) -> None:
        known = claiming._cache.none_delayed
        note(claiming, job)
        claiming._cache.none_delayed = known

    patch.setattr(Claiming, "_note_place", deaf)


def new_children_are_not_noticed(patch: Patch) -> None:
    follow = ConnectionCache.follow

    def deaf(cache: ConnectionCache, writes: Any) -> None:
        childless = set(cache.childless)
        follow(cache, writes)
        cache.childless |= childless & cache.running.keys()

    patch.setattr(ConnectionCache, "follow", deaf)


DEFECTS: list[tuple[int, Callable[[Patch], None]]] = [
    (2, it_survives_what_others_commit),
    (1, it_survives_a_rollback),
    (1, it_survives_a_cancel),
    (1, it_does_not_follow_events),
    (1, a_fresh_job_overtakes_stored_ones),
    (1, stored_jobs_overtake_fresh_ones),
    (1, a_ready_lane_is_forgotten),
    (1, a_delay_is_forgotten),
    (1, new_children_are_not_noticed),
]


@pytest.mark.untraced  # what runs here is wrong
@pytest.mark.parametrize(("connections", "defect"), DEFECTS, ids=lambda value: getattr(value, "__name__", value))
def test_they_catch(connections: int, defect: Callable[[Patch], None], monkeypatch: Patch, tmp_path: Path) -> None:
    with monkeypatch.context() as planted:
        defect(planted)
        with pytest.raises(AssertionError):
            anyio.run(histories, tmp_path, range(200), connections)
