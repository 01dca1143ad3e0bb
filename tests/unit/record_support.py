"""Records that the tests of the codec share, and what sends and reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec
import pytest
from msgspec.msgpack import Ext

from asyncjobs.core.codec import (
    decode_arguments,
    decode_result,
    encode_arguments,
    encode_result,
    wire,
)
from asyncjobs.exceptions import NotSerializableError

T = TypeVar("T")
pack = msgspec.msgpack.encode


class Handle(str):
    __slots__ = ()


def taking(annotation: Any) -> Callable[[Any], Any]:
    def taker(value: Any) -> Any: ...

    taker.__annotations__ = {"value": annotation, "return": annotation}
    return taker


def arrives(annotation: Any, value: Any) -> Any:
    """The value as an argument, having been an argument; as a result it must be the same."""
    func = taking(annotation)
    (seen,), named = decode_arguments(encode_arguments(func, (value,), {}, Handle).data, func, lambda _: None)
    assert not named
    back = decode_result(encode_result(func, value), func)
    assert repr(back) == repr(seen)
    return seen


def refused(annotation: Any, value: Any) -> NotSerializableError:
    with pytest.raises(NotSerializableError) as caught:
        encode_arguments(taking(annotation), (value,), {})
    return caught.value


ran: list[str] = []


@dataclass
class Price:
    net: float
    tax: float = field(init=False)
    rate: InitVar[float] = 0.5

    def __post_init__(self, rate: float) -> None:
        ran.append("Price")
        self.net *= 2
        self.tax = self.net * rate
        self.note = f"at {rate}"  # an attribute that is no field


def stored(name: type | tuple[str, str], fields: dict[str, Any], *more: Any) -> Ext:
    """A record as it is stored, of a class or of one that has this module and this name."""
    module, qualname = (name.__module__, name.__qualname__) if isinstance(name, type) else name
    return Ext(wire.RECORD, pack([module, qualname, fields, *more]))


def read(annotation: Any, value: Any) -> Any:
    func = taking(annotation)
    return decode_arguments(pack([[value], {}]), func, lambda _: None)[0][0]


@dataclass
class Animal:
    name: str


@dataclass
class Dog(Animal):
    pass


@dataclass
class Puppy(Dog):
    weeks: int = 3


class Plain(Animal):
    """Not a dataclass itself; what it is, it has from its base."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.tricks = ["sit"]


@dataclass
class Cat:
    name: str


def same(a: Any, b: Any) -> bool:
    """Equal and of equal types, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    state = [getattr(x, "__dict__", None) for x in (a, b)]
    return bool(a == b) and (state[0] is None or same(*state))


@dataclass
class Email:
    to: str


@dataclass
class Sms:
    to: str


class Kind(Enum):
    A = "a"


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)
