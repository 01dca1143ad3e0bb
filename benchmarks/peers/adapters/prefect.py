"""Prefect: the tasks of one flow, with its own server in this process, on SQLite, and 32 threads.

A task's run is stored by events that follow it: a submit does not wait for them. Its results are kept in memory, as is
its default.
"""

from __future__ import annotations

import contextvars
import importlib
import os
import threading
from typing import Any, ClassVar

from benchmarks.peers.harness import PATIENCE, SLOTS, BlockingAdapter, Surroundings
from benchmarks.shapes import Parents

os.environ.update(
    PREFECT_HOME=str(Surroundings().folder),
    PREFECT_LOGGING_LEVEL="CRITICAL",
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE="true",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="60",
)
os.environ.pop("PREFECT_API_URL", None)
_prefect: Any = importlib.import_module("prefect")
_runners: Any = importlib.import_module("prefect.task_runners")


@_prefect.task
def noop(value: int) -> int:
    return value


class Peer(BlockingAdapter):
    """The flow waits in a thread of its own, and its tasks are submitted in copies of its context."""

    stores: ClassVar[bool] = False

    async def open(self) -> None:
        entered, self._over = threading.Event(), threading.Event()
        self._context = contextvars.Context()

        @_prefect.flow(task_runner=_runners.ThreadPoolTaskRunner(max_workers=SLOTS))
        def flow() -> None:
            self._context = contextvars.copy_context()
            entered.set()
            self._over.wait()

        run: Any = flow
        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()
        if not entered.wait(2 * PATIENCE):
            raise TimeoutError("its server does not start")

    async def close(self) -> None:
        self._over.set()
        self._thread.join(PATIENCE)

    def submit_now(self, value: int) -> Any:
        return self._context.copy().run(noop.submit, value)

    def result_now(self, handle: Any) -> object:
        return handle.result(timeout=PATIENCE)

    async def submit_batch(self, values: range) -> list[Any]:
        return list(self._context.copy().run(noop.map, list(values)))

    async def run_graph(self, parents: Parents) -> None:
        futures: list[Any] = []
        for i, above in enumerate(parents):
            after = [futures[parent] for parent in above]
            futures.append(self._context.copy().run(noop.submit, i, wait_for=after))
        for future in futures:
            future.wait(PATIENCE)
