"""Describe records: classes stored as their fields (dataclasses, msgspec Structs, attrs classes, pydantic models).

A ``RecordType`` holds what was found out once about one of these classes. It takes instances apart and puts them
together again without calling the class, so that neither ``__init__`` nor ``__post_init__`` runs a second time.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, cast

import msgspec

from asyncjobs.core.codec.hints import class_hints
from asyncjobs.core.codec.names import class_name, type_name

_METHODS = (FunctionType, BuiltinFunctionType, classmethod, staticmethod, property)


Default = Callable[[Any], Any]
"""Returns the default of a field for the given instance."""


class RecordField(msgspec.Struct, frozen=True):
    """A field: its attribute, its parameter of the constructor, and its default.

    ``parameter`` is None if the constructor does not take the field; ``required`` is True if it must be given there.
    ``default`` is for an instance that is put together without the constructor.
    """

    name: str
    parameter: str | None
    required: bool = False
    default: Default | None = None


class RecordMismatchError(ValueError):
    """Stored fields that the class no longer has, or refuses; the message names them."""


class RecordType(ABC):
    """One record class.

    ``fields`` are those that its constructor takes, and that a plain dict of it has. All other state (fields with
    ``init=False``, attributes that ``__post_init__`` made) is kept apart from these.
    """

    def __init__(
        self,
        cls: type,
        fields: Iterable[RecordField],
        others: Iterable[RecordField] = (),
        parameters: Iterable[RecordField] = (),
    ) -> None:
        self.cls = cls
        self.key = class_name(cls)
        self.fields = {field.name: field for field in fields}
        self.others = {field.name: field for field in others}
        self.required = frozenset(name for name, field in self.fields.items() if field.required)
        # With the InitVars, which the constructor takes but does not keep.
        self.parameters = self.fields | {field.name: field for field in parameters}

    def __repr__(self) -> str:
        return f"{type_name(self.cls)}({', '.join(self.fields)})"

    @property
    def hints(self) -> Mapping[str, Any]:
        """Return the annotations of all fields, by name."""
        return class_hints(self.cls)

    @abstractmethod
    def state(self, instance: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the state of an instance: the fields that the constructor takes, and the rest.

        :raises ValueError: it has more, or less, than can be stored; the message has the reason.
        """

    def verify(self, instance: Any, fields: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        """Make sure that this state makes an equal instance, where that depends on the class's own code.

        :raises ValueError: it does not; the message has the reason.
        """
        return

    def hint(self, instance: Any, is_stored: Callable[[Any], bool]) -> str | None:
        """Suggest what to do with an instance whose state cannot be stored."""
        return None

    @abstractmethod
    def make(self, fields: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
        """Make an instance with this state; what the state lacks gets its default.

        :raises RecordMismatchError: the class has other fields now, or refuses these.
        """

    def construct(self, fields: Mapping[str, Any]) -> Any:
        """Call the constructor with fields that came without a class: JSON, and rows of earlier versions."""
        self.check_names(fields)
        values: dict[str, Any] = {cast("str", self.parameters[name].parameter): v for name, v in fields.items()}
        return self.checked(lambda: self.cls(**values))

    def check_names(self, names: Iterable[Any]) -> None:
        """Make sure that the constructor takes these names; those with a default may be missing.

        :raises RecordMismatchError: it does not.
        """
        given = set(names)
        lacks = any(field.required and name not in given for name, field in self.parameters.items())
        if lacks or not given <= self.parameters.keys():
            raise RecordMismatchError(f"has the fields ({', '.join(map(str, names))})")

    def checked(self, call: Callable[[], Any]) -> Any:
        """Call the class's own code, and return what it returns.

        :raises RecordMismatchError: it raised.
        """
        try:
            return call()
        except Exception as error:  # border: the constructor is the user's code
            problem = f"was refused by its class ({type(error).__name__}: {error})"
            raise RecordMismatchError(problem) from error


@functools.lru_cache(maxsize=4096)
def is_cache(cls: type, name: str) -> bool:
    """Return whether a descriptor of the class made this attribute (``functools.cached_property``) and can do so again.

    A method that an instance overrides is not such an attribute.
    """
    for base in cls.__mro__:
        if name in vars(base):
            attribute: object = vars(base)[name]
            return hasattr(type(attribute), "__get__") and not isinstance(attribute, _METHODS)
    return False


def is_named_tuple(cls: Any) -> bool:
    """Return whether ``cls`` is a class made by NamedTuple or namedtuple."""
    return (
        isinstance(cls, type)
        and issubclass(cls, tuple)
        and isinstance(getattr(cast("Any", cls), "_fields", None), tuple)
    )
