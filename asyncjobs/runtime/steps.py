"""Run the steps of one attempt: what an earlier attempt finished comes back, anything else runs and is kept."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import anyio.from_thread
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from asyncjobs.backends.bounds import check_key
from asyncjobs.checks import is_awaitable
from asyncjobs.core.codec import is_async_callable
from asyncjobs.core.requests import Forget, Keep, StepChange
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendClosedError, BackendError, ConfigurationError, JobStateError
from asyncjobs.forks import end_child
from asyncjobs.runtime.cancellation import current_asyncio_task
from asyncjobs.runtime.large_values import decode_beside_loop
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.runtime.step_access import StepAccess
from asyncjobs.runtime.step_cache import StepCache
from asyncjobs.runtime.step_children import StepChildren
from asyncjobs.runtime.step_threads import StepThreads
from asyncjobs.runtime.step_values import decode_step, encode_kept, encode_step, not_kept
from asyncjobs.runtime.wakeups import LoopHandle

if TYPE_CHECKING:
    from asyncjobs.runtime.context import JobContext

T = TypeVar("T")

_Returned = tuple[Any, BaseException | None]
"""What a function returned or raised."""


class Steps:
    """The steps of one attempt, as its body reaches them: by coroutines, or by threads that may block.

    :param access: the steps in the store.
    :param loop: where ``access`` is to be called.
    :param threads: run plain functions for bodies that are awaited.
    :param largest: bytes that a value may have.
    """

    def __init__(
        self,
        context: JobContext,
        access: StepAccess,
        *,
        loop: LoopHandle,
        threads: Callable[[], StepThreads],
        largest: int,
    ) -> None:
        self.access = access
        self._context = context
        self._loop = loop
        self._threads = threads
        self._largest = largest
        self._cache = StepCache(access)
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._running: set[str] = set()
        """Of them those whose function runs."""
        self._stopped = False

    def stop(self) -> None:
        """Let no step begin: the attempt is asked to stop."""
        self._stopped = True
        self.access.stop()

    # -- steps

    async def step(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See ``JobContext.step``."""
        is_async = _check(key, func)
        await checkpoint_if_cancelled()  # else a function without an await would run in a scope that is cancelled
        if self._stopped:
            await self._interrupt()
        self._use(key)
        kept = await self._get(key)
        if kept is None:
            kept = await self._run(key, func, args, kwargs, is_async)
        return await decode_beside_loop(kept, decode_step, kept, func, key)

    def step_sync(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See ``JobContext.step_sync``."""
        if _check(key, func):
            hint = f"in an 'async def' function: await current_job().step({key!r}, …)"
            raise ConfigurationError("fn", func, problem="step_sync() does not await 'async def' functions", hint=hint)
        self._use(key)
        kept = self._get_sync(key)
        if kept is None:
            kept = self._run_sync(key, func, args, kwargs)
        return decode_step(kept, func, key)

    def _use(self, key: str) -> None:
        with self._lock:
            if key in self._used:
                hint = "add what differs to the key, in loops the index; or forget(prefix) to have it run again"
                problem = f"the key {key!r} was used already in this attempt, and names one step"
                raise ConfigurationError("key", key, problem=problem, hint=hint)
            self._used.add(key)
            self._running.add(key)

    async def _get(self, key: str) -> bytes | None:
        """Return what is kept under a key that ``_use`` has taken. If there is nothing, its function may begin."""
        kept: bytes | None = None
        begins = False
        try:
            if key in self._cache or not self._cache.complete:
                kept = await self._call(self._cache.get, key)
                self._cache.let_go(key)
            if kept is None and self._stopped:
                await self._interrupt()
            begins = kept is None
        finally:
            if not begins:
                self._running.discard(key)
        return kept

    def _get_sync(self, key: str) -> bytes | None:
        if key not in self._cache and self._cache.complete and not self._stopped:
            return None
        return self._context.run_sync(self._get, key)

    async def _run(
        self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], is_async: bool
    ) -> bytes:
        """Call the function of a step, and keep what it returns, also if the body was asked to stop meanwhile."""
        try:
            value: Any
            error: BaseException | None = None
            with StepChildren(self._context, key):
                if is_async:
                    value = await self._await(func, args, kwargs)
                else:
                    value, error = await self._threads().run(lambda: self._call_plain(key, func, args, kwargs))
                    if error is not None:
                        raise error
                    if not isinstance(value, _Encoded):
                        value = await self._awaited(value)
            data = value.data if isinstance(value, _Encoded) else encode_step(key, func, value, self._largest)
            await self._keep(key, data, fresh=True)
            return data
        finally:
            self._running.discard(key)

    async def _await(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        try:
            value = await func(*args, **kwargs)
        except BaseException as error:
            self._end_in_fork(error)
            raise
        self._end_in_fork(None)
        return value

    async def _awaited(self, value: Any) -> Any:
        return await value

    def _call_plain(
        self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> _Returned:
        """Call a plain function in its thread, and encode what it returns there, unless it is to be awaited."""
        try:
            value: object = func(*args, **kwargs)
        except BaseException as error:  # border: raised again where the step is awaited
            self._end_in_fork(error)
            return None, error
        self._end_in_fork(None)
        if is_awaitable(value):
            return value, None
        try:
            return _Encoded(encode_step(key, func, value, self._largest)), None
        except BaseException as error:  # border: as above
            return None, error

    def _run_sync(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        try:
            with StepChildren(self._context, key):
                value, error = self._call_plain(key, func, args, kwargs)
            if error is not None:
                raise error
            if not isinstance(value, _Encoded):
                if inspect.iscoroutine(value):
                    value.close()  # Python warns of one that was never awaited
                hint = f"in an 'async def' function: await current_job().step({key!r}, …)"
                raise ConfigurationError("fn", func, problem="step_sync() does not await what it returned", hint=hint)
            self._context.run_sync(self._keep, key, value.data, True)
            return value.data
        finally:
            self._running.discard(key)

    def _end_in_fork(self, error: BaseException | None) -> None:
        """End a forked child that leaves the function: behind it is the parent's work, which must not go on twice."""
        if self._context.forked:
            end_child(error)

    # -- below them

    async def recall(self, key: str, default: Any) -> Any:
        """See ``JobContext.recall``."""
        check_key("key", key)
        kept = self._cache.find(key)
        if kept is None and (key in self._cache or not self._cache.complete):
            kept = await self._call(self._cache.get, key)
        return default if kept is None else await decode_beside_loop(kept, decode_step, kept, None, key)

    def recall_sync(self, key: str, default: Any) -> Any:
        """See ``JobContext.recall_sync``."""
        return self._context.run_sync(self.recall, key, default)

    async def keep(self, key: str, value: Any) -> None:
        """See ``JobContext.keep``."""
        check_key("key", key)
        await self._keep(key, encode_kept(key, value, self._largest))

    async def forget(self, prefix: str) -> None:
        """See ``JobContext.forget``."""
        if prefix != "":
            check_key("prefix", prefix)
        await self._write(Forget(self.access.attempt, prefix))
        self._cache.forget(prefix)
        with self._lock:
            self._used -= {key for key in self._used - self._running if key.startswith(prefix)}

    async def _keep(self, key: str, data: bytes, fresh: bool = False) -> None:
        """Keep encoded bytes.

        :param fresh: a function has just returned them: an error is one of its step.
        """
        try:
            await self._write(Keep(self.access.attempt, key, data))
        except BackendError as error:
            if isinstance(error, BackendClosedError) or not fresh:
                raise
            raise not_kept(key, error) from error
        self._cache.put(key, data)

    async def _write(self, change: StepChange) -> None:
        if not await self._call(self.access.write, change):
            raise JobStateError(
                self.access.attempt.job_id,
                "no longer held by this attempt",
                "it can keep and forget nothing any more",
                hint="the attempt lost its lease or was ended; what it does now is not recorded",
            )

    # -- where it runs

    async def _call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call what belongs to the loop of ``access``, from this loop or another one."""
        try:
            if self._loop.is_here():
                return await function(*args)
            return await in_thread(_from_thread, self._loop, function, *args)
        except BodyStopped:
            await self._interrupt()

    async def _interrupt(self) -> NoReturn:
        """Raise what an interrupted wait of the body raises.

        :raises BodyStopped: in a thread, or on another loop than that of the worker.
        """
        self._context.stop_noticed = True
        await checkpoint()  # where every wait is cancelled from now on (trio)
        if self._loop.is_here() and not self._context.in_thread and current_asyncio_task() is not None:
            import asyncio  # where it is to be raised, as in ``check_cancelled``

            raise asyncio.CancelledError(f"job {self.access.attempt.job_id!r} was asked to stop")
        raise BodyStopped


class _Encoded:
    """What a plain function returned, encoded in its thread."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def _from_thread(loop: LoopHandle, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    return anyio.from_thread.run(function, *args, token=loop.token)


def _check(key: str, func: Callable[..., Any]) -> bool:
    """Make sure that this can be a step; return whether its function is to be awaited."""
    check_key("key", key)
    return is_async_callable(func)
