"""Calls that are read before their results are there: handles in their places, records by annotation around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pydantic
import pytest

from asyncjobs.core.codec import encode_arguments, encode_call, from_json, read_arguments
from asyncjobs.exceptions import ConversionError, CorruptValueError
from asyncjobs.models import Handle


class Result(Handle):
    """The result of a job, among arguments."""

    __slots__ = ()


@dataclass
class Style:
    ink: str
    width: int = 1


class Model(pydantic.BaseModel):
    ink: str


class Corner(NamedTuple):
    x: Any
    y: Any


def draw(style: Style, page: Any, *more: Any, **named: Any) -> None: ...


def styles(
    styles: list[Style], by_name: dict[str, Style], pair: tuple[Style, Any], spare: Style | None = None
) -> None: ...


def plain(a: Any = None, b: Any = None) -> None: ...


def modelled(model: Model) -> None: ...


def read(func: Callable[..., Any] | None, *args: Any, sent_by: Callable[..., Any] | None = None, **kwargs: Any) -> Any:
    data = encode_arguments(sent_by or func or plain, args, kwargs, Handle).data
    return read_arguments(data, func, Result)


def test_handles_stand_where_results_will_and_records_come_back() -> None:
    args, kwargs = read(draw, Style("red", 2), Result("page"), [Result("x"), 1], title={"of": Result("y")})
    assert args == (Style("red", 2), "page", ["x", 1])
    assert kwargs == {"title": {"of": "y"}}
    assert [type(one) for one in (args[1], args[2][0], kwargs["title"]["of"])] == [Result] * 3


def test_a_handle_may_stand_for_a_record() -> None:
    args, _ = read(draw, Result("style"), 1)
    assert args == ("style", 1)
    assert type(args[0]) is Result


def test_records_beside_handles_in_lists_tuples_and_dicts_come_back() -> None:
    args, kwargs = read(
        styles,
        [Style("a"), Result("s")],
        {"x": Result("t"), "y": Style("b")},
        (Style("c"), Result("u")),
        spare=Result("v"),
    )
    assert args == ([Style("a"), "s"], {"x": "t", "y": Style("b")}, (Style("c"), "u"))
    assert kwargs == {"spare": "v"}
    handles = (args[0][1], args[1]["x"], args[2][1], kwargs["spare"])
    assert [type(one) for one in handles] == [Result] * 4


def test_named_tuples_stay_what_they_are_around_handles() -> None:
    [corner], _ = read(plain, Corner(Result("x"), [Result("y")]))
    assert type(corner) is Corner
    assert corner == Corner("x", ["y"])
    assert type(corner.y[0]) is Result


def test_what_is_not_looked_into_is_as_it_was() -> None:
    args, kwargs = read(plain, {1, 2}, b=frozenset({"x"}))
    assert (args, kwargs) == (({1, 2},), {"b": frozenset({"x"})})


@pytest.mark.parametrize("with_handle", [False, True])
def test_without_the_function_records_are_plain_dicts(with_handle: bool) -> None:
    page = Result("page") if with_handle else 1
    args, _ = read(None, Style("red"), page, sent_by=draw)
    assert args == ({"ink": "red", "width": 1}, page)
    assert type(args[1]) is type(page)


def test_a_dict_with_a_handle_that_will_become_a_record_is_left_as_it_is() -> None:
    args, _ = read(draw, {"ink": Result("ink")}, 1)
    assert args == ({"ink": "ink"}, 1)
    assert type(args[0]["ink"]) is Result
    args, _ = read(draw, {"ink": "red"}, Result("page"))
    assert args == (Style("red"), "page"), "and one without is the record"


def test_what_fits_its_annotation_only_once_the_result_is_there_is_no_failure() -> None:
    data = encode_call((from_json({"ink": "red"}) | {"ink": Result("ink")},), {}, Handle).data
    args, _ = read_arguments(data, modelled, Result)
    assert args == ({"ink": "ink"},)
    assert type(args[0]["ink"]) is Result


def test_what_does_not_fit_its_annotation_is_an_error() -> None:
    data = encode_call(({"colour": 5},), {}, Handle).data
    with pytest.raises(ConversionError):
        read_arguments(data, modelled, Result)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\xc0\xc0"])
@pytest.mark.parametrize("callee", [None, draw])
def test_what_cannot_be_read_is_an_error(data: bytes, callee: Callable[..., Any] | None) -> None:
    with pytest.raises(CorruptValueError):
        read_arguments(data, callee, Result)
