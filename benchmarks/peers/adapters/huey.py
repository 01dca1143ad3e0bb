"""huey on SQLite with each commit synced: one consumer with one thread, since writers wait for one another.

It looks for jobs and results by polling; the documented options make that a millisecond.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from benchmarks.peers.harness import PATIENCE, BlockingAdapter, CannotDoError, Surroundings
from benchmarks.shapes import Parents, layers_of

_huey: Any = importlib.import_module("huey")
_around = Surroundings()
sys.setrecursionlimit(20_000)  # a chain of 500 is one message, each job within the one before
app: Any = _huey.SqliteHuey("peers", filename=str(_around.folder / "huey.db"), fsync=True, timeout=PATIENCE)


@app.task()
def noop(value: object = None) -> object:
    return value


class Peer(BlockingAdapter):
    worker: ClassVar[Sequence[str]] = (
        *("-m", "huey.bin.huey_consumer", f"{__name__}.app"),
        *("--workers", "1", "--delay", "0.001", "--max-delay", "0.001", "--no-periodic", "--quiet"),
    )

    def submit_now(self, value: int) -> Any:
        return noop(value)

    def result_now(self, handle: Any) -> object:
        return handle.get(blocking=True, timeout=PATIENCE, max_delay=0.001)

    async def run_graph(self, parents: Parents) -> None:
        layers = list(layers_of(parents))
        if all(len(layer) == 1 for layer in layers):
            self._chain(len(layers))
        elif [len(layer) for layer in layers[::2]] == [1, 1]:
            self.result_now(noop(0))
            members = [noop.s(value) for value in layers[1]]
            self.result_now(app.enqueue(_huey.chord(members, noop.s())).callback)
        else:
            raise CannotDoError("chains and chords, but no job after some of another layer")

    def _chain(self, length: int) -> None:
        pipeline = noop.s(0)
        for _ in range(length - 1):
            pipeline = pipeline.then(noop)
        # All results of it, or the one of a chain of one job.
        self.result_now(app.enqueue(pipeline))
