"""Kept values whose class the annotation of their step does not name: an error, and never plain data."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, NamedTuple, Optional, Protocol, TypedDict

import pytest

from asyncjobs.core.codec import encode_value, refuse_misfit
from asyncjobs.exceptions import ConversionError


@dataclass
class Page:
    number: int


class Ink(Enum):
    RED = "r"


class Colour(Enum):
    RED = "r"


class Size(IntEnum):
    SMALL = 1


class Point(NamedTuple):
    x: int


class Spot(NamedTuple):
    x: int


class Numbered(Protocol):
    number: int


class Fields(TypedDict):
    page: int


def returning(annotation: Any) -> Callable[..., Any]:
    def func() -> Any: ...

    func.__annotations__["return"] = annotation
    return func


@pytest.mark.parametrize(
    ("value", "annotation", "path"),
    [
        (Page(1), int, "$"),
        (Page(1), str, "$"),
        (Page(1), None, "$"),
        (Page(1), Ink, "$"),
        (Page(1), int | None, "$"),
        (Page(1), list[str], "$"),
        ([Page(1)], list[str], "$[0]"),
        ([1, Page(1)], Sequence[int], "$[1]"),
        ({"a": [Page(1)]}, dict[str, list[int]], "$.a[0]"),
        ((1, Page(1)), tuple[int, int], "$[1]"),
        (Ink.RED, Colour, "$"),
        (Ink.RED, str, "$"),
        ([Ink.RED], list[Colour], "$[0]"),
        ({Ink.RED}, set[Colour], "$[0]"),
        (Point(1), Spot, "$"),
        (Point(1), dict[str, int], "$"),
    ],
)
def test_it_is_refused_with_its_place(value: Any, annotation: Any, path: str) -> None:
    with pytest.raises(ConversionError) as error:
        refuse_misfit(encode_value(value), returning(annotation))
    assert error.value.where == path


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Page(1), Page),
        ([1], dict[str, int]),  # values without a class are as lenient as results
        (1, list[int]),
        (Page(1), Page | None),
        (Page(1), Optional[Page]),  # noqa: UP045 - as older programs have it
        (Page(1), Any),
        (Page(1), object),
        (Page(1), Numbered),
        ([Page(1)], list),
        ([Page(1)], list[Any]),
        ([Page(1)], list[Page]),
        ({"a": Page(1)}, dict[str, Page]),
        (Ink.RED, Ink),
        (Ink.RED, Ink | str),
        ([Ink.RED, None], list[Ink | None]),
        (Size.SMALL, int),
        (Size.SMALL, Size),
        (Point(1), Point),
        (Point(1), tuple[int, ...]),
        ("text", int),  # plain values are not compared
        ({"page": 1}, Fields),
        (None, int),
        (b"", None),
    ],
)
def test_what_its_annotation_names_passes(value: Any, annotation: Any) -> None:
    refuse_misfit(encode_value(value), returning(annotation))


def test_without_an_annotation_anything_passes() -> None:
    def unannotated(): ...

    refuse_misfit(encode_value(Page(1)), unannotated)
    refuse_misfit(encode_value(Page(1)), functools.partial(unannotated))


def test_a_class_that_is_gone_is_named() -> None:
    gone = encode_value(Ink.RED).replace(b"Ink", b"Inc")
    with pytest.raises(ConversionError, match=r"is .*Inc\.RED"):
        refuse_misfit(gone, returning(Ink))
    with pytest.raises(ConversionError, match=r"Inc\.RED"):
        refuse_misfit(gone, returning(str))
    refuse_misfit(gone, returning(Any))
