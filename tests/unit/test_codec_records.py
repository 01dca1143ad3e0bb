"""What arrives is what was sent, or it is refused at submit: records of every kind, by the annotation of the callee."""

from __future__ import annotations

import abc
import datetime as dt
import functools
import re
import sys
import threading
import typing
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from enum import Enum, IntFlag
from typing import Annotated, Any, ClassVar, Generic, Literal, NamedTuple, Protocol, TypedDict, TypeVar
from uuid import UUID, uuid4

import attrs
import msgspec
import pydantic
import pytest
from msgspec.msgpack import Ext

from asyncjobs.core.codec import (
    ConversionError,
    CorruptValueError,
    decode_arguments,
    decode_call,
    decode_result,
    decode_value,
    encode_arguments,
    encode_call,
    encode_result,
    encode_value,
    from_json,
    wire,
)
from asyncjobs.exceptions import NotSerializableError

HERE = __name__
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


# -- no second __init__, no second __post_init__

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


@dataclass(frozen=True, slots=True)
class Frozen:
    path: str
    parts: list[str] = field(init=False, default_factory=list)
    count: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        ran.append("Frozen")
        object.__setattr__(self, "path", self.path + "/")


@dataclass
class OwnInit:
    a: int

    def __init__(self, text: str) -> None:
        ran.append("OwnInit")
        self.a = int(text)


@attrs.define
class Defined:
    _x: int
    seen: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        ran.append("Defined")
        self._x += 1
        self.seen = self._x


@attrs.frozen(slots=False)
class Converting:
    at: int = attrs.field(converter=lambda value: value + 1)


class Renamed(msgspec.Struct, frozen=True, rename="camel", tag="r", forbid_unknown_fields=True, array_like=True):
    first_name: str
    last_name: str = "x"


class Counting(msgspec.Struct):
    net: int
    parts: list[int] = []

    def __post_init__(self) -> None:
        self.net += 1
        self.parts.append(self.net)


class Roomy(msgspec.Struct, dict=True):
    a: int


class Unset(msgspec.Struct):
    a: int
    b: int | msgspec.UnsetType = msgspec.UNSET


@dataclass
class Node:
    name: str
    below: list[Node] = field(default_factory=list)
    cache: ClassVar[dict[str, int]] = {}

    def __post_init__(self) -> None:
        self.name += "!"


@dataclass
class Cached:
    a: int

    @functools.cached_property
    def lock(self) -> Any:
        return threading.Lock()


@dataclass
class Hidden:
    name: str

    @property  # type: ignore[no-redef]
    def name(self) -> str:
        return self._name

    @name.setter
    def name(self, value: str) -> None:
        self._name = value.upper()


class Base:
    __slots__ = ("trace",)


@dataclass
class Below(Base):
    a: int


def roomy() -> Roomy:
    value = Roomy(1)
    value.extra = [2]  # type: ignore[attr-defined]
    return value


def below() -> Below:
    value = Below(1)
    value.trace = "t"  # type: ignore[attr-defined]
    return value


def cached() -> Cached:
    value = Cached(1)
    assert value.lock
    return value


