"""Keep the steps of jobs: an item for each key, written in one transaction with a check of the job's row.

Transactions on one row conflict with each other. So what several callers keep for one job at the same time goes
together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

import anyio

from asyncjobs.backends.bounds import PAGE_BYTES, SMALL_VALUE, check_key, check_limit
from asyncjobs.backends.sqs import keys, payloads
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.loading import Loaded, decide, read_rows
from asyncjobs.backends.sqs.rows import Row, StoredValue
from asyncjobs.backends.sqs.table import LARGEST_BODY, Item, Key, Table, Update
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.values import KeptStep, StepPage
from asyncjobs.core import commands
from asyncjobs.core.plan import Plan
from asyncjobs.core.requests import Forget, Keep, StepChange
from asyncjobs.core.state import Stale

_IN_ONE = 99
"""Items of a transaction beside the check."""
_REMEMBERED = 1000
_PAGE = 100

Asked = tuple[StepChange, int]
"""A change, and the number of the worker that asks for it."""
Result = Stale | None


class _Request:
    """Changes of one job by one caller; ``results`` once they are done."""

    def __init__(self, changes: Sequence[Asked]) -> None:
        self.changes = changes
        self.results: list[Result] | None = None


class _Queue:
    """The requests of one job that wait, and the lock of the caller that does them."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.waiting: list[_Request] = []
        self.users = 0


