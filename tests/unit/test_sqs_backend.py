"""The store as an object: in another process, and when its table is lost while it is open."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from asyncjobs import JobProcessor
from asyncjobs.backends.sqs import keys, schema
from asyncjobs.backends.sqs.backend import SQSBackend
from asyncjobs.backends.sqs.clients import Clients
from asyncjobs.config import DaemonConfig
from asyncjobs.exceptions import BackendClosedError, BackendConnectionError, BackendError, ConfigurationError
from asyncjobs.requests import JobQuery
from tests import sqs_server
from tests.conformance.support import Store, new
from tests.sqs_capacity import CountingClient
from tests.sqs_faults import Wrapped, answer_of
from tests.sqs_faulty_store import WrappedSQSBackend

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> Any:
    config = sqs_server.config(shards=1)
    async with Store(lambda clock: SQSBackend(config, clock=clock)) as opened:
        yield opened


CALLS: dict[str, Callable[[SQSBackend], Any]] = {
    "open": lambda backend: backend.open(),
    "submit": lambda backend: backend.enqueue_jobs([new("a")]),
    "find": lambda backend: backend.find_jobs(JobQuery()),
    "wait": lambda backend: backend.wait(0),
    "reap": lambda backend: backend.reap(),
    "read_events": lambda backend: backend.read_events(),
    "prune": lambda backend: backend.prune(0),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_forked_child_is_refused_at_every_call(
    store: Store, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend: Any = store.backend
    pid = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid + 1)
        with pytest.raises(BackendClosedError, match="belongs to the parent process") as refused:
            await CALLS[call](backend)
        assert "forked child" in (refused.value.hint or "")
    await store.submit(new("b"))


async def test_a_forked_child_does_not_close_what_its_parent_has_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid + 1)
        await store.backend.close()
    await store.submit(new("b"))


@pytest.mark.parametrize("call", [call for call in CALLS if call != "open"])
async def test_a_call_that_is_under_way_while_the_store_is_closed_is_done_or_refused(
    store: Store, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    backend: Any = store.backend
    outcomes: list[str] = []

    async def ask() -> None:
        try:
            await CALLS[call](backend)
        except BackendError as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append("done")

    sent = anyio.Event()

    async def on_call(**_: object) -> None:
        sent.set()

    backend._parts.clients.dynamodb.meta.events.register_first("before-send", on_call)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask)
            await sent.wait()
            await backend.close()
    assert len(outcomes) == 5
    assert set(outcomes) <= {"done", "BackendClosedError"}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING], "that AWS is away"


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_on_trio_a_program_is_told_at_its_start_what_it_runs_on(anyio_backend: str) -> None:
    with pytest.raises(ConfigurationError, match="the SQS store runs on asyncio only") as refused:
        async with JobProcessor(SQSBackend(sqs_server.config())):
            raise AssertionError("it has been entered")
    assert "without trio" in (refused.value.hint or "")


def client_of(store: Store) -> Any:
    backend: Any = store.backend
    return backend._parts.clients.dynamodb


def table_of(store: Store) -> Any:
    backend: Any = store.backend
    return backend._parts.transitions.table


async def sweep(store: Store) -> None:
    for _ in range(3):
        store.clock.advance(30)
        await store.backend.reap()


async def test_a_table_that_is_lost_is_named_with_what_makes_it(store: Store) -> None:
    await store.submit(new("a"))
    await sweep(store)
    await client_of(store).delete_table(TableName=table_of(store).name)
    region = store.backend.config.region
    with pytest.raises(BackendError, match=f"it does not exist in {region}") as error:
        await store.submit(new("b"))
    assert "asyncjobs aws init" in (error.value.hint or "")
    with pytest.raises(BackendError, match="it does not exist"):
        await sweep(store)


async def test_a_table_that_was_made_anew_is_named_once_with_what_is_to_be_done(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await store.submit(new("a"))
    table = table_of(store)
    meta = (await table.get([keys.META]))[keys.META]
    await client_of(store).delete_table(TableName=table.name)
    await client_of(store).create_table(**schema.table_definition(table.name))
    async with store.second() as other:
        await other.enqueue_jobs([new("b")])
    for _ in range(3):
        await sweep(store)

    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]

    [line] = said()
    assert "is not the one that was opened: it was deleted, and made anew since" in line
    assert "restart this process, and every other one that has had it open" in line
    other_meta = (await table.get([keys.META]))[keys.META]
    await table.put_many([meta])  # the first one is there again, from a copy
    await sweep(store)
    await table.put_many([other_meta])
    await sweep(store)
    assert said() == [line, line]
    await store.reopen()
    await sweep(store)
    assert [job.id for job in await store.jobs()] == ["b"]


async def test_the_look_for_workers_whose_process_is_gone_makes_no_call(store: Store) -> None:
    await store.submit(new("a"), new("later", run_at=store.clock.now() + 10_000_000))
    await (await store.hand()).claim()
    store.clock.advance(1000)
    backend: Any = store.backend
    clients: Any = backend._parts.clients
    calls: list[str] = []
    for client in (clients.dynamodb, clients.sqs):
        client.meta.events.register("before-call", lambda model, **_: calls.append(model.name))
    assert list(await store.backend.reap(expired=False)) == []
    assert calls == []
    assert list(await store.backend.reap()) == ["a"]
    assert "Query" in calls


async def test_a_process_without_a_worker_looks_for_what_was_left_undone(store: Store) -> None:
    """With its look for gates that are due, at its own pace."""
    await store.submit(new("later", run_at=store.clock.now() + 10_000_000))
    store.clock.advance(20)
    assert await store.backend.get_ready_jobs() == []
    assert await store.backend.end_due_gates() == []
    assert [job.id for job in await store.backend.get_ready_jobs()] == ["later"]
    table = table_of(store)
    table._client = counting = CountingClient(table._client)
    for _ in range(5):
        assert await store.backend.end_due_gates() == []
    assert counting.calls == {"query": 5}, "no sweep is due, so each only looks for gates"


class Away(Wrapped):
    """A client for which the table is away whenever the test says so."""

    def __init__(self, client: Any, is_away: Callable[[], Exception | None]) -> None:
        super().__init__(client)
        self._is_away = is_away

    async def call(self, operation: str, **request: Any) -> Any:
        if (error := self._is_away()) is not None:
            raise error
        return await super().call(operation, **request)


def double(number: int) -> int:
    return 2 * number


async def test_a_daemon_whose_table_is_away_says_so_and_goes_on_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As while it is restored from a copy under its old name."""

    away: list[Exception] = []
    asked = anyio.Event()

    def is_away() -> Exception | None:
        if away:
            asked.set()
        return away[0] if away else None

    def wrap(clients: Clients) -> None:
        clients.dynamodb = Away(clients.dynamodb, is_away)

    config = sqs_server.config()
    async with JobProcessor(WrappedSQSBackend(config, wrap=wrap), daemon=DaemonConfig(num_workers=2)) as jp:
        assert await (await jp.submit_job(double, 1)) == 2
        away.append(answer_of("ResourceNotFoundException", "UpdateItem"))
        with anyio.fail_after(30):
            await asked.wait()
        with pytest.raises(BackendError, match="it does not exist"):
            await jp.submit_job(double, 2)
        away.clear()
        with anyio.fail_after(50):
            assert await (await jp.submit_job(double, 3)) == 6
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert not [line for line in said if "Traceback" in line]


async def test_a_store_whose_index_is_still_being_made_opens_once_it_is_there() -> None:
    config = sqs_server.config(create=False)
    made = await Clients.open(sqs_server.config())
    try:
        await made.dynamodb.create_table(**schema.table_definition(config.table))
        await made.sqs.create_queue(QueueName=config.queue_url)
    finally:
        await made.close()
    creating = [True]

    class Creating(Wrapped):
        async def call(self, operation: str, **request: Any) -> Any:
            answer = await super().call(operation, **request)
            if operation == "describe_table" and creating:
                answer["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"] = "CREATING"
            return answer

    class Early(SQSBackend):
        async def _connect(self) -> Any:
            opened = Clients.open

            async def wrapped(config: Any) -> Clients:
                clients = await opened(config)
                clients.dynamodb = Creating(clients.dynamodb)
                return clients

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Clients, "open", wrapped)
                return await super()._connect()

    backend = Early(config)
    with pytest.raises(BackendConnectionError, match="the index .* is creating") as error:
        await backend.open()
    assert error.value.transient
    assert error.value.hint == "wait until it is active"
    creating.clear()
    await backend.open()
    await backend.enqueue_jobs([new("a")])
    await backend.close()
