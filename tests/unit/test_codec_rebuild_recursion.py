"""Types that hold themselves: in their fields, in their items, and by aliases."""
# ruff: noqa: UP007, UP045 - of what only stands in for an alias

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Generic, NamedTuple, NotRequired, TypedDict, TypeVar

import attrs
import msgspec
import pydantic
import pytest

from asyncjobs.core.codec import kept, rebuild, unmade
from asyncjobs.core.codec.annotations import get_plan
from asyncjobs.core.codec.parts import bare_annotation, has_choice, holds_family, is_free, iter_parts, union_options
from tests.unit.record_support import Cat, Email, Sms, arrives, pack, refused, same, taking

T = TypeVar("T")
CAT = Cat("e")


class Table(TypedDict):
    cat: NotRequired[Cat]
    below: NotRequired[Table]
    beside: NotRequired[list[Table]]


class Tree(TypedDict, Generic[T]):
    leaf: T
    trees: NotRequired[dict[str, Tree[T]]]


class Pair(NamedTuple):
    cat: Cat | None
    rest: Pair | None


class Link(NamedTuple, Generic[T]):
    first: T
    rest: Link[T] | None


class Even(TypedDict):
    cat: Cat
    odd: NotRequired[tuple[Odd, ...]]


class Odd(NamedTuple):
    even: Even


@dataclass
class Node:
    cat: Cat
    nodes: list[Node]
    beside: Node | None = None


@dataclass
class Branch(Generic[T]):
    leaf: T
    branches: dict[str, list[Branch[T]]]


class Struct(msgspec.Struct):
    cat: Cat | None
    below: Struct | None
    table: Table | None = None


@attrs.define
class Attrs:
    cat: Cat
    below: tuple[Attrs, ...]


class Model(pydantic.BaseModel):
    below: list[Model]


class TypeAliasType:
    """What ``type X = …`` makes from Python 3.12, as far as it is looked at."""

    def __init__(self, name: str, meaning: Callable[[], Any], *type_params: Any) -> None:
        self.__name__ = name
        self._meaning = meaning
        self.__type_params__ = type_params

    @property
    def __value__(self) -> Any:
        return self._meaning()

    def __repr__(self) -> str:
        return self.__name__

    def __getitem__(self, argument: Any) -> Any:
        return types.GenericAlias(typing.cast("Any", self), argument)

    def __call__(self) -> None:
        """Called by nothing: Python 3.11 takes only callables into unions."""


Json = TypeAliasType("Json", lambda: dict[str, Json] | list[Annotated[Json, "note"]] | Cat | int)
Forest = TypeAliasType("Forest", lambda: typing.Union[list[Forest[T]], T], T)
Couple = TypeAliasType("Couple", lambda: tuple[T, list[T]], T)
Contact = TypeAliasType("Contact", lambda: Email | Sms)


def _nodes(depth: int) -> Node:
    return Node(Cat("n"), [_nodes(depth - 1)] if depth else [])


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Table, {"cat": Cat("a"), "below": {"cat": Cat("b"), "below": {"beside": [{"cat": Cat("c")}]}}}),
        (list[Table], [{"below": {"below": {"below": {"cat": Cat("a")}}}}]),
        (Tree[Cat], {"leaf": Cat("a"), "trees": {"x": {"leaf": Cat("b"), "trees": {"y": {"leaf": Cat("c")}}}}}),
        (Tree[Tree[Cat]], {"leaf": {"leaf": Cat("a")}, "trees": {"x": {"leaf": {"leaf": Cat("b")}}}}),
        (Tree[int], {"leaf": 1, "trees": {"x": {"leaf": 2}}}),
        (Pair, Pair(Cat("a"), Pair(None, Pair(Cat("b"), None)))),
        (Link[Cat], Link(Cat("a"), Link(Cat("b"), None))),
        (Even, {"cat": Cat("a"), "odd": (Odd({"cat": Cat("b"), "odd": (Odd({"cat": Cat("c")}),)}),)}),
        (Odd, Odd({"cat": Cat("b"), "odd": (Odd({"cat": Cat("c")}),)})),
        (Node, Node(Cat("a"), [Node(Cat("b"), [_nodes(3)])], _nodes(2))),
        (Branch[Cat], Branch(Cat("a"), {"x": [Branch(Cat("b"), {"y": [Branch(Cat("c"), {})]})]})),
        (Struct, Struct(Cat("a"), Struct(None, Struct(Cat("b"), None), {"below": {"cat": Cat("c")}}))),
        (Attrs, Attrs(Cat("a"), (Attrs(Cat("b"), (Attrs(Cat("c"), ()),)),))),
        (Model, Model(below=[Model(below=[Model(below=[])])])),
        (Json, {"a": [{"b": Cat("a")}, 3, [Cat("b")]], "c": Cat("c")}),
        (dict[str, Json] | None, {"a": {"b": {"c": {"d": Cat("a")}}}}),
        (Forest[Cat], [[Cat("a"), [[Cat("b")]]], Cat("c")]),
        (Couple[Cat], (Cat("a"), [Cat("b")])),
        (Couple[int], (1, [2])),
        (typing.Optional[Contact], Sms("1")),
    ],
    ids=repr,
)
def test_what_holds_itself_arrives(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)


