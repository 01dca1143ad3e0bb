"""Records come back by annotation, and nothing else is touched."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from enum import Enum
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
    Union,
)

import attrs
import msgspec
import pytest
import typing_extensions

from asyncjobs.core.codec import (
    ConversionError,
    convert_arguments,
    convert_result,
    decode_call,
    decode_value,
    encode_arguments,
    encode_call,
    encode_value,
)
from asyncjobs.exceptions import NotSerializableError

if TYPE_CHECKING:
    from nowhere import Unknown

HERE = __name__
T = TypeVar("T")


class Mode(Enum):
    A = "a"
    B = 2


@dataclass
class Point:
    x: int
    y: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.x + self.y


@dataclass(frozen=True)
class Image:
    source: str | Path  # msgspec.convert refuses this union
    mode: Mode = Mode.A
    corners: list[Point] = field(default_factory=list)


class Clip(msgspec.Struct, kw_only=True):
    name: str
    start: Point | None = None


@attrs.frozen
class Spot:
    _x: int
    at: Point = attrs.field(factory=lambda: Point(0))
    seen: int = attrs.field(init=False, default=5)


@dataclass
class Node:
    name: str
    children: list[Node] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class Hidden:
    point: Point
    other: Unknown = None


class Strict(msgspec.Struct):
    name: str
    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("size must not be negative")


class Pair(NamedTuple):
    first: Point
    second: int


class Table(TypedDict):
    point: Point
    name: NotRequired[str]
    below: NotRequired[Table]


class Loose(TypedDict):
    below: NotRequired[Loose]


class Named(Protocol):
    name: str


PointId = NewType("PointId", Point)
Alias = typing_extensions.TypeAliasType("Alias", list[Point])
Bound = TypeVar("Bound", bound=Point)


def _travel(func: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    stored_args, stored_kwargs = decode_call(encode_call(args, kwargs).data)
    for _ in range(2):
        converted = convert_arguments(func, stored_args, stored_kwargs)
    return converted


def _taking(annotation: Any) -> Callable[[Any], None]:
    def taker(value: Any) -> None: ...

    taker.__annotations__ = {"value": annotation}
    return taker


POINT = Point(1, 2)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Point, POINT),
        ("Point", POINT),
        (Point, None),
        (Image, Image(Path("a"), Mode.B, [POINT])),
        (Clip, Clip(name="c", start=POINT)),
        (Spot, Spot(3, POINT)),
        (Node, Node("a", [Node("b", [Node("c")]), Node("d")])),
        (Box[Point], Box(POINT, [POINT])),
        (Box[int], Box(1, [2])),
        (Box[Box[Point]], Box(Box(POINT))),
        (Hidden, Hidden(POINT, 3)),
        (Optional[Point], POINT),  # noqa: UP045 - the old spelling, too
        (Union[Point, int], 3),  # noqa: UP007 - the old spelling, too
        (Point | float, 3),
        (Point | str, "p"),
        (Point | Image, Image("a")),
        (Image | Point, POINT),
        (Node | Clip, Clip(name="c", start=POINT)),
        (Point | dict[str, int], {"z": 1}),
        (Point | list[int], [1]),
        (list[Image | Point], [Image("a"), POINT]),
        (list[Point] | dict[str, Point], {"a": POINT}),
        (list[Point] | Point, [POINT]),
        (Point | Literal["none"], "none"),
        (Point | Named, 5),
        (Point | Any, 5),
        (list[Point], [POINT, None]),
        (list[Point], (POINT,)),
        (list[Point], None),
        (Sequence[Point], [POINT]),
        (Iterable[Point], [POINT]),
        (tuple[Point, ...], (POINT, POINT)),
        (tuple[int, Point], (1, POINT)),
        (tuple[int, Point], [1, POINT]),
        (tuple[int, Point], None),
        (dict[str, Point], {"a": POINT}),
        (dict[str, Point], None),
        (Mapping[int, list[Point]], {1: [POINT]}),
        (Pair, Pair(POINT, 2)),
        (Pair, None),
        (Table, {"point": POINT, "name": "t", "below": {"point": POINT}, "extra": 1}),
        (Table, None),
        (Annotated[Point, "note"], POINT),
        (Annotated[list[Annotated[Point, 1]], "note"], [POINT]),
        (PointId, POINT),
        (Alias, [POINT]),
        (Bound, POINT),
        (InitVar[Point], POINT),
        (typing.Final[Point], POINT),
        (Point | None | list[Point], None),
    ],
)
def test_records_come_back(annotation: Any, value: Any) -> None:
    (again,), _ = _travel(_taking(annotation), value)
    assert (again, type(again)) == (value, type(value))
    # What has its type already stays itself, or equal to itself.
    assert convert_arguments(_taking(annotation), (value,), {})[0] == (value,)
    if isinstance(value, (Point, Image)):
        assert convert_arguments(_taking(annotation), (value,), {})[0][0] is value


@pytest.mark.parametrize(
    "annotation",
    [int, "int", list[int], dict[str, Any], Any, None, T, Callable[[Point], Point], type[Point], Iterator[Point], Loose,
     str | Path, Mode, Literal["a"], "Unknown", "list[", tuple[()], Named, list, tuple, dict, Path],
)  # fmt: skip
def test_nothing_else_is_touched(annotation: Any) -> None:
    func = _taking(annotation)
    args, kwargs = ({"x": 1},), {"a": 1}
    again = convert_arguments(func, args, kwargs)
    assert again[0] is args
    assert again[1] is kwargs


def test_an_instance_where_the_class_was_not_loaded_comes_back_by_annotation() -> None:
    assert convert_arguments(_taking(Pair), (({"x": 1}, 2),), {}) == ((Pair(Point(1), 2),), {})


def test_every_kind_of_parameter() -> None:
    def func(a: int, b: Point, *rest: Point, key: Point | None = None, other: int = 0, **more: Point) -> None: ...

    args, kwargs = _travel(func, 1, POINT, POINT, POINT, key=POINT, other=1, extra=POINT)
    assert args == (1, POINT, POINT, POINT)
    assert kwargs == {"key": POINT, "other": 1, "extra": POINT}
    assert _travel(func, 1, b=POINT) == ((1,), {"b": POINT})

    def only(point: Point, /, **others: int) -> None: ...

    assert _travel(only, POINT, point={"x": 1}) == ((POINT,), {"point": {"x": 1}})
    # Partials move the positions.
    assert _travel(functools.partial(func, 1), POINT) == ((POINT,), {})
    assert convert_arguments(max, ({"x": 1},), {}) == (({"x": 1},), {})


def test_methods_classes_and_objects() -> None:
    class Plain:
        def __init__(self, point: Point) -> None: ...

    class New:
        def __new__(cls, point: Point) -> New:
            return super().__new__(cls)

    class Tool:
        def __call__(self, point: Point) -> list[Point]:
            return [point]

        @classmethod
        def make(cls, point: Point) -> Point:
            return point

    for func in (Plain, New, Tool(), Tool.make):
        assert _travel(func, POINT) == ((POINT,), {})
    assert _travel(Hidden, POINT) == ((POINT,), {})
    assert _travel(Clip, name="c", start=POINT) == ((), {"name": "c", "start": POINT})
    assert convert_result(Tool(), [{"x": 1}]) == [Point(1)]
    assert convert_result(Tool.make, {"x": 1}) == Point(1)
    assert convert_result(functools.partial(Tool.make), {"x": 1}) == Point(1)


def test_annotations_that_cannot_be_resolved_do_not_hide_the_others() -> None:
    def func(a: Unknown, b: Point) -> Point: ...

    assert _travel(func, 1, POINT) == ((1, POINT), {})
    assert convert_result(func, {"x": 1}) == Point(1)


def test_results() -> None:
    def make() -> list[Point]: ...
    async def make_later() -> Point: ...
    def plain() -> Any: ...

    for _ in range(2):
        assert convert_result(make, decode_value(encode_value([POINT]))) == [POINT]
        assert convert_result(make_later, {"x": 1}) == Point(1)
        assert convert_result(Point, {"x": 1}) == Point(1)
        assert convert_result(plain, {"x": 1}) == {"x": 1}
        assert convert_result(len, 3) == 3
        assert convert_result(make, None) is None


POINT_TYPE = f"{HERE}.Point(x, y)"


@pytest.mark.parametrize(
    ("annotation", "value", "where", "problem", "expected"),
    [
        (Point, 3, "$.value", "is an int", POINT_TYPE),
        (Point, {"y": 3}, "$.value", "has the fields (y)", POINT_TYPE),
        (Point, {"x": 3, "z": 4}, "$.value", "has the fields (x, z)", POINT_TYPE),
        (Point, {1: 3}, "$.value", "has the fields (1)", POINT_TYPE),
        (list[Point], [{"x": 1}, "p"], "$.value[1]", "is a str", POINT_TYPE),
        (list[Point], "p", "$.value", "is a str", "a list"),
        (Sequence[Point], 3, "$.value", "is an int", "a sequence"),
        (dict[str, Point], {"a b": 3}, "$.value['a b']", "is an int", POINT_TYPE),
        (dict[str, Point], 3, "$.value", "is an int", "a dict"),
        (tuple[int, Point], (1, 2), "$.value[1]", "is an int", POINT_TYPE),
        (tuple[int, Point], (1,), "$.value", "has 1 item", "a tuple of 2"),
        (tuple[int, Point], 3, "$.value", "is an int", "a tuple of 2"),
        (Pair, (1, 2), "$.value[0]", "is an int", POINT_TYPE),
        (Pair, (1,), "$.value", "is a tuple", f"{HERE}.Pair(first, second)"),
        (Table, 3, "$.value", "is an int", f"a dict like {HERE}.Table"),
        (Table, {"point": 3}, "$.value['point']", "is an int", POINT_TYPE),
        (Image, {"source": "a", "corners": [{"x": 1}, {}]}, "$.value.corners[1]", "has the fields ()", POINT_TYPE),
        (Point | None, 3, "$.value", "is an int", POINT_TYPE),
        (Point | Image, 3, "$.value", "is an int", f"{HERE}.Point | {HERE}.Image"),
        (Point | list[Point] | str, {"z": 1}, "$.value", "is a dict", f"{HERE}.Point | list[{HERE}.Point] | str"),
        (Point | Image, {"source": "a", "corners": [3]}, "$.value.corners[0]", "is an int", POINT_TYPE),
        (Strict, {"name": "s", "size": -1}, "$.value",
         "was refused by its class (ValueError: size must not be negative)",
         f"{HERE}.Strict(name, size)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(annotation: Any, value: Any, where: str, problem: str, expected: str) -> None:
    with pytest.raises(ConversionError) as caught:
        convert_arguments(_taking(annotation), (), {"value": value})
    error = caught.value
    assert str(error) == f"argument 'value' of _taking.<locals>.taker(): {where} {problem}; expected {expected}"
    assert (error.where, error.expected) == (where, expected)
    assert isinstance(error.__cause__, ValueError if "refused" in problem else type(None))


def test_what_does_not_fit_is_named_for_rest_and_result() -> None:
    def func(*rest: Point) -> list[Point]: ...

    with pytest.raises(ConversionError, match=r"argument 'rest' of .*func\(\): \$\.rest\[1\] is an int; expected"):
        convert_arguments(func, ({"x": 1}, 2), {})
    with pytest.raises(ConversionError, match=r"result of .*func\(\): \$\[0\] is an int; expected"):
        convert_result(func, [1])


@pytest.mark.parametrize(
    ("args", "where"),
    [((Point(1),), "$.args[0]"), (([{"a": Point(1)}],), "$.args[0][0].a")],
)
def test_a_record_is_refused_where_the_annotation_cannot_be_resolved(args: tuple[Any, ...], where: str) -> None:
    def func(a: Unknown) -> None: ...

    with pytest.raises(NotSerializableError, match="the annotation 'Unknown' of the argument 'a' of .*func") as caught:
        encode_arguments(func, args, {})
    assert str(caught.value).startswith(where + " is ")
    assert "TYPE_CHECKING" in (caught.value.hint or "")
    encode_arguments(func, ({"x": 1},), {})
    encode_arguments(func, ("text",), {})


def test_so_it_is_behind_a_wrapper() -> None:
    def func(a: Unknown) -> None: ...

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> None: ...

    with pytest.raises(NotSerializableError, match="annotation 'Unknown' of the argument 'a'"):
        encode_arguments(wrapper, (Point(1),), {})


def test_records_of_other_arguments_are_not_refused_for_it() -> None:
    def func(a: Unknown, b: Point) -> None: ...

    encode_arguments(func, (1, Point(1)), {})
