"""Name the body that blocks the event loop, and with it every other job, stream and heartbeat of the program.

While bodies run, a thread regularly asks the loop for a response. If none comes in time, it inspects what the thread of
the loop is doing. This costs jobs nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any

from msgspec import Struct

from asyncjobs.runtime.attempt import RunningAttempt, run_async
from asyncjobs.runtime.context import current_in
from asyncjobs.runtime.wakeups import LoopHandle
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.worker")

BLOCKED = 0.1
"""Seconds that a body may block the loop without a warning."""
TICK = 0.025
"""Seconds between two checks."""
_LATE = 2 * TICK
"""Seconds after which a check is itself late: the process was suspended, or some call kept the GIL."""
_QUIET = 1.0
"""Seconds without bodies after which the thread sleeps until there are some again."""
_AGAIN = 60.0
"""Seconds between two warnings of one function."""
_MOST_FUNCTIONS = 1000


class Blocking(Struct, frozen=True):
    """A body on the thread of the loop, and the frames that it is in: its own first, the innermost last."""

    running: RunningAttempt
    frames: tuple[FrameType, ...]


class LoopWatch:
    """Watches the running loop, from a separate thread.

    :param running: the worker's attempts by job id, as they are at any time.
    """

    def __init__(self, running: Mapping[str, RunningAttempt]) -> None:
        self._running = running
        self._loop = LoopHandle()
        self._loop_thread = threading.get_ident()
        events: Any = sys.modules.get("asyncio.events")  # loaded if it runs this
        self._run_handle: CodeType | None = None if events is None else events.Handle._run.__code__
        """What runs every task and callback of asyncio."""
        self._thread: threading.Thread | None = None
        self._asleep = True
        self._wake = threading.Event()
        self._closed = False
        self._answered = True
        self._found: RunningAttempt | None = None
        self._blocked = 0.0
        self._used = 0.0
        self._reported = False
        self._last_reported: dict[str, float] = {}

    def started(self) -> None:
        """Start watching, because a body runs. Must be called on the loop's thread; costs nothing while it watches."""
        if self._asleep:
            self._asleep = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="asyncjobs-loop-watch", daemon=True)
                self._thread.start()
            self._wake.set()

    def close(self) -> None:
        """Stop watching."""
        self._closed = True
        self._wake.set()

    # -- in the thread

    def _watch(self) -> None:
        cpu_time = _cpu_time_of(self._loop_thread)
        last = last_body = time.monotonic()
        while not self._closed:
            time.sleep(TICK)
            now = time.monotonic()
            passed, last = now - last, now
            try:
                before, self._used = self._used, cpu_time()
            except OSError:
                return  # the thread of the loop has ended
            if self._closed or not self._tick(passed, self._used - before):
                return
            if self._running:
                last_body = now
            elif now - last_body > _QUIET:
                self._sleep()
                last = last_body = time.monotonic()

    def _sleep(self) -> None:
        self._found = None
        self._wake.clear()
        self._asleep = True
        if self._running or self._closed:  # that came before, and did not wake us
            self._asleep = False
        else:
            self._wake.wait()

    def _tick(self, passed: float, used: float) -> bool:
        """Check whether the loop has run since the last check. Return False once the loop is gone.

        :param passed: seconds since then. :param used: seconds of processor time of the loop's thread since then.
        """
        late = passed >= _LATE
        # If this check is late itself, the processor time distinguishes a call that kept the GIL from a suspended
        # process.
        kept = min(passed, used) if late else passed
        if self._answered and not (late and kept >= BLOCKED):
            self._found, self._blocked, self._reported = None, 0.0, False
            self._answered = False
            return self._loop.call_soon(self._answer)
        try:
            found = self._look()
        except Exception as error:  # border: a frame of any kind; the next look may succeed
            logger.debug("cannot determine what blocks the event loop: %s", error)
            return True
        running = None if found is None else found.running
        if self._found is not None and running is not self._found:
            self._blocked = 0.0  # several bodies, one after the other in a turn of the loop
        elif running is not None:
            self._blocked += kept
        self._found = running
        if found is not None and self._blocked >= BLOCKED and not self._reported:
            self._reported = True
            self._report(found)
        return True

    def _answer(self) -> None:
        """Record that the loop has run."""
        self._answered = True

    def _report(self, found: Blocking) -> None:
        job = found.running.job
        now = time.monotonic()
        last = self._last_reported.get(job.function)
        if last is not None and now - last < _AGAIN:
            return
        if len(self._last_reported) >= _MOST_FUNCTIONS:
            self._last_reported.clear()
        self._last_reported[job.function] = now
        logger.warning(
            "job %r blocks the event loop, for %.0f ms so far: %s at %s. Nothing else runs meanwhile: await "
            "slow calls, or submit a plain function, which runs in a thread",
            job.attempt.job_id,
            self._blocked * 1000,
            job.function,
            _place(found.frames),
        )

    def _look(self) -> Blocking | None:
        """Find the body that the loop's thread is in."""
        frames = sys._current_frames()  # pyright: ignore[reportPrivateUsage] - documented, the only way to see a thread
        frame = frames.get(self._loop_thread)
        inner: list[FrameType] = []
        while frame is not None:
            if frame.f_code is _RUN_ASYNC:
                return self._blocking(frame.f_locals.get("running"), inner)
            if frame.f_code is self._run_handle:  # a task that a body has started, or a callback
                return self._found_beside(frame.f_locals.get("self"), inner)
            inner.append(frame)
            frame = frame.f_back
        return None

    def _found_beside(self, handle: Any, inner: list[FrameType]) -> Blocking | None:
        context = current_in(getattr(handle, "_context", None))
        if context is None:
            return None
        while inner and _package(inner[-1]) in ("asyncio", "anyio"):
            inner.pop()
        if not inner or _package(inner[-1]) == "asyncjobs":
            return None  # ours, called in the context of the body that caused it
        running = self._running.get(context.id)
        return None if running is None or running.context is not context else self._blocking(running, inner)

    def _blocking(self, running: Any, inner: list[FrameType]) -> Blocking | None:
        if (
            not inner
            or not isinstance(running, RunningAttempt)
            or self._running.get(running.job.attempt.job_id) is not running
        ):
            return None
        return Blocking(running, tuple(reversed(inner)))


_RUN_ASYNC: CodeType = run_async.__code__


def _place(frames: tuple[FrameType, ...]) -> str:
    """Return where a body is: the line in its own function and, if that called another function, the innermost line."""
    own = next((frame for frame in frames if _package(frame) != "asyncjobs"), None)
    if own is None:
        return "the end, where its result is encoded"
    place = _describe(own)
    return place if frames[-1] is own else f"{place}, which is at {_describe(frames[-1])}"


def _describe(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"


def _package(frame: FrameType) -> str:
    name: object = frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else ""


def _cpu_time_of(thread: int) -> Callable[[], float]:
    """Return a clock of the processor time of a thread; of the process where the system has none (macOS)."""
    clock_of = getattr(time, "pthread_getcpuclockid", None)
    if clock_of is None:
        return time.process_time
    clock = clock_of(thread)
    return lambda: time.clock_gettime(clock)
