"""What is accepted can be read back, by every reader; what cannot is refused at submit, with its field."""

from __future__ import annotations

import enum
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from asyncjobs import (
    ConfigurationError,
    JobProcessor,
    JobQuery,
    JobRequest,
    NotSerializableError,
    RetryPolicy,
    SubmissionError,
    current_job,
)
from asyncjobs.core.codec.wire import MAX_DEPTH
from tests.runtime.support import PATIENCE, add, echo, echo_sync, everything, nothing, until, within

pytestmark = pytest.mark.anyio


class Float64(float):
    """As numpy's: a subclass of float."""


class Level(enum.IntEnum):
    HIGH = 7


class Name(str, enum.Enum):  # noqa: UP042 - the older spelling
    MOVIE = "movie"


# -- retry policies

NUMBERS = [Decimal("0.5"), Float64(0.5), Fraction(1, 2), 0.5]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: type(number).__name__)
@pytest.mark.parametrize("field", ["base", "cap", "jitter"])
async def test_a_policy_of_any_numbers_works(jp: JobProcessor, field: str, number: Any) -> None:
    policy = RetryPolicy(max_retries=1, **{"base": 0.001, field: number})
    job = await jp.submit_job(add, 1, 2, retry=policy)
    assert await within(PATIENCE, job) == 3
    assert (await jp.get_job(job)).max_retries == 1
    assert type(getattr(policy, field)) is float


@pytest.mark.parametrize("number", [Level.HIGH, 7], ids=["IntEnum", "int"])
async def test_a_whole_number_of_any_class_is_a_number_of_retries(jp: JobProcessor, number: Any) -> None:
    job = await jp.submit_job(nothing, retry=RetryPolicy(max_retries=number), priority=number, max_interruptions=number)
    await within(PATIENCE, job)
    assert (await jp.get_job(job)).max_retries == 7


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"base": float("nan")}, "RetryPolicy.base"),
        ({"base": Decimal("NaN")}, "RetryPolicy.base"),
        ({"base": Decimal("sNaN")}, "RetryPolicy.base"),
        ({"base": "1"}, "RetryPolicy.base"),
        ({"base": None}, "RetryPolicy.base"),
        ({"factor": True}, "RetryPolicy.factor"),
        ({"cap": 10**400}, "RetryPolicy.cap"),
        ({"cap": Decimal("Infinity")}, "RetryPolicy.cap"),
        ({"jitter": 1j}, "RetryPolicy.jitter"),
        ({"max_retries": 1.5}, "max_retries"),
        ({"max_retries": Decimal(2)}, "max_retries"),
        ({"max_retries": 1 << 64}, "max_retries"),
        ({"on": ValueError}, "RetryPolicy.on"),
        ({"on": "ValueError"}, "RetryPolicy.on"),
        ({"on": [int]}, "RetryPolicy.on"),
        ({"never_on": ["\udc80"]}, "RetryPolicy.never_on"),
        ({"never_on": [3]}, "RetryPolicy.never_on"),
    ],
    ids=str,
)
def test_a_policy_that_could_not_be_read_back_is_refused(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RetryPolicy(**settings)
    assert caught.value.field == field


async def test_a_delay_beyond_every_clock_is_ten_years(jp: JobProcessor) -> None:
    async def fails() -> None:
        raise ValueError

    policy = RetryPolicy(max_retries=1, base=1e300, cap=1e300)
    job = await jp.submit_job(fails, local=True, retry=policy)
    events = await until(jp, job, "retrying")
    assert events[-1].data["delay"] <= 10 * 366 * 86_400
    await jp.cancel_job(job)


# -- metadata


def nested(levels: int, *, as_list: bool = False) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value] if as_list else {"in": value}
    return value


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ({"a": Float64(1.5), "b": Level.HIGH, "c": Name.MOVIE}, {"a": 1.5, "b": 7, "c": "movie"}),
        ({Name.MOVIE: (1, 2), "n": None}, {"movie": [1, 2], "n": None}),
        ({"big": 1 << 200}, {"big": 1 << 200}),
        ({"deep": nested(MAX_DEPTH - 1)}, {"deep": nested(MAX_DEPTH - 1)}),
        ({"deep": nested(MAX_DEPTH - 1, as_list=True)}, {"deep": nested(MAX_DEPTH - 1, as_list=True)}),
    ],
    ids=["subclasses", "keys", "big", "deep dicts", "deep lists"],
)
async def test_metadata_comes_back_plain(jp: JobProcessor, given: Any, stored: Any) -> None:
    job = await jp.submit_job(nothing, metadata={**given, "find": "me"})
    assert (await jp.get_job(job)).metadata == {**stored, "find": "me"}
    found = await jp.find_jobs(JobQuery(metadata={"find": "me"}))
    assert [one.id for one in found] == [job]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"a": {"b": [1, Decimal(1)]}}, "$.metadata.a.b[1]"),
        ({"a": float("nan")}, "$.metadata.a"),
        ({"a": float("-inf")}, "$.metadata.a"),
        ({"a": b"x"}, "$.metadata.a"),
        ({"a": {1, 2}}, "$.metadata.a"),
        ({"a": {1: 2}}, "$.metadata.a"),
        ({1: 2}, "$.metadata"),
        ({"a": "\udc80"}, "$.metadata.a"),
        ({"a": object()}, "$.metadata.a"),
        ({"a": 10**5000}, "$.metadata.a"),
        ({"a": nested(100_000)}, "$.metadata.a.in"),
    ],
    ids=lambda value: str(value)[:30] if isinstance(value, str) else None,
)
async def test_metadata_that_json_does_not_have_is_refused_with_its_path(
    jp: JobProcessor, given: Any, where: str
) -> None:
    with pytest.raises(NotSerializableError) as caught:
        await jp.submit_job(nothing, metadata=given)
    assert caught.value.where.startswith(where)
    assert await jp.find_jobs() == []


