"""Define the base of the tracker's models: mutable records whose constructor coerces, with pydantic's method names."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar, cast, dataclass_transform

from asyncjobs.checks import is_a
from asyncjobs.compat.coercion import Coercion
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.compat")

T = TypeVar("T")

_MISSING: Any = object()
_warned: set[tuple[str, str]] = set()
"""Unknown fields that were warned about: each name once for a class and process."""


class FieldSpec:
    """How one field is coerced, what stands for it where it is not given, and whether it is data."""

    def __init__(
        self, coerce: Coercion[Any], default: Any, default_factory: Callable[[], Any] | None, *, exclude: bool
    ) -> None:
        self.coerce: Coercion[Any] = coerce
        self.default: Any = default
        self.default_factory: Callable[[], Any] | None = default_factory
        self.exclude: bool = exclude

    def make_default(self, name: str) -> Any:
        """Return the default of a field.

        :raises ConfigurationError: the field has to be given.
        """
        if self.default_factory is not None:
            return self.default_factory()
        if self.default is _MISSING:
            raise ConfigurationError(name, problem=f"{name} is missing", hint=f"give {name.rpartition('.')[2]}=…")
        return self.default


def field(
    coerce: Coercion[T],
    *,
    default: Any = _MISSING,
    default_factory: Callable[[], Any] | None = None,
    exclude: bool = False,
) -> Any:
    """Declare a field of a model.

    :param exclude: leave it out of ``model_dump``: it is no data.
    """
    return FieldSpec(coerce, default, default_factory, exclude=exclude)


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class Model:
    """A mutable record. Its constructor coerces and checks; assignment does neither."""

    _fields: ClassVar[dict[str, FieldSpec]] = {}
    _labelled: ClassVar[dict[str, tuple[str, Coercion[Any]]]] = {}
    """How each field is named in errors, and coerced."""

    def __init_subclass__(cls) -> None:
        """Collect the fields that a class declares."""
        own = {name: value for name, value in vars(cls).items() if isinstance(value, FieldSpec)}
        for name in own:
            delattr(cls, name)
        cls._fields = {**cls._fields, **own}
        cls._labelled = {name: (f"{cls.__name__}.{name}", spec.coerce) for name, spec in cls._fields.items()}

    def __init__(self, **values: Any) -> None:
        self._fill(type(self).__name__, values)

    def _fill(self, owner: str, values: Mapping[str, Any]) -> None:
        for name, spec in self._fields.items():
            where = f"{owner}.{name}"
            value = spec.coerce(where, values[name]) if name in values else spec.make_default(where)
            setattr(self, name, value)
        for name in values.keys() - self._fields.keys():
            _warn_once(type(self).__name__, name)

    def checked(self, names: Iterable[str]) -> dict[str, Any]:
        """Return fields as they are now, coerced and checked once more: assignments are not checked.

        :raises ConfigurationError: a value cannot be coerced; the error names the field.
        """
        labelled, values = self._labelled, self.__dict__
        return {name: labelled[name][1](labelled[name][0], values[name]) for name in names}

    def model_dump(
        self,
        *,
        mode: Literal["python", "json"] = "python",
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
        exclude_none: bool = False,
    ) -> dict[str, Any]:
        """Return the fields as a dict; with ``mode="json"``, of values that JSON has."""
        dumped: dict[str, Any] = {}
        for name, spec in self._fields.items():
            if spec.exclude or (include is not None and name not in include) or (exclude and name in exclude):
                continue
            value = _dumped(getattr(self, name), mode)
            if value is not None or not exclude_none:
                dumped[name] = value
        return dumped

    def model_dump_json(self) -> str:
        """Return the fields as a JSON document."""
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def model_validate(cls, value: Any) -> Self:
        """Return a model of a dict of fields, or the model itself.

        :raises ConfigurationError: it is neither, or a field cannot be coerced.
        """
        return cls.coerce(cls.__name__, value)

    @classmethod
    def coerce(cls, name: str, value: Any) -> Self:
        """Return a model of the value of a field with this name: see ``model_validate``."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ConfigurationError(name, value, allowed=f"a {cls.__name__}, or a dict of its fields")
        made = cls.__new__(cls)
        made._fill(name, cast("Mapping[str, Any]", value))
        return made

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values of some fields, which are not checked."""
        made = copy.deepcopy(self) if deep else copy.copy(self)
        for name, value in (update or {}).items():
            setattr(made, name, value)
        return made

    def __eq__(self, other: object) -> bool:
        return is_a(other, type(self)) and all(getattr(self, name) == getattr(other, name) for name in self._fields)

    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # mutable, as before

    def __repr__(self) -> str:
        shown = ((name, getattr(self, name)) for name, spec in self._fields.items() if not spec.exclude)
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown)})"


def _warn_once(owner: str, name: str) -> None:
    if (owner, name) not in _warned:
        _warned.add((owner, name))
        logger.warning("%s has no field %r: it is ignored, as the old tracker did", owner, name)


def _dumped(value: Any, mode: Literal["python", "json"]) -> Any:
    if isinstance(value, Model):
        return value.model_dump(mode=mode)
    if isinstance(value, dict):
        return {key: _dumped(item, mode) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list) or (mode == "json" and isinstance(value, (tuple, set, frozenset))):
        return [_dumped(item, mode) for item in cast("list[Any]", value)]
    return _json_value(value) if mode == "json" else value


def _json_value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value
