"""Celery on redis, for broker and results: one worker process with 32 threads, as for bodies that wait.

Jobs are acknowledged when they have ended, and events and gossip are off.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, ClassVar

from benchmarks.peers.harness import PATIENCE, SLOTS, BlockingAdapter, CannotDoError, Surroundings
from benchmarks.shapes import Parents, layers_of

_celery: Any = importlib.import_module("celery")
_url = Surroundings().url
app: Any = _celery.Celery("peers", broker=_url, backend=_url)
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    worker_enable_remote_control=False,
)


@app.task(name="noop")
def noop(value: object = None) -> object:
    return value


class Peer(BlockingAdapter):
    worker: ClassVar[Sequence[str]] = (
        *("-m", "celery", "--app", f"{__name__}:app", "worker", "--pool", "threads", "--concurrency", str(SLOTS)),
        *("--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "ERROR"),
    )

    def submit_now(self, value: int) -> Any:
        return noop.delay(value)

    def result_now(self, handle: Any) -> object:
        return handle.get(timeout=PATIENCE, interval=0.001)

    async def run_graph(self, parents: Parents) -> None:
        layers = list(layers_of(parents))
        if all(len(layer) == 1 for layer in layers):
            steps = [noop.s(0), *(noop.s() for _ in layers[1:])]
            _celery.chain(*steps).delay().get(timeout=PATIENCE, interval=0.001)
        elif [len(layer) for layer in layers[::2]] == [1, 1]:
            members = _celery.group(noop.si(value) for value in layers[1])
            _celery.chain(noop.si(0), members, noop.s()).delay().get(timeout=PATIENCE, interval=0.001)
        else:
            raise CannotDoError("chains and chords, but no job after some of another layer")
