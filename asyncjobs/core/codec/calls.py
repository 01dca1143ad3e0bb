"""Encode and decode the calls and results of one callee, by its annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from asyncjobs.core.codec.annotations import (
    check_arguments,
    check_result,
    convert_arguments,
    convert_result,
    get_plan,
    get_result_plan,
)
from asyncjobs.core.codec.decoding import (
    NOT_PLAIN,
    Reader,
    read_call,
    read_plain_call,
    read_plain_value,
    read_value,
)
from asyncjobs.core.codec.encoding import EncodedCall, encode_call, encode_counted
from asyncjobs.core.codec.stored import sent
from asyncjobs.core.codec.unmade import refuse_unmade_arguments, refuse_unmade_result

Injected = tuple[bytes, Callable[..., Any] | None]
"""The stored result of a job, and the callee that returned it, if this process knows it."""


def encode_arguments(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], handle_type: type | None = None
) -> EncodedCall:
    """Encode the bound arguments of a call of ``func``, after checking that they will be restored as they are.

    :raises NotSerializableError: they would not be; the error has the path.
    """
    plan = get_plan(func)
    call = encode_call(args, kwargs, handle_type, exact=plan.exact)
    if call.records or not plan.empty:
        check_arguments(func, args, kwargs, call.records, () if handle_type is None else (handle_type,))
    return call


def decode_arguments(
    data: bytes, func: Callable[..., Any], find_result: Callable[[str], Injected | None] | None
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Decode the arguments for a call of ``func``, with the results of jobs in place of handles (None without one).

    :param find_result: returns the result of a job. None: there are no handles in the arguments.
    :raises CorruptValueError: the bytes are damaged.
    :raises ConversionError: a value does not fit its annotation.
    """
    plan = get_plan(func)
    raw = not plan.empty
    if find_result is None and not raw and (call := read_plain_call(data)) is not None:
        return call

    def resolve(job_id: str) -> Any:
        found = None if find_result is None else find_result(job_id)
        value = None if found is None else _result(*found, raw=raw)
        return sent(value) if plan.exact else value

    reader = Reader(resolve, raw=raw)
    args, kwargs = read_call(data, reader)
    if reader.unmade:
        refuse_unmade_arguments(data, func)
    return convert_arguments(func, args, kwargs) if raw else (args, kwargs)


def encode_result(func: Callable[..., Any], value: Any, where: str = "$", handle_type: type | None = None) -> bytes:
    """Encode a result of ``func``, after checking that its annotation will restore it.

    :raises NotSerializableError: it will not be restored; the path starts with ``where``. ConversionError: a class
        refuses a dict that is given for a record.
    """
    plan = get_result_plan(func)
    data, records = encode_counted(value, where, handle_type, exact=plan.exact)
    if plan.rebuild is not None and check_result(func, value, records, where):
        decode_result(data, func)
    return data


def decode_result(data: bytes, func: Callable[..., Any] | None) -> Any:
    """Decode a stored result by the return annotation of ``func``; records become plain dicts where it names none.

    :raises CorruptValueError: the bytes are damaged.
    :raises ConversionError: the value does not fit the annotation.
    """
    return _result(data, func, raw=False)


def _result(data: bytes, func: Callable[..., Any] | None, *, raw: bool) -> Any:
    known = func is not None and get_result_plan(func).rebuild is not None
    if not known and (plain := read_plain_value(data)) is not NOT_PLAIN:
        return plain
    reader = Reader(None, raw=raw or known)
    value = read_value(data, reader)
    if reader.unmade and func is not None:
        refuse_unmade_result(data, func)
    return convert_result(func, value) if known and func is not None else value
