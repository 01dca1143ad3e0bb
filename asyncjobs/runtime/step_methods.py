"""Give ``current_job()`` its steps: the methods that bodies call, with their types."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

if TYPE_CHECKING:
    from asyncjobs.runtime.steps import Steps

P = ParamSpec("P")
T = TypeVar("T")


class StepMethods(ABC):
    """The steps of a body: work that is done once, although the job may run several times."""

    @property
    @abstractmethod
    def steps(self) -> Steps:
        """The steps of this attempt, for the engine: bodies call the methods below."""

    @abstractmethod
    def run_sync(self, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Call an async function from the body's thread."""

    @abstractmethod
    def refuse_on_loop(self, call: str, twin: str) -> None:
        """Refuse a call that would block its thread forever."""

    @overload
    async def step(self, key: str, fn: Callable[P, Awaitable[T]], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    async def step(self, key: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T: ...
    async def step(self, key: str, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call ``fn`` and keep its result, or return the value that an earlier attempt kept under the key.

        The value is durable when this returns, and is decoded by the return annotation of ``fn``, also the first time.
        A process that dies between the side effect of ``fn`` and that moment has ``fn`` called again: pass services an
        idempotency key made of ``current_job().id`` and the key. What ``fn`` raises is not kept.

        If cancelled after ``fn`` has returned, this keeps the value first, then raises the cancellation.

        :param key: 1 to 200 characters; in loops, include the index. It is used up once a step has returned its value,
            and while its function runs: a step that raised may be tried again in the same attempt.
        :param fn: an ``async def`` function is awaited, a plain one runs in a thread.
        :raises ConfigurationError: the key is used already, or cannot be one.
        :raises NotSerializableError: what ``fn`` returned cannot be kept. The job is not tried again.
        :raises ConversionError: the kept value no longer fits the annotation.
        :raises JobStateError: the attempt has lost its lease, or was ended; its value is not kept.
        """
        return await self.steps.step(key, fn, args, kwargs)

    def step_sync(self, key: str, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """``step`` for plain functions in their thread, in which ``fn`` is called; not for ``async def`` functions.

        :raises JobStateError: also on the event loop, in an ``async def`` body: ``await step(…)`` there.
        """
        self.refuse_on_loop("current_job().step_sync(…)", "await current_job().step(…)")
        return self.steps.step_sync(key, fn, args, kwargs)

    async def recall(self, key: str, default: Any = None) -> Any:
        """Return what this job keeps under a key, with records as plain dicts; ``default`` if there is nothing."""
        return await self.steps.recall(key, default)

    def recall_sync(self, key: str, default: Any = None) -> Any:
        """``recall`` for plain functions in their thread."""
        self.refuse_on_loop("current_job().recall_sync(…)", "await current_job().recall(…)")
        return self.steps.recall_sync(key, default)

    async def keep(self, key: str, value: Any) -> None:
        """Keep a value for later attempts of this job; the last one under a key remains. Durable when this returns.

        While the store is unavailable, this waits, until the body is asked to stop.

        :raises NotSerializableError: it cannot be kept.
        :raises JobStateError: the attempt has lost its lease, or was ended.
        """
        await self.steps.keep(key, value)

    def keep_sync(self, key: str, value: Any) -> None:
        """``keep`` for plain functions in their thread."""
        self.refuse_on_loop("current_job().keep_sync(…)", "await current_job().keep(…)")
        self.run_sync(self.steps.keep, key, value)

    async def forget(self, prefix: str) -> None:
        """Delete the values of all keys that begin with ``prefix``; this attempt may use them again.

        ``""`` is a prefix of all keys. A step that is running keeps its value when it ends.

        :raises JobStateError: the attempt has lost its lease, or was ended.
        """
        await self.steps.forget(prefix)

    def forget_sync(self, prefix: str) -> None:
        """``forget`` for plain functions in their thread."""
        self.refuse_on_loop("current_job().forget_sync(…)", "await current_job().forget(…)")
        self.run_sync(self.steps.forget, prefix)
