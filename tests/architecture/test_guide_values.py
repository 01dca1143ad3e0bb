"""The guide of values: its tables describe what happens."""

from __future__ import annotations

import copy
import re
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
import pydantic
import pytest

from asyncjobs import JobExecutionError, JobProcessor, MemoryBackend, NotSerializableError

pytestmark = pytest.mark.anyio


@dataclass
class Page:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("negative")


@dataclass
class LastPage(Page):
    pass


@dataclass
class Cover:
    title: str


@dataclass
class Holder:
    page: Any


class Doubling(msgspec.Struct):
    number: int

    def __post_init__(self) -> None:
        if self.number > 100:
            raise ValueError("too large")
        self.number *= 2


class Model(pydantic.BaseModel):
    number: int


class Point(NamedTuple):
    x: int
    y: int = 0


class Colour(Enum):
    RED = "red"


class Name(str, Enum):  # noqa: UP042 - what the guide names
    ANNA = "anna"


class Number(IntEnum):
    ONE = 1


def page(value: Page) -> str:
    return repr(value)


def page_or_cover(value: Page | Cover) -> str:
    return repr(value)


def page_or_dict(value: Page | dict[str, int]) -> str:
    return repr(value)


def anything(value: object) -> str:
    return repr(value)


def any_dict(value: dict[str, Any]) -> str:
    return repr(value)


def doubling(value: Doubling) -> int:
    return value.number


def model(value: Model) -> str:
    return repr(value)


def echo(value: Any) -> Any:
    return value


def a_lock() -> Any:
    return threading.Lock()


def no_page() -> Page:
    return 5


@pytest.fixture
async def jp() -> AsyncIterator[JobProcessor]:
    async with JobProcessor(MemoryBackend()) as jp:
        yield jp


@pytest.mark.parametrize(
    "value",
    [
        None, True, 10**40, 1.5, "é", b"\x00", bytearray(b"x"), 1j, range(0, 9, 2), Decimal("1.10"), UUID(int=1),
        Path("a/b"), datetime(2026, 3, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")), datetime(2026, 3, 1, tzinfo=UTC),
        date(2026, 3, 1), time(2, 30, tzinfo=UTC), timedelta(days=1, microseconds=2), [1, [2]], (1, (2,)), {1, (2, 3)},
        frozenset({1}), {(1, 2): {"a": 1}}, {Colour.RED, Point(1)}, Colour.RED, Name.ANNA, Number.ONE, Point(1, 2),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
async def test_supported_types_are_restored_as_themselves(jp: JobProcessor, value: Any) -> None:
    restored = await (await jp.submit_job(echo, value))
    assert (type(restored), restored) == (type(value), value)


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else 1


async def test_values_nest_up_to_100_levels(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(echo, nested(100))) == nested(100)
    with pytest.raises(NotSerializableError, match="nested deeper than 100 levels"):
        await jp.submit_job(echo, nested(101))


def in_a_circle() -> list[Any]:
    circle: list[Any] = []
    circle.append(circle)
    return circle


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (threading.Lock(), "limit=(name, n)"),
        ((number for number in ()), "in a list"),
        (iter([1]), "list(…)"),
        (deque([1]), "list(…)"),
        ({}.keys(), "list(…)"),
        (echo, "pass its name"),
        (Page, "pass its name"),
        (re, "import it in the job"),
        (in_a_circle(), None),
        (Counter("a"), "dict(value)"),
        (defaultdict(int), "dict(value)"),
        (OrderedDict(), "dict(value)"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_refused_types_come_with_what_to_pass_instead(jp: JobProcessor, value: Any, hint: str | None) -> None:
    with pytest.raises(NotSerializableError, match=r"^\$\.args\[0\]") as refused:
        await jp.submit_job(echo, value)
    assert hint is None or hint in str(refused.value.hint)


async def test_an_open_file_is_replaced_by_its_path(jp: JobProcessor, tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, pytest.raises(NotSerializableError) as refused:
        await jp.submit_job(echo, file)
    assert "pass the path" in str(refused.value.hint)


@pytest.mark.parametrize("body", [a_lock, no_page])
async def test_a_refused_result_fails_its_attempt_without_a_retry(jp: JobProcessor, body: Any) -> None:
    job = await jp.submit_job(body, max_retries=3)
    with pytest.raises(JobExecutionError, match=r"after 1 attempt: .*NotSerializableError: \$\.result"):
        await job


@pytest.mark.parametrize(
    ("body", "value", "restored"),
    [
        (page, Page(1), "Page(number=1)"),
        (page, LastPage(1), "LastPage(number=1)"),
        (page, {"number": 1}, "Page(number=1)"),
        (page_or_cover, Cover("x"), "Cover(title='x')"),
        (page_or_cover, {"title": "x"}, "Cover(title='x')"),
        (page_or_dict, Page(1), "Page(number=1)"),
        (page_or_dict, {"number": 1}, "{'number': 1}"),
        (echo, Page(1), {"number": 1}),
        (anything, Page(1), "{'number': 1}"),
        (any_dict, {"page": 1}, "{'page': 1}"),
        (doubling, Doubling(3), 6),
        (model, Model(number=1), "Model(number=1)"),
    ],
)
async def test_records_by_annotation(jp: JobProcessor, body: Any, value: Any, restored: Any) -> None:
    assert await (await jp.submit_job(body, value)) == restored


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (page, Cover("x")),
        (any_dict, {"page": Page(1)}),
        (any_dict, Page(1)),
        (doubling, Doubling(60)),  # 120 is what its __post_init__ refuses
        (model, Model.model_construct(number="x")),
    ],
)
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
async def test_records_that_could_not_be_restored_are_refused(jp: JobProcessor, body: Any, value: Any) -> None:
    with pytest.raises(NotSerializableError):
        await jp.submit_job(body, value)


async def test_a_dict_that_the_constructor_refuses_fails_the_job_when_it_starts(jp: JobProcessor) -> None:
    job = await jp.submit_job(page, {"number": -1})
    with pytest.raises(JobExecutionError, match="ValueError: negative"):
        await job


async def test_handles_copies_of_handles_and_pickled_handles(jp: JobProcessor) -> None:
    job = await jp.submit_job(echo, 7)
    for value, restored in (
        ([job, (job,), {"a": job}], [7, (7,), {"a": 7}]),
        (jp.optional(job), 7),
        (copy.copy(job), 7),
        (asdict(Holder(job)), {"page": 7}),
    ):
        assert await (await jp.submit_job(echo, value)) == restored
    for value in ({job}, {job: 1}, Holder(job)):
        with pytest.raises(NotSerializableError):
            await jp.submit_job(anything, value)


async def test_a_stored_call_is_read_back_with_handles(jp: JobProcessor) -> None:
    job = await jp.submit_job(echo, 7)
    records = await jp.get_arguments(await jp.submit_job(page, Page(1)))
    assert records.args == (Page(1),)
    dicts = await jp.get_arguments(await jp.submit_job(page, {"number": job}))
    assert dicts.args == ({"number": job},)
    [result] = await jp.wait_for_results([job])
    assert (type(result.value), await jp.get_result(job)) == (bytes, 7)
