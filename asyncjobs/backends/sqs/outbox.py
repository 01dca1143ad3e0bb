"""Send a message for each job that became ready by a write of this process, unless it is claimed here before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from asyncjobs.backends.sqs import hints, keys
from asyncjobs.backends.sqs.errors import translated
from asyncjobs.backends.sqs.known import Known
from asyncjobs.backends.sqs.rows import Row
from asyncjobs.exceptions import BackendError
from asyncjobs.models import JobStatus, WaitsFor
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.sqs")

_AT_ONCE = 10
"""Messages of one call."""
_MOST_WAITING = 10_000
"""Jobs whose message was not sent yet: what is more is found by the index of ready jobs."""


class Outbox:
    """The jobs for which a message is to be sent: no other process has heard of them by one.

    :param urls: the address of the queue for each queue of ours that has one of its own; ``""`` for all others.
    """

    def __init__(self, client: Any, urls: Mapping[str, str], table_id: str, known: Known) -> None:
        self._client = client
        self._urls = urls
        self._table_id = table_id
        self._known = known
        self._lanes: dict[str, str] = {}  # the lane of each job, by id
        self.unsent = 0
        """Messages that could not be sent."""

    def notice(self, row: Row) -> None:
        """Remember to send a message for a job that is ready; forget it for one that is not any more."""
        state = row.state
        if state.status is JobStatus.PENDING and state.waits_for is WaitsFor.WORKER and row.fixed.owner is None:
            if len(self._lanes) < _MOST_WAITING:
                self._lanes[row.id] = keys.lane(row.fixed.lane)
        else:
            self._lanes.pop(row.id, None)

    def __contains__(self, job_id: str) -> bool:
        """Return whether the message for a job is still to be sent."""
        return job_id in self._lanes

    def withdraw(self, ids: Iterable[str]) -> list[str]:
        """Send no messages for these jobs; return those for which one was to be sent."""
        return [job_id for job_id in ids if self._lanes.pop(job_id, None) is not None]

    async def send(self) -> None:
        """Send what is still ready and was not claimed by this process meanwhile. A failure is only counted."""
        while self._lanes:
            batch = dict(islice(self._lanes.items(), _AT_ONCE))
            self.withdraw(batch)
            by_url: dict[str, dict[str, str]] = {}
            for job_id, lane in batch.items():
                by_url.setdefault(self._url_for(job_id), {})[job_id] = lane
            try:
                for url, jobs in by_url.items():
                    await self._send(url, jobs)
            except BaseException:  # cut short; a message that comes twice does no harm
                self._lanes = batch | self._lanes
                raise

    async def end_poll(self, url: str) -> None:
        """Send a message for no job: it ends a poll, whichever process gets it."""
        await self._send(url, {hints.NO_JOB: ""})

    def _url_for(self, job_id: str) -> str:
        row = self._known.row(job_id)
        queue = "" if row is None else row.fixed.queue
        return self._urls.get(queue, self._urls[""])

    async def _send(self, url: str, jobs: Mapping[str, str]) -> None:
        entries = [
            {"Id": str(place), "MessageBody": hints.encode(self._table_id, job_id, lane)}
            for place, (job_id, lane) in enumerate(jobs.items())
        ]
        try:
            with translated(f"SQS SendMessageBatch to {url}"):
                answer = await self._client.send_message_batch(QueueUrl=url, Entries=entries)
        except BackendError as error:
            self._count(len(entries), error)
            return
        if failed := answer.get("Failed", ()):
            self._count(len(failed), failed[0].get("Message") or failed[0]["Code"])

    def _count(self, count: int, why: BackendError | str) -> None:
        if not self.unsent and not (isinstance(why, BackendError) and why.logged):
            logger.warning("messages cannot be sent, so work spreads at the pace of the sweep: %s", why)
        self.unsent += count