class Steps:
    """The steps of all jobs.

    :param number_of: the number of a worker, by its id.
    """

    def __init__(self, transitions: Transitions, known: Known, number_of: Callable[[str], int]) -> None:
        self._transitions = transitions
        self._table: Table = transitions.table
        self._known = known
        self._number_of = number_of
        self._queues: dict[str, _Queue] = {}
        self._large: OrderedDict[Key, StoredValue] = OrderedDict()

    # -- writing

    async def write(self, changes: Sequence[StepChange]) -> list[Result]:
        """Keep and forget, the changes of one job in their order; return for each whether it was refused."""
        by_job: dict[str, list[int]] = {}
        for place, change in enumerate(changes):
            by_job.setdefault(change.attempt.job_id, []).append(place)
        asked: list[Asked] = [(change, self._number_of(change.attempt.worker)) for change in changes]
        results: dict[int, Result] = {}

        async def write(job: tuple[str, list[int]]) -> None:
            job_id, places = job
            done = await self._together(job_id, [asked[place] for place in places])
            results.update(zip(places, done, strict=True))

        await at_once(write, list(by_job.items()))
        return [results[place] for place in range(len(changes))]

    async def _together(self, job_id: str, changes: Sequence[Asked]) -> list[Result]:
        """Do changes of one job, together with those that wait for it, too."""
        queue = self._queues.setdefault(job_id, _Queue())
        request = _Request(changes)
        queue.waiting.append(request)
        queue.users += 1
        try:
            async with queue.lock:
                if request.results is None:
                    await self._do(job_id, queue, request)
        finally:
            if request in queue.waiting:
                queue.waiting.remove(request)
            queue.users -= 1
            if not queue.users:
                del self._queues[job_id]
        assert request.results is not None, "it was done, by this caller or by another one"
        return request.results

    async def _do(self, job_id: str, queue: _Queue, own: _Request) -> None:
        """Do what waits; after an error only the caller's own. What was done already may be done again."""
        requests, queue.waiting = queue.waiting, []
        try:
            results = await self._write(job_id, [change for request in requests for change in request.changes])
        except BaseException as error:
            queue.waiting = requests + queue.waiting
            if not isinstance(error, Exception) or len(requests) == 1:
                raise
            queue.waiting.remove(own)
            own.results = await self._write(job_id, own.changes)
            return
        for request in requests:
            request.results = results[: len(request.changes)]
            results = results[len(request.changes) :]

    async def _write(self, job_id: str, changes: Sequence[Asked]) -> list[Result]:
        results: list[Result] = []
        while len(results) < len(changes):
            first, _ = changes[len(results)]
            if isinstance(first, Forget):
                results.append(await self._forget(job_id, changes[len(results)]))
            else:
                results += await self._keep(job_id, _keeps(changes[len(results) :]))
        return results

    async def _keep(self, job_id: str, keeps: Sequence[Asked]) -> list[Result]:
        """Keep values in one transaction."""
        row, refusals = self._known.row(job_id), 0
        while True:
            results, row, plan = await self._decide(job_id, keeps, row)
            if row is None or not plan.steps:
                return results
            # What comes last under a key remains.
            last = {
                change.key: (generation, change) for _, generation, change in plan.steps if isinstance(change, Keep)
            }
            for _, change in last.values():
                payloads.check(self._table, change.value)
            kept = [await self._item(row, generation, change) for generation, change in last.values()]
            if await self._transact(row, kept):
                await self._replaced(kept)
                return results
            await _drop(self._table, [{**update.set, "pk": update.key[0]} for update in kept])
            row = None
            refusals += 1
            await self._transitions.pause(refusals)

    async def _decide(
        self, job_id: str, changes: Sequence[Asked], row: Row | None
    ) -> tuple[list[Result], Row | None, Plan]:
        """Decide by this row, or by the stored one: what this process remembers does not suffice to refuse."""
        while True:
            fresh = row is None
            if fresh:
                row = (await read_rows(self._table, [job_id]))[job_id]
            view = Loaded(self._transitions.clock)
            view.put(job_id, row)
            n = -1 if row is None else row.n
            numbered = [(n, worker, change) for change, worker in changes]
            results, plan = await decide(
                lambda plan, numbered=numbered: commands.write_steps(plan, numbered),
                view,
                self._table,
                self._transitions.clock,
            )
            if fresh or not any(results):
                return results, row, plan
            row = None

    async def _item(self, row: Row, generation: int, change: Keep) -> Update:
        """Return the item of a value. A large one is written first, under a name that nothing knows yet."""
        item: dict[str, Any] = {"g": generation, "size": len(change.value)}
        if len(change.value) <= SMALL_VALUE:
            item["b"] = change.value
        else:  # so a page of steps reads no large ones
            large = payloads.apart(row.partition, change.value)
            await payloads.store(self._table, large)
            item |= {"y": large.stored.name, "parts": large.parts}
        return Update((row.partition, keys.STEP + change.key), new=True, replace=True, set=item)

    async def _transact(self, row: Row, updates: Sequence[Update]) -> bool:
        check = Update(keys.row(row.id), equal={"v": row.version, "n": row.n})
        return await self._table.transact(updates, [check]) is None

    async def _replaced(self, kept: Iterable[Update]) -> None:
        """Delete the large values that were replaced, as far as this process knows: others go with their job."""
        for update in kept:
            if (old := self._large.pop(update.key, None)) is not None:
                await payloads.drop(self._table, update.key[0], [old])
            if (stored := _stored(update.set)) is not None:
                self._large[update.key] = stored
        while len(self._large) > _REMEMBERED:
            self._large.popitem(last=False)

    async def _forget(self, job_id: str, change: Asked) -> Result:
        """Delete what is kept under a prefix, page by page, each with a check of the row."""
        row, refusals = self._known.row(job_id), 0
        assert isinstance(change[0], Forget)
        while True:
            (result,), row, plan = await self._decide(job_id, [change], row)
            if row is None or not plan.steps:
                return result
            begins = keys.STEP + change[0].prefix
            page = await self._table.query(row.partition, begins=begins, limit=_IN_ONE)
            deletes = [Update((item["pk"], item["sk"]), delete=True) for item in page.items]
            if not await self._transact(row, deletes):
                row = None
                refusals += 1
                await self._transitions.pause(refusals)
                continue
            await _drop(self._table, page.items)
            if page.next is None:
                return None

    # -- reading

    async def page(self, job_id: str, after: str | None, limit: int, *, values: bool = True) -> StepPage:
        """Return a page of the steps that count."""
        check_limit(limit)
        if after is not None:
            check_key("after", after)
        row = (await read_rows(self._table, [job_id]))[job_id]
        if row is None:
            return StepPage()
        steps: list[KeptStep] = []
        room = PAGE_BYTES
        async for item in self._counting(row, after):
            value = item.get("b") if values else None
            room -= len(value or b"")
            if steps and (len(steps) == limit or room < 0):
                return StepPage(tuple(steps), steps[-1].key)
            steps.append(KeptStep(item["sk"][len(keys.STEP) :], int(item["size"]), value))
        return StepPage(tuple(steps))

    async def _counting(self, row: Row, after: str | None = None) -> AsyncIterator[Item]:
        start: Any = None
        bounds: dict[str, Any] = (
            {"begins": keys.STEP} if after is None else {"after": keys.STEP + after, "before": keys.STEPS_END}
        )
        while True:
            page = await self._table.query(row.partition, start=start, limit=_PAGE, **bounds)
            for item in page.items:
                if int(item["g"]) >= row.state.steps_from:
                    yield item
            start = page.next
            if start is None:
                return

    async def count(self, job_id: str) -> int:
        """Count the steps that count."""
        row = (await read_rows(self._table, [job_id]))[job_id]
        return 0 if row is None else len([item async for item in self._counting(row)])

    async def value(self, job_id: str, key: str) -> bytes | None:
        """Return the value under a key."""
        check_key("key", key)
        row = (await read_rows(self._table, [job_id]))[job_id]
        if row is None:
            return None
        at = (row.partition, keys.STEP + key)
        while True:
            item = (await self._table.get([at])).get(at)
            if item is None or int(item["g"]) < row.state.steps_from:
                return None
            stored = _stored(item)
            if stored is None:
                return item["b"]
            value = await payloads.read_stored(self._table, row.partition, stored)
            if value is not None:
                return value  # else it was replaced just now


