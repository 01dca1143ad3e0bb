"""Take msgspec Structs apart and put them together. Only their constructor, which runs ``__post_init__``, makes one."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import msgspec
from msgspec.structs import force_setattr

from asyncjobs.core.codec.records import RecordField, RecordMismatchError, RecordType, is_cache


class StructRecord(RecordType):
    """A Struct class. The fields are set again after a ``__post_init__``, which therefore changes nothing."""

    def __init__(self, cls: Any) -> None:
        # Not msgspec.structs.fields: that resolves annotations, which may be impossible here.
        names, defaults = cls.__struct_fields__, cls.__struct_defaults__
        padded = (msgspec.NODEFAULT,) * (len(names) - len(defaults)) + defaults
        self.unset = frozenset(name for name, default in zip(names, padded, strict=True) if default is msgspec.UNSET)
        super().__init__(
            cls,
            [
                RecordField(name, name, required=default is msgspec.NODEFAULT)
                for name, default in zip(names, padded, strict=True)
            ],
        )
        self.has_dict = any("__dict__" in vars(base) for base in cls.__mro__ if base is not object)
        self.post_init = hasattr(cls, "__post_init__")

    def state(self, instance: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the fields, except those that are UNSET by default and still are, and the ``__dict__``."""
        try:
            fields = {name: getattr(instance, name) for name in self.fields}
        except AttributeError:
            lacking = next(name for name in self.fields if not hasattr(instance, name))
            raise ValueError(f"whose field {lacking!r} is not set") from None
        for name in self.unset:
            if fields[name] is msgspec.UNSET:
                del fields[name]
        more: dict[str, Any] = {}
        if self.has_dict:
            more = {name: value for name, value in instance.__dict__.items() if not is_cache(self.cls, name)}
        return fields, more

    def verify(self, instance: Any, fields: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        """Make sure that a ``__post_init__`` accepts the state."""
        if self.post_init:
            try:
                self.make(fields, more)
            except RecordMismatchError as error:
                raise ValueError(f"that cannot be made again: it {error}") from error

    def make(self, fields: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
        """Call the constructor, then undo what ``__post_init__`` changed."""
        self.check_names(fields)
        instance: Any
        if self.post_init:
            # ``__post_init__`` may change what it finds, so it gets copies.
            instance = self.checked(lambda: self.cls(**deepcopy(dict(fields))))
            for name, value in fields.items():
                force_setattr(instance, name, value)
        else:
            instance = self.checked(lambda: self.cls(**fields))
        if self.has_dict and (more or instance.__dict__):
            instance.__dict__.clear()
            instance.__dict__.update(more)
        return instance
