"""What jobs cost in SQS and DynamoDB, as the tests' own client computes it from items; on an emulator."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from benchmarks.result import Figure, Place, Result, lower

if TYPE_CHECKING:
    from tests.sqs_costs import Cost

DESIGNED = {"short_job": 11.5, "short_job_of_a_batch": 12.5, "edge_of_a_fan_in": 6.0}
"""Write units with the log as it was designed, before it was built."""


def run(place: Place) -> Result:
    """Units of capacity, calls, and dollars a million: of a short job, and of an edge."""
    os.environ["ASYNCJOBS_TEST_SQS"] = "1"
    from tests import aws_emulators, sqs_costs

    if aws_emulators.ministack() is None:
        return Result((), ("not measured, there is no emulator: make bench-sqs installs it",))
    sqs_costs.without_looks()
    figures: list[Figure] = []
    for measure in sqs_costs.COSTS.values():
        name, cost = measure.__name__, asyncio.run(_found(measure))
        figures += [
            lower(f"{name}_written", cost.written, "WCU"),
            lower(f"{name}_log", cost.in_log, "WCU"),
            lower(f"{name}_read", cost.read, "RCU"),
            lower(f"{name}_calls", cost.calls, "calls"),
            lower(f"{name}_dollars", cost.dollars, "$/million"),
            lower(f"{name}_designed", (cost.written + cost.in_log) / DESIGNED[name], "of designed WCU"),
        ]
    return Result(tuple(figures), ("DynamoDB alone, on demand in us-east-1; requests of SQS and storage come to that",))


async def _found(measure: Callable[[], Awaitable[Cost]]) -> Cost:
    return await measure()
