"""A store with jobs in every state, groups, children whose ids hold slashes, logs; and a server that shows it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
from anyio.from_thread import start_blocking_portal
from starlette.types import ASGIApp

from asyncjobs import DaemonConfig, JobProcessor, RetryPolicy, SQLiteConfig, current_job
from tests.web.support import PATIENCE, serving

ODD = "odd é/%2F?#&=+;,'\"<b>"
"""An id and a group that only survive in a URL when they are encoded well."""
GROUPS = ["movie", ODD]


async def draw(*args: Any, **kwargs: Any) -> Any:
    """Says everything that a body can say, and returns values that JSON has not."""
    job = current_job()
    job.progress(1, 2, "half\nway </script>")
    job.log("drawn\r\ndata: forged\x00\u2028", level="warning", password="hidden", nested={"a": [1]})
    job.emit("output", {"line": "…"})
    job.progress(2, 2)
    return {"at": datetime(2026, 3, 1, tzinfo=UTC), "price": Decimal("1.5"), "pair": (1, b"\xff"), "of": list(args)[:3]}


async def tear(*args: Any, **kwargs: Any) -> None:
    raise ValueError("torn </script>\n\n")


async def hold(*args: Any, **kwargs: Any) -> None:
    current_job().progress(1, 4)
    await anyio.sleep_forever()


async def direct() -> None:
    """A child of its own, with the id ``<parent>/1``."""
    await (await current_job().submit_job(draw, group="movie"))


FUNCTIONS = [draw, tear, hold, direct]
NAMES = [f"{__name__}:{function.__name__}" for function in FUNCTIONS]
IDS = [
    "completed", "failed", "in_progress", "cancelled", "skipped", "later", "waiting", "retrying", "hopeful",
    "movie", "movie/1", "gate", "choice", ODD,
]  # fmt: skip


async def populate(jp: JobProcessor) -> None:
    """Returns when every job is where it belongs."""
    never = RetryPolicy(max_retries=0)
    failed = await jp.submit_job(tear, job_id="failed", group="movie", retry=never)
    running = await jp.submit_job(hold, job_id="in_progress", group="movie", metadata={"secret": 1, "n": [None]})
    later = await jp.submit_job(draw, job_id="later", delay=86_400, queue="slow", priority=-(2**53))
    gone = await jp.submit_job(draw, job_id="cancelled", delay=86_400, group="movie")
    await gone.cancel()
    await jp.submit_job(draw, later, key=[running], job_id="waiting", group="movie")
    retry = RetryPolicy(base=86_400, cap=86_400)
    await jp.submit_job(tear, job_id="retrying", retry=retry)
    completed = await jp.submit_job(draw, 1, {"deep": [{}]}, job_id="completed", group="movie")
    ends = [
        completed,
        failed,
        await jp.submit_job(draw, failed, job_id="skipped", group="movie"),
        await jp.submit_job(draw, job_id="hopeful", depends_on=[completed, jp.optional(failed)], group="movie"),
        await jp.submit_job(direct, job_id="movie", limit=("films", 2)),
        await jp.submit_job(draw, job_id=ODD, group=ODD),
    ]
    await jp.submit_gate("Print it?\n</script>", job_id="gate", timeout=86_400)
    await jp.submit_gate("Which?", choices=["a", "b", "no"], reject_on=["no"], job_id="choice", depends_on=completed)
    with anyio.fail_after(PATIENCE):
        for job in ends:
            await jp.wait_for_job(job)
        for job_id, wanted in (("in_progress", "started"), ("retrying", "retrying")):
            async for event in jp.stream_job(job_id):
                if event.type == wanted:
                    break


@asynccontextmanager
async def open_zoo(
    folder: Path, wrap: Callable[[ASGIApp], ASGIApp] = lambda app: app, **settings: Any
) -> AsyncIterator[str]:
    """Yields the URL of a server, ``auth=None`` unless said otherwise."""
    store = SQLiteConfig(db_path=folder / "zoo.db", readers=1)
    daemon = DaemonConfig(shutdown_timeout=0, name="keeper")
    async with JobProcessor(store, functions=FUNCTIONS, daemon=daemon) as jp:
        await populate(jp)
        async with serving(wrap(jp.asgi_app(submit=True, **settings)), http="httptools") as url:
            yield url


@contextmanager
def zoo_in_thread(folder: Path, **settings: Any) -> Iterator[str]:
    """The same for synchronous tests, with an event loop of its own."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_zoo(folder, **settings)) as url:
        yield url
