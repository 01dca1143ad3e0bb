"""The short way of a submission: what a template gives is what the long way gives, and it refuses the same calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from asyncjobs import JobRequest, RetryPolicy, job
from asyncjobs.backends.base import NewJob
from asyncjobs.models import Dependency, Handle
from asyncjobs.runtime.functions import Functions
from asyncjobs.runtime.submission import Optional, Submissions

LARGEST = 200
"""Bytes of arguments."""


@dataclass
class Style:
    ink: str


def add(a: Any, b: Any = None) -> None: ...


async def wait(a: Any) -> None: ...


def gather(*values: Any, sep: Any = None, **named: Any) -> None: ...


def styled(style: Style, *, width: int = 1) -> None: ...


@job(queue="slow", priority=3, limit=("images", 2), retry=RetryPolicy(max_retries=9), max_interruptions=1)
def marked(a: Any) -> None: ...


@job(timeout=3)
async def timed(a: Any) -> None: ...


@job(isolation="process")
def isolated(a: Any) -> None: ...


FUNCTIONS: list[Callable[..., Any]] = [add, wait, gather, styled, marked, timed, isolated, partial(add, 1), abs]
FIRST: dict[Any, tuple[Any, ...]] = {styled: (Style("red"),)}
"""The arguments of the call that fills a template, where 1 is none."""

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.binary(max_size=3),
        st.just("x" * LARGEST),
        st.just("\ud800"),
        st.builds(object),
        st.builds(Style, st.text(max_size=3)),
        st.builds(Style, st.integers()),
        st.just(Handle("other")),
        st.just({1, 2}),
        st.datetimes(),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2),
    max_leaves=4,
)
arguments: st.SearchStrategy[Any] = st.one_of(
    st.lists(values, max_size=3).map(tuple), st.lists(values, max_size=2), st.just("text"), st.none()
)
keywords: st.SearchStrategy[Any] = st.one_of(
    st.just({}), st.dictionaries(st.sampled_from(["a", "b", "sep", "width", "other"]), values, max_size=2), st.none()
)


def new() -> Submissions:
    return Submissions(Functions(), LARGEST)


def outcome(submissions: Submissions, request: JobRequest) -> tuple[Any, ...]:
    """The job without its id, or the error."""
    try:
        return ("job", replace(submissions.encode(request, "w1"), id="drawn" if request.job_id is None else "given"))
    except Exception as error:
        return (type(error), str(error), getattr(error, "path", None), getattr(error, "field", None))


def filled(func: Callable[..., Any]) -> Submissions:
    """What has encoded a call of the function before."""
    submissions = new()
    submissions.encode(JobRequest(func=func, args=FIRST.get(func, (1,))), "w1")
    return submissions


class Hostile:
    """An option whose comparison must not be asked."""

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        return 1


parents: st.SearchStrategy[Any] = st.one_of(
    st.just(()),
    st.lists(st.sampled_from(["other", "one", Handle("more"), Optional("other"), 7, ""]), max_size=3),
    st.sampled_from(["other", None, 7, {"other"}, ("one", "one"), Hostile()]),
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(FUNCTIONS), arguments, keywords, parents)
def test_a_call_is_encoded_and_refused_as_the_long_way_does(
    called: Callable[..., Any], args: Any, kwargs: Any, depends_on: Any
) -> None:
    request = JobRequest(func=called, args=args, kwargs=kwargs, depends_on=depends_on)
    assert outcome(filled(called), request) == outcome(new(), request)


OPTIONS: dict[str, Any] = {
    "job_id": "mine",
    "depends_on": ["other"],
    "require": 1,
    "group": "g",
    "metadata": {"a": 1},
    "queue": "q",
    "priority": 1,
    "limit": ("key", 2),
    "retry": RetryPolicy(max_retries=1),
    "max_retries": 2,
    "max_interruptions": 5,
    "timeout": 1.5,
    "delay": 2.5,
    "run_at": datetime(2030, 1, 1, tzinfo=UTC),
    "if_exists": "return",
    "isolation": "process",
    "local": True,
}


def test_every_option_of_a_request_is_tried_below() -> None:
    assert [*OPTIONS] == [*JobRequest.__struct_fields__[3:]]


@pytest.mark.parametrize("called", [add, marked])
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_takes_the_long_way(option: str, called: Callable[..., Any]) -> None:
    submissions = filled(called)
    request = JobRequest(func=called, args=(1,), **{option: OPTIONS[option]})
    with_option = outcome(submissions, request)
    assert with_option == outcome(new(), request)
    plain = JobRequest(func=called, args=(1,))
    assert outcome(submissions, plain) == outcome(new(), plain) != with_option, "the option is not kept"


def refuse(*_: Any) -> NewJob:
    raise AssertionError("the long way")


@pytest.mark.parametrize("called", [add, wait, gather, styled, marked])
def test_further_calls_of_a_function_take_the_short_way(
    called: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    submissions = filled(called)
    monkeypatch.setattr(submissions, "_encode", refuse)
    one, two = (submissions.encode(JobRequest(func=called, args=FIRST.get(called, (1,))), None) for _ in range(2))
    assert one.id != two.id
    assert replace(one, id="") == replace(two, id="")
    assert (
        submissions.encode(JobRequest(func=called, args=FIRST.get(called, (1,))), None, "drawn before").id
        == "drawn before"
    )


@pytest.mark.parametrize("called", [timed, isolated, partial(add, 1)])
def test_what_may_warn_or_be_refused_later_and_what_is_no_function_keeps_no_template(
    called: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    submissions = filled(called)
    monkeypatch.setattr(submissions, "_encode", refuse)
    with pytest.raises(AssertionError, match="the long way"):
        submissions.encode(JobRequest(func=called, args=(1,)), None)


def test_a_function_that_is_marked_again_has_its_new_options() -> None:
    def again(a: Any) -> None: ...

    again.__qualname__ = "again"
    globals()["again"] = again
    try:
        submissions = filled(again)
        job(queue="later")(again)
        assert submissions.encode(JobRequest(func=again, args=(1,)), None).queue == "later"
    finally:
        del globals()["again"]


def test_so_do_calls_that_depend_on_other_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    submissions = filled(add)
    monkeypatch.setattr(submissions, "_encode", refuse)
    child = submissions.encode(JobRequest(func=add, args=(Handle("one"),), depends_on=["two"]), None)
    assert (child.dependencies, child.injects) == ((Dependency("two"), Dependency("one")), True)
    child = submissions.encode(JobRequest(func=add, args=(1,), depends_on=["two"]), None)
    assert (child.dependencies, child.injects) == ((Dependency("two"),), False)


def test_a_call_with_a_handle_leaves_no_template_that_depends_on_its_job() -> None:
    submissions = new()
    assert submissions.encode(JobRequest(func=add, args=(Handle("other"),)), None).dependencies
    plain = submissions.encode(JobRequest(func=add, args=(1,)), None)
    assert (plain.dependencies, plain.injects) == ((), False)


def test_options_are_not_compared_by_code_of_the_caller() -> None:
    request: Any = JobRequest(func=add, args=(1,), depends_on=Hostile())
    assert outcome(filled(add), request) == outcome(new(), request)


def test_the_options_of_a_request_are_its_last_fields() -> None:
    assert JobRequest.__struct_fields__[:5] == ("func", "args", "kwargs", "job_id", "depends_on")
