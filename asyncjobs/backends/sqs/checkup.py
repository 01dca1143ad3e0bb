"""Find out for operators what waits for too long in the table and in the queues, and what hinders the processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from msgspec import json

from asyncjobs.backends.base import Finding
from asyncjobs.backends.sqs import keys, rows, schema
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.concurrent import at_once
from asyncjobs.backends.sqs.errors import MADE_BY, translated
from asyncjobs.backends.sqs.ready_index import ReadyIndex, due_at
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.backends.sqs.table import LOG, WORK, Index, Item
from asyncjobs.backends.sqs.throttling import LATELY
from asyncjobs.backends.sqs.transitions import Transitions
from asyncjobs.backends.sqs.workers import Workers
from asyncjobs.core.state import SECOND
from asyncjobs.exceptions import BackendError
from asyncjobs.plurals import counted

_SWEPT = 120 * SECOND
"""µs after which what any process does for all should be done."""
_ABANDONED = 900 * SECOND
"""µs after which a batch whose process died should be undone."""
_MOST_READY = 1000
_ROWS = 50
_START = "processes that have the store open do it: asyncjobs daemon start -d"
_DEPTHS = {
    "ApproximateNumberOfMessages": "waiting",
    "ApproximateNumberOfMessagesNotVisible": "in flight",
    "ApproximateNumberOfMessagesDelayed": "delayed",
}
_STRANGE: dict[str, tuple[str, str]] = {
    "foreign": (
        "of another program, or for another table; they were given back",
        "let this table have a queue of its own: SQSConfig(queue_url=…)",
    ),
    "newer": ("of a newer version; they were given back", "let all processes have the same version"),
    "malformed": ("that cannot be understood; they were dropped", "find out who else sends to the queue"),
}


class Checkup:
    """The looks of one checkup. Each is for itself: one that fails, or is not permitted, is a finding."""

    def __init__(
        self, transitions: Transitions, index: ReadyIndex, workers: Workers, clients: Clients, urls: Iterable[str]
    ) -> None:
        self._table = transitions.table
        self._clock = transitions.clock
        self._shards = range(transitions.shards)
        self._index = index
        self._workers = workers
        self._clients = clients
        self._urls = dict.fromkeys(urls)

    async def findings(self) -> list[Finding]:
        """Look at everything."""
        looks: list[tuple[str, Callable[[], Awaitable[list[Finding]]]]] = [
            ("the table", self._description),
            ("ready jobs", self._ready),
            ("delayed jobs", self._delayed),
            ("gates with a deadline", self._deadlines),
            ("ended jobs with dependents", self._owed),
            ("batches", self._staged),
            ("the log", self._unlogged),
            *((f"the queue {schema.name_of(url)!r}", lambda url=url: self._queue(url)) for url in self._urls),
            ("what the workers count", self._counts),
        ]
        found: list[Finding] = []
        for what, look in looks:
            try:
                found += await look()
            except BackendError as error:
                found.append(Finding("warning", f"{what} cannot be looked at: {error.args[0]}", error.hint))
        return found

    async def _description(self) -> list[Finding]:
        about = await schema.described(self._table.name, self._clients)
        return [Finding("ok", f"table {self._table.name!r} is {about.get('TableStatus', 'ACTIVE').lower()}")]

    # -- what stands in the indexes

    async def _heads(self, partitions: Sequence[str], limit: int, index: Index = WORK) -> list[Item]:
        async def read(partition: str) -> list[Item]:
            return (await self._table.query(partition, index=index, limit=limit, consistent=False)).items

        return [item for items in await at_once(read, partitions) for item in items]

    async def _rows(self, entries: Sequence[Item]) -> list[Row]:
        found = await self._table.get([(item["pk"], item["sk"]) for item in entries]) if entries else {}
        return [rows.read_row(item) for item in found.values() if "s" in item]

    async def _ready(self) -> list[Finding]:
        lanes = await self._index.lanes()
        partitions = [keys.ready(lane, shard) for lane in lanes for shard in self._shards]
        submitted = [int(item["ws"].partition("#")[2]) // 1000 for item in await self._heads(partitions, _MOST_READY)]
        if not submitted:
            return []
        return [Finding("ok", f"the oldest ready job was submitted {_age(self._clock.now() - min(submitted))} ago")]

    async def _delayed(self) -> list[Finding]:
        now, steady = self._clock.now(), self._clock.steady()
        heads = await self._heads([keys.delayed(shard) for shard in self._shards], 1)
        late = [now - due_at(item["ws"], now, steady) for item in heads]
        return _late("a delayed job is due", late, _SWEPT, _START)

    async def _deadlines(self) -> list[Finding]:
        heads = await self._heads([keys.deadlines(shard) for shard in self._shards], 1)
        late = [self._clock.now() - int(item["ws"].partition("#")[0]) for item in heads]
        return _late("the deadline of a gate is over", late, _SWEPT, _START)

    async def _owed(self) -> list[Finding]:
        found = await self._rows(await self._heads([keys.owed(shard) for shard in self._shards], _ROWS))
        late = [self._clock.now() - row.state.finished_at for row in found if row.owed and row.state.finished_at]
        return _late("the dependents of an ended job are not settled", late, _SWEPT, _START)

    async def _staged(self) -> list[Finding]:
        heads = await self._heads([keys.staged(shard) for shard in self._shards], 1)
        late = [self._clock.now() - int(item["ws"]) for item in heads]
        return _late("a large submission, retry or removal is under way", late, _ABANDONED, _START)

    async def _unlogged(self) -> list[Finding]:
        found = await self._rows(await self._heads([keys.unlogged(shard) for shard in self._shards], _ROWS, LOG))
        entries = [(row, rows.read_entry(packed)) for row in found for packed in row.log]
        late = [self._clock.now() - entry.at for row, entry in entries if entry.seq > row.logged]
        return _late("an event is not in the log yet", late, _SWEPT, _START)

    # -- the queues

    async def _queue(self, url: str) -> list[Finding]:
        name, about = schema.name_of(url), await self._attributes(url, *_DEPTHS, "RedrivePolicy")
        depths = ", ".join(f"{about[attribute]} {word}" for attribute, word in _DEPTHS.items() if attribute in about)
        found = [Finding("ok", f"messages of queue {name!r}: {depths or 'unknown'}")]
        if "RedrivePolicy" not in about:
            return [*found, Finding("warning", f"queue {name!r} has no dead-letter queue", MADE_BY)]
        return [*found, *await self._dead_letters(json.decode(about["RedrivePolicy"])["deadLetterTargetArn"])]

    async def _dead_letters(self, arn: str) -> list[Finding]:
        account, name = arn.split(":")[-2:]
        with translated(f"SQS GetQueueUrl of {name!r}"):
            answer = await self._clients.sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        about = await self._attributes(answer["QueueUrl"], "ApproximateNumberOfMessages")
        depth = int(about.get("ApproximateNumberOfMessages", 0))
        if not depth:
            return [Finding("ok", f"the dead-letter queue {name!r} is empty")]
        what = f"the dead-letter queue {name!r} has {counted(depth, 'message')}, received {schema.MOST_RECEIVED} times"
        return [Finding("warning", what, "no job is lost, the table has them all: look at the messages, then purge it")]

    async def _attributes(self, url: str, *names: str) -> dict[str, Any]:
        with translated(f"SQS GetQueueAttributes of {url}"):
            answer = await self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        return dict(answer.get("Attributes", {}))

    # -- what processes counted

    async def _counts(self) -> list[Finding]:
        counts = await self._workers.message_counts()
        found = [
            Finding("warning", f"workers received {counted(counts[name], 'message')} {what}", mend)
            for name, (what, mend) in _STRANGE.items()
            if counts.get(name)
        ]
        if unsent := counts.get("unsent"):
            what = f"{counted(unsent, 'message')} could not be sent: work spreads at the pace of the sweep"
            found.append(Finding("warning", what, "the reason is in the logs of the daemons"))
        if throttled := counts.get("throttled"):
            what = f"AWS throttled {counted(throttled, 'call')} of the workers in the last {_age(LATELY * SECOND)}"
            found.append(Finding("warning", what, "raise the limits of the table, or let fewer jobs run at once"))
        return found


def _late(what: str, late: Iterable[int], most: int, mend: str) -> list[Finding]:
    """Return a finding about the one that is late most, if any is: a warning from a limit on."""
    longest = max(late, default=-1)
    if longest < 0:
        return []
    text = f"{what}, since {_age(longest)}"
    return [Finding("warning", text, mend) if longest > most else Finding("ok", text)]


def _age(us: float) -> str:
    seconds = max(0, round(us / SECOND))
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