def test_an_annotation_without_a_hash_is_seen_once() -> None:
    noted = list[Annotated[Cat, ["a list has no hash"]]]
    assert [part for part, _ in iter_parts(tuple[noted, noted])] == [tuple[noted, noted], noted, Cat, str]
    assert same(arrives(tuple[noted, noted], ([Cat("a")], [])), ([Cat("a")], []))


def test_a_record_that_is_not_of_the_type_is_refused_at_every_depth() -> None:
    assert refused(Table, {"below": {"beside": [{"below": {"cat": Email("a")}}]}}).where == (
        "$.args[0]['below']['beside'][0]['below']['cat']"
    )
    assert refused(Tree[Cat], {"leaf": Cat("a"), "trees": {"x": {"leaf": Sms("1")}}}).where == (
        "$.args[0]['trees']['x']['leaf']"
    )
    assert refused(Pair, Pair(None, Pair(None, Pair(typing.cast("Any", Sms("1")), None)))).where == "$.args[0][1][1][0]"
    assert refused(Forest[Cat], [[[Email("a")]]]).where == "$.args[0][0][0][0]"


@dataclass
class Swelling(Generic[T]):
    leaf: T
    swollen: Swelling[list[T]] | None = None
    doubled: Swelling[tuple[T, T]] | None = None


class Growing(TypedDict, Generic[T]):
    leaf: NotRequired[T]
    grown: NotRequired[Growing[list[T]]]
    other: NotRequired[Growing[tuple[T, T]]]


Nest = TypeAliasType("Nest", lambda: typing.Union[T, list[Nest[list[T]]]], T)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (
            Swelling[Cat],
            Swelling(Cat("a"), Swelling([Cat("b")], Swelling([[Cat("c")]])), Swelling((Cat("d"), Cat("e")))),
        ),
        (Growing[Cat], {"leaf": Cat("a"), "grown": {"leaf": [Cat("b")], "other": {"leaf": ([Cat("c")], [Cat("d")])}}}),
        (Growing[int], {"leaf": 1, "grown": {"leaf": [2]}}),
        (Nest[Cat], [[Cat("a")], [[[Cat("b")]]]]),
        (Nest[int], [[1], [[[2]]]]),
    ],
    ids=str,
)
def test_what_holds_a_larger_form_of_itself_arrives(annotation: Any, value: Any) -> None:
    assert same(arrives(annotation, value), value)
    assert has_choice(annotation) == (annotation == Nest[Cat])


Itself = TypeAliasType("Itself", lambda: Itself)
Either = TypeAliasType("Either", lambda: typing.Union[Either, Cat])
Or = TypeAliasType("Or", lambda: typing.Union[Nor, int])
Nor = TypeAliasType("Nor", lambda: typing.Union[Or, int])
Neither = TypeAliasType("Neither", lambda: typing.Union[Itself, Other])
Other = TypeAliasType("Other", lambda: typing.Union[Neither, Itself])
Unending = TypeAliasType("Unending", lambda: typing.Union[Unending[list[T]], T], T)
Endless = TypeAliasType("Endless", lambda: Endless[list[T]], T)
Undefined = TypeAliasType("Undefined", lambda: typing.cast("Any", globals()["NoSuchName"]))


def test_an_alias_that_stands_for_nothing_leaves_the_type_open() -> None:
    for alias in (Itself, Undefined, Neither):
        assert is_free(alias)
        assert not holds_family(alias)
        assert arrives(alias, [1, {"a": 2}]) == [1, {"a": 2}]
    assert bare_annotation(Itself) is None
    assert bare_annotation(Endless[int]) is None
    assert arrives(Unending[int], [[1]]) == [[1]]


