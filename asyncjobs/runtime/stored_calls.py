"""Show the call of a stored job as its caller wrote it, with handles in place of injected results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from asyncjobs.backends.base import StoredCall
from asyncjobs.core.codec import read_arguments
from asyncjobs.core.gates import FUNCTION
from asyncjobs.models import Handle
from asyncjobs.runtime.functions import Functions


class JobArguments(NamedTuple):
    """The arguments of a stored job, by position and by name."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def decode_stored_call(
    call: StoredCall, job_id: str, functions: Functions, make_handle: Callable[[str], Handle]
) -> JobArguments:
    """Decode a call by the annotations of its function, where that is known here; else with records as plain dicts.

    :raises CorruptValueError: a stored value cannot be read. ConversionError: it does not fit its annotation.
    """
    if call.function == FUNCTION:
        return JobArguments((), {})  # its question is stored instead: see ``Job.gate``
    func = functions.get(call.function, job_id)
    return JobArguments(*read_arguments(call.call, func, make_handle))