# -- nested as deep as is accepted

Pair = namedtuple("Pair", "a b")


@dataclass
class Node:
    below: Any


WRAP: dict[str, Callable[[Any], Any]] = {
    "lists": lambda inner: [inner],
    "dicts": lambda inner: {"in": inner},
    "tuples": lambda inner: (inner,),
    "frozensets": lambda inner: frozenset({inner}),
    "named tuples": lambda inner: Pair(inner, 1),
    "dict keys": lambda inner: {(1, 2): inner},
    "a tuple in a list": lambda inner: [(inner,)],
}


def deepest(wrap: Callable[[Any], Any]) -> Any:
    """The deepest value that is accepted."""
    from asyncjobs.core.codec import encode_value

    value: Any = 1
    while True:
        deeper = wrap(value)
        try:
            encode_value(deeper)
        except NotSerializableError:
            return value
        value = deeper


@pytest.mark.parametrize("wrap", WRAP)
@pytest.mark.parametrize("body", [echo, echo_sync], ids=["async", "thread"])
async def test_the_deepest_value_that_is_accepted_goes_through(
    jp: JobProcessor, wrap: str, body: Callable[..., Any]
) -> None:
    value = deepest(WRAP[wrap])
    with pytest.raises(SubmissionError):
        await jp.submit_job(body, WRAP[wrap](value))
    first = await jp.submit_job(body, value)
    second = await jp.submit_job(body, first)  # injected, too
    assert await within(PATIENCE, second) == value


@pytest.mark.parametrize("wrap", ["lists", "tuples", "dict keys"])
async def test_also_in_a_process_of_its_own(jp: JobProcessor, wrap: str) -> None:
    value = deepest(WRAP[wrap])
    assert await within(3 * PATIENCE, await jp.submit_job(echo_sync, value, isolation="process")) == value


async def test_a_result_one_level_deeper_fails_its_attempt(jp: JobProcessor) -> None:
    async def body() -> Any:
        return [deepest(WRAP["lists"])]

    job = await within(PATIENCE, jp.wait_for_job(await jp.submit_job(body, local=True)))
    assert (str(job.status), job.attempt) == ("failed", 1)


async def test_the_deepest_events_and_metadata_are_streamed(jp: JobProcessor) -> None:
    async def body() -> None:
        current_job().emit("deep", {"v": nested(MAX_DEPTH - 1)})

    job = await jp.submit_job(body, local=True, metadata={"v": nested(MAX_DEPTH - 1)})
    events = await everything(jp.stream_job(job))
    assert events[2].data == {"v": nested(MAX_DEPTH - 1)}
    frames = [frame async for frame in jp.subscribe_sse(job_id=job)]
    assert b'"in":' in b"".join(frames)


# -- names


@pytest.mark.parametrize("field", ["queue", "group"])
async def test_an_empty_name_is_refused_as_such(jp: JobProcessor, field: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await jp.submit_job(nothing, **{field: ""})
    assert caught.value.field == field


async def test_an_empty_queue_of_a_batch_and_of_a_mark_too(jp: JobProcessor) -> None:
    from asyncjobs import job

    with pytest.raises(ConfigurationError):
        await jp.submit_jobs([JobRequest(func=nothing, queue="")])
    with pytest.raises(ConfigurationError):
        await jp.submit_job(job(queue="")(_marked))


async def _marked() -> None:
    pass
