"""Take pydantic models apart and put them together, by duck typing: nothing of pydantic is imported.

A model is stored as its fields, and validated when it is read. It is accepted only if validation gives an equal model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from asyncjobs.core.codec.names import class_of
from asyncjobs.core.codec.records import RecordField, RecordMismatchError, RecordType

_SET = "__pydantic_fields_set__"


def is_model(cls: Any) -> bool:
    """Return whether ``cls`` is a model class of pydantic 2."""
    return isinstance(getattr(cls, "__pydantic_fields__", None), dict) and all(
        callable(getattr(cls, name, None)) for name in ("model_validate", "model_dump")
    )


class ModelRecord(RecordType):
    """A model class. The model itself decides whether it takes the fields of a stored one."""

    def __init__(self, cls: Any) -> None:
        self._infos: Mapping[str, Any] = cls.__pydantic_fields__
        super().__init__(cls, [RecordField(name, name) for name in self._infos])
        self._model = cls
        self._is_root = bool(getattr(cls, "__pydantic_root_model__", False))
        # From pydantic 2.11 on, a model can be validated by names; before, it insists on aliases.
        self._by_name = "by_name" in inspect.signature(cls.model_validate).parameters
        self._aliases = {name: alias for name, info in self._infos.items() if isinstance(alias := _alias(info), str)}

    @property
    def hints(self) -> Mapping[str, Any]:
        """Return the annotations that pydantic resolved."""
        return {name: info.annotation for name, info in self._infos.items()}

    def state(self, instance: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Return the fields, extra ones among them, and which were given if not all were."""
        own: dict[str, Any] = instance.__dict__
        extra: dict[str, Any] = instance.__pydantic_extra__ or {}
        fields = {name: own[name] for name in self._infos if name in own} | extra
        given: set[str] = getattr(instance, _SET)
        # model_dump(exclude_unset=True) depends on the names that were given.
        return fields, {} if given == fields.keys() else {_SET: sorted(given)}

    def as_json(self, instance: Any, name: str) -> Any:
        """Return a field's value in the form that the model itself gives it in JSON.

        :raises ValueError: the model has none.
        """
        try:
            dumped = instance.model_dump(mode="json", include={name}, by_alias=False)
        except Exception as error:  # border: serializers are the user's code
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return dumped if self._is_root else dumped[name]

    def verify(self, instance: Any, fields: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        """Make sure that validating this state gives an equal model."""
        try:
            again = self.make(fields, more)
        except RecordMismatchError as error:
            raise ValueError(f"that cannot be made again: it {error}") from error
        if type(again) is not self.cls or not self.checked(lambda: bool(again == instance)):
            private = self._private(instance)
            if private and self.checked(lambda: private != self._private(again)):
                raise ValueError(f"with private attributes ({', '.join(private)}), which are not stored")
            raise ValueError("that validating its own fields changes")

    def lost(
        self,
        instance: Any,
        fields: Mapping[str, Any],
        stored: Mapping[str, Any],
        more: Mapping[str, Any],
        names: Iterable[str],
    ) -> str | None:
        """Return the first of these fields that cannot be restored from its form in JSON, which would be stored.

        :raises ValueError: the field cannot be restored from its own value, either; the message has the reason.
        """
        for name in names:
            try:
                again, _ = self.state(self.make({**fields, name: stored[name]}, more))
                is_back = self.checked(lambda again=again, name=name: _same(again.get(name), fields[name]))
            except RecordMismatchError:
                is_back = False
            if not is_back:
                self.verify(instance, fields, more)
                return name
        return None

    def hint(self, instance: Any, is_stored: Callable[[Any], bool]) -> str | None:
        """Suggest the dump of the model that can be stored, if any."""
        if self._private(instance):
            return "make them fields, or pass what the job needs of them as arguments of their own"
        for call, options in (("model_dump()", {}), ("model_dump(mode='json')", {"mode": "json"})):
            try:
                dumped = self.checked(lambda options=options: instance.model_dump(**options))
            except RecordMismatchError:
                continue
            if is_stored(dumped):
                kind = type(dumped).__name__
                return (
                    f"pass model.{call} to a parameter annotated as {kind}, or let its validators keep what they made"
                )
        return None

    def _private(self, instance: Any) -> dict[str, Any]:
        return instance.__pydantic_private__ or {}

    def make(self, fields: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
        """Validate the fields by their names, and mark those that were given."""
        validate: Callable[..., Any] = self._model.model_validate
        if self._is_root and "root" in fields:
            model = self.checked(lambda: validate(fields["root"]))
        elif self._by_name:
            model = self.checked(lambda: validate(dict(fields), by_name=True, by_alias=False))
        else:
            named = {self._aliases.get(name, name): value for name, value in fields.items()}
            model = self.checked(lambda: validate(named))
        given: Any = more.get(_SET)
        given_names: set[str] = set(fields) if not isinstance(given, list) else set(cast("list[str]", given))
        object.__setattr__(model, _SET, given_names)
        return model

    def construct(self, fields: Mapping[str, Any]) -> Any:
        """Validate the fields as the model's users give them, by alias."""
        return self.checked(lambda: self._model.model_validate(fields))

    def given_fields(self, instance: Any) -> Mapping[str, Any]:
        """Return the fields of an instance as ``construct`` takes them: by alias.

        :raises ValueError: they do not make an equal instance, or it has a root, which is no field.
        """
        if self._is_root:
            raise ValueError("a model with a root, which has no fields")
        fields, _ = self.state(instance)
        given = {self._aliases.get(name, name): value for name, value in fields.items()}
        again = self.construct(given)
        if not self.checked(lambda: bool(again == instance)):
            raise ValueError("a model that validating its own fields changes")
        return given

    def check_names(self, names: Any) -> None:
        """Accept any names: a model has aliases, and may take more than its fields."""


def _alias(info: Any) -> Any:
    return info.validation_alias if info.validation_alias is not None else info.alias


def _same(one: Any, other: Any) -> bool:
    """Return whether two values are equal and of equal types, inside of containers and models, too."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        pairs = cast("dict[Any, Any]", one).items(), cast("dict[Any, Any]", other).items()
        return _same([list(pair) for pair in pairs[0]], [list(pair) for pair in pairs[1]])
    if isinstance(one, (list, tuple)):
        items, others = cast("Sequence[Any]", one), cast("Sequence[Any]", other)
        return len(items) == len(others) and all(map(_same, items, others))
    if is_model(class_of(one)):
        return bool(one == other) and _same(vars(one), vars(other))
    return bool(one == other)
