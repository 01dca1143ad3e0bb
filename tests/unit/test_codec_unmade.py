"""What its class no longer makes (an enum member, a NamedTuple) is refused where the annotation names the class."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Any, NamedTuple

import pytest

from asyncjobs.core.codec import decode_arguments, decode_result, encode_arguments, encode_result
from asyncjobs.exceptions import ConversionError

HERE = sys.modules[__name__]


class Mode(Enum):
    FAST = 1
    SAFE = "safe"


class Access(IntFlag):
    READ = 1
    WRITE = 2


class Size(NamedTuple):
    w: int
    h: int


@dataclass
class Page:
    mode: Mode
    size: Any = None


def one(value: Mode) -> Mode:
    return value


def several(value: dict[str, list[Mode]]) -> None: ...


def either(value: Mode | str | None) -> None: ...


def record(value: Page) -> Page:
    return value


def access(value: Access) -> None: ...


def size(value: Size) -> Size:
    return value


def pairs(value: tuple[Size, int]) -> None: ...


def members(value: set[Mode]) -> None: ...


def mixed(value: tuple[Access, Any]) -> None: ...


@functools.singledispatch
def dispatched(value: object) -> None: ...


def anything(value: Any) -> Any:
    return value


def without(value):
    return value


def later(monkeypatch: pytest.MonkeyPatch, name: str, made: Any) -> None:
    """Let the module be that of a later deploy: the class of this name is another one."""
    made.__module__, made.__qualname__ = __name__, name
    monkeypatch.setattr(HERE, name, made)


def stored(func: Callable[..., Any], value: Any) -> bytes:
    return encode_arguments(func, (value,), {}).data


def read(data: bytes, func: Callable[..., Any]) -> Any:
    (value,), _ = decode_arguments(data, func, lambda _: None)
    return value


def with_later_annotation(func: Callable[..., Any]) -> Callable[..., Any]:
    """The function as the later deploy defines it: its annotation names the class that the module has now."""

    def same(value: Any) -> Any: ...

    same.__annotations__ = dict(func.__annotations__)
    return same


@pytest.mark.parametrize(
    ("callee", "value", "where"),
    [
        (one, Mode.SAFE, "$.value "),
        (several, {"a": [Mode.FAST, Mode.SAFE]}, "$.value.a[1] "),
        (either, Mode.SAFE, "$.value "),
        (record, Page(Mode.SAFE), "$.value.mode "),
        (access, Access.READ | Access.WRITE, "$.value "),
        (size, Size(1, 2), "$.value "),
        (pairs, (Size(1, 2), 3), "$.value[0] "),
        (members, {Mode.SAFE}, "$.value{item} "),
    ],
)
def test_what_the_named_class_no_longer_makes_is_refused(
    monkeypatch: pytest.MonkeyPatch, callee: Callable[..., Any], value: Any, where: str
) -> None:
    data = stored(callee, value)
    later(monkeypatch, "Mode", Enum("Mode", {"FAST": 1, "OTHER": 3}))
    later(monkeypatch, "Access", Enum("Access", {"READ": 1}))
    later(monkeypatch, "Size", NamedTuple("Size", [("w", int), ("h", int), ("unit", str)]))
    if callee is record:
        later(monkeypatch, "Page", dataclass(type("Page", (), {"__annotations__": {"mode": Mode, "size": Any}})))
    with pytest.raises(ConversionError) as caught:
        read(data, with_later_annotation(callee))
    assert where in str(caught.value)
    assert "which the class does not have" in str(caught.value)


def test_results_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    mode, pair = encode_result(one, Mode.SAFE), encode_result(size, Size(1, 2))
    later(monkeypatch, "Mode", Enum("Mode", {"FAST": 1}))
    later(monkeypatch, "Size", NamedTuple("Size", [("w", int)]))
    for data, func in ((mode, one), (pair, size)):
        with pytest.raises(ConversionError, match=r"result of .*\$ is .*which the class does not have"):
            decode_result(data, with_later_annotation(func))
    assert decode_result(mode, None) == "safe"
    assert decode_result(pair, without) == (1, 2)


@pytest.mark.parametrize("callee", [anything, without])
def test_without_an_annotation_that_names_the_class_it_is_the_plain_value(
    monkeypatch: pytest.MonkeyPatch, callee: Callable[..., Any]
) -> None:
    data = stored(callee, [Mode.SAFE, Size(1, 2)])
    later(monkeypatch, "Mode", Enum("Mode", {"FAST": 1}))
    later(monkeypatch, "Size", NamedTuple("Size", [("w", int)]))
    assert read(data, callee) == ["safe", (1, 2)]


def test_fields_that_a_named_tuple_got_since_have_their_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    data, result = stored(size, Size(1, 2)), encode_result(size, Size(1, 2))

    class Longer(NamedTuple):
        w: int
        h: int
        unit: str = "px"

    later(monkeypatch, "Size", Longer)
    for value in (read(data, with_later_annotation(size)), decode_result(result, size), read(data, without)):
        assert type(value) is Longer
        assert value == (1, 2, "px")


def test_a_plain_value_that_was_sent_stays_what_it_was() -> None:
    assert read(stored(one, "safe"), one) == "safe"
    assert read(stored(size, (1, 2, 3)), anything) == (1, 2, 3)


def test_beside_a_class_that_is_named_others_are_plain_values(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stored(mixed, (Access.READ, Mode.SAFE))
    later(monkeypatch, "Mode", Enum("Mode", {"FAST": 1}))
    assert read(data, mixed) == (Access.READ, "safe")


def test_a_class_that_has_it_and_is_not_the_modules_any_more_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mode, pair = stored(one, Mode.SAFE), stored(size, Size(1, 2))
    own = [{"value": Mode}, {"value": Size}]
    later(monkeypatch, "Mode", Enum("Mode", {"FAST": 1}))
    later(monkeypatch, "Size", NamedTuple("Size", [("w", int)]))
    for data, hints, plain in zip((mode, pair), own, ("safe", (1, 2)), strict=True):

        def taker(value: Any) -> Any: ...

        taker.__annotations__ = hints
        assert tuple(read(data, taker)) == tuple(plain)


def test_where_the_choice_of_an_implementation_decides_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = stored(dispatched, Mode.SAFE)
    later(monkeypatch, "Mode", Enum("Mode", {"FAST": 1}))
    assert read(data, dispatched) == "safe"