@pytest.mark.parametrize(
    "value",
    [
        Price(1), Price(2, 0.25), Frozen("a"), OwnInit("3"), Defined(1), Converting(1), Renamed("a"), Counting(1),
        roomy(), Unset(1), Unset(1, 2), Node("a", [Node("b", [Node("c")])]), Hidden("n"), below(), cached(),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_state_arrives_and_the_class_does_not_run_again(value: Any) -> None:
    ran.clear()
    seen = arrives(type(value), value)
    assert ran == []
    assert type(seen) is type(value)
    kept = [name for name in (*getattr(value, "__dict__", ()), "net", "parts", "trace", "extra") if name != "lock"]
    for name in kept:
        assert getattr(seen, name, None) == getattr(value, name, None)
    assert repr(seen) == repr(value)
    again = arrives(type(value), seen)
    assert repr(again) == repr(value)


def test_a_struct_has_its_stored_fields_set_again_after_its_post_init() -> None:
    sent = Counting(1)
    assert (sent.net, sent.parts) == (2, [2])
    seen = arrives(Counting, sent)
    assert (seen.net, seen.parts) == (2, [2])
    assert (sent.net, sent.parts) == (2, [2])


class Ascending(msgspec.Struct):
    last: int

    def __post_init__(self) -> None:
        if self.last > 0:
            raise ValueError("from 0 down only")
        self.last = 1


def test_a_struct_that_cannot_be_made_again_is_refused() -> None:
    error = refused(Ascending, Ascending(0))
    assert error.where == "$.args[0]"
    assert "that cannot be made again: it was refused by its class (ValueError: from 0 down only)" in error.what


@dataclass
class Versioned:
    a: int
    more: list[int] = field(default_factory=lambda: [7])
    derived: int = field(init=False, default=5)


def stored(qualname: str, fields: dict[str, Any], *more: Any, module: str = HERE) -> Ext:
    return Ext(wire.RECORD, pack([module, qualname, fields, *more]))


def read(annotation: Any, value: Any) -> Any:
    func = taking(annotation)
    return decode_arguments(pack([[value], {}]), func, lambda _: None)[0][0]


def test_a_field_that_the_stored_record_lacks_gets_its_default() -> None:
    seen = read(Versioned, stored("Versioned", {"a": 1}))
    assert (seen.a, seen.more, seen.derived) == (1, [7], 5)
    assert read(Frozen, stored("Frozen", {"path": "p"})).parts == []
    assert read(Converting, stored("Converting", {"at": 1})).at == 1
    assert read(Renamed, stored("Renamed", {"first_name": "a"})) == Renamed("a")
    for wrong in ({}, {"a": 1, "gone": 2}):
        with pytest.raises(ConversionError, match=r"has the fields \((a, gone)?\); expected"):
            read(Versioned, stored("Versioned", wrong))


def test_rows_without_a_class_name_are_rebuilt_through_the_constructor() -> None:
    assert read(Price, {"net": 1, "rate": 1.0}) == Price(1, 1.0)
    assert read(Versioned | None, {"a": 1}) == Versioned(1)
    assert read(list[Node], [{"name": "a", "below": [{"name": "b"}]}]) == [Node("a", [Node("b")])]
    assert read(Defined, {"_x": 1}) == Defined(1)


# -- what cannot come back whole is refused


@dataclass
class Failure(Exception):
    code: int


@dataclass
class Row(dict[str, int]):
    name: str


@dataclass
class Holding:
    a: int

    def __post_init__(self) -> None:
        self.lock = threading.Lock()


@dataclass(slots=True)
class Bare:
    a: int


def bare() -> Bare:
    value = Bare(1)
    del value.a
    return value


class Titled(namedtuple("Titled", "a b")):
    pass


def titled() -> Titled:
    value = Titled(1, 2)
    value.title = "t"  # type: ignore[attr-defined]
    return value


LocalTuple = namedtuple("Elsewhere", "a")
LocalEnum = Enum("LocalEnum2", "A")


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        (Failure(3), "", "which is also Exception and cannot be stored whole"),
        (Row("r"), "", "which is also dict and cannot be stored whole"),
        (Holding(1), ".lock", "_thread.lock, which cannot be stored"),
        (bare(), "", "whose field 'a' is not set"),
        (titled(), "", "with attributes besides its items"),
        (LocalTuple(1), "", "whose class another process could not find again"),
        (LocalEnum.A, "", "whose class another process could not find again"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_come_back_whole_is_refused(value: Any, where: str, what: str) -> None:
    error = refused(type(value), value)
    assert error.where == f"$.args[0]{where}"
    assert what in error.what


# -- subclasses


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self) -> float: ...


@dataclass
class Square(Shape):
    side: float

    def area(self) -> float:
        return self.side**2


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


class Sound(msgspec.Struct, tag=True):
    name: str


class Bark(Sound, tag=True):
    volume: int = 1


@attrs.define
class Thing:
    name: str


@attrs.define
class Toy(Thing):
    owner: Animal | None = None


class Key(NamedTuple):
    value: int


class Sub(Key):
    __slots__ = ()

    def __new__(cls, value: int) -> Sub:
        return super().__new__(cls, value * 2)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Animal, Dog("a")),
        (Animal, Puppy("a", 5)),
        (Animal | None, Plain("a")),
        (list[Animal], [Dog("a"), Animal("b"), Puppy("c")]),
        (dict[str, Sequence[Animal]], {"x": (Dog("a"), Cat)[:1]}),
        (Shape, Square(2)),
        (list[Shape], [Square(2)]),
        (Sound, Bark("b", 4)),
        (Thing, Toy("t", Dog("d"))),
        (tuple[Thing, ...], (Toy("t"), Thing("u"))),
        (Key, Sub(2)),
        (list[Key], [Sub(2), Key(1)]),
    ],
    ids=str,
)
def test_a_subclass_given_for_its_base_stays_the_subclass(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)


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


