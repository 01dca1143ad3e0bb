"""Wait for several jobs: for all of their results, or for one after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, TypeVar, overload

from asyncjobs.checks import checked_keywords, is_a
from asyncjobs.exceptions import ConfigurationError
from asyncjobs.runtime.handle import JobHandle, get_access, read_value

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")


@overload
async def gather(
    handle1: JobHandle[T1],
    /,
    *,
    return_exceptions: Literal[False] = False,
    timeout: float | None = None,
) -> tuple[T1]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    /,
    *,
    return_exceptions: Literal[False] = False,
    timeout: float | None = None,
) -> tuple[T1, T2]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    handle3: JobHandle[T3],
    /,
    *,
    return_exceptions: Literal[False] = False,
    timeout: float | None = None,
) -> tuple[T1, T2, T3]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    handle3: JobHandle[T3],
    handle4: JobHandle[T4],
    /,
    *,
    return_exceptions: Literal[False] = False,
    timeout: float | None = None,
) -> tuple[T1, T2, T3, T4]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    handle3: JobHandle[T3],
    handle4: JobHandle[T4],
    handle5: JobHandle[T5],
    /,
    *,
    return_exceptions: Literal[False] = False,
    timeout: float | None = None,
) -> tuple[T1, T2, T3, T4, T5]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    handle3: JobHandle[T3],
    handle4: JobHandle[T4],
    handle5: JobHandle[T5],
    handle6: JobHandle[T6],
    /,
    *,
    return_exceptions: Literal[False] = False,
    timeout: float | None = None,
) -> tuple[T1, T2, T3, T4, T5, T6]: ...
@overload
async def gather(
    *handles: JobHandle[T], return_exceptions: Literal[False] = False, timeout: float | None = None
) -> list[T]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    /,
    *,
    return_exceptions: bool,
    timeout: float | None = None,
) -> tuple[T1 | BaseException]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    /,
    *,
    return_exceptions: bool,
    timeout: float | None = None,
) -> tuple[T1 | BaseException, T2 | BaseException]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    handle3: JobHandle[T3],
    /,
    *,
    return_exceptions: bool,
    timeout: float | None = None,
) -> tuple[T1 | BaseException, T2 | BaseException, T3 | BaseException]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    handle3: JobHandle[T3],
    handle4: JobHandle[T4],
    /,
    *,
    return_exceptions: bool,
    timeout: float | None = None,
) -> tuple[T1 | BaseException, T2 | BaseException, T3 | BaseException, T4 | BaseException]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    handle3: JobHandle[T3],
    handle4: JobHandle[T4],
    handle5: JobHandle[T5],
    /,
    *,
    return_exceptions: bool,
    timeout: float | None = None,
) -> tuple[T1 | BaseException, T2 | BaseException, T3 | BaseException, T4 | BaseException, T5 | BaseException]: ...
@overload
async def gather(
    handle1: JobHandle[T1],
    handle2: JobHandle[T2],
    handle3: JobHandle[T3],
    handle4: JobHandle[T4],
    handle5: JobHandle[T5],
    handle6: JobHandle[T6],
    /,
    *,
    return_exceptions: bool,
    timeout: float | None = None,
) -> tuple[
    T1 | BaseException,
    T2 | BaseException,
    T3 | BaseException,
    T4 | BaseException,
    T5 | BaseException,
    T6 | BaseException,
]: ...
@overload
async def gather(
    *handles: JobHandle[T], return_exceptions: bool, timeout: float | None = None
) -> list[T | BaseException]: ...
@checked_keywords
async def gather(*handles: JobHandle[Any], return_exceptions: bool = False, timeout: float | None = None) -> Any:
    """Wait for these jobs, and return their results in the order of the handles.

    The first failure is raised (the other jobs continue), unless ``return_exceptions``: then the list contains errors
    in place of results. After ``timeout`` seconds for all of them, ``JobTimeoutError`` is raised.
    """
    if not handles:
        return []
    values: dict[str, Any] = {}
    by_id = _by_id(handles)
    watch = get_access(handles[0]).watch(list(by_id), timeout)
    try:
        while ended := await watch.next():
            for result in ended:
                try:
                    values[result.job_id] = await read_value(by_id[result.job_id], result)
                except Exception as error:
                    if not return_exceptions:
                        raise
                    values[result.job_id] = error
    finally:
        watch.close()
    return [values[handle.id] for handle in handles]


@checked_keywords
async def as_completed(
    handles: Sequence[JobHandle[T]], *, timeout: float | None = None
) -> AsyncGenerator[JobHandle[T]]:
    """Yield these handles as their jobs end, however they end; ``await handle`` then does not wait."""
    by_id = _by_id(handles)
    if not by_id:
        return
    watch = get_access(handles[0]).watch(list(by_id), timeout)
    try:
        while ended := await watch.next():
            for result in ended:
                yield by_id[result.job_id]
    finally:
        watch.close()


def _by_id(handles: Sequence[JobHandle[T]]) -> dict[str, JobHandle[T]]:
    for handle in handles:
        raw: object = handle
        if not is_a(raw, JobHandle):
            hint = "jp.handle(job_id) makes a handle from an id"
            if issubclass(type(raw), (list, tuple, set, frozenset, dict)):
                hint = "give them one by one: gather(*handles)"
            raise ConfigurationError("handles", raw, allowed="handles", hint=hint)
    return {handle.id: handle for handle in handles}
