"""Write down what a language model answered, so that it is the same when it is read back.

An answer is a text, a list of the tools that it wants to be called (objects of the provider's library), or a model that
was asked for. Reading one back imports nothing: a class is looked for among the modules that are loaded.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from asyncjobs.integrations.crewai.shown import is_model


class UnknownAnswerError(Exception):
    """An answer cannot be written down, or cannot be read back here."""


_CLASS, _FIELDS = "class", "fields"


def write_answer(answer: Any, model: type | None) -> Any:
    """Return an answer as plain values.

    :param model: the class that was asked for, if one was.
    :raises UnknownAnswerError: it would not come back as it is.
    """
    written = _write(answer)
    again = read_answer(written, model)
    if type(again) is not type(answer) or again != answer:
        raise UnknownAnswerError(f"{type(answer).__qualname__} does not come back as it is")
    return written


def _write(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, (list, tuple)):
        return [_write(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        if all(isinstance(name, str) for name in cast("dict[Any, Any]", value)) and _CLASS not in value:
            return {name: _write(item) for name, item in cast("dict[str, Any]", value).items()}
        raise UnknownAnswerError("a dict with other keys than texts")
    cls: type[Any] = value.__class__
    if not is_model(value):
        raise UnknownAnswerError(f"an object of class {cls.__qualname__}")
    try:
        fields = value.model_dump(mode="json")
    except Exception as error:  # border: serializers are other people's code
        raise UnknownAnswerError(f"{cls.__qualname__} cannot be dumped: {error}") from error
    return {_CLASS: f"{cls.__module__}:{cls.__qualname__}", _FIELDS: fields}


def read_answer(written: Any, model: type | None) -> Any:
    """Return the answer that was written down.

    :raises UnknownAnswerError: its class is not loaded here, or does not take its fields any more.
    """
    if isinstance(written, list):
        return [read_answer(item, model) for item in cast("list[Any]", written)]
    if not isinstance(written, dict):
        return written
    if _CLASS not in written:
        return {name: read_answer(item, model) for name, item in cast("dict[str, Any]", written).items()}
    name, fields = cast("dict[str, Any]", written)[_CLASS], cast("dict[str, Any]", written)[_FIELDS]
    return validated(model if model is not None and _name(model) == name else find_model(name), fields)


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def find_model(name: str) -> Any:
    """Return a class of pydantic models by its name, if its module is loaded.

    :raises UnknownAnswerError: there is none.
    """
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, type) or not callable(getattr(found, "model_validate", None)):
        raise UnknownAnswerError(f"{name} is not loaded here")
    return found


def validated(cls: Any, fields: Any) -> Any:
    """Return the model with these fields.

    :raises UnknownAnswerError: its class does not take them.
    """
    try:
        return cls.model_validate(fields)
    except Exception as error:  # border: validators are other people's code
        raise UnknownAnswerError(f"{cls.__qualname__} does not take what was stored: {error}") from error