@pytest.mark.parametrize(
    ("annotation", "value", "where"),
    [
        (Dog, Animal("a"), ""),
        (Animal, Cat("a"), ""),
        (Animal | str, Cat("a"), ""),
        (list[Dog], [Dog("a"), Cat("b")], "[1]"),
        (dict[str, Dog], {"x": Animal("a")}, "['x']"),
        (int, Animal("a"), ""),
        (dict[str, int], {"x": Animal("a")}, ".x"),
        (list[int], [1, Animal("a")], "[1]"),
        (Animal, 3, ""),
        (list[Animal], "abc", ""),
        (tuple[int, Animal], (1, 2, 3), ""),
        (Animal | list[int], [Animal("a")], "[0]"),
    ],
    ids=str,
)
def test_what_its_annotation_does_not_name_is_refused(annotation: Any, value: Any, where: str) -> None:
    error = refused(annotation, value)
    assert error.where == f"$.args[0]{where}"
    assert "argument 'value' of taking.<locals>.taker()" in error.what
    with pytest.raises(NotSerializableError):
        encode_arguments(taking(annotation), (), {"value": value})


def test_another_class_of_the_same_name_is_refused() -> None:
    def make() -> Any:
        @dataclass
        class Local:
            a: int

        return Local

    first, second = make(), make()
    assert arrives(first, first(1)) == first(1)
    assert "Local" in refused(first, second(1)).what


def test_a_record_where_there_is_no_annotation_arrives_as_a_plain_dict() -> None:
    for annotation in (Any, object, T, Any | None):
        assert same(arrives(annotation, Price(1)), {"net": 2})
        assert same(arrives(annotation, [Price(1), {"x": Price(2)}]), [{"net": 2}, {"x": {"net": 4}}])
    for annotation in (dict, dict[str, Any], list, list[Any], Sequence[Any]):
        value = [Cat("a")] if annotation not in (dict, dict[str, Any]) else {"x": Cat("a")}
        assert refused(annotation, value).where in ("$.args[0][0]", "$.args[0].x")
        assert refused(annotation, Cat("a")).where == "$.args[0]"

    def free(value, *rest, **more): ...  # type: ignore[no-untyped-def]

    call = encode_arguments(free, (Cat("a"), Cat("b")), {"x": Cat("c")})
    assert decode_arguments(call.data, free, lambda _: None) == (({"name": "a"}, {"name": "b"}), {"x": {"name": "c"}})
    assert decode_call(call.data) == (({"name": "a"}, {"name": "b"}), {"x": {"name": "c"}})
    assert decode_value(encode_value([Cat("a")])) == [{"name": "a"}]


@dataclass
class Loose:
    of: Any


def test_a_record_in_a_field_that_does_not_name_it_is_refused() -> None:
    assert arrives(Loose, Loose({"a": [1]})) == Loose({"a": [1]})
    assert refused(Loose, Loose([Cat("a")])).where == "$.args[0].of[0]"
    assert refused(list[Loose], [Loose(1), Loose(Cat("a"))]).where == "$.args[0][1].of"


# -- unions


@dataclass
class Email:
    to: str


@dataclass
class Sms:
    to: str


class Letter(msgspec.Struct):
    to: str


class Told(TypedDict):
    to: str


class Kind(Enum):
    A = "a"


