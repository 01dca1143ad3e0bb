"""What a daemon on a store in SQS and DynamoDB costs that has nothing to do."""

from __future__ import annotations

import time
from typing import Any

import anyio
import pytest

from asyncjobs import DaemonConfig, JobProcessor
from asyncjobs.backends.sqs.backend import SQSBackend
from tests import sqs_server
from tests.faults import bodies
from tests.sqs_capacity import CountingClient

pytestmark = [pytest.mark.slow, pytest.mark.anyio]

DAY = 86_400
WRITE_UNIT, READ_UNIT, REQUEST = 0.625e-6, 0.125e-6, 0.4e-6
"""Dollars for a write unit, a read unit, and a request of SQS."""


async def test_an_idle_daemon_costs_at_most_ten_cents_a_day() -> None:
    config = sqs_server.config(wait_time=10)
    backend = SQSBackend(config)
    daemon = DaemonConfig(lease=config.default_lease)
    async with JobProcessor(backend, daemon=daemon, functions=[bodies.nothing]) as jp:
        await (await jp.submit_job(bodies.nothing))
        await anyio.sleep(5)  # until it has become calm
        table: Any = backend._parts.transitions.table
        counting = table._client = CountingClient(table._client)
        began = time.monotonic()
        await anyio.sleep(20)
        days = (time.monotonic() - began) / DAY
        table._client = counting.client
    assert counting.write_units > 0, "it beats"
    dollars = (counting.write_units * WRITE_UNIT + counting.read * READ_UNIT) / days + DAY / config.wait_time * REQUEST
    print(f"an idle daemon costs {dollars:.3f} $ a day: {dict(counting.calls)}")
    assert dollars <= 0.1
