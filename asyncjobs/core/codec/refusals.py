"""Describe values that cannot be stored: what they are, where they are, and what to pass instead."""

from __future__ import annotations

import collections
import datetime as dt
import io
import pathlib
import types
from collections.abc import Awaitable, Iterator, Mapping, MappingView, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from asyncjobs.checks import is_a
from asyncjobs.core.codec.names import type_name, with_article
from asyncjobs.exceptions import NotSerializableError

_BY_FILE = "save it to a file and pass the path"
_SPELLED: frozenset[type] = frozenset({str, bytes, int, float, bool, type(None)})
_ROUTINES = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.WrapperDescriptorType,
)
_LOCKS = frozenset({"lock", "rlock", "semaphore", "boundedsemaphore", "condition", "event", "barrier"})
_BY_LIBRARY: Mapping[tuple[str, str], str] = {
    # A model of pydantic 1: others are records.
    ("pydantic", "BaseModel"): "pass model.dict() to a parameter annotated as dict",
    # item() of nanoseconds returns their number, and that of a long double returns itself.
    ("numpy", "datetime64"): "pass value.astype('datetime64[us]').item()",
    ("numpy", "timedelta64"): "pass value.astype('timedelta64[us]').item()",
    ("numpy", "longdouble"): "pass float(value)",
    ("numpy", "float128"): "pass float(value)",
    ("numpy", "clongdouble"): "pass complex(value)",
    ("numpy", "complex256"): "pass complex(value)",
    ("numpy", "generic"): "pass its Python value: value.item()",
    ("pandas", "Timestamp"): "pass value.to_pydatetime()",
    ("pandas", "Timedelta"): "pass value.to_pytimedelta()",
    ("pandas", "NaTType"): "pass None",
    # While time is frozen, the program's own `datetime` and `date` are these classes, too.
    ("freezegun", "FakeDatetime"): "pass freezegun.api.real_datetime.fromisoformat(value.isoformat())",
    ("freezegun", "FakeDate"): "pass freezegun.api.real_date.fromisoformat(value.isoformat())",
    ("numpy", "ndarray"): _BY_FILE,
    ("PIL", "Image"): _BY_FILE,
    ("pandas", "DataFrame"): _BY_FILE,
    ("pandas", "Series"): _BY_FILE,
}
"""What to pass instead, by library and class name. The first match counts."""


def too_large(where: str, data: bytes, largest: int, instead: str) -> NotSerializableError:
    """Return the error for an encoded value of more than ``largest`` bytes.

    :param instead: what to do with the path of a file: ``pass``, ``return``, ``keep``.
    """
    what = f"{len(data):,} bytes, more than the {largest:,} that max_value_size allows"
    return NotSerializableError(where, what, hint=f"write it to a file and {instead} the path")


PLAIN_BASES: Mapping[type, str] = {
    int: "int(value)",
    float: "float(value)",
    str: "str(value)",
    bytes: "bytes(value)",
    list: "list(value)",
    dict: "dict(value)",
    tuple: "tuple(value)",
    set: "set(value)",
    frozenset: "frozenset(value)",
    bytearray: "bytearray(value)",
    dt.datetime: "datetime.fromisoformat(value.isoformat())",
    dt.date: "date.fromisoformat(value.isoformat())",
    dt.time: "time.fromisoformat(value.isoformat())",
    dt.timedelta: "timedelta(value.days, value.seconds, value.microseconds)",
    Decimal: "Decimal(value)",
    UUID: "UUID(int=value.int)",
    complex: "complex(value)",
    pathlib.Path: "Path(value)",
    pathlib.PurePath: "PurePath(value)",
}
"""Types that are stored as themselves, and how to convert an instance of a subclass, which would arrive as the plain
type. The first match counts: a datetime is a date."""


class Refusal(Exception):  # noqa: N818 - a signal inside this package, never an error that leaves it
    """A refused value. Every container on the way out adds its step; the border turns it into the error."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.steps: list[str] = []

    def at(self, root: str) -> NotSerializableError:
        """Return the error for the user; ``root`` is the place of the whole value (``"$"``)."""
        return NotSerializableError(shortened_path(root, self.steps), self.what, hint=self.hint)


def shortened_path(root: str, steps: list[str]) -> str:
    """Join ``root`` and the steps, innermost first, to one path; a very long one loses its middle."""
    path = root + "".join(reversed(steps))
    return path if len(path) <= 160 else f"{path[:80]}…{path[-60:]}"


def key_step(key: object) -> str:
    """Return the step of a path into a dict: ``.name``, or ``['any other key']``."""
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    text = repr(key) if type(key) in _SPELLED else type_name(type(key))
    return f"[{text if len(text) <= 40 else text[:39] + '…'}]"


def describe_refusal(value: object) -> Refusal:
    """Describe why a value is refused whose type is none of the stored types."""
    cls: type[Any] = type(value)
    noun = with_article(type_name(cls))
    if is_a(value, type):
        return Refusal(f"the class {type_name(value)}, which cannot be stored", "pass its name")
    if is_a(value, types.ModuleType):
        return Refusal(f"the module {value.__name__}, which cannot be stored", "import it in the job")
    if issubclass(cls, _ROUTINES):
        name = getattr(value, "__qualname__", noun)
        return Refusal(f"the function {name}, which cannot be stored", "call it in a separate job, or pass its name")
    base = next((base for base in PLAIN_BASES if base in cls.__mro__), None)
    if base is not None:
        return Refusal(f"{noun}, which would arrive as {with_article(type_name(base))}", _hint_for_subclass(cls, base))
    return Refusal(f"{noun}, which cannot be stored", _hint_for(cls))


def _hint_for_subclass(cls: type, base: type) -> str:
    hint = _hint_by_library(cls)
    if hint is not None:
        return hint
    if base is str and cls.__str__ is not str.__str__:
        return "pass str.__str__(value)"  # its own may return an instance of the class, as with Django's SafeString
    return f"pass {PLAIN_BASES[base]}"


_BY_KIND: Sequence[tuple[type[Any] | tuple[type[Any], ...], str]] = (
    (io.IOBase, "pass the path and open it in the job"),
    (Awaitable, "await it first and pass the result, or submit it as a job and pass the handle"),
    ((types.GeneratorType, types.AsyncGeneratorType), "pass the items in a list"),
    (BaseException, "pass str(error), or its parts in a dict"),
    ((collections.deque, Iterator, MappingView), "pass list(…)"),
    (Mapping, "pass dict(…)"),
    (memoryview, "pass bytes(…)"),
)
"""What to pass instead, by base class. The first match counts: a generator is an iterator, too."""


def _hint_for(cls: type[Any]) -> str | None:
    for kind, hint in _BY_KIND:
        if issubclass(cls, kind):
            return hint
    if hasattr(cls, "get_secret_value"):  # pydantic's secrets, which are asterisks in JSON
        return "pass value.get_secret_value() as a separate argument: it is stored as plain text"
    if cls.__name__.lower() in _LOCKS:
        return "a lock works inside one process only; use limit=(name, n) to bound how many jobs run at once"
    return _hint_by_library(cls)


def _hint_by_library(cls: type) -> str | None:
    # By the names of the class and its bases, so that none of these libraries is imported.
    ancestry: list[Any] = list(cls.__mro__)
    names = {(str(base.__module__).partition(".")[0], base.__name__) for base in ancestry}
    return next((hint for name, hint in _BY_LIBRARY.items() if name in names), None)
