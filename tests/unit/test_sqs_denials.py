"""A permission that is missing is logged once, with the call and the fix, and work goes on when it is given."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from typing import Any

import anyio
import pytest

from asyncjobs import BackendError, DaemonConfig, JobProcessor, SQSConfig
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.backends.sqs.denials import Denials
from asyncjobs.backends.sqs.denials import _on_call as on_call
from asyncjobs.backends.sqs.table import Table
from tests import sqs_server
from tests.faults import bodies
from tests.sqs_answers import AnsweredSQSBackend, Answering, Refusal

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

PATIENCE = 60
FIX = "'asyncjobs aws policy --for worker' (or submitter, reader)"


def denied(operation: str, resource: str = "arn:aws:some:thing") -> Refusal:
    """Return the answer of AWS to a call that is not permitted."""
    message = (
        f"User: arn:aws:iam::1:user/x is not authorized to perform: it:{operation} on resource: {resource} because"
    )
    return Refusal("AccessDeniedException", message, 400)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def submit_two(jp: JobProcessor) -> None:
    """Submit a job and its dependent, as far as that is permitted."""
    with suppress(BackendError):
        async with jp.batch() as batch:
            first = batch.submit_job(bodies.nothing)
            batch.submit_job(bodies.nothing, depends_on=[first])


@pytest.mark.slow
@pytest.mark.parametrize(
    "operation", ["GetItem", "Query", "UpdateItem", "TransactWriteItems", "SendMessageBatch", "ReceiveMessage"]
)
async def test_a_permission_that_is_missing_later_is_logged_once_and_once_that_it_is_given(
    operation: str, caplog: pytest.LogCaptureFixture
) -> None:
    answering = Answering()
    backend = AnsweredSQSBackend(sqs_server.config(wait_time=1), answering)
    async with JobProcessor(backend, daemon=DaemonConfig(lease=3), functions=[bodies.nothing]) as jp:
        await (await jp.submit_job(bodies.nothing))
        answering.decide = lambda called, _: denied(called) if called == operation else None
        with anyio.fail_after(PATIENCE):
            while answering.given[operation] < 3:
                await submit_two(jp)
                await anyio.sleep(0.1)
        answering.decide = lambda *_: None
        with anyio.fail_after(PATIENCE):
            await submit_two(jp)
            await (await jp.submit_job(bodies.nothing))
            await jp.drain()
            while len(warnings(caplog)) < 2:  # a poll, or what sends, pauses for longer after each failure
                await submit_two(jp)
                await anyio.sleep(0.1)
            await jp.drain()
    logged, over = warnings(caplog)
    assert f"{operation} " in logged
    assert f"resumed: {logged.partition(' is not')[0]} is permitted now" == over
    assert "is not permitted" in logged
    assert f"user/x is not authorized to perform: it:{operation} on resource: arn:aws:some:thing" in logged
    assert FIX in logged


class Model:
    """What botocore tells of a call."""

    name = "Query"

    class service_model:
        service_name = "dynamodb"


async def test_an_answer_to_a_call_from_before_the_refusal_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    denials = Denials()
    denials.begin(lambda: True)
    calls: list[dict[str, Any]] = [{}, {}, {}]
    slow, refused, later = calls
    for context in (slow, refused):
        on_call({"TableName": "jobs"}, context)
    error = {"Error": {"Code": "AccessDeniedException", "Message": "on resource: arn:it"}}
    denials._on_answer(error, Model, refused)
    denials._on_answer({}, Model, slow)
    assert len(warnings(caplog)) == 1
    on_call({"TableName": "jobs"}, later)
    denials._on_answer({}, Model, later)
    assert warnings(caplog)[1:] == ["resumed: DynamoDB Query is permitted now"]


@pytest.mark.slow
async def test_a_process_that_may_only_read_says_that_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    settings = sqs_server.config(wait_time=1)
    writes = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}
    answering = Answering(lambda called, _: denied(called) if called in writes else None)
    working = JobProcessor(settings, daemon=DaemonConfig(lease=3), functions=[bodies.nothing])
    async with working, JobProcessor(AnsweredSQSBackend(settings, answering), enable_daemon=False) as reading:
        job = await working.submit_job(bodies.nothing, group="g")
        with anyio.fail_after(PATIENCE):
            assert [event.type async for event in reading.stream_group("g")][-1] == "completed"
            while answering.given.total() < 2:
                await anyio.sleep(0.1)
        assert (await reading.get_job(job.id)).status == "completed"
    [logged] = warnings(caplog)
    assert "this process leaves upkeep to others" in logged


async def test_each_resource_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    clients = await Clients.open(sqs_server.config(bucket="values"))
    clients.denials.begin(lambda: False)
    answering = Answering(lambda called, request: denied(called, request.headers.get("x-resource", "a")))
    answering.attach_to(clients)
    resources = iter(["a", "b", "a", "b", "b"])
    answering.decide = lambda called, _: denied(called, next(resources))
    table = Table(clients.dynamodb, "jobs")
    for _ in range(4):
        with pytest.raises(BackendError, match="not permitted") as info:
            await table.get([("a", "b")])
        assert info.value.logged, "a loop that tries again does not log it"
    heartbeat: Any = clients.connect("dynamodb")
    with pytest.raises(Exception, match="not authorized"):
        heartbeat.get_item(TableName="jobs", Key={})
    heartbeat.close()
    answering.decide = lambda called, _: Refusal("AccessDenied", "Access Denied", 403)
    for _ in range(2):
        with pytest.raises(Exception, match="Access Denied"):
            await clients.s3.get_object(Bucket="values", Key="x")
    await clients.close()
    assert [message.partition(" is not")[0] for message in warnings(caplog)] == [
        "DynamoDB GetItem",
        "DynamoDB GetItem",
        "S3 GetObject",
    ]


async def test_what_was_given_for_one_table_or_index_says_nothing_of_another(caplog: pytest.LogCaptureFixture) -> None:
    clients = await Clients.open(sqs_server.config())
    clients.denials.begin(lambda: False)
    refused = {"one", "two"}

    def decide(called: str, request: Any) -> Refusal:
        named = json.loads(request.body)["TableName"]
        return denied(called, named) if named in refused else Refusal("", "", 200)

    Answering(decide).attach_to(clients)
    tables = {name: Table(clients.dynamodb, name) for name in ("one", "two")}

    async def get(name: str) -> None:
        with suppress(BackendError):
            await tables[name].get([("a", "b")])

    for _ in range(2):
        await get("one")
        await get("two")
    refused.remove("one")
    for _ in range(2):
        await get("one")
        await get("two")
    await clients.close()
    assert [message.partition(": ")[0].partition(" (")[0] for message in warnings(caplog)] == [
        *["DynamoDB GetItem is not permitted"] * 2,
        "resumed",
    ]


@pytest.mark.parametrize("operation", ["DescribeTable", "GetItem", "GetQueueUrl"])
async def test_at_the_opening_it_is_the_error_and_no_line_of_the_log(
    operation: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = sqs_server.made()
    opened = Clients.open

    async def opening(config: SQSConfig) -> Clients:
        clients = await opened(config)
        Answering(lambda called, _: denied(called) if called == operation else None).attach_to(clients)
        return clients

    monkeypatch.setattr(Clients, "open", opening)
    with pytest.raises(BackendError, match=f"{operation} .* is not permitted") as info:
        await SQSBackend(settings).open()
    assert FIX in str(info.value.hint)
    assert warnings(caplog) == []
