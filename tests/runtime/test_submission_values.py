"""What arrives is what was sent, through the whole way: submitted, stored, run, read back."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pydantic
import pytest

from asyncjobs import (
    ConversionError,
    DaemonConfig,
    JobConflictError,
    JobExecutionError,
    JobProcessor,
    JobQuery,
    JobStatus,
    NotSerializableError,
    RetryPolicy,
    current_job,
    job,
)
from asyncjobs.processor import get_engine
from tests.runtime.support import PATIENCE

pytestmark = pytest.mark.anyio


@dataclass
class Price:
    net: float
    gross: float = field(init=False)

    def __post_init__(self) -> None:
        self.net *= 2
        self.gross = self.net * 1.2


@dataclass
class Discounted(Price):
    by: float = 0.1


@dataclass
class Email:
    to: str


@dataclass
class Sms:
    to: str


class Panel(pydantic.BaseModel):
    text: str
    width: int = pydantic.Field(gt=0)


class Doubling(pydantic.BaseModel):
    a: int

    @pydantic.field_validator("a")
    @classmethod
    def double(cls, value: int) -> int:
        return value * 2


def same_price(price: Price) -> Price:
    assert type(price).__post_init__ is Price.__post_init__
    return price


async def same_message(message: Email | Sms | dict[str, str]) -> Email | Sms | dict[str, str]:
    return message


def same_panel(panel: Panel) -> Panel:
    return panel


def just_a_dict(to: str) -> dict[str, str]:
    return {"to": to}


def kind(message: Email | Sms | dict[str, str]) -> str:
    return type(message).__name__


@pytest.mark.parametrize("isolation", ["thread", "process"])
async def test_records_arrive_and_come_back_as_they_were(jp: JobProcessor, isolation: Any) -> None:
    for function, value in [
        (same_price, Price(100)),
        (same_price, Discounted(100, 0.5)),
        (same_message, Sms("1")),
        (same_message, Email("1")),
        (same_message, {"to": "1"}),
        (same_panel, Panel(text="rain", width=3)),
    ]:
        handle = await jp.submit_job(function, value, isolation=isolation)
        seen = await handle.result(timeout=PATIENCE)
        assert (seen, type(seen)) == (value, type(value))
        assert await jp.get_result(handle) == value
        # And once more as the argument of a job that waits for it.
        if function is same_message:
            assert await (await jp.submit_job(kind, handle)).result(timeout=PATIENCE) == type(value).__name__


async def test_a_dict_that_a_job_returned_is_a_dict_where_it_is_injected(jp: JobProcessor) -> None:
    made = await jp.submit_job(just_a_dict, "1")
    assert await (await jp.submit_job(kind, made)).result(timeout=PATIENCE) == "dict"


async def test_what_would_not_arrive_is_refused_and_nothing_is_stored(jp: JobProcessor) -> None:
    for function, value, where in [
        (same_price, Email("1"), r"\$\.args\[0\]"),
        (same_message, Price(1), r"\$\.args\[0\]"),
        (same_panel, Doubling(a=1), r"\$\.args\[0\]"),
        (same_panel, Panel.model_construct(text="a", width=-1), "greater than 0"),
    ]:
        with pytest.raises(NotSerializableError, match=where):
            await jp.submit_job(function, value)
    assert await jp.find_jobs() == []


# -- results

attempts: list[int] = []


@job(retry=RetryPolicy(max_retries=3, base=0.01))
def misfit_plain() -> Price:
    attempts.append(current_job().attempt)
    return Email("1")


@job(retry=RetryPolicy(max_retries=3, base=0.01))
async def misfit_async() -> list[Panel]:
    attempts.append(current_job().attempt)
    return [Panel(text="a", width=1), 3]


def misfit_later() -> Price:
    async def body() -> Price:
        attempts.append(current_job().attempt)
        return "no price"

    return body()


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize("function", [misfit_plain, misfit_async, misfit_later])
async def test_a_result_that_does_not_fit_its_annotation_fails_the_attempt_without_a_retry(
    jp: JobProcessor, function: Any, isolation: Any
) -> None:
    attempts.clear()
    handle = await jp.submit_job(function, isolation=isolation)
    with pytest.raises(JobExecutionError, match=r"\$\.result.* the annotation of the result of misfit_") as caught:
        await handle.result(timeout=PATIENCE)
    assert caught.value.error_type.endswith("NotSerializableError")
    assert caught.value.attempt == 1
    assert attempts == ([1] if isolation == "thread" else [])


def dict_of_other_fields() -> Price:
    return {"cents": 1}


def dict_of_the_fields() -> Price:
    return {"net": 3}


def dict_among_right_ones() -> list[Panel]:
    return [{"text": "a", "width": 1}, {"text": "b"}]


async def dict_that_a_model_refuses() -> Panel:
    return {"text": "a", "width": 0}


@pytest.mark.parametrize("isolation", ["thread", "process"])
@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (dict_of_other_fields, r"\$ has the fields \(cents\); expected .*Price"),
        (dict_among_right_ones, r"\$\[1\] was refused by its class \(ValidationError"),
        (dict_that_a_model_refuses, r"\$ was refused by its class \(ValidationError"),
    ],
)
async def test_a_dict_that_no_record_can_be_made_of_fails_the_attempt_that_returned_it(
    jp: JobProcessor, function: Any, problem: str, isolation: Any
) -> None:
    handle = await jp.submit_job(function, isolation=isolation, max_retries=3)
    with pytest.raises(JobExecutionError, match=f"result of dict_.*: {problem}") as caught:
        await handle.result(timeout=PATIENCE)
    assert caught.value.attempt == 1


async def test_a_dict_of_the_right_fields_becomes_the_record(jp: JobProcessor) -> None:
    assert await (await jp.submit_job(dict_of_the_fields)).result(timeout=PATIENCE) == Price(3)


def fine() -> int:
    return 1


def make_price() -> Price:
    return Price(1)


async def test_a_result_that_a_later_deploy_cannot_read_is_an_error_of_that_job_alone(
    jp: JobProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = await jp.submit_job(fine), await jp.submit_job(make_price)
    await jp.drain(timeout=PATIENCE)

    def deployed() -> Email: ...

    name = (await jp.get_job(bad)).func
    get_engine(jp).functions.add(name, deployed)  # what that name is now
    reports = await jp.poll_batch([good, bad])
    told, untold = reports[good], reports[bad]
    assert told is not None
    assert untold is not None
    assert (told.result, told.error) == (1, None)
    assert (untold.status, untold.result) == (JobStatus.COMPLETED, None)
    assert untold.error is not None
    assert untold.error.error_type == "ConversionError"
    assert "expected" in untold.error.message
    assert (await jp.poll_status(bad)).error == untold.error
    assert {found.id for found in await jp.find_jobs()} == {good, bad}
    with pytest.raises(ConversionError):
        await jp.get_result(bad)
    assert await good == 1


# -- equal arguments are equal


def echo(body: Any) -> Any:
    return body


async def test_the_same_request_with_its_keys_in_another_order_is_the_same_job(jp: JobProcessor) -> None:
    first = await jp.submit_job(echo, {"a": 1, "b": {"c": 2, "d": 3}}, job_id="hook", if_exists="return")
    again = await jp.submit_job(echo, {"b": {"d": 3, "c": 2}, "a": 1}, job_id="hook", if_exists="return")
    assert first == again
    for other in ({"a": 1.0, "b": {"c": 2, "d": 3}}, {"a": True, "b": {"c": 2, "d": 3}}, {"a": 1}):
        with pytest.raises(JobConflictError, match="other arguments"):
            await jp.submit_job(echo, other, job_id="hook", if_exists="return")


tries: list[dict[str, int]] = []


@job(retry=RetryPolicy(max_retries=1, base=0.01))
async def parent() -> Any:
    items = [("x", 1), ("y", 2)]
    tries.append(dict(items if not tries else reversed(items)))
    child = await current_job().submit_job(echo, tries[-1], key="child")
    value = await child
    if len(tries) == 1:
        raise OSError("once more")
    return value


async def test_a_retried_parent_finds_its_child_whatever_the_order_of_its_dict(jp: JobProcessor) -> None:
    tries.clear()
    assert await (await jp.submit_job(parent)).result(timeout=PATIENCE) == {"x": 1, "y": 2}
    assert [list(body) for body in tries] == [["x", "y"], ["y", "x"]]


# -- (str, Enum) members are their value everywhere


class Name(str, Enum):  # noqa: UP042 - its str() is not its value, unlike StrEnum's
    ONE = "one"
    OUTPUT = "preview"


def tell() -> None:
    current_job().emit(Name.OUTPUT, {"x": 1})


async def test_a_str_enum_member_is_its_value_wherever_a_name_is_taken(jp: JobProcessor) -> None:
    handle = await jp.submit_job(
        tell, job_id=Name.ONE, group=Name.ONE, queue=Name.ONE, limit=(Name.ONE, 1), metadata={"of": Name.ONE}
    )
    await jp.drain(Name.ONE, timeout=PATIENCE)
    assert (handle, str(handle)) == ("one", "one")
    job = await jp.get_job(Name.ONE)
    assert (job.id, job.group, job.queue, job.metadata) == ("one", "one", "one", {"of": "one"})
    assert job.limit == "one"
    assert await jp.get_status(Name.ONE) == JobStatus.COMPLETED
    assert await jp.get_result(Name.ONE) is None
    assert (await jp.wait_for_job(Name.ONE, timeout=PATIENCE)).id == "one"
    assert await jp.cancel_job(Name.ONE) == JobStatus.COMPLETED
    for query in (JobQuery(ids=[Name.ONE]), JobQuery(group=Name.ONE, queue=Name.ONE), JobQuery(ids=Name.ONE)):
        assert [found.id for found in await jp.find_jobs(query)] == ["one"]
    assert (await jp.get_progress(Name.ONE)).completed == 1
    assert list(await jp.poll_batch([Name.ONE])) == ["one"]
    types = [event.type async for event in jp.stream_job(Name.ONE, types=[Name.OUTPUT])]
    types += [event.type async for event in jp.stream_group(Name.ONE, types=Name.OUTPUT)]
    assert types == ["preview", "preview"]
    assert type(types[0]) is str
    child = await jp.submit_job(fine, depends_on=[Name.ONE])
    assert await child.result(timeout=PATIENCE) == 1
    assert DaemonConfig(queues=[Name.ONE]).queues == ("one",)
    assert type(DaemonConfig(queues=[Name.ONE]).queues[0]) is str


# -- a subclass of a plain type


class Safe(str):
    __slots__ = ()


SUBCLASSES = [Counter("aab"), defaultdict(list, a=[1]), OrderedDict(a=1), Safe("<b>")]


@pytest.mark.parametrize("value", SUBCLASSES)
async def test_an_argument_of_a_subclass_of_a_plain_type_is_refused_at_submit(jp: JobProcessor, value: Any) -> None:
    def free(value): ...

    def annotated(value: Counter[str] | defaultdict[str, list[int]] | OrderedDict[str, int] | Safe) -> None: ...

    for func in (free, annotated):
        with pytest.raises(
            NotSerializableError, match=r"\$\.args\[0\] is a.* which would arrive as a \w+\n.*pass \w+\(value\)"
        ):
            await jp.submit_job(func, value, local=True)
        with pytest.raises(NotSerializableError, match=r"\$\.args\[0\]\.deep\[0\] is a"):
            await jp.submit_job(func, value={"deep": [value]}, local=True)
    assert await jp.find_jobs() == []


@pytest.mark.parametrize("value", SUBCLASSES)
async def test_a_result_of_a_subclass_of_a_plain_type_fails_its_attempt(jp: JobProcessor, value: Any) -> None:
    handle = await jp.submit_job(lambda: {"found": value}, local=True)
    with pytest.raises(JobExecutionError, match=r"\$\.result\.found is a.* which would arrive as a"):
        await handle.result(timeout=PATIENCE)
    assert len(await jp.get_attempts(handle)) == 1


# -- after an upgrade


@dataclass
class Upgraded:
    number: int


async def takes_upgraded(page: Upgraded) -> str:
    return type(page).__name__


async def test_a_call_stored_without_a_class_name_runs_and_is_not_equal_to_the_same_one_now(jp: JobProcessor) -> None:
    old: Any = {"number": 1}  # as versions stored a record that did not record its class
    job = await jp.submit_job(takes_upgraded, old, job_id="stored")
    with pytest.raises(JobConflictError):
        await jp.submit_job(takes_upgraded, Upgraded(1), job_id="stored", if_exists="return")
    assert await job.result(timeout=PATIENCE) == "Upgraded"
    assert await (await jp.submit_job(takes_upgraded, Upgraded(1), job_id="another")) == "Upgraded"