def _keeps(changes: Sequence[Asked]) -> Sequence[Asked]:
    """Return as many of the first changes as keep something and fit into a transaction, one at least."""
    size = 0
    for place, (change, _) in enumerate(changes):
        if isinstance(change, Forget) or place == _IN_ONE:
            return changes[:place]
        size += len(change.value) if len(change.value) <= SMALL_VALUE else 0
        if place and size > LARGEST_BODY:
            return changes[:place]
    return changes


def _stored(item: Mapping[str, Any]) -> StoredValue | None:
    """Return where the large value of a step stands."""
    return None if "y" not in item else StoredValue(item["y"], int(item["parts"]), int(item["size"]))


async def _drop(table: Table, items: Iterable[Mapping[str, Any]]) -> None:
    """Delete the large values of steps that are gone."""
    for item in items:
        if (stored := _stored(item)) is not None:
            await payloads.drop(table, item["pk"], [stored])


# -- upkeep


async def delete_outdated(transitions: Transitions, limit: int) -> None:
    """Delete steps that no longer count, those of jobs that were retried anew; look at about so many in all."""
    left = limit
    for entry in (await transitions.table.query(keys.OUTDATED, limit=10)).items:
        if left > 0:
            left -= await _delete_outdated(transitions.table, entry, left)


async def _delete_outdated(table: Table, entry: Item, limit: int) -> int:
    """Look at the next steps of a job, and return at how many. Its entry has the last one that was looked at."""
    partition, at, looked_at = keys.job(entry["id"], int(entry["n"])), entry.get("at", keys.STEP), 0
    more = True
    while more and looked_at < limit:
        page = await table.query(partition, after=at, before=keys.STEPS_END, limit=_PAGE)
        outdated = [item for item in page.items if int(item["g"]) < int(entry["from"])]
        deletes = [Update((item["pk"], item["sk"]), delete=True, equal={"g": item["g"]}) for item in outdated]
        await table.write_all(deletes)
        await _drop(table, outdated)
        looked_at += len(page.items)
        at = page.items[-1]["sk"] if page.items else at
        more = page.next is not None
    # Unless the job was retried anew once more: then it begins again.
    key, same = (entry["pk"], entry["sk"]), {"from": entry["from"]}
    await table.write(Update(key, set={"at": at}, equal=same) if more else Update(key, delete=True, equal=same))
    return looked_at