class Rights(IntFlag):
    R = 1
    W = 2


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Email | Sms, Email("1")),
        (Email | Sms, Sms("1")),
        (Sms | Letter | Email, Letter("1")),
        (list[Email] | list[Sms], [Sms("1")]),
        (list[Email | Sms], [Sms("1"), Email("2")]),
        (dict[str, Email] | dict[str, Sms], {"x": Sms("1")}),
        (tuple[Email, int] | tuple[Sms, int], (Sms("1"), 2)),
        (Email | dict[str, str], {"to": "1"}),
        (Email | dict[str, str], Email("1")),
        (Email | dict[str, str] | None, None),
        (list[Email | dict[str, str]], [{"to": "1"}, Email("2"), {"to": "3"}]),
        (list[Email] | list[dict[str, str]], [{"to": "1"}]),
        (dict[str, str] | Email, {"to": "1"}),
        (Email | Any, {"to": "1"}),
        (Email | Mapping[str, str], {"to": "1"}),
        (Email | Told, {"to": "1"}),
        (Email | dict[str, Email], {"to": Email("1")}),
        (Email | int, 3),
        (Email | Kind, Kind.A),
        (Email | Rights, Rights.R | Rights.W),
        (Annotated[Email | Annotated[Sms, 1], 2], Sms("1")),
        (Email | Literal["none"], "none"),
        (Animal | Cat, Puppy("p")),
    ],
    ids=str,
)
def test_members_of_a_union_are_told_apart(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)


@pytest.mark.parametrize(
    ("annotation", "value", "wanted"),
    [
        (Email | dict[str, str], {"to": "1"}, Email("1")),
        (Email | dict[str, str], {"for": "1"}, {"for": "1"}),
        (Email | Sms, {"to": "1"}, Email("1")),
        (list[Email] | list[dict[str, str]], [{"to": "1"}], [Email("1")]),
        (dict[str, Email | int], {"x": {"to": "1"}, "y": 2}, {"x": Email("1"), "y": 2}),
        (Email | Any, {"to": "1"}, Email("1")),
        (Email, {"to": "1"}, Email("1")),
    ],
    ids=str,
)
def test_json_has_no_classes_and_is_rebuilt_by_annotation(annotation: Any, value: Any, wanted: Any) -> None:
    assert same(arrives(annotation, from_json(value)), wanted)
    assert same(read(annotation, value), wanted)  # a row of an earlier version


# -- generics


@dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = field(default_factory=list)


@dataclass
class IntBox(Box[int]):
    pass


@dataclass
class CatBox(Box[Cat]):
    pass


U = TypeVar("U")


@dataclass
class Crate(Box[U], Generic[U]):
    lid: U | None = None


Constrained = TypeVar("Constrained", Email, Sms)


class Holder(msgspec.Struct, Generic[T]):
    content: T


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Box[Cat], Box(Cat("a"), [Cat("b")])),
        (Box[Box[Cat]], Box(Box(Cat("a")))),
        (Box[int], IntBox(1)),
        (Box, CatBox(Cat("a"))),
        (CatBox, CatBox(Cat("a"), [Cat("b")])),
        (Box[Cat], Crate(Cat("a"), [], Cat("b"))),
        (Box[Email] | Box[Sms], Box(Sms("1"))),
        (Holder[Cat], Holder(Cat("a"))),
        (Box[Email | Sms], Box(Sms("1"))),
        (Box[Email | dict[str, str]], Box({"to": "1"})),
        (Constrained, Sms("1")),
    ],
    ids=str,
)
def test_generic_records_arrive(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)
    if typing.get_origin(annotation) is Box and type(value) is Box:
        spelled = annotation(value.content, value.more)  # has the alias on it
        assert arrives(annotation, spelled) == spelled


def test_a_record_in_a_type_variable_that_stands_for_nothing_is_refused() -> None:
    assert refused(Box, Box(Cat("a"))).where == "$.args[0].content"


# -- pydantic


class Panel(pydantic.BaseModel):
    text: str
    width: int = pydantic.Field(gt=0)


class Wide(Panel):
    tall: bool = False


class Wish(pydantic.BaseModel):
    title: str = pydantic.Field(alias="Title")
    panels: list[Panel] = []
    by: Cat | None = None
    at: dt.datetime | None = None
    id: UUID = pydantic.Field(default_factory=uuid4)
    price: Decimal | None = None
    kind: Kind | None = None
    _secret: int = pydantic.PrivateAttr(default=0)


