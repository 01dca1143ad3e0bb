"""The processes of the storm: ``python -m tests.faults.storm_program daemon|client STORE …``.

A daemon tells ``opened``, ``end`` for each body that ends, ``faults`` with how many its clients have had, ``stale`` for
each outcome that was refused, ``point NAME`` where it stops for good. A client tells what ``crash_program`` does, and
asks after each graph whether to go on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio

from asyncjobs import DaemonConfig, JobProcessor
from asyncjobs.backends.base import Stale
from asyncjobs.exceptions import BackendConnectionError
from tests.faults import bodies, defects, storm_defects
from tests.faults.bodies import tell
from tests.faults.crash_program import Stop, submit
from tests.faults.scenarios import listen
from tests.faults.storm_plans import plan
from tests.faults.storm_stores import open_store

FUNCTIONS = (bodies.work, bodies.work_in_thread)


@asynccontextmanager
async def started(make: Callable[[], JobProcessor]) -> AsyncGenerator[JobProcessor]:
    """Enter a processor, again if a call of that is not answered: as a service manager does."""
    async with AsyncExitStack() as stack:
        while True:
            try:
                jp = await stack.enter_async_context(make())
            except BackendConnectionError:
                continue
            break
        yield jp


async def daemon(store: str, lease: str, slots: str, point: str, n: str) -> None:
    """Run whatever is there until a line comes, or until it comes to ``point`` for the ``n``-th time."""
    stop = Stop(point, int(n))
    bodies.started = stop.in_body
    backend = open_store(store, stop.in_commit, checkpoint_size=262_144)

    def ended(job_id: str, attempt: int) -> None:
        tell("end", job_id)
        tell("faults", sum(getattr(backend, "faults", {}).values()))

    bodies.ended = ended
    config = DaemonConfig(num_workers=int(slots), lease=float(lease), heartbeat=float(lease) / 3)
    async with started(lambda: JobProcessor(backend, daemon=config, functions=FUNCTIONS)) as jp:
        outcomes = jp.daemon.runner.recorder.outcomes
        recorded = outcomes._log

        def count_stale(end: Any, result: Any, *more: Any) -> None:
            recorded(end, result, *more)
            if isinstance(result, Stale):
                tell("stale", end.attempt.job_id, end.attempt.attempt)

        outcomes._log = count_stale
        tell("opened")
        await listen()


async def until_answered(call: Callable[..., Awaitable[object]], *arguments: Any) -> None:
    """Make a call again whose answer was lost: what was submitted is there, or is not."""
    while True:
        try:
            await call(*arguments)
        except BackendConnectionError:
            continue
        return


async def client(store: str, seed: str, size: str, pause: str, patient: str, graph: str, acknowledged: str) -> None:
    """Submit planned graphs, from this window of this graph on, and wait for each; a line says whether to go on."""
    g, first = int(graph), int(acknowledged)
    async with started(lambda: JobProcessor(open_store(store), enable_daemon=False)) as jp:
        tell("opened")
        while True:
            for w, window in enumerate(plan(int(seed), g, int(size), jp.handle, float(pause), patient == "patient")):
                if w < first:
                    continue
                async with anyio.create_task_group() as tasks:
                    for s, submission in enumerate(window):
                        tasks.start_soon(until_answered, submit, jp, submission, (g, w, s))
            tell("submitted", g)
            await until_answered(jp.drain)
            tell("drained", g)
            if await listen() != "more":
                return
            g, first = g + 1, 0


def say_where_it_stands() -> None:
    """Write to standard error where each task waits."""
    for task in sorted(asyncio.all_tasks(), key=asyncio.Task.get_name):
        print(f"-- {os.getpid()} {task.get_name()}", file=sys.stderr)
        waiting: Any = task.get_coro()
        while waiting is not None:
            frame = getattr(waiting, "cr_frame", None) or getattr(waiting, "ag_frame", None)
            if frame is not None:
                print(f"   {frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_name}", file=sys.stderr)
            waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "ag_await", None)
    sys.stderr.flush()
    tell("stands")


async def run(name: str, *arguments: str) -> None:
    """Be one of the programs, which says on SIGUSR1 where it stands."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, say_where_it_stands)
    await PROGRAMS[name](*arguments)


PROGRAMS: dict[str, Callable[..., Awaitable[None]]] = {"daemon": daemon, "client": client}


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(name)s %(message)s")
    defects.DEFECTS |= storm_defects.DEFECTS
    defects.install()
    asyncio.run(run(*sys.argv[1:]))
