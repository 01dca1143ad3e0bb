"""The server is killed and started again, while a client waits and watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from asyncjobs import JobEvent
from asyncjobs.client import EventStream, JobsClient
from tests.faults.children import Child
from tests.web.client_server import walk
from tests.web.support import PATIENCE

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

_STEPS = 200
_KILLS = 2
_WALK = f"tests.web.client_server:{walk.__name__}"


class Server:
    """The program, on the same port in each of its lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.child: Child | None = None

    async def start(self) -> str:
        """Returns its URL."""
        child = Child(
            "tests.web.client_server", self.folder / "jobs.db", self.port, ledger=self.folder / "server.ledger"
        )
        self.child = child
        (said,) = await anyio.to_thread.run_sync(child.until, "serving")
        self.port = int(said)
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        if self.child is not None:
            with self.child as child:
                child.kill()


class Watcher:
    """Keeps what a stream gives."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        self.seen: list[JobEvent] = []
        self._more = anyio.Event()

    async def watch(self) -> None:
        async for event in self.stream:
            self.seen.append(event)
            self._more.set()
            self._more = anyio.Event()

    async def until(self, count: int) -> None:
        with anyio.fail_after(PATIENCE):
            while len(self.seen) < count:
                await self._more.wait()


async def test_killed_and_started_again_nothing_is_lost_or_repeated(tmp_path: Path) -> None:
    server = Server(tmp_path)
    results: list[Any] = []
    try:
        url = await server.start()
        async with JobsClient(url) as client:
            handle = await client.submit_job(_WALK, _STEPS, job_id="walk", group="walks")
            watcher = Watcher(client.stream_job(handle))
            steps = Watcher(client.stream_all(types="step"))

            async def wait() -> None:
                results.append(await handle)

            async def submit() -> None:
                await client.submit_job(_WALK, 1, group="walks")

            with anyio.fail_after(3 * PATIENCE):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(steps.watch)
                    async with anyio.create_task_group() as ends:
                        ends.start_soon(watcher.watch)
                        ends.start_soon(wait)
                        for _ in range(_KILLS):
                            await watcher.until(len(watcher.seen) + 30)
                            server.kill()
                            ends.start_soon(submit)
                            await server.start()
                    await client.stream_group("walks", types="completed").__anext__()
                    stored = [event async for event in client.stream_group("walks")]
                    of_steps = [event for event in stored if event.type == "step"]
                    await steps.until(len(of_steps))
                    tasks.cancel_scope.cancel()
            walked = [event for event in stored if event.job_id == "walk"]
            assert results == [_STEPS]
            assert [event.seq for event in walked] == list(range(1, len(walked) + 1))
            assert watcher.seen == walked
            assert steps.seen == of_steps
            # A kill may come after the walk's end: it goes on while the client catches up.
            types = [event.type for event in walked if event.status]
            assert types.count("started") == types.count("interrupted") + 1 > 1
            assert (await client.get_progress("walks")).counts == {"completed": 1 + _KILLS}
    finally:
        server.kill()