def test_a_union_that_is_an_option_of_itself_has_its_other_options() -> None:
    assert union_options(bare_annotation(Either)) == [Cat]
    assert union_options(bare_annotation(Or)) == [int]
    assert not is_free(Or)
    assert arrives(Either, Cat("a")) == Cat("a")
    assert refused(Either, Email("a")).where == "$.args[0]"


def test_a_step_is_compared_with_a_type_that_holds_itself() -> None:
    for annotation, value in ((Json, {"a": [1]}), (Table, {"below": {}}), (Or, 1), (Forest[Cat], [[]]), (Neither, [1])):
        kept.refuse_misfit(pack(value), taking(annotation))
        unmade.refuse_unmade_result(pack(value), taking(annotation))


def _compiled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    compile_one = rebuild._compile

    def noting(annotation: Any, type_vars: Any, exact: bool) -> Any:
        found.append(annotation)
        return compile_one(annotation, type_vars, exact)

    monkeypatch.setattr(rebuild, "_compile", noting)
    rebuild._named.cache_clear()
    return found


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: Table, lambda inner: {"beside": [inner], "below": inner}),
        (lambda: Json, lambda inner: {"a": inner, "b": {"c": inner}}),
        (lambda: Pair, lambda inner: Pair(None, inner)),
    ],
)
def test_what_holds_itself_is_compiled_once_and_not_at_each_depth(
    make: Callable[[], Any], value: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = _compiled(monkeypatch)
    given = None
    func = taking(make())
    counts: list[int] = []
    for _ in range(6):
        given = value(given)
        get_plan(func).positional[0].rebuild(given)
        counts.append(len(compiled))
    assert counts[0] > 0
    assert counts[-1] == counts[2]


def test_the_fields_of_a_shape_that_no_value_has_are_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = _compiled(monkeypatch)
    plan = get_plan(taking(Table))
    assert compiled == [Table, Cat]
    plan.positional[0].rebuild({"below": {"cat": None}})
    assert compiled == [Table, Cat, Table, Cat]
    plan.positional[0].rebuild({"below": {"below": {"below": {}}}})
    assert compiled == [Table, Cat, Table, Cat]


SYNTAX = """
from __future__ import annotations
from dataclasses import dataclass
from typing import Annotated, NamedTuple, NotRequired, TypedDict
import msgspec
from tests.unit.record_support import Cat

type Json = dict[str, Json] | list[Annotated[Json, "note"]] | Cat | int
type Forest[T] = list[Forest[T]] | T
type Nest[T] = T | list[Nest[list[T]]]
type Couple[T] = tuple[T, list[T]]
type Itself = Itself
type Either = Either | Cat
type Undefined = NoSuchName | Cat

class Tree[T](TypedDict):
    leaf: T
    trees: NotRequired[dict[str, Tree[T]]]

class Link[T](NamedTuple):
    first: T
    rest: Link[T] | None

@dataclass
class Branch[T]:
    leaf: T
    branches: list[Branch[T]]

@dataclass
class Document:
    body: Json
    more: Forest[Document] | None = None
"""


@pytest.fixture(scope="module")
def syntax() -> Iterator[Any]:
    module = types.ModuleType("tests.unit.of_python_3_12")
    sys.modules[module.__name__] = module
    exec(compile(SYNTAX, "of_python_3_12.py", "exec"), vars(module))
    yield module
    del sys.modules[module.__name__]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the statement `type` is of Python 3.12")
def test_what_the_statement_type_and_brackets_behind_names_make_arrives(syntax: Any) -> None:
    deep = {"a": [{"b": Cat("a")}, 3, [Cat("b")]], "c": Cat("c")}
    cases = [
        (syntax.Json, deep),
        (syntax.Forest[Cat], [[Cat("a"), [[Cat("b")]]], Cat("c")]),
        (syntax.Nest[Cat], [[Cat("a")], [[[Cat("b")]]]]),
        (syntax.Couple[Cat], (Cat("a"), [Cat("b")])),
        (syntax.Either, Cat("a")),
        (syntax.Itself, [1]),
        (syntax.Undefined, [1]),
        (syntax.Tree[Cat], {"leaf": Cat("a"), "trees": {"x": {"leaf": Cat("b")}}}),
        (syntax.Link[Cat], syntax.Link(Cat("a"), syntax.Link(Cat("b"), None))),
        (syntax.Branch[Cat], syntax.Branch(Cat("a"), [syntax.Branch(Cat("b"), [])])),
        (syntax.Document, syntax.Document(deep, [[syntax.Document([Cat("a")])]])),
    ]
    for annotation, value in cases:
        assert same(arrives(annotation, value), value), annotation
