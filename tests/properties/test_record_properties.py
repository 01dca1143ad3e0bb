"""A random value of a random annotated type comes back equal, with equal types, or it is refused at submit.

500 cases; ``ASYNCJOBS_CODEC_CASES`` asks for more.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from enum import Enum, IntFlag
from typing import Any, Generic, NamedTuple, TypeVar

import attrs
import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asyncjobs.core.codec import decode_arguments, decode_result, encode_arguments, encode_result
from asyncjobs.core.codec.annotations import get_result_plan
from asyncjobs.exceptions import ConversionError, NotSerializableError

CASES = int(os.environ.get("ASYNCJOBS_CODEC_CASES", "500"))
T = TypeVar("T")


class Color(Enum):
    RED = "red"
    MIXED = (1, "x")


class Word(str, Enum):  # noqa: UP042 - the idiom of programs older than StrEnum
    A = "a"


class Access(IntFlag):
    READ = 1
    WRITE = 2


@dataclass
class Base:
    a: Any
    n: int = 0
    twice: int = field(init=False)
    rate: InitVar[int] = 2

    def __post_init__(self, rate: int) -> None:
        self.n += 1
        self.twice = self.n * rate
        self.note = [self.n]


@dataclass
class Derived(Base):
    b: list[Base] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Twin:
    a: Any
    n: int = 0


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


class Plain(msgspec.Struct, frozen=True, rename="camel"):
    a: Any
    n: int = 0


class Counting(msgspec.Struct):
    n: int
    parts: list[int] = []

    def __post_init__(self) -> None:
        if self.n > 40:
            raise ValueError("too many")
        self.n += 1
        self.parts.append(self.n)


@attrs.define
class Thing:
    a: Any
    n: int = attrs.field(default=0, converter=lambda value: value + 1)

    def __attrs_post_init__(self) -> None:
        self.n *= 2


class Pair(NamedTuple):
    first: Base
    second: Any


class Model(pydantic.BaseModel):
    a: Any = None
    n: int = 0
    of: Base | None = None


class Wide(Model):
    b: list[Model] = []


class Doubling(pydantic.BaseModel):
    n: int

    @pydantic.field_validator("n")
    @classmethod
    def double(cls, value: int) -> int:
        return value * 2


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
whole = st.integers(0, 50)
scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), whole, text, st.decimals(allow_nan=False), st.uuids(), st.datetimes(),
    st.binary(max_size=3), st.sampled_from([*Color, *Word, *Access]),
)  # fmt: skip
plain = scalars | st.lists(scalars, max_size=2) | st.dictionaries(text, scalars, max_size=2)
# Now and then a record stands where its annotation does not name it.
anything = st.one_of(plain, plain, plain, st.builds(Base, scalars, whole), st.builds(Twin, scalars))

bases = st.builds(Base, anything, whole, st.integers(1, 3))
derived = st.builds(Derived, anything, whole, b=st.lists(bases, max_size=2))
models = st.builds(Model, a=plain, n=whole, of=st.none() | bases)
LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, whole), (str, text), (Decimal, st.decimals(allow_nan=False)), (Color, st.sampled_from(Color)),
    (Access, st.just(Access(3))), (Base, bases | derived), (Derived, derived), (Twin, st.builds(Twin, anything, whole)),
    (Plain, st.builds(Plain, a=anything, n=whole)), (Thing, st.builds(Thing, anything, whole)),
    (Counting, st.builds(Counting, st.integers(0, 40))), (Pair, st.builds(Pair, bases | derived, plain)),
    (Model, models | st.builds(Wide, a=plain, b=st.lists(models, max_size=2))),
    (Doubling, st.builds(Doubling, n=whole)), (dict[str, Any], st.dictionaries(text, plain, max_size=2)),
    (dict[str, int], st.dictionaries(st.sampled_from(["a", "n"]), whole, max_size=2)),
]  # fmt: skip
Typed = tuple[Any, st.SearchStrategy[Any]]


def union(parts: Sequence[Typed]) -> Typed:
    annotations = tuple(annotation for annotation, _ in parts)
    return typing.Union[annotations], st.one_of(*(values for _, values in parts))  # noqa: UP007 - of a tuple


def around(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def listed(of: Typed) -> Typed:
        return list[of[0]], st.lists(of[1], max_size=3)

    def keyed(of: Typed) -> Typed:
        return dict[str, of[0]], st.dictionaries(text, of[1], max_size=3)

    def fixed(pair: tuple[Typed, Typed]) -> Typed:
        (a, first), (b, second) = pair
        return tuple[a, b], st.tuples(first, second)

    def series(of: Typed) -> Typed:
        return tuple[of[0], ...], st.lists(of[1], max_size=3).map(tuple)

    def boxed(of: Typed) -> Typed:
        return Box[of[0]], st.builds(Box, of[1], st.lists(of[1], max_size=2))

    def maybe(of: Typed) -> Typed:
        return typing.Optional[of[0]], st.none() | of[1]  # noqa: UP045 - of a value

    return st.one_of(
        inner.map(listed), inner.map(keyed), st.tuples(inner, inner).map(fixed), inner.map(series), inner.map(boxed),
        inner.map(maybe), st.lists(inner, min_size=2, max_size=3).map(union),
    )  # fmt: skip


typed = st.recursive(st.sampled_from(LEAVES), around, max_leaves=4)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, Any]:
    annotation, values = draw(typed)
    if draw(st.integers(0, 9)) == 0:
        # What the annotation does not say. No dict: for a record, that is what JSON has, and made one.
        values = draw(st.sampled_from(LEAVES[:-2]))[1]
    return annotation, draw(values)


def state(value: Any) -> Any:
    """What a value is, all the way down: types, and the state of records."""
    kind = type(value)
    if isinstance(value, (list, tuple)):
        return kind, [state(item) for item in value]
    if isinstance(value, dict):
        return kind, [(state(key), state(item)) for key, item in value.items()]
    names = getattr(kind, "__struct_fields__", None) or [
        *getattr(value, "__dict__", ()), *(name for base in kind.__mro__ for name in getattr(base, "__slots__", ()))
    ]  # fmt: skip
    if isinstance(value, (Base, Twin, Box, Plain, Counting, Thing, Model, Doubling)):
        kept = sorted(name for name in names if not name.startswith("_"))
        return kind, [(name, state(getattr(value, name))) for name in kept]
    return kind, value


def holds_dict(value: Any) -> bool:
    """Whether there is a plain dict anywhere in lists, tuples, dicts and the fields of a NamedTuple."""
    if type(value) is dict:
        return True
    return isinstance(value, (list, tuple)) and any(holds_dict(inner) for inner in value)


@pytest.mark.untraced
@pytest.mark.first
@pytest.mark.timeout(60 + CASES // 10)
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_what_arrives_is_what_was_sent_or_it_is_refused(case: tuple[Any, Any]) -> None:
    annotation, value = case

    def callee(value: Any) -> Any: ...

    callee.__annotations__ = {"value": annotation, "return": annotation}
    before = state(value)
    try:
        call = encode_arguments(callee, (value,), {})
    except NotSerializableError:
        pass
    else:
        try:
            (seen,), named = decode_arguments(call.data, callee, lambda _: None)
        except ConversionError:
            # A dict in place of a record is a call as JSON has it: the record's constructor decides when it runs.
            assert holds_dict(value)
        else:
            assert not named
            assert state(seen) == before
    if get_result_plan(callee).rebuild is not None:  # where the annotation names no record, one is read as a dict
        try:
            data = encode_result(callee, value)
        except NotSerializableError:
            pass
        else:
            assert state(decode_result(data, callee)) == before
    assert state(value) == before  # looking at it has not changed it
