"""Exchange messages with the worker, at the child's end of the two pipes."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count

import anyio

from asyncjobs.backends.base import AttemptRef
from asyncjobs.runtime.isolation.protocol import Answer, Down, Forget, Question, Splitter, Up, frame, read_down, rebuilt
from asyncjobs.runtime.lending import BodyStopped
from asyncjobs.runtime.misplaced_calls import body_ended, in_forked_child
from asyncjobs.runtime.wakeups import LoopHandle

_CHUNK = 1 << 16


class _Asked:
    """A question that waits for its answer. Bodies may ask from any event loop, on any thread."""

    def __init__(self) -> None:
        self.loop = LoopHandle()
        self.done = anyio.Event()
        self.patient = False
        self.answer: Answer | None = None


class ParentChannel:
    """Frames to and from the worker.

    :param down: the descriptor to read from. :param up: the one to write to.
    """

    def __init__(self, down: int, up: int) -> None:
        for descriptor in (down, up):
            os.set_inheritable(descriptor, False)  # processes that the body starts must not inherit it
        self._down = down
        self._up = up
        self._pid = os.getpid()
        self._lock = threading.RLock()
        """Re-entrant: while a frame is written, a finalizer or a signal handler may log in this thread."""
        self._unsent: deque[bytes] = deque()
        self._writing = False
        self._numbers = count(1)
        self._asked: dict[int, _Asked] = {}
        self._attempt: AttemptRef | None = None

    def begin(self, attempt: AttemptRef) -> None:
        """Allow this attempt to send questions that are recorded as its own."""
        with self._lock:
            self._attempt = attempt

    def end(self) -> None:
        """Refuse such questions from now on: the worker would attribute them to the next attempt of this process."""
        with self._lock:
            self._attempt = None

    def frames(self) -> Iterator[Down]:
        """Read frames from the worker until the worker closes its end, or dies."""
        splitter = Splitter()
        while data := os.read(self._down, _CHUNK):
            for body in splitter.feed(data):
                yield read_down(body)

    def send(self, message: Up) -> None:
        """Send a frame; thread-safe. Dropped silently if the worker is gone."""
        self._refuse_in_fork()
        self._unsent.append(frame(message))
        with self._lock:
            while self._unsent and not self._writing:  # else the call that this one has interrupted writes it
                self._writing = True
                try:
                    self._write(memoryview(self._unsent.popleft()))
                finally:
                    self._writing = False

    def _refuse_in_fork(self) -> None:
        if os.getpid() != self._pid:
            raise in_forked_child("?")

    def _write(self, data: memoryview) -> None:
        try:
            while data:
                data = data[os.write(self._up, data) :]
        except BrokenPipeError:
            pass  # the worker is gone; the reading thread will end this process

    async def ask(
        self, question: Callable[[int], Question], *, patient: bool = False, of: AttemptRef | None = None
    ) -> bytes:
        """Wait for the worker's answer; return its encoded value, or raise its error.

        :param patient: whether to keep waiting once the body is asked to stop: the worker answers soon.
        :param of: the attempt to which the worker will attribute it.
        :raises JobStateError: that attempt is over.
        """
        number = next(self._numbers)
        asked = _Asked()
        asked.patient = patient
        self._asked[number] = asked
        try:
            self._refuse_in_fork()  # before the lock, which a thread of the parent may have held
            with self._lock:
                if of is not None and of is not self._attempt:
                    raise body_ended(of.job_id)
                self.send(question(number))
            await asked.done.wait()
        except BaseException:
            self.send(Forget(number))
            raise
        finally:
            del self._asked[number]
        if asked.answer is None:
            raise BodyStopped
        if asked.answer.refusal is not None:
            raise rebuilt(asked.answer.refusal)
        return asked.answer.value

    def answered(self, answer: Answer) -> None:
        """Hand an answer of the worker to the call that waits for it."""
        asked = self._asked.get(answer.number)
        if asked is not None:
            asked.answer = answer
            asked.loop.call_soon(asked.done.set)

    def interrupt(self) -> None:
        """Stop a plain body: its pending waits raise ``BodyStopped``."""
        for asked in list(self._asked.values()):
            if not asked.patient:
                asked.loop.call_soon(asked.done.set)