class Extra(pydantic.BaseModel, extra="allow", frozen=True):
    a: int


class Linked(pydantic.BaseModel):
    url: pydantic.HttpUrl
    key: pydantic.SecretStr | None = None


class Names(pydantic.RootModel[list[str]]):
    pass


class Part(pydantic.BaseModel, Generic[T]):
    of: T


class Doubling(pydantic.BaseModel):
    a: int

    @pydantic.field_validator("a")
    @classmethod
    def double(cls, value: int) -> int:
        return value * 2


class Refusing(pydantic.BaseModel):
    a: int

    @pydantic.model_validator(mode="after")
    def check(self) -> Refusing:
        if self.a == 0:
            raise ValueError("0 is not allowed")
        return self


@pydantic.dataclasses.dataclass
class Validated:
    a: int

    def __post_init__(self) -> None:
        self.a += 1


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Panel, Panel(text="a", width=1)),
        (Panel, Wide(text="a", width=1, tall=True)),
        (list[Panel], [Wide(text="a", width=1), Panel(text="b", width=2)]),
        (Panel | dict[str, int], Panel(text="a", width=1)),
        (Panel | Wide | None, Wide(text="a", width=1)),
        (Wish, Wish(Title="t", panels=[Wide(text="a", width=1)], by=Cat("c"), kind=Kind.A, price=Decimal("1.10"),
                    at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))),
        (Extra, Extra(a=1, b=[2], c={"d": 3})),
        (Linked, Linked(url="https://example.org/x")),
        (Names, Names(["a", "b"])),
        (Part[int], Part[int](of=1)),
        (Part[Panel], Part[Panel](of=Wide(text="a", width=1))),
        (Validated, Validated(1)),
        (Box[Panel], Box(Panel(text="a", width=1))),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_pydantic_models_arrive(annotation: Any, value: Any) -> None:
    seen = arrives(annotation, value)
    assert (seen, type(seen)) == (value, type(value))
    if isinstance(value, pydantic.BaseModel):
        assert seen.model_fields_set == value.model_fields_set
        assert seen.model_dump() == value.model_dump()
    if isinstance(value, Wish):
        assert type(seen.panels[0]) is Wide


def secret() -> Wish:
    wish = Wish(Title="t")
    wish._secret = 5
    return wish


