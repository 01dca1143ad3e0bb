"""Store calls and read them back: the name of the function, the arguments and the result as msgpack. No pickle.

=============== ==============================================================================
callables       a function and its stored name; ``adapters``: bodies made from factories
signatures      arguments bound at submit, by what ``layers`` finds out about the callee
calls           the arguments and the result of a callee, to bytes and back
pending_calls   the arguments before the results in them are there
encoding        values to bytes; ``wire`` lists the extension types
decoding        bytes to values
annotations     records rebuilt by the callee's annotations, and checked before they are stored
=============== ==============================================================================

The rest serve these: names (modules and classes), records and families (attributes, structs, models: how instances
are taken apart and put together), rebuild, nodes and hints (annotations), stored (values before their annotations),
refusals (why a value cannot be stored), cache.
"""

from __future__ import annotations

from asyncjobs.core.codec.annotations import convert_arguments, convert_result, result_stand_in
from asyncjobs.core.codec.callables import (
    CallableNotFoundError,
    CallableRef,
    adapted,
    adapted_as,
    adapted_by_name,
    callable_label,
    describe_callable,
    is_async_callable,
    resolve_callable,
    wraps_async,
)
from asyncjobs.core.codec.calls import decode_arguments, decode_result, encode_arguments, encode_result
from asyncjobs.core.codec.decoding import decode_call, decode_value
from asyncjobs.core.codec.encoding import EncodedCall, encode_call, encode_value
from asyncjobs.core.codec.equality import same_call
from asyncjobs.core.codec.families import record_fields
from asyncjobs.core.codec.kept import refuse_misfit
from asyncjobs.core.codec.names import same_function
from asyncjobs.core.codec.pending_calls import read_arguments
from asyncjobs.core.codec.refusals import too_large
from asyncjobs.core.codec.signatures import RESERVED, bind_arguments, refuse_reserved_parameters
from asyncjobs.core.codec.stored import JsonObject, from_json
from asyncjobs.exceptions import ConversionError, CorruptValueError

__all__ = [
    "RESERVED",
    "CallableNotFoundError",
    "CallableRef",
    "ConversionError",
    "CorruptValueError",
    "EncodedCall",
    "JsonObject",
    "adapted",
    "adapted_as",
    "adapted_by_name",
    "bind_arguments",
    "callable_label",
    "convert_arguments",
    "convert_result",
    "decode_arguments",
    "decode_call",
    "decode_result",
    "decode_value",
    "describe_callable",
    "encode_arguments",
    "encode_call",
    "encode_result",
    "encode_value",
    "from_json",
    "is_async_callable",
    "read_arguments",
    "record_fields",
    "refuse_misfit",
    "refuse_reserved_parameters",
    "resolve_callable",
    "result_stand_in",
    "same_call",
    "same_function",
    "too_large",
    "wraps_async",
]
