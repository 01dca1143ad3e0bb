"""Find the jobs that may be removed, by reading committed rows, and let the writer remove them.

A component may be large, so it is found without a lock, page by page. The transaction that removes it checks that it
has not changed (``removal.remove``): a retry of one of its jobs, or a submission connected with it, keeps it if it
comes in between; a later one finds nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any, TypeVar

import anyio
from msgspec import json

from asyncjobs.backends.sqlite.job_pages import ids_as_json
from asyncjobs.backends.sqlite.job_rows import parse_status
from asyncjobs.backends.sqlite.numbers import LAST_JOB
from asyncjobs.backends.sqlite.operations import Clear, Operation, Remove
from asyncjobs.backends.sqlite.removal import Removed
from asyncjobs.core.retention import Components, refusal, take_batch

T = TypeVar("T")
Fetch = Callable[[str, Sequence[Any]], Awaitable[list[tuple[Any, ...]]]]
Run = Callable[[Operation], Awaitable[Any]]

EVER = 2**63 - 1
"""Later than any moment."""
_BEGINNING = (-1, -1)
_SEEDS = 200
"""Jobs that ended early enough, whose components are searched together: a page."""
_PAGES = 25
"""Pages that one call examines, unless its limit is larger."""
_CHUNK = 500
"""Jobs whose neighbours one statement reads."""
_PAGE = 1000
"""The most neighbours that one statement reads."""
_AT_ONCE = 1000
"""Jobs that one transaction removes, unless a single component is larger."""
_REMEMBERED = 200_000
"""The most jobs that are remembered because they stay, so that a round does not examine them again."""
_TRIES = 5
_PAUSE = 0.005
"""Seconds between steps, so that other processes get the lock."""

_OLDEST = """
SELECT j.finished_at, j.n FROM jobs j
WHERE j.finished_at < ? AND (j.finished_at, j.n) > (?, ?) ORDER BY j.finished_at, j.n LIMIT ?"""
_NEWEST = f"SELECT {LAST_JOB}"
_LEFT_OVER = "SELECT EXISTS (SELECT 1 FROM removed) OR EXISTS (SELECT 1 FROM outdated)"
_NAMED = "SELECT j.n, j.finished_at FROM json_each(?) k CROSS JOIN jobs j ON j.id = k.value"
_ONE = "SELECT id, status FROM jobs WHERE n = ?"
_SOME = "(SELECT k.value FROM json_each(?) k)"
_SUBMITTER = """
SELECT c.n, o.n, o.finished_at
FROM json_each(?) k CROSS JOIN jobs c ON c.n = k.value CROSS JOIN jobs o ON o.n = c.parent"""


def _neighbours(near: str, far: str, source: str) -> tuple[str, str]:
    """Return the statements for the first page of neighbours of some jobs, and for further pages of one job.

    The newest come first, because a job that has not ended is most often among them.
    """
    head = f"SELECT {near}, {far}, o.finished_at FROM {source}"
    order = f"ORDER BY {near} DESC, {far} DESC LIMIT {_PAGE}"
    return f"{head} WHERE {near} IN {_SOME} {order}", f"{head} WHERE {near} = ? AND {far} < ? {order}"


_PAGED = (
    _neighbours("e.parent", "e.child", "edges e CROSS JOIN jobs o ON o.n = e.child"),
    _neighbours("e.child", "e.parent", "edges e CROSS JOIN jobs o ON o.n = e.parent"),
    _neighbours("o.parent", "o.n", "jobs o"),
)


class Pruner:
    """A round through the finished jobs: how far it has come, and which jobs stay.

    :param fetch: reads rows.
    :param run: commits an operation.
    """

    def __init__(self, fetch: Fetch, run: Run) -> None:
        self._fetch = fetch
        self._run = run
        self._after = _BEGINNING
        self._staying: set[int] = set()

    async def prune(self, before: int, limit: int) -> int:
        """Remove components of jobs that ended before a moment: see ``JobBackend.prune``."""
        await self._clear_left_over()
        pages = max(_PAGES, limit // _SEEDS)
        if pages > _PAGES:
            self._begin_again()  # the limit is so large that a round may fit into this call
        removed = 0
        for _ in range(pages):
            newest = await self._newest()
            seeds = await self._fetch(_OLDEST, (before, *self._after, _SEEDS))
            components = Components(before, self._staying)
            for finished_at, n in seeds:
                components.add(n, finished_at)
            await self._follow(components)
            if len(self._staying) < _REMEMBERED:
                self._staying.update(components.staying)
            going = components.going
            while going:
                if removed >= limit:
                    return removed  # the rest of this page is found again
                batch = take_batch(going, min(_AT_ONCE, limit - removed))
                removed += len(await self._remove(batch, newest, before))
            if len(seeds) < _SEEDS:
                self._begin_again()
                break
            self._after = seeds[-1]
        return removed

    def _begin_again(self) -> None:
        self._after = _BEGINNING
        self._staying.clear()

    async def remove(self, ids: Sequence[str], whole: bool) -> list[str]:
        """Remove these jobs: see ``JobBackend.remove_jobs``."""
        await self._clear_left_over()
        removed: list[tuple[int, str]] = []
        for _ in range(_TRIES):
            newest = await self._newest()
            components = Components()
            named = await self._named(ids, components)
            if whole:
                await self._follow(components)
            else:
                for level in _chunks(sorted(named)):
                    await self._link(components, level)
            refused = components.refused(None if whole else named)
            if refused is not None:
                rows = await self._fetch(_ONE, (refused,))
                if not rows:
                    continue  # another process removed it just now
                ((job_id, status),) = rows
                raise refusal(job_id, parse_status(status))
            going = components.going
            left = sum(map(len, going))
            while going:
                gone = await self._remove(take_batch(going, _AT_ONCE), newest, EVER)
                removed += gone
                left -= len(gone)
            if not left:
                break  # else another process has changed or removed one of them since: search again
        return [job_id for _, job_id in sorted(removed)]

    async def _named(self, ids: Sequence[str], components: Components) -> set[int]:
        named: set[int] = set()
        for chunk in _chunks(ids):
            for n, finished_at in await self._fetch(_NAMED, (ids_as_json(chunk),)):
                named.add(n)
                components.add(n, finished_at)
        return named

    async def _newest(self) -> int:
        return (await self._fetch(_NEWEST, ()))[0][0]

    # -- finding

    async def _follow(self, components: Components) -> None:
        while level := components.take(_CHUNK):
            await self._link(components, level)

    async def _link(self, components: Components, level: Collection[int]) -> None:
        for row in await self._fetch(_SUBMITTER, (_json(level),)):
            components.link(*row)
        for many, one in _PAGED:
            await self._link_pages(components, many, one, sorted(level))

    async def _link_pages(self, components: Components, many: str, one: str, left: list[int]) -> None:
        while left:
            page = await self._fetch(many, (_json(left),))
            for row in page:
                components.link(*row)
            if len(page) < _PAGE:
                return
            of = page[-1][0]
            while len(page) == _PAGE and not components.stays(of):  # the rest of the job at which the page ended
                page = await self._fetch(one, page[-1][:2])
                for row in page:
                    components.link(*row)
            left = [n for n in left if n < of and not components.stays(n)]

    # -- removing

    async def _remove(self, batch: Sequence[Sequence[int]], newest: int, before: int) -> Sequence[tuple[int, str]]:
        removed: Removed = await self._run(Remove(components=batch, newest=newest, before=before))
        if removed.more:
            await self._clear()
        return removed.jobs

    async def _clear_left_over(self) -> None:
        if (await self._fetch(_LEFT_OVER, ()))[0][0]:
            await self._clear()

    async def _clear(self) -> None:
        more = True
        while more:
            more = await self._run(Clear())
            await anyio.sleep(_PAUSE)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))


def _json(numbers: Collection[int]) -> str:
    return json.encode(list(numbers)).decode()
