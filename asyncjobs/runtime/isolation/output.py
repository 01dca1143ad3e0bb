"""Read the standard streams of a child process, for the log of its job and for the streams of this process."""

from __future__ import annotations

import codecs
import time

import anyio

from asyncjobs.plurals import counted
from asyncjobs.runtime.capture import record_printed
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.isolation.echo import Echo
from asyncjobs.runtime.isolation.process import read_now

BURST = 1 << 20
RATE = 256 << 10
"""Bytes that a stream may bring at once, and in a second: the rest is left out, and a line of the log reports that."""
_CHUNK = 16 << 10
"""Bytes that are read in one turn of the event loop: some hundreds of lines."""
_PIPE = 64 << 10
"""Bytes that a pipe can hold."""
_PAUSE = 0.001
_TAIL = 8192
_LONGEST_REST = 64 << 10
"""Length at which text without a line end is passed on as a line."""


class Output:
    """One of the two standard streams of a child process, during one attempt.

    :param echo: also gets the lines, for the streams of this process.
    """

    def __init__(self, descriptor: int, name: str, context: JobContext, echo: Echo) -> None:
        self._descriptor = descriptor
        self._name = name
        self._context = context
        self._echo = echo
        self._unfinished = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._budget = float(BURST)
        self._at = time.monotonic()
        self._left_out = 0
        self._tail = b""
        for _ in range(_PIPE // _CHUNK + 1):  # an earlier body may have left a thread behind that still writes
            if not read_now(descriptor, _CHUNK):
                break

    async def listen(self) -> None:
        """Read until the stream is closed."""
        while True:
            await anyio.wait_readable(self._descriptor)
            data = read_now(self._descriptor, _CHUNK)
            if data == b"":
                return
            if data is not None:
                self._take(data)
            if self._left_out:
                await anyio.sleep(_PAUSE)  # a flood of output must not occupy the event loop

    def take_rest(self) -> None:
        """Read the bytes that are available now."""
        for _ in range(_PIPE // _CHUNK + 1):
            data = read_now(self._descriptor, _CHUNK)
            if not data:
                return
            self._take(data)

    def finish(self) -> None:
        """Read the rest after the body has ended."""
        self.take_rest()
        self._record(self._decoder.decode(b"", True))
        if self._unfinished:
            self._pass_on("\n")
        self._mark()

    @property
    def tail(self) -> str:
        """Its last words."""
        return self._tail.decode("utf-8", "backslashreplace")

    def _take(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-_TAIL:]
        now = time.monotonic()
        self._budget = min(BURST, self._budget + (now - self._at) * RATE)
        self._at = now
        # After a loss, wait until there is some room: a marker for every few lines would itself be a flood.
        if self._budget < (RATE if self._left_out else len(data)):
            if not self._left_out and self._name in self._context.unfinished_lines:
                self._record("\n")
            self._left_out += len(data)
            self._decoder.reset()
            return
        self._budget -= len(data)
        self._mark()
        self._record(self._decoder.decode(data))

    def _record(self, text: str) -> None:
        if text:
            record_printed(self._context, self._name, text)
            self._pass_on(text)

    def _pass_on(self, text: str) -> None:
        """Pass on whole lines only, because lines of other jobs may come in between."""
        lines, end, rest = (self._unfinished + text).rpartition("\n")
        if len(rest) > _LONGEST_REST:
            lines, end, rest = lines + end + rest, "\n", ""
        self._unfinished = rest
        if end:
            self._echo.write(self._context, self._name, lines + end)

    def _mark(self) -> None:
        if self._left_out:
            missing = f"{counted(self._left_out, 'byte')} of {self._name}"
            text = f"{missing} left out here: output came faster than a log can take it"
            fields = {"message": text, "dropped_bytes": self._left_out}
            self._left_out = 0
            self._context.append_log("warning", "asyncjobs", fields)
            self._echo.write(self._context, self._name, f"[asyncjobs: {text}]\n")
