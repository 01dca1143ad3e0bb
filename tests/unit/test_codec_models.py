"""Pydantic models arrive if validating their own fields gives an equal model, else they are refused with the field."""

from __future__ import annotations

import datetime as dt
import re
import threading
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any, Generic
from uuid import UUID, uuid4

import pydantic
import pytest

from asyncjobs.core.codec import (
    ConversionError,
    encode_arguments,
    from_json,
)
from asyncjobs.core.codec.families import record_fields
from asyncjobs.exceptions import NotSerializableError
from tests.unit.record_support import Box, Cat, Handle, Kind, T, arrives, read, refused, same, taking


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


def test_fields_are_given_by_alias() -> None:
    fields = record_fields(Wish(Title="t", by=Cat("c")))
    assert fields is not None
    assert (fields["Title"], fields["by"]) == ("t", Cat("c"))


@pytest.mark.parametrize(
    ("model", "why"), [(Names(["a"]), "a model with a root"), (Doubling(a=1), "a model that validating its own fields")]
)
def test_a_model_that_its_fields_do_not_make_gives_none(model: pydantic.BaseModel, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        record_fields(model)


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
        (Part[Any], Part[Any](of=Cat("a")), f"a {Cat.__module__}.Cat"),
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


class Broken(pydantic.BaseModel):
    """Its form in JSON is none that it takes."""

    url: pydantic.HttpUrl

    @pydantic.field_serializer("url")
    def short(self, url: Any) -> str:
        return "nowhere"


class Wordless(pydantic.BaseModel):
    """It can neither be made again nor be dumped."""

    a: int
    url: pydantic.HttpUrl | None = None

    @pydantic.field_validator("a")
    @classmethod
    def double(cls, value: int) -> int:
        return value * 2

    @pydantic.model_serializer
    def dump(self) -> Any:
        raise RuntimeError("no words")


class Older(pydantic.BaseModel):
    """As of pydantic before 2.11: it takes its aliases, and cannot be asked to take names."""

    first: int = pydantic.Field(alias="First")
    second: int = pydantic.Field(default=2, validation_alias="Second")
    third: list[Panel] = []
    wide: Wide | None = pydantic.Field(default=None, validation_alias=pydantic.AliasChoices("Wide", "wide"))

    @classmethod
    def model_validate(cls, obj: Any) -> Older:
        return super().model_validate(obj)


PLAIN_TEXT = "pass value.get_secret_value() as a separate argument: it is stored as plain text"


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
        (Broken(url="https://a.b"), ".url", "which cannot be stored",
         "pass model.model_dump() to a parameter annotated as dict"),
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


def test_a_model_that_cannot_be_dumped_is_refused_without_a_hint() -> None:
    error = refused(Wordless, Wordless(a=1))
    assert "that validating its own fields changes" in error.what
    assert error.hint is None
    assert refused(Wordless, Wordless(a=0, url="https://a.b")).where == "$.args[0].url"


@pytest.mark.parametrize(
    "value",
    [
        Older(First=1), Older(First=1, Second=3), Older(First=1, third=[Wide(text="a", width=1)]),
        Older(First=1, wide=Wide(text="a", width=1)),
    ],
    ids=repr,
)  # fmt: skip
def test_models_of_an_older_pydantic_are_made_again_by_their_aliases(value: Older) -> None:
    seen = arrives(Older, value)
    assert same(seen, value)
    assert seen.model_fields_set == value.model_fields_set


@pytest.mark.parametrize(
    ("annotation", "given", "wanted"),
    [
        (Panel, {"text": "a", "width": "1"}, Panel(text="a", width=1)),
        (Panel | dict[str, int], {"text": "a", "width": 1}, Panel(text="a", width=1)),
        (list[Panel], [{"text": "a", "width": 1}], [Panel(text="a", width=1)]),
        (Panel | dict[str, int], {"x": 1}, {"x": 1}),
        (Names, {"root": ["a"]}, None),
    ],
    ids=str,
)
def test_a_model_that_comes_as_json_arrives_or_refuses_it(annotation: Any, given: Any, wanted: Any) -> None:
    if wanted is None:
        with pytest.raises(ConversionError, match="was refused by its class"):
            arrives(annotation, from_json(given))
    else:
        assert same(arrives(annotation, from_json(given)), wanted)


def test_a_model_reads_json_in_its_own_way() -> None:
    seen = read(Wish, from_json({"Title": "t", "panels": [{"text": "a", "width": 1}], "at": "2026-01-01T00:00:00Z"}))
    assert seen.panels == [Panel(text="a", width=1)]
    assert seen.at == dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    with pytest.raises(ConversionError, match="greater than 0"):
        read(list[Panel], [{"text": "a", "width": -1}])
