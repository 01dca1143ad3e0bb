"""Encode what steps return, and decode it by the return annotation of their function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asyncjobs.core.codec import (
    ConversionError,
    CorruptValueError,
    decode_result,
    encode_result,
    encode_value,
    refuse_misfit,
    too_large,
)
from asyncjobs.exceptions import NotSerializableError
from asyncjobs.models import Handle


class StepNotKeptError(NotSerializableError):
    """The result of a step, or a value passed to ``keep``, cannot be stored. The job is not retried."""


def encode_step(key: str, func: Callable[..., Any], value: Any, largest: int) -> bytes:
    """Encode the result of a step, after checking that its annotation can restore it.

    :param largest: maximum size of the value in bytes.
    :raises StepNotKeptError: it cannot be kept.
    """
    try:
        data = encode_result(func, value, _place(key), Handle)
        if len(data) > largest:
            raise too_large(_place(key), data, largest, "keep")
    except NotSerializableError as error:
        raise not_kept(key, error) from error
    except Exception as error:  # border: any error that the value raises when it is inspected
        raise not_kept(key, error) from error
    return data


def encode_kept(key: str, value: Any, largest: int) -> bytes:
    """Encode a value that a body keeps.

    :raises StepNotKeptError: it cannot be kept.
    """
    try:
        data = encode_value(value, _place(key), Handle)
        if len(data) > largest:
            raise too_large(_place(key), data, largest, "keep")
    except NotSerializableError as error:
        raise StepNotKeptError(error.where, error.what, hint=error.hint) from error
    return data


def not_kept(key: str, error: Exception) -> StepNotKeptError:
    """Return the error for a step whose function has run, but whose value cannot be stored because of ``error``."""
    if isinstance(error, NotSerializableError):
        what, hint = error.what, error.hint
    else:
        what, hint = f"not to be kept ({type(error).__name__}: {error.args[0] if error.args else ''})", None
    return StepNotKeptError(_place(key), f"{what}; the function of the step has run, its value is not kept", hint=hint)


def decode_step(data: bytes, func: Callable[..., Any] | None, key: str) -> Any:
    """Decode a kept value by the return annotation of ``func``; None: records become plain dicts.

    :raises ConversionError: the value does not fit the annotation: a class is gone, or has changed.
    :raises CorruptValueError: the bytes are damaged.
    """
    try:
        if func is not None:
            refuse_misfit(data, func)
        return decode_result(data, func)
    except ConversionError as error:
        misfit = ConversionError(error.where, error.problem, error.expected, f"the value that is kept under {key!r}")
        misfit.hint = "give the step a new key, so that its function runs; or let the annotation name the stored type"
        raise misfit from error
    except CorruptValueError as error:
        error.hint = f"give the step another key than {key!r}, so that its function runs"
        raise


def _place(key: str) -> str:
    return f"$.steps[{key!r}]"
