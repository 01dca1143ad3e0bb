"""Values to bytes.

Plain values (None, bool, int, float, str, bytes, and lists and dicts of these) are handed to msgspec as they are, after
a look at their exact types that runs in C; everything else is first turned into what msgpack knows, with the extension
types of ``wire``. Equal values of equal types give equal bytes in every process: resubmission compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from asyncjobs.core.codec.refusals import Refusal, key_step
from asyncjobs.core.codec.writer import A_RESULT, ATOMS, CAREFUL_ATOMS, Writer, encode
from asyncjobs.exceptions import NotSerializableError

_NATIVE_FAILURES = (OverflowError, UnicodeEncodeError)
_NAMES: frozenset[type] = frozenset({str})


class EncodedCall(msgspec.Struct, frozen=True):
    """Arguments as they are stored: ``data``, and the ids of the handles in it, in order, each once."""

    data: bytes
    handles: tuple[str, ...] = ()


def encode_call(args: tuple[Any, ...], kwargs: Mapping[str, Any], handle_type: type | None = None) -> EncodedCall:
    """The arguments of a call as bytes. The order of ``kwargs`` makes no difference.

    Instances of ``handle_type`` (a ``str`` subclass: the job id) become placeholders in arguments, lists, tuples and
    dict values. Raises NotSerializableError with the path, such as ``$.args[0].name`` or ``$.kwargs.image``.
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
        return _written_call(args, kwargs, Writer(ATOMS, handle_type))
    except _NATIVE_FAILURES:
        return _written_call(args, kwargs, Writer(CAREFUL_ATOMS, handle_type))


def encode_value(value: Any, where: str = "$", handle_type: type | None = None) -> bytes:
    """A result or the data of an event as bytes.

    Handles (``handle_type``) are refused in it. Raises NotSerializableError with a path that starts with ``where``.
    """
    try:
        return encode(_written(value, where, Writer(ATOMS, handle_type, A_RESULT)))
    except _NATIVE_FAILURES:
        return encode(_written(value, where, Writer(CAREFUL_ATOMS, handle_type, A_RESULT)))


def _written_call(args: tuple[Any, ...], kwargs: Mapping[str, Any], writer: Writer) -> EncodedCall:
    wire_args = [_written(value, f"$.args[{index}]", writer) for index, value in enumerate(args)]
    wire_kwargs = {
        _written(name, "$.kwargs", writer): _written(value, f"$.kwargs{key_step(name)}", writer)
        for name, value in kwargs.items()
    }
    return EncodedCall(encode((wire_args, wire_kwargs)), tuple(writer.handles))


def _with_plain_names(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name, value in cast("Mapping[object, Any]", kwargs).items():
        if not isinstance(name, str):
            raise NotSerializableError("$.kwargs", f"a dict with the key {name!r}, which is no name of an argument")
        plain[str.__str__(name)] = value
    return plain


def _written(value: Any, where: str, writer: Writer) -> Any:
    try:
        return writer.write(value)
    except Refusal as refusal:
        raise refusal.at(where) from None
    except RecursionError:
        # Our own limit is far below Python's; this is a caller that is itself near it.
        raise Refusal("nested too deeply for the stack that is left").at(where) from None
