"""What the tests' own client counts is what the second emulator reports, which follows what AWS was seen to bill."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import pytest

from tests import sqs_costs, sqs_server
from tests.sqs_capacity import CountingClient, written
from tests.sqs_costs import COSTS, Cost

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are in the second emulator, queues in the first."""
    second = sqs_server.second_endpoint()
    if (first := sqs_server.endpoint()) is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", first)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", second)
    sqs_costs.without_looks(monkeypatch.setattr)


class ComparingClient(CountingClient):
    """A client that counts as the tests do, one call after the other, and compares that with what each call reports.

    ``different`` are the calls whose count is another one. ``compared`` counts the calls that reported anything: a
    refusal does not.
    """

    def __init__(self, client: Any, different: list[str], compared: Counter[str]) -> None:
        super().__init__(client)
        self._different, self._compared = different, compared
        self._lock = asyncio.Lock()

    async def call(self, operation: str, **request: Any) -> Any:
        """Make a call, and compare."""
        async with self._lock:
            before = Counter(self.written), self.read
            answer = await super().call(operation, **request, ReturnConsumedCapacity="INDEXES")
            counted: Mapping[str, float] = self.written - before[0]
            if not written(operation, request):
                counted = {"read": self.read - before[1]}
        reported = _reported(answer["ConsumedCapacity"], read="read" in counted)
        self._compared[operation] += 1
        if reported != counted:
            self._different.append(f"{operation}: counted {dict(counted)}, reported {reported}; {request}")
        return answer


def _reported(told: Any, *, read: bool) -> dict[str, float]:
    """Return capacity by the table and each index; all of it together for a read."""
    tables: list[Any] = told if isinstance(told, list) else [told]
    if read:
        return {"read": sum(table["CapacityUnits"] for table in tables)}
    by_name: Counter[str] = Counter()
    for table in tables:
        by_name["table"] += table["Table"]["CapacityUnits"]
        for name, index in table.get("GlobalSecondaryIndexes", {}).items():
            by_name[name] += index["CapacityUnits"]
    assert by_name.total() == sum(table["CapacityUnits"] for table in tables)
    return {name: units for name, units in by_name.items() if units}


@pytest.mark.parametrize("measure", COSTS.values(), ids=[measure.__name__ for measure in COSTS.values()])
async def test_what_is_counted_is_what_is_reported(measure: Callable[..., Awaitable[Cost]]) -> None:
    different, compared = list[str](), Counter[str]()
    client = partial(ComparingClient, different=different, compared=compared)
    await measure(partial(sqs_costs.counted, client, endpoint_url=None))
    print(dict(compared))
    assert compared.total() > 50
    assert {"update_item", "query", "batch_get_item"} <= set(compared)
    assert different == []
