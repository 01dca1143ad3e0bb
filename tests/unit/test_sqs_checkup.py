"""What `doctor` says of a store in SQS and DynamoDB: what waits, what is late, what is not permitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from asyncjobs.backends.base import Finding
from asyncjobs.backends.sqs import keys
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.table import Update
from asyncjobs.testing import ManualClock
from tests import sqs_server
from tests.conformance.support import new
from tests.sqs_answers import AnsweredSQSBackend, Answering, Refusal

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


def said(findings: Sequence[Finding], part: str) -> Finding:
    """Return the one finding that says this."""
    [found] = [finding for finding in findings if part in finding.text]
    return found


async def test_a_store_that_is_not_open_has_nothing_to_look_at() -> None:
    assert await SQSBackend(sqs_server.config()).checkup() == ()


async def test_a_new_store_is_well() -> None:
    backend = SQSBackend(sqs_server.config())
    await backend.open()
    try:
        findings = await backend.checkup()
    finally:
        await backend.close()
    assert {finding.level for finding in findings} == {"ok"}
    assert said(findings, "messages of queue").text.endswith("0 waiting, 0 in flight, 0 delayed")
    said(findings, "is empty")
    said(findings, "is active")


async def test_what_is_late_is_told_with_its_age() -> None:
    clock = ManualClock()
    backend = SQSBackend(sqs_server.config(shards=1), clock=clock)
    await backend.open()
    try:
        parts: Any = backend._parts
        await backend.enqueue_jobs([new("ready"), new("later", delay=60_000_000)])
        staged = {"id": "ix", "wp": keys.staged(0), "ws": keys.number(clock.now())}
        await parts.transitions.table.write(Update(("B#ix", "M"), new=True, set=staged))
        early = await backend.checkup()
        clock.advance(3600)
        late = await backend.checkup()
    finally:
        await backend.close()
    assert said(early, "oldest ready").text.endswith("submitted 0 s ago")
    assert not [finding for finding in early if "delayed job is due" in finding.text]
    assert said(early, "is under way").level == "ok"
    assert said(late, "oldest ready").text.endswith("submitted 60 min ago")
    assert said(late, "a delayed job is due, since 59 min").level == "warning"
    assert said(late, "is under way, since 60 min").level == "warning"
    assert said(late, "is not in the log yet, since 60 min").level == "warning"


async def test_dead_letters_and_waiting_messages_are_counted() -> None:
    backend = SQSBackend(sqs_server.config())
    await backend.open()
    try:
        parts: Any = backend._parts
        sqs, url = parts.clients.sqs, parts._checked.urls[""]
        dead = (await sqs.get_queue_url(QueueName=f"{backend.config.queue_url}-dead"))["QueueUrl"]
        for queue in (url, url, dead):
            await sqs.send_message(QueueUrl=queue, MessageBody="x")
        await sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1)
        findings = await backend.checkup()
    finally:
        await backend.close()
    assert said(findings, "messages of queue").text.endswith("1 waiting, 1 in flight, 0 delayed")
    letters = said(findings, "dead-letter queue")
    assert (letters.level, "has 1 message" in letters.text) == ("warning", True)


async def test_what_workers_count_is_told_by_any_process() -> None:
    answering = Answering()
    backend = AnsweredSQSBackend(sqs_server.config(), answering)
    await backend.open()
    other = SQSBackend(backend.config)
    await other.open()
    try:
        parts: Any = backend._parts
        refusals = [Refusal("ThrottlingException")]
        answering.decide = lambda *_: refusals.pop() if refusals else None
        await backend.get_jobs(["a"])  # it is tried again, and succeeds
        assert parts.clients.throttling.counts() == {"throttled": 1}
        counted = {"foreign": 3, "newer": 1, "unsent": 2, "throttled": 1}
        about = {"about": await _registration(backend), "counts": counted}
        beat = {"at": parts.clock.lease_time(), "beat": 0, "hand": 0, "held": []}
        await parts.transitions.table.write(Update((keys.WORKERS, "w1-x"), new=True, set={**about, **beat}))
        findings = await other.checkup()
    finally:
        await other.close()
        await backend.close()
    assert said(findings, "3 messages of another program").level == "warning"
    assert said(findings, "1 message of a newer version").level == "warning"
    assert said(findings, "2 messages could not be sent").level == "warning"
    assert said(findings, "AWS throttled 1 call of the workers in the last 10 min").level == "warning"


async def _registration(backend: SQSBackend) -> bytes:
    from asyncjobs.backends.base import NewWorker

    worker = await backend.register_worker(NewWorker(name="x", slots=1, lease=60.0))
    parts: Any = backend._parts
    item = (await parts.transitions.table.get([(keys.WORKERS, worker)]))[keys.WORKERS, worker]
    await backend.deregister_worker(worker)
    return item["about"]


async def test_a_look_that_is_not_permitted_is_a_line_and_not_the_end() -> None:
    refused = {"GetQueueAttributes", "DescribeTable"}
    message = "User: x is not authorized to perform: it on resource: y"
    answering = Answering()
    backend = AnsweredSQSBackend(sqs_server.config(), answering)
    await backend.open()
    try:
        await backend.enqueue_jobs([new("ready")])
        answering.decide = lambda called, _: Refusal("AccessDenied", message) if called in refused else None
        findings = await backend.checkup()
    finally:
        await backend.close()
    for part in ("the table cannot be looked at", "the queue 'test-"):
        finding = said(findings, part)
        assert (finding.level, "is not permitted" in finding.text) == ("warning", True)
        assert "asyncjobs aws policy" in str(finding.mend)
    said(findings, "the oldest ready job was submitted")
