"""Types of answers: which there are, what fits one, and how a stored answer is read back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, NotRequired, TypedDict

import msgspec
import pydantic
import pytest
from attrs import define

from asyncjobs.core.codec import encode_value
from asyncjobs.exceptions import ConfigurationError, ConversionError, NotSerializableError
from asyncjobs.runtime.answer_types import AnswerType
from asyncjobs.runtime.json_schemas import find_misfit


@dataclass
class Verdict:
    ok: bool
    notes: list[str] = field(default_factory=list)
    known: ClassVar[int] = 0


class Struct(msgspec.Struct):
    stars: int
    of: Verdict | None = None


class Model(pydantic.BaseModel):
    stars: int = pydantic.Field(ge=1, le=5)


class Optional(TypedDict):
    stars: int
    words: NotRequired[str]


class Typed(TypedDict):
    stars: int


@define
class Attrs:
    stars: int


@dataclass
class Tree:
    name: str
    below: list[Tree] = field(default_factory=list)


@dataclass
class Dated:
    at: datetime


class Pair(NamedTuple):
    a: int
    b: int


@dataclass
class Lost:
    other: Missing  # noqa: F821 - it is not defined anywhere


def stored(answer_type: AnswerType, value: Any) -> Any:
    return answer_type.read(encode_value(answer_type.fit(value)))


@pytest.mark.parametrize(
    ("kind", "given", "read"),
    [
        (bool, False, False),
        (int, 3, 3),
        (float, 3, 3.0),
        (str, "x", "x"),
        (int | None, None, None),
        (Literal["a", 1], 1, 1),
        (list[int], [1, 2], [1, 2]),
        (dict[str, float], {"a": 1}, {"a": 1.0}),
        (Annotated[int, msgspec.Meta(ge=1)], 1, 1),
        (Verdict, {"ok": True, "notes": ["x"]}, Verdict(True, ["x"])),
        (Verdict, Verdict(False), Verdict(False)),
        (Struct, {"stars": 3, "of": {"ok": True}}, Struct(3, Verdict(True))),
        (Typed, {"stars": 3}, {"stars": 3}),
        (Optional, {"stars": 3}, {"stars": 3}),
        (Attrs, {"stars": 3}, Attrs(3)),
        (Model, {"stars": 3}, Model(stars=3)),
        (Model, Model(stars=3), Model(stars=3)),
        (Tree, {"name": "a", "below": [{"name": "b"}]}, Tree("a", [Tree("b")])),
        (list[Verdict] | str, [{"ok": True}], [Verdict(True)]),
    ],
)
def test_an_answer_comes_back_as_an_instance_of_its_type(kind: Any, given: Any, read: Any) -> None:
    found = stored(AnswerType(kind), given)
    assert (type(found), found) == (type(read), read)


@pytest.mark.parametrize("given", [{"ok": True, "comment": "lost"}, {"ok": True, "notes": ["x"]}])
def test_the_schema_of_a_record_says_that_it_has_no_other_fields(given: dict[str, Any]) -> None:
    """So that another process, which has the schema alone, refuses what the type refuses."""
    known = AnswerType(Verdict)
    refused = "comment" in given
    assert (find_misfit(known.schema, given) is not None) == refused


@pytest.mark.parametrize(
    "kind",
    [datetime, bytes, Decimal, complex, set[int], tuple[int, ...], object, 5, "text", Pair, Dated, list[datetime],
     dict[str, bytes], dict[int, str], Annotated[int, "more than 3"],
     int | datetime, Literal[b"x"], Callable[[], int], Lost, type("Plain", (), {})],
)  # fmt: skip
def test_other_types_are_refused(kind: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AnswerType(kind)
    assert caught.value.field == "answer_type"


@pytest.mark.parametrize(
    ("kind", "value", "field"),
    [
        (int, "3", "value"),
        (int, True, "value"),
        (bool, 1, "value"),
        (str, None, "value"),
        (Literal["a", "b"], "c", "value"),
        (Annotated[int, msgspec.Meta(ge=1)], 0, "value"),
        (list[int], [1, "x"], "value[1]"),
        (Verdict, {"ok": True, "notes": [5]}, "value.notes[0]"),
        (Struct, {"stars": 3, "of": {"ok": "yes"}}, "value.of.ok"),
        (Model, {"stars": 9}, "value.stars"),
        (Model, "no", "value"),
        (Model, {"stars": "3"}, "value.stars"),
        (str, b"token", "value"),
        (Verdict, {"ok": True, "comment": "lost"}, "value.comment"),
        (list[Verdict], [{"ok": True, "comment": "lost"}], "value[0].comment"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_path(kind: Any, value: Any, field: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a valid answer to this question: \S") as caught:
        AnswerType(kind).fit(value)
    assert caught.value.field == field


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_json_lacks_is_refused_although_it_is_of_the_type(value: float) -> None:
    with pytest.raises(NotSerializableError, match=r"^\$\.value\[0\] is "):
        AnswerType(list[float]).fit([value])


def test_an_answer_that_the_type_does_not_take_any_more_names_both() -> None:
    data = encode_value(AnswerType(Verdict).fit(Verdict(True)))
    with pytest.raises(ConversionError, match="the stored answer"):
        AnswerType(Struct).read(data)


def test_the_schema_is_that_of_the_type() -> None:
    assert AnswerType(int).schema == {"type": "integer"}
    assert AnswerType(Literal["a", "b"]).schema == {"enum": ["a", "b"]}
    assert AnswerType(Model).schema["properties"]["stars"]["maximum"] == 5
    assert "Verdict" in str(AnswerType(Verdict).schema)
