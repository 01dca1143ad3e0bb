"""Encode values.

Plain values (None, bool, int, float, str, bytes, and lists and dicts of these) go to msgspec as they are, after a check
of their exact types that runs in C. All others are first turned into what msgpack knows, with the extension types of
``wire``. Equal values of equal types give equal bytes in every process, because resubmission compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import sub
from typing import Any, cast

import msgspec

from asyncjobs.core.codec.refusals import Refusal, key_step
from asyncjobs.core.codec.writer import A_RESULT, ATOMS, CAREFUL_ATOMS, Writer, encode
from asyncjobs.exceptions import NotSerializableError

_NATIVE_FAILURES = (OverflowError, UnicodeEncodeError)
_NAMES: frozenset[type] = frozenset({str})


class EncodedCall(msgspec.Struct, frozen=True, gc=False):
    """Arguments as they are stored: ``data``, and the ids of the handles in it, in order, each once.

    ``records`` counts the records in each argument, by position and then by sorted name; empty if none has any.
    """

    data: bytes
    handles: tuple[str, ...] = ()
    records: tuple[int, ...] = ()


def encode_call(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], handle_type: type | None = None, *, exact: bool = False
) -> EncodedCall:
    """Encode the arguments of a call. The order of ``kwargs`` makes no difference.

    :param handle_type: a ``str`` subclass (the job id) whose instances become placeholders in arguments, lists, tuples
        and dict values.
    :param exact: mark dicts as dicts.
    :raises NotSerializableError: with the path, such as ``$.args[0].name`` or ``$.kwargs.image``.
    """
    if kwargs:
        if not _NAMES.issuperset(map(type, kwargs)):
            kwargs = _with_plain_names(kwargs)
        if len(kwargs) > 1:
            kwargs = dict(sorted(kwargs.items()))
    if ATOMS.issuperset(map(type, args)) and (not kwargs or ATOMS.issuperset(map(type, kwargs.values()))):
        try:
            return EncodedCall(encode((args, kwargs)))
        except _NATIVE_FAILURES:
            pass
    try:
        return _written_call(args, kwargs, Writer(ATOMS, handle_type, exact=exact))
    except _NATIVE_FAILURES:
        return _written_call(args, kwargs, Writer(CAREFUL_ATOMS, handle_type, exact=exact))


def encode_value(value: Any, where: str = "$", handle_type: type | None = None) -> bytes:
    """Encode a result or the data of an event, in which handles (``handle_type``) are refused.

    :raises NotSerializableError: with a path that starts with ``where``.
    """
    return encode_counted(value, where, handle_type)[0]


def encode_counted(
    value: Any, where: str = "$", handle_type: type | None = None, *, exact: bool = False
) -> tuple[bytes, int]:
    """Encode like ``encode_value``, and count the records in the value. With ``exact``, dicts are marked as dicts."""
    if type(value) in ATOMS:
        try:
            return encode(value), 0
        except _NATIVE_FAILURES:
            pass
    writer = Writer(ATOMS, handle_type, A_RESULT, exact=exact)
    try:
        return encode(_written(value, where, writer)), writer.records
    except _NATIVE_FAILURES:
        writer = Writer(CAREFUL_ATOMS, handle_type, A_RESULT, exact=exact)
        return encode(_written(value, where, writer)), writer.records


def _written_call(args: tuple[Any, ...], kwargs: Mapping[str, Any], writer: Writer) -> EncodedCall:
    wire_args: list[Any] = []
    wire_kwargs: dict[str, Any] = {}
    counts: list[int] = []
    for index, value in enumerate(args):
        wire_args.append(_written(value, f"$.args[{index}]", writer))
        counts.append(writer.records)
    for name, value in kwargs.items():
        wire_name = _written(name, "$.kwargs", writer)
        wire_kwargs[wire_name] = _written(value, f"$.kwargs{key_step(name)}", writer)
        counts.append(writer.records)
    records = tuple(map(sub, counts, [0, *counts])) if writer.records else ()
    return EncodedCall(encode((wire_args, wire_kwargs)), tuple(writer.handles), records)


def _with_plain_names(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in cast("Mapping[object, Any]", kwargs).items():
        if not isinstance(name, str):
            problem = f"a dict with the key {name!r}, which is not the name of an argument"
            raise NotSerializableError("$.kwargs", problem)
        plain[str.__str__(name)] = value
    return plain


def _written(value: Any, where: str, writer: Writer) -> Any:
    try:
        return writer.write(value)
    except Refusal as refusal:
        raise refusal.at(where) from None
    except RecursionError:
        # Our own limit is far below Python's: the caller itself is near that one.
        raise Refusal("nested too deeply for the stack that is left").at(where) from None
