"""Take dataclass and attrs instances apart and put them together: their state is ``__dict__`` and slots."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from types import MemberDescriptorType
from typing import Any, cast

from asyncjobs.core.codec.names import type_name
from asyncjobs.core.codec.records import Default, RecordField, RecordMismatchError, RecordType, is_cache

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, not in C
# What typing leaves on instances of generic classes, and the hash that attrs keeps: it differs between processes.
_GENERIC = "__orig_class__"
_HASH = "_attrs_cached_hash"


class AttributeRecord(RecordType):
    """A class whose instances hold their state in attributes, and in nothing else."""

    def __init__(
        self,
        cls: type,
        fields: Iterable[RecordField],
        others: Iterable[RecordField],
        parameters: Iterable[RecordField] = (),
    ) -> None:
        super().__init__(cls, fields, others, parameters)
        # A base with state beside attributes: the items of a dict, the arguments of an exception.
        self.foreign = next(
            (base for base in cls.__mro__ if base is not object and not base.__flags__ & _HEAP_TYPE), None
        )
        self.slots = {
            name: slot
            for base in reversed(cls.__mro__)
            for name, slot in vars(base).items()
            if isinstance(slot, MemberDescriptorType) and name != "__weakref__"
        }
        self.has_dict = any("__dict__" in vars(base) for base in cls.__mro__ if base is not object)
        # A property with the name of a field: the state is where its setter put it.
        self.computed = frozenset(name for name in self.fields if _is_property(cls, name))
        self.needed = self.required - self.computed
        self.plain = self.has_dict and not self.slots and not self.computed and not self.others

    def state(self, instance: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the fields of an instance and its further attributes.

        :raises ValueError: it has state beside attributes, or a field that is not set.
        """
        if self.foreign is not None:
            raise ValueError(f"which is also {type_name(self.foreign)} and cannot be stored whole")
        if self.plain and instance.__dict__.keys() == self.fields.keys():
            return instance.__dict__, {}
        state = self._attributes_of(instance)
        fields = self._take_fields(instance, state)
        for name, field in self.others.items():
            if field.default is not None and name not in state and not hasattr(instance, name):
                raise ValueError(f"whose field {name!r} is not set")
        more = {
            name: None if name == _HASH else value
            for name, value in state.items()
            if name != _GENERIC and (name in self.others or not is_cache(self.cls, name) or name in self.slots)
        }
        return fields, more

    def _attributes_of(self, instance: Any) -> dict[str, Any]:
        """Return a new dict of everything that is set on an instance, in its ``__dict__`` and its slots."""
        state: dict[str, Any] = dict(instance.__dict__) if self.has_dict else {}
        for name, slot in self.slots.items():
            try:
                state[name] = slot.__get__(instance)
            except AttributeError:  # not set
                pass
        return state

    def _take_fields(self, instance: Any, state: dict[str, Any]) -> dict[str, Any]:
        """Move the fields out of ``state``, which keeps the other attributes."""
        fields: dict[str, Any] = {}
        # A field is stored on the instance, or computed by a property, or left to a default of the class, or missing.
        for name in self.fields:
            if name in state:
                fields[name] = state.pop(name)
            elif name in self.computed:
                fields[name] = getattr(instance, name)
            elif not hasattr(instance, name):
                raise ValueError(f"whose field {name!r} is not set")
        return fields

    def make(self, fields: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
        """Build an instance from its stored state, without running its constructor.

        :raises RecordMismatchError: the class has other fields now.
        """
        known = self.fields
        if not (fields.keys() <= known.keys() and self.needed <= fields.keys()):
            raise RecordMismatchError(f"has the fields ({', '.join(fields)})")
        # Not cls(…) and not cls.__new__(…), which must not run a second time.
        instance: Any = self.checked(functools.partial(_bare_instance, self.cls))
        state: dict[str, Any] = {**fields, **more}
        for name in self.computed:
            state.pop(name, None)
        self._set(instance, state)
        if self.others or len(fields) < len(known):
            self._set_defaults(instance, state)
        return instance

    def _set(self, instance: Any, state: Mapping[str, Any]) -> None:
        if self.has_dict and not self.slots:
            instance.__dict__.update(state)
            return
        for name, value in state.items():
            slot = self.slots.get(name)
            if slot is not None:
                slot.__set__(instance, value)
            elif self.has_dict:
                instance.__dict__[name] = value
            else:
                raise RecordMismatchError(f"has the attribute {name!r}")

    def _set_defaults(self, instance: Any, state: Mapping[str, Any]) -> None:
        """Set the fields that are not in ``state``, one by one: a default may read those before it."""
        for name, field in (self.fields | self.others).items():
            if field.default is not None and name not in state and name not in self.computed:
                self._set(instance, {name: field.default(instance)})


def _bare_instance(cls: Any) -> Any:
    instance: Any = object.__new__(cls)
    return instance


def _is_property(cls: type, name: str) -> bool:
    # `object`: whatever the class has there.
    attributes: list[object] = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
    return any(hasattr(a, "__set__") and not isinstance(a, MemberDescriptorType) for a in attributes[:1])


def dataclass_record(cls: Any) -> AttributeRecord:
    """Describe a dataclass. An InitVar is a parameter of its constructor and not a field."""
    fields = dataclasses.fields(cls)
    return AttributeRecord(
        cls,
        [_field(f.name, f.name, _dataclass_default(f)) for f in fields if f.init],
        [_field(f.name, None, _dataclass_default(f)) for f in fields if not f.init],
        [
            _field(name, name, _dataclass_default(f))
            for name, f in cls.__dataclass_fields__.items()
            if isinstance(f.type, dataclasses.InitVar) or "INITVAR" in repr(f._field_type)
        ],
    )


def _dataclass_default(field: dataclasses.Field[Any]) -> Default | None:
    if field.default is not dataclasses.MISSING:
        return _always(field.default)
    factory = field.default_factory
    return None if factory is dataclasses.MISSING else _made_by(factory)


def attrs_record(cls: type, attributes: Any) -> AttributeRecord:
    """Describe an attrs class by its own attributes, so that attrs need not be installed or imported."""
    return AttributeRecord(
        cls,
        [_field(a.name, a.alias, _attrs_default(a.default)) for a in attributes if a.init],
        [_field(a.name, None, _attrs_default(a.default)) for a in attributes if not a.init],
    )


def _attrs_default(default: Any) -> Default | None:
    # "No default" and "made by a factory" are classes of attrs, recognised by their names.
    kind = type(default).__name__
    if kind == "_Nothing":
        return None
    if kind == "Factory":
        return cast("Default", default.factory) if default.takes_self else _made_by(default.factory)
    return _always(default)


def _field(name: str, parameter: str | None, default: Default | None) -> RecordField:
    return RecordField(name, parameter, required=parameter is not None and default is None, default=default)


def _always(value: Any) -> Default:
    def default(_: Any) -> Any:
        return value

    return default


def _made_by(factory: Callable[[], Any]) -> Default:
    def default(_: Any) -> Any:
        return factory()

    return default