@pytest.mark.parametrize(
    ("annotation", "value", "what"),
    [
        (Doubling, Doubling(a=1), "that validating its own fields changes"),
        (Refusing, Refusing.model_construct(a=0), "0 is not allowed"),
        (Wish, secret(), "with private attributes (_secret), which are not stored"),
        (Panel, Panel.model_construct(text="a", width=-1), "greater than 0"),
        (Part[Any], Part[Any](of=Cat("a")), f"a {HERE}.Cat"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_model_that_does_not_come_back_equal_is_refused(annotation: Any, value: Any, what: str) -> None:
    assert what in str(refused(annotation, value))


class Vault(pydantic.BaseModel, arbitrary_types_allowed=True):
    """Fields that are not stored, and whose form in JSON is something else."""

    key: pydantic.SecretStr | None = None
    pin: pydantic.SecretBytes | None = None
    inner: Linked | None = None
    many: list[Linked] = []
    free: Any = None
    size: pydantic.ByteSize | None = None
    counts: Counter[str] | None = None
    groups: defaultdict[str, list[int]] | None = None
    lock: Any = None


class Lossy(pydantic.BaseModel):
    url: pydantic.HttpUrl

    @pydantic.field_serializer("url")
    def short(self, url: Any) -> str:
        return "https://other.org/"


PLAIN_TEXT = "pass value.get_secret_value() as an argument of its own: it is stored as plain text"


@pytest.mark.parametrize(
    ("value", "where", "what", "hint"),
    [
        (Vault(key="k"), ".key", "a pydantic.types.SecretStr, which cannot be stored", PLAIN_TEXT),
        (Vault(pin=b"k"), ".pin", "a pydantic.types.SecretBytes, which cannot be stored", PLAIN_TEXT),
        (Vault(inner=Linked(url="https://a.b", key="k")), ".inner.key", "a pydantic.types.SecretStr, ", PLAIN_TEXT),
        (Vault(many=[Linked(url="https://a.b"), Linked(url="https://a.b", key="k")]), ".many[1].key",
         "a pydantic.types.SecretStr, ", PLAIN_TEXT),
        (Vault(free=Counter("a")), ".free", "a collections.Counter, which would arrive as a dict", "pass dict(value)"),
        (Vault(lock=threading.Lock()), ".lock", "a _thread.lock, which cannot be stored", "a lock works inside one"),
        (Lossy(url="https://a.b"), ".url", "which cannot be stored",
         "pass model.model_dump() to a parameter annotated as dict"),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_a_field_that_is_not_stored_is_named(value: Any, where: str, what: str, hint: str) -> None:
    for annotation, given, root in ((type(value), value, "$.args[0]"), (list[Any] | Vault, [value], "$.args[0][0]")):
        error = refused(annotation, given)
        assert error.where == root + where
        assert what in error.what
        assert str(error.hint).startswith(hint)


def test_a_handle_in_a_model_is_refused_as_one() -> None:
    with pytest.raises(NotSerializableError, match=r"args\[0\]\.free\[0\] is a job handle in a field"):
        encode_arguments(taking(Vault), (Vault(free=[Handle("a")]),), {}, Handle)


@pytest.mark.parametrize(
    "value",
    [
        Vault(size="1kb"), Vault(counts=Counter("aab")), Vault(groups={"a": [1]}),
        Vault(inner=Linked(url="https://a.b")), Vault(many=[Linked(url="https://a.b")]),
    ],
    ids=repr,
)  # fmt: skip
def test_fields_that_come_back_from_their_form_in_json_arrive(value: Vault) -> None:
    seen = arrives(Vault, value)
    assert seen == value
    for name in ("size", "counts", "groups", "inner"):
        assert type(getattr(seen, name)) is type(getattr(value, name))


class Stamped(pydantic.BaseModel):
    at: dt.datetime
    link: pydantic.HttpUrl | None = None

    @pydantic.field_validator("at")
    @classmethod
    def later(cls, at: dt.datetime) -> dt.datetime:
        return at + dt.timedelta(1)


class Doubled(pydantic.RootModel[list[int]]):
    @pydantic.model_validator(mode="after")
    def double(self) -> Doubled:
        self.root = self.root * 2
        return self


@pytest.mark.parametrize(
    "model",
    [
        Doubling(a=1),
        Stamped(at=dt.datetime(2026, 1, 1)),
        Stamped(at=dt.datetime(2026, 1, 1), link="https://a.b"),
        Doubled([1]),
        Panel.model_construct(text="a", width=-1),
    ],
    ids=repr,
)
def test_the_hint_of_a_model_that_is_refused_keeps_its_value(model: Any) -> None:
    hint = str(refused(type(model), model).hint)
    call, kind = re.findall(r"^pass (model\.\S+) to a parameter annotated as (\w+), or", hint)[0]
    given = eval(call, {"model": model})
    assert type(given).__name__ == kind
    assert same(arrives({"dict": dict, "list": list}[kind], given), given)
    wanted = model.model_dump(mode="json" if "json" in call else "python")
    assert given == wanted


def test_a_model_reads_json_in_its_own_way() -> None:
    seen = read(Wish, from_json({"Title": "t", "panels": [{"text": "a", "width": 1}], "at": "2026-01-01T00:00:00Z"}))
    assert seen.panels == [Panel(text="a", width=1)]
    assert seen.at == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(ConversionError, match="greater than 0"):
        read(list[Panel], [{"text": "a", "width": -1}])


# -- handles


def test_a_result_takes_the_place_of_a_handle_by_the_callees_annotation_or_its_own() -> None:
    def make() -> Animal: ...
    def untyped(): ...  # type: ignore[no-untyped-def]
    def takes(one: Animal, more: list[Animal | dict[str, str]]) -> None: ...
    def free(one: Any) -> None: ...

    results = {
        "typed": (encode_result(make, Dog("a")), make),
        "unknown": (encode_result(make, Dog("a")), None),
        "untyped": (encode_result(untyped, Dog("a")), untyped),
    }
    for name in results:
        call = encode_arguments(takes, (Handle(name), [Handle(name), {"x": "y"}]), {}, Handle)
        assert call.handles == (name,)
        args, _ = decode_arguments(call.data, takes, results.get)
        assert same(list(args), [Dog("a"), [Dog("a"), {"x": "y"}]])
        call = encode_arguments(free, (Handle(name),), {}, Handle)
        (seen,), _ = decode_arguments(call.data, free, results.get)
        assert same(seen, Dog("a") if name == "typed" else {"name": "a"})
    gone = encode_arguments(takes, (Handle("gone"), []), {}, Handle)
    assert decode_arguments(gone.data, takes, results.get) == ((None, []), {})


# -- results


def test_a_result_that_does_not_fit_its_annotation_is_refused() -> None:
    def make() -> list[Animal]: ...
    def plain() -> int: ...

    with pytest.raises(NotSerializableError) as caught:
        encode_result(make, [Dog("a"), Cat("b")], "$.result")
    assert caught.value.where == "$.result[1]"
    assert "the annotation of the result of" in caught.value.what
    with pytest.raises(NotSerializableError):
        encode_result(make, 3)
    assert decode_result(encode_result(plain, "not an int"), plain) == "not an int"
    assert decode_result(encode_result(plain, Cat("a")), plain) == {"name": "a"}
    assert decode_result(encode_result(make, None), make) is None


# -- stored data chooses no code


def test_a_stored_class_name_is_compared_and_never_looked_up() -> None:
    loaded = set(sys.modules)
    for module, qualname in (("os", "system"), (HERE, "Cat"), (HERE, "taking"), ("this", "Animal"), ("", "")):
        value = stored(qualname, {"name": "a"}, module=module)
        with pytest.raises(ConversionError, match="expected"):
            read(Animal, value)
        assert read(Any, value) == {"name": "a"}
    assert set(sys.modules) == loaded
    assert read(Animal, stored("Dog", {"name": "a"})) == Dog("a")


def test_a_script_and_the_module_of_its_file_are_the_same() -> None:
    own = HERE.rpartition(".")[2]
    assert read(Animal, stored("Dog", {"name": "a"}, module=f"/app/{own}.py")) == Dog("a")
    with pytest.raises(ConversionError):
        read(Animal, stored("Dog", {"name": "a"}, module="/app/other.py"))


@pytest.mark.parametrize(
    "parts",
    [[], ["m"], ["m", "q"], [1, "q", {}], ["m", 2, {}], ["m", "q", []], ["m", "q", {1: 2}], ["m", "q", {}, []],
     ["m", "q", {}, {}, {}]],
    ids=str,
)  # fmt: skip
def test_damaged_records_are_one_clean_error(parts: list[Any]) -> None:
    data = pack(Ext(wire.RECORD, pack(parts)))
    with pytest.raises(CorruptValueError):
        decode_value(data)
    with pytest.raises(CorruptValueError):
        decode_result(data, taking(Animal))


def test_the_format_of_records_on_disk() -> None:
    assert encode_value(Cat("a")) == pack(stored("Cat", {"name": "a"}))
    assert encode_value(Price(1)) == pack(stored("Price", {"net": 2}, {"tax": 1.0, "note": "at 0.5"}))
    assert encode_call((Email("a"),), {}).records == (1,)
    assert encode_call((1, [Email("a"), Email("b")]), {"x": Email("c"), "a": 1}).records == (0, 2, 0, 1)
    exact = encode_arguments(taking(Email | dict[str, int]), ({"a": 1},), {}).data
    assert exact == pack([[Ext(wire.DICT, pack(["a", 1]))], {}])
    assert encode_arguments(taking(Email), ({"a": 1},), {}).data == pack([[{"a": 1}], {}])


class Named(Protocol):
    name: str


def test_what_a_protocol_accepts_is_not_known_by_name() -> None:
    assert "Cat" in refused(Named, Cat("a")).what
    assert arrives(Named, {"name": "a"}) == {"name": "a"}


def test_dicts_of_other_kinds_are_refused() -> None:
    for annotation in (Email | dict[str, str], Email, OrderedDict[str, str], dict, Any):
        error = refused(annotation, OrderedDict(to="1"))
        assert (error.where, error.hint) == ("$.args[0]", "pass dict(value)")
