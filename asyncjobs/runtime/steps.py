"""Run the steps of one attempt: return values that an earlier attempt kept, run and keep all others."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.from_thread
from anyio.lowlevel import checkpoint_if_cancelled

from asyncjobs.backends.bounds import check_key
from asyncjobs.checks import is_awaitable
from asyncjobs.core.codec import is_async_callable
from asyncjobs.core.requests import Forget, Keep, StepChange
from asyncjobs.daemon_threads import in_thread
from asyncjobs.exceptions import BackendClosedError, BackendError, ConfigurationError, JobStateError, SubmissionError
from asyncjobs.forks import end_child
from asyncjobs.models import Handle
from asyncjobs.runtime.handover import Handover
from asyncjobs.runtime.interruption import interrupt
from asyncjobs.runtime.large_values import decode_beside_loop
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.runtime.outliving import outlive
from asyncjobs.runtime.step_access import StepAccess
from asyncjobs.runtime.step_cache import StepCache
from asyncjobs.runtime.step_children import StepChildren
from asyncjobs.runtime.step_threads import StepThreads
from asyncjobs.runtime.step_values import decode_step, encode_kept, encode_step, not_kept
from asyncjobs.runtime.wakeups import LoopHandle
from asyncjobs.safe_logging import SafeLogger

if TYPE_CHECKING:
    from asyncjobs.runtime.context import JobContext

T = TypeVar("T")

logger = SafeLogger("asyncjobs.worker")

_Returned = tuple[Any, BaseException | None]
"""The result or the error of a function."""


class Steps:
    """The steps of one attempt, as its body reaches them: by coroutines, or by threads that may block.

    :param access: the steps in the store.
    :param loop: the event loop on which ``access`` is called.
    :param threads: run plain functions for bodies that are awaited.
    :param largest: maximum size of a value in bytes.
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
        """Keys whose value a step has returned."""
        self._running: set[str] = set()
        """Keys of steps that have begun."""
        self._threaded: set[str] = set()
        """Keys whose plain function runs in a thread, also if its step was left."""
        self._stopped = False

    def stop(self) -> None:
        """Prevent further steps: the attempt is asked to stop."""
        self._stopped = True
        self.access.stop()

    # -- steps

    async def step(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See ``JobContext.step``."""
        is_async = _check(key, func)
        await checkpoint_if_cancelled()  # otherwise a function without an await would run in a cancelled scope
        if self._stopped:
            await interrupt(self._context, self._loop)
        self._take(key)
        used = False
        try:
            kept = await self._get(key)
            if kept is None:
                kept = await self._run(key, func, args, kwargs, is_async)
            value = await decode_beside_loop(kept, decode_step, kept, func, key)
            used = True
        finally:
            self._give_back(key, used=used)
        return value

    def step_sync(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """See ``JobContext.step_sync``."""
        if _check(key, func):
            hint = f"in an 'async def' function: await current_job().step({key!r}, …)"
            raise ConfigurationError("fn", func, problem="step_sync() does not await 'async def' functions", hint=hint)
        self._take(key)
        used = False
        try:
            kept = self._get_sync(key)
            if kept is None:
                kept = self._run_sync(key, func, args, kwargs)
            value = decode_step(kept, func, key)
            used = True
        finally:
            self._give_back(key, used=used)
        return value

    def _take(self, key: str) -> None:
        """Begin a step, unless its key names one that runs, or one that has returned its value."""
        with self._lock:
            if key in self._running or key in self._threaded:
                problem = f"the key {key!r} was already used in this attempt: its step is still running"
                hint = "add the difference to the key: in a loop, the index; or wait for the running step"
            elif key in self._used:
                problem = f"the key {key!r} was already used in this attempt: a key names one step"
                hint = "add the difference to the key: in a loop, the index"
            else:
                self._running.add(key)
                return
        raise ConfigurationError("key", key, problem=problem, hint=hint)

    def _give_back(self, key: str, *, used: bool) -> None:
        """End a step. One that has returned no value may be tried again."""
        with self._lock:
            self._running.discard(key)
            if used:
                self._used.add(key)

    async def _get(self, key: str) -> bytes | None:
        """Return the value kept under a key; without one, the function may begin."""
        kept: bytes | None = None
        if key in self._cache or not self._cache.complete:
            kept = await self._call(self._cache.get, key)
            self._cache.let_go(key)
        if kept is None and self._stopped:
            await interrupt(self._context, self._loop)
        return kept

    def _get_sync(self, key: str) -> bytes | None:
        if key not in self._cache and self._cache.complete and not self._stopped:
            return None
        return self._context.run_sync(self._get, key)

    async def _run(
        self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], is_async: bool
    ) -> bytes:
        """Call the function of a step, and keep its result, even if the body is cancelled meanwhile."""
        with StepChildren(self._context, key):
            if is_async:
                value = await self._await(func, args, kwargs)
            else:
                value, error = await self._run_in_thread(key, func, args, kwargs)
                if error is not None:
                    raise error
                if not isinstance(value, _Encoded):
                    value = await self._awaited(value)
        data = value.data if isinstance(value, _Encoded) else encode_step(key, func, value, self._largest)
        await outlive(lambda: self._keep(key, data, fresh=True))
        return data

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

    # -- plain functions

    async def _run_in_thread(
        self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> _Returned:
        """Call a plain function in a thread, and wait for its end: anyio's cancellation waits, asyncio's own does not.

        If the step was left in that way, the thread itself keeps the result of the function.
        """
        handover = Handover[_Returned]()

        def work() -> None:
            with self._lock:
                self._threaded.add(key)
            try:
                if handover.begin():
                    returned = self._call_plain(key, func, args, kwargs)
                    if not handover.give(returned):
                        self._keep_left(key, returned)
            finally:
                with self._lock:
                    self._threaded.discard(key)

        try:
            await self._threads().run(work)
        except anyio.get_cancelled_exc_class():
            if not handover.leave():
                value, _ = handover.outcome
                if isinstance(value, _Encoded):
                    await outlive(lambda: self._keep(key, value.data, fresh=True))
                else:
                    _close(value)
            raise
        return handover.outcome

    def _call_plain(
        self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> _Returned:
        """Call a plain function in its thread, and encode its result there, unless that is an awaitable."""
        try:
            value: object = func(*args, **kwargs)
        except BaseException as error:  # border: raised again where the step is awaited
            self._end_in_fork(error)
            return None, error
        self._end_in_fork(None)
        if is_awaitable(value) and not isinstance(value, Handle):
            return value, None
        try:
            return _Encoded(encode_step(key, func, value, self._largest)), None
        except BaseException as error:  # border: as above
            return None, error

    def _keep_left(self, key: str, returned: _Returned) -> None:
        """Keep the result of a function whose step was left meanwhile (``asyncio.wait_for``). In its thread."""
        value, problem = returned
        try:
            if isinstance(value, _Encoded):
                self._context.run_sync(self._keep, key, value.data, True)
            else:
                _close(value)
        except BaseException as error:  # border: no code waits for it; the attempt is over, or its loop has ended
            problem = error
        if problem is not None:
            logger.warning(
                "the body of job %r did not wait for its step %r, whose result is not kept: %s",
                self.access.attempt.job_id,
                key,
                problem,
            )

    def _run_sync(self, key: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        with StepChildren(self._context, key):
            value, error = self._call_plain(key, func, args, kwargs)
        if error is not None:
            raise error
        if not isinstance(value, _Encoded):
            _close(value)
            hint = f"in an 'async def' function: await current_job().step({key!r}, …)"
            raise ConfigurationError("fn", func, problem="step_sync() does not await what fn returned", hint=hint)
        self._context.run_sync(self._keep, key, value.data, True)
        return value.data

    def _end_in_fork(self, error: BaseException | None) -> None:
        """End a forked child that leaves the function: the rest of the stack is work of the parent."""
        if self._context.forked:
            end_child(error)

    # -- values

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
        data = encode_kept(key, value, self._largest)
        await outlive(lambda: self._keep(key, data))

    async def forget(self, prefix: str) -> None:
        """See ``JobContext.forget``."""
        if prefix != "":
            check_key("prefix", prefix)
        await outlive(lambda: self._forget(prefix))

    async def _forget(self, prefix: str) -> None:
        await self._write(Forget(self.access.attempt, prefix))
        self._cache.forget(prefix)
        with self._lock:
            self._used -= {key for key in self._used if key.startswith(prefix)}

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
                "it can no longer keep or forget values",
                hint="the attempt lost its lease or was ended; what it does now is not recorded",
            )

    # -- where it runs

    async def _call(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call a function on the loop of ``access``, from this loop or another one."""
        self._context.refuse_lost()  # otherwise a child process would attribute it to its next job
        try:
            if self._loop.is_here():
                return await function(*args)
            with anyio.CancelScope(shield=True):  # in the thread it cannot be stopped
                return await in_thread(_from_thread, self._loop, function, *args)
            raise AssertionError("the scope is not cancelled itself")
        except BodyStopped:
            await interrupt(self._context, self._loop)


class _Encoded:
    """The result of a plain function, encoded in its thread."""

    def __init__(self, data: bytes) -> None:
        self.data = data


def _from_thread(loop: LoopHandle, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    return anyio.from_thread.run(function, *args, token=loop.token)


def _close(value: object) -> None:
    """Discard the result of a function: close a coroutine, or Python would warn of it."""
    if inspect.iscoroutine(value):
        value.close()


def _check(key: str, func: Callable[..., Any]) -> bool:
    """Check that this can be a step; return whether its function is to be awaited."""
    check_key("key", key)
    try:
        return is_async_callable(func)
    except SubmissionError as error:  # worded for a job
        error.hint = f"pass the function itself and its arguments after it: step({key!r}, render, path)"
        raise
