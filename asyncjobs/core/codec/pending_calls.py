"""Read a call before the results that it waits for exist, with handles in their places."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from asyncjobs.core.codec.calls import decode_arguments
from asyncjobs.core.codec.decoding import decode_call
from asyncjobs.core.codec.names import class_of
from asyncjobs.exceptions import ConversionError
from asyncjobs.models import Handle

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]


def read_arguments(data: bytes, func: Callable[..., Any] | None, make_handle: Callable[[str], Handle]) -> Arguments:
    """Decode a call of ``func`` with handles in place of the results of jobs.

    Annotations do not expect handles, but take None anywhere. So the call is read twice: by the annotations with None
    in place of handles, and without annotations with the handles. What an annotation makes of a dict with a handle in
    it depends on the result, so that dict is left as it is.

    :param func: the callee, None if it is not known.
    :raises CorruptValueError: the bytes cannot be read. ConversionError: a value does not fit its annotation.
    """
    args, kwargs = decode_call(data, make_handle)
    if func is None:
        return args, kwargs
    try:
        converted = decode_arguments(data, func, lambda _: None)
    except ConversionError:
        if not _has_handle([args, kwargs]):
            raise
        return args, kwargs  # perhaps only the None does not fit
    return _merged(converted[0], args), _merged(dict(converted[1]), kwargs)


def _merged(converted: Any, raw: Any) -> Any:
    """Return ``converted`` with the handles of ``raw`` in their places: in lists, tuples and values of dicts."""
    cls = class_of(raw)
    if class_of(converted) is cls:
        # Containers keep their items: only records are built anew.
        if cls is list:
            return list(map(_merged, converted, raw))
        if issubclass(cls, tuple):
            return tuple.__new__(cast("type[tuple[Any, ...]]", cls), map(_merged, converted, raw))
        if cls is dict:
            return {key: _merged(value, raw[key]) for key, value in converted.items()}
    return raw if _has_handle(raw) else converted


def _has_handle(raw: Any) -> bool:
    if isinstance(raw, dict):
        return any(map(_has_handle, cast("dict[Any, Any]", raw).values()))
    if isinstance(raw, (list, tuple)):
        return any(map(_has_handle, cast("Sequence[Any]", raw)))
    return isinstance(raw, Handle)
