"""Pass the steps of bodies over the pipe: the questions of a child process, and the answers of the worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import anyio
from msgspec import msgpack

from asyncjobs.backends.base import AttemptRef
from asyncjobs.backends.values import StepPage
from asyncjobs.core.requests import Forget, Keep, StepChange
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.isolation.channel import ParentChannel
from asyncjobs.runtime.isolation.protocol import (
    ForgetSteps,
    KeepStep,
    ReadStep,
    ReadSteps,
    Setup,
    StepQuestion,
)
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.runtime.step_access import StepAccess
from asyncjobs.runtime.step_threads import StepThreads
from asyncjobs.runtime.steps import Steps
from asyncjobs.runtime.wakeups import LoopHandle, loop_runs_here

T = TypeVar("T")


async def answer_step(question: StepQuestion, access: StepAccess) -> Any:
    """Carry out the request of a body in a child process, and return the answer.

    :raises BodyStopped: the store is unavailable, and the attempt is asked to stop.
    """
    match question:
        case KeepStep():
            return await access.write(Keep(access.attempt, question.key, question.value))
        case ForgetSteps():
            return await access.write(Forget(access.attempt, question.prefix))
        case ReadSteps():
            return await access.read_page(question.after, values=question.values)
        case ReadStep():
            return await access.read_value(question.key)


class ParentSteps:
    """The ``StepAccess`` of a child process: asks the worker, from any event loop."""

    def __init__(self, link: ParentChannel, attempt: AttemptRef) -> None:
        self.attempt = attempt
        self._link = link

    def stop(self) -> None:
        """Do nothing: the worker bounds how long its answers take."""

    async def write(self, change: StepChange) -> bool:
        """Have the worker keep or forget steps."""
        if isinstance(change, Keep):
            return await self._ask(lambda number: KeepStep(number, change.key, change.value), bool)
        return await self._ask(lambda number: ForgetSteps(number, change.prefix), bool)

    async def read_page(self, after: str | None, *, values: bool) -> StepPage:
        """Have the worker read a page."""
        return await self._ask(lambda number: ReadSteps(number, after, values), StepPage)

    async def read_value(self, key: str) -> bytes | None:
        """Have the worker read a value."""
        return await self._ask(lambda number: ReadStep(number, key), cast("type[bytes | None]", bytes | None))

    async def _ask(self, question: Callable[[int], StepQuestion], kind: type[T]) -> T:
        answer = b""
        with anyio.CancelScope(shield=True):  # as the worker's own writes are
            answer = await self._link.ask(question, patient=True, of=self.attempt)
        if not answer:
            raise BodyStopped
        return msgpack.decode(answer, type=kind)


class ChildSteps:
    """The steps of the one attempt that a child process runs at the moment."""

    def __init__(self, link: ParentChannel, setup: Setup) -> None:
        self._link = link
        self._setup = setup
        self._threads: StepThreads | None = None

    def open(self, context: JobContext, attempt: AttemptRef) -> Steps:
        """Return the steps of an attempt."""
        access, loop = ParentSteps(self._link, attempt), cast("LoopHandle", AtOnce())
        return Steps(context, access, loop=loop, threads=self._find_threads, largest=self._setup.max_value_size)

    def _find_threads(self) -> StepThreads:
        """Return threads for the event loop that runs here: each body has a loop of its own."""
        if self._threads is None or not self._threads.is_here():
            self.close()
            self._threads = StepThreads(self._setup.num_workers)
        return self._threads

    def close(self) -> None:
        """Let the threads end: the attempt is over."""
        if self._threads is not None:
            self._threads.close()


class AtOnce:
    """Replaces the token of the worker's event loop, which is in another process."""

    def is_here(self) -> bool:
        """Return whether an event loop of the body runs on this thread."""
        return loop_runs_here()

    def call_soon(self, function: Callable[..., object], *args: object) -> bool:
        """Call the function now."""
        function(*args)
        return True
