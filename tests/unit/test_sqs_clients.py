"""Clients of AWS."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs.backends.sqs.clients import Clients
from tests import sqs_server

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]


async def test_requests_name_the_library_for_who_reads_logs_of_aws() -> None:
    named: list[str] = []

    def look(request: Any, **_: object) -> None:
        named.append(request.headers["User-Agent"].decode())

    clients = await Clients.open(sqs_server.config())
    thread = clients.connect("sqs")
    try:
        for client in (clients.dynamodb, clients.sqs, thread):
            client.meta.events.register("before-send", look)
        await clients.dynamodb.list_tables()
        await clients.sqs.list_queues()
        thread.list_queues()
    finally:
        thread.close()
        await clients.close()
    assert len(named) == 3
    assert all(name.startswith("asyncjobs/") and " Botocore/" in name for name in named)
