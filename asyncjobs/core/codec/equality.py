"""Compare stored calls, for ``if_exists="return"``."""

from __future__ import annotations

import os.path
from itertools import chain
from typing import Any, cast

from msgspec import msgpack
from msgspec.msgpack import Ext

from asyncjobs.core.codec import wire
from asyncjobs.core.codec.decoding import FAILURES
from asyncjobs.core.codec.names import module_stem

_encode = msgpack.Encoder().encode
_NAMED = frozenset({wire.NAMED_TUPLE, wire.ENUM, wire.RECORD})
"""Extensions that begin with the module of their class."""
# Extensions with values in them.
_NESTED = frozenset({wire.TUPLE, wire.NAMED_TUPLE, wire.DICT, wire.ENUM, wire.RECORD})


def same_call(stored: bytes, given: bytes) -> bool:
    """Return whether two encoded calls are equal: the same bytes, except for the order of dict items.

    Types count: 1, True and 1.0 are three values. A class of a script equals that of a module with the same file name,
    because another process imports the script as that module. Calls that cannot be decoded are compared as bytes.
    """
    try:
        if stored == given:
            return True
        names = _Names()
        if names.ordered(stored) == names.ordered(given):
            return True
        scripts = frozenset(module_stem(name) for name in names.found if os.path.isabs(name))
        names = _Names(scripts)
        return bool(scripts) and names.ordered(stored) == names.ordered(given)
    except FAILURES:
        return False


class _Names:
    """The module names in a call. Those of ``scripts``, and their names elsewhere, are replaced by their file name."""

    def __init__(self, scripts: frozenset[str] = frozenset()) -> None:
        self.found: set[str] = set()
        self._scripts = scripts

    def ordered(self, data: bytes) -> bytes:
        """Return the call with every dict as its sorted items."""
        return _encode(_form(msgpack.decode(data, ext_hook=self._extension)))

    def _extension(self, code: int, data: memoryview) -> Ext:
        if code not in _NESTED:
            return Ext(code, bytes(data))
        parts: Any = msgpack.decode(data, ext_hook=self._extension)
        if code == wire.DICT:
            pairs = iter(cast("list[Any]", parts))
            return _dict(zip(pairs, pairs, strict=True))
        if code in _NAMED and type(parts[0]) is str:
            self.found.add(parts[0])
            stem = module_stem(parts[0])
            parts[0] = stem if stem in self._scripts else parts[0]
        return Ext(code, _encode(_form(parts)))


def _form(value: Any) -> Any:
    """Return the value with every dict as its sorted items."""
    if isinstance(value, list):
        return [_form(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return _dict(cast("dict[Any, Any]", value).items())
    return value


def _dict(items: Any) -> Ext:
    pairs = sorted((_encode(_form(key)), _encode(_form(item))) for key, item in items)
    return Ext(wire.DICT, b"".join(chain.from_iterable(pairs)))
