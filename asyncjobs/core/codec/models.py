"""Pydantic models, by duck typing: nothing of pydantic is imported.

A model is stored as its fields, and validated again when it is read. It is accepted only if that gives an equal model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from asyncjobs.core.codec.records import RecordField, RecordMismatchError, RecordType

_SET = "__pydantic_fields_set__"


def is_model(cls: Any) -> bool:
    """Whether ``cls`` is a class of models as pydantic 2 has them."""
    return isinstance(getattr(cls, "__pydantic_fields__", None), dict) and all(
        callable(getattr(cls, name, None)) for name in ("model_validate", "model_dump")
    )


class ModelRecord(RecordType):
    """A model class. Whatever the fields of a stored model are, the model itself says whether it takes them."""

    def __init__(self, cls: Any) -> None:
        self._infos: Mapping[str, Any] = cls.__pydantic_fields__
        super().__init__(cls, [RecordField(name, name, lambda _: None) for name in self._infos])
        self._model = cls
        self._is_root = bool(getattr(cls, "__pydantic_root_model__", False))
        # From pydantic 2.11 on, a model can be told that it gets names; before, it insists on aliases.
        self._by_name = "by_name" in inspect.signature(cls.model_validate).parameters
        self._aliases = {name: alias for name, info in self._infos.items() if isinstance(alias := _alias(info), str)}

    @property
    def hints(self) -> Mapping[str, Any]:
        return {name: info.annotation for name, info in self._infos.items()}

    def state(self, instance: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        own: dict[str, Any] = instance.__dict__
        extra: dict[str, Any] = instance.__pydantic_extra__ or {}
        fields = {name: own[name] for name in self._infos if name in own} | extra
        given: set[str] = getattr(instance, _SET)
        # The names that were given: model_dump(exclude_unset=True) goes by these.
        return fields, {} if given == fields.keys() else {_SET: sorted(given)}

    def as_json(self, instance: Any, name: str) -> Any:
        """A field's value in the form that the model itself gives it in JSON.

        :raises ValueError: the model has none.
        """
        try:
            dumped = instance.model_dump(mode="json", include={name}, by_alias=False)
        except Exception as error:  # border: serializers are the user's code
            raise ValueError(f"{type(error).__name__}: {error}") from error
        return dumped if self._is_root else dumped[name]

    def verify(self, instance: Any, fields: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        try:
            again = self.make(fields, more)
        except RecordMismatchError as error:
            raise ValueError(f"that cannot be made again: it {error}") from error
        if type(again) is not self.cls or not self.checked(lambda: bool(again == instance)):
            raise ValueError("that validating its own fields changes")

    def make(self, fields: Mapping[str, Any], more: Mapping[str, Any]) -> Any:
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
        return self.checked(lambda: self._model.model_validate(fields))

    def check_names(self, names: Any) -> None:
        """Names are the model's business: it has aliases, and may take more than its fields."""


def _alias(info: Any) -> Any:
    return info.validation_alias if info.validation_alias is not None else info.alias
