"""Define the messages between a worker and a child process: msgpack frames over two pipes.

A frame is its length (8 bytes, big-endian), then one of the structs below. Values travel in it as they are stored.

====================  =====================================================================
down, to the child    ``Setup`` once, then ``Call``; ``Stop``; ``Answer`` to its questions
up, to the worker     ``Began``, ``Emitted``, ``Lent``, ``Ended``; questions (``Submit``, ``Wait``, ``Ask``,
                      ``AskGate``, ``AwaitAnswer``, ``GiveAnswer``, and about steps ``KeepStep``, ``ForgetSteps``,
                      ``ReadSteps``, ``ReadStep``); ``Forget``
====================  =====================================================================
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

from msgspec import Struct, convert, msgpack
from msgspec.structs import asdict, replace

from asyncjobs import exceptions
from asyncjobs.backends.base import ClaimedJob, NewJob
from asyncjobs.core.retry import decode_policy, encode_policy
from asyncjobs.exceptions import BackendConnectionError, BackendError, JobProcessorError
from asyncjobs.models import Dependency, JobResult, Limit, Outcome

_HEADER = struct.Struct(">Q")


class BrokenFrameError(Exception):
    """The bytes are not a frame, or the frame is too long."""


class Setup(Struct, frozen=True, tag=True, array_like=True):
    """Settings that the child takes over from its parent. ``python_path`` is the parent's variable PYTHONPATH. Levels
    are those of ``logging``; with ``capture`` None, records are not sent. ``preload``: modules to import first.
    ``num_workers``: how many plain functions of steps run at the same time."""

    path: list[str]
    argv: list[str]
    python_path: str | None
    loop: str
    max_value_size: int
    cancel_grace: float
    root_level: int
    capture: int | None
    preload: tuple[str, ...] = ()
    num_workers: int = 1


class Call(Struct, frozen=True, tag=True, array_like=True):
    """Run a job. ``results`` are the results that its arguments refer to; its retry policy is encoded."""

    job: ClaimedJob
    results: dict[str, JobResult]


class Stop(Struct, frozen=True, tag=True, array_like=True):
    """Asks the body to stop; otherwise the process is killed. A second ``Stop`` ends the time for clean-up."""


class Refusal(Struct, frozen=True, array_like=True):
    """An error of asyncjobs, as data."""

    kind: str
    args: list[Any]
    state: dict[str, Any]


class Answer(Struct, frozen=True, tag=True, array_like=True):
    """The answer to the question with this number: an encoded value, or an error."""

    number: int
    value: bytes = b""
    refusal: Refusal | None = None


class Began(Struct, frozen=True, tag=True, array_like=True):
    """The function is loaded, the arguments are decoded, the body begins. ``is_async``: the body is awaited. Sent again
    if a plain function returns an awaitable."""

    is_async: bool


class Emitted(Struct, frozen=True, tag=True, array_like=True):
    """An event of the body: progress, a log line, or a custom event. ``append``: the field with a piece of a text."""

    event: str
    data: dict[str, Any]
    append: str | None = None


class Submit(Struct, frozen=True, tag=True, array_like=True):
    """Store this child job (``encode_job``). The answer is its id."""

    number: int
    job: bytes


class Wait(Struct, frozen=True, tag=True, array_like=True):
    """Wait for the next of these jobs to end. The answer is a list of ``JobResult``."""

    number: int
    job_ids: list[str]
    timeout: float | None


class Ask(Struct, frozen=True, tag=True, array_like=True):
    """Another request of a handle. The answer is a status."""

    number: int
    what: Literal["get_status", "cancel_job", "retry_job"]
    job_id: str
    descendants: bool = False
    fresh: bool = False


class AskGate(Struct, frozen=True, tag=True, array_like=True):
    """Open the gate of a question (``encode_job``), or find it. The answer is an ``AskedGate``."""

    number: int
    gate: bytes


class AwaitAnswer(Struct, frozen=True, tag=True, array_like=True):
    """Wait for the end of a gate; with ``park``, end the attempt instead. The answer is a ``JobResult``, or None."""

    number: int
    gate_id: str
    park: bool


class GiveAnswer(Struct, frozen=True, tag=True, array_like=True):
    """Answer a gate by an encoded value of what JSON has, or reject it for a reason. The answer is its status."""

    number: int
    job_id: str
    by: str | None
    value: bytes | None = None
    reason: str | None = None


class KeepStep(Struct, frozen=True, tag=True, array_like=True):
    """Keep an encoded value. Questions about steps are still answered after a ``Stop``, with no bytes if that ends
    them. The answer is whether the attempt was in progress."""

    number: int
    key: str
    value: bytes


class ForgetSteps(Struct, frozen=True, tag=True, array_like=True):
    """Forget the keys with this prefix. The answer is as above."""

    number: int
    prefix: str


class ReadSteps(Struct, frozen=True, tag=True, array_like=True):
    """Read a page of steps. The answer is a ``StepPage``."""

    number: int
    after: str | None
    values: bool


class ReadStep(Struct, frozen=True, tag=True, array_like=True):
    """Read one value. The answer is its bytes, or None."""

    number: int
    key: str


class Forget(Struct, frozen=True, tag=True, array_like=True):
    """Withdraws a question whose caller no longer waits."""

    number: int


class Lent(Struct, frozen=True, tag=True, array_like=True):
    """The body begins or ends a wait for a job, through a processor that the body has opened itself."""

    waits: bool


class Ended(Struct, frozen=True, tag=True, array_like=True):
    """The body has ended. ``stop_noticed``: it has read ``cancelled`` after a stop request. ``refused``: it raised a
    ``BackendClosedError``. ``restored``: its changes to the process are undone."""

    outcome: Outcome
    stop_noticed: bool
    refused: bool = False
    restored: bool = True


Down = Setup | Call | Stop | Answer
StepQuestion = KeepStep | ForgetSteps | ReadSteps | ReadStep
Question = Submit | Wait | Ask | AskGate | AwaitAnswer | GiveAnswer | StepQuestion
Up = Began | Emitted | Question | Forget | Lent | Ended

_down = msgpack.Decoder(Down)
_up = msgpack.Decoder(Up)
_encode = msgpack.Encoder().encode


def frame(message: Down | Up) -> bytes:
    """Return the bytes to send."""
    body = _encode(message)
    return _HEADER.pack(len(body)) + body


def read_down(data: bytes | memoryview) -> Down:
    """Decode a frame of the worker."""
    return _down.decode(data)


def read_up(data: bytes | memoryview) -> Up:
    """Decode a frame of the child.

    :raises BrokenFrameError: not a frame; user code may have written into the pipe.
    """
    try:
        return _up.decode(data)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise BrokenFrameError(str(error)) from error


class Splitter:
    """Splits received bytes into frames.

    :param limit: largest frame in bytes; None: no limit.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def missing(self) -> int:
        """Return how many bytes the unfinished frame still needs, as far as its header has arrived."""
        buffered = len(self._buffer)
        return 0 if buffered < _HEADER.size else _HEADER.unpack_from(self._buffer)[0] + _HEADER.size - buffered

    def feed(self, data: bytes) -> Iterator[bytes | memoryview]:
        """Return the frames that are complete with these bytes. Raises BrokenFrameError."""
        self._buffer += data
        while len(self._buffer) >= _HEADER.size:
            buffer = self._buffer
            size: int = _HEADER.unpack_from(buffer)[0]
            if self._limit is not None and size > self._limit:
                raise BrokenFrameError(f"a frame of {size:,} bytes, more than {self._limit:,}")
            end = _HEADER.size + size
            if len(buffer) < end:
                return
            if len(buffer) == end:  # the usual case, also for large frames: no copy
                self._buffer = bytearray()
                yield memoryview(buffer)[_HEADER.size :]
            else:
                body = bytes(memoryview(buffer)[_HEADER.size : end])
                del buffer[:end]
                yield body


# -- jobs


def encode_call(job: ClaimedJob, results: Mapping[str, JobResult]) -> bytes:
    """Return the frame of a ``Call``."""
    return frame(Call(replace(job, retry=encode_policy(job.retry)), dict(results)))


def encode_job(job: NewJob) -> bytes:
    """Encode a job for the worker. A retry policy may contain classes, which are encoded separately."""
    return _encode({**asdict(job), "retry": encode_policy(job.retry)})


def decode_job(data: bytes) -> NewJob:
    """Decode a job that ``encode_job`` encoded."""
    fields = cast("dict[str, Any]", msgpack.decode(data))
    fields["retry"] = decode_policy(fields["retry"])
    fields["limit"] = convert(fields["limit"], Limit | None)
    fields["dependencies"] = convert(fields["dependencies"], tuple[Dependency, ...])
    return NewJob(**fields)


# -- errors


def refusal(error: Exception) -> Refusal:
    """Return an error as data; attributes that are not plain become text."""
    if not isinstance(error, JobProcessorError):
        error = BackendError(f"{type(error).__name__}: {error}")
    if isinstance(error, BackendConnectionError):
        error.request = None  # it is not sent, so the hint must not name it
    state = {name: _plain(value) for name, value in vars(error).items()}
    return Refusal(type(error).__name__, [_plain(value) for value in error.args], state)


def rebuilt(refused: Refusal) -> JobProcessorError:
    """Return the error that the data describes. Only classes of ``exceptions`` are used."""
    kind: Any = getattr(exceptions, refused.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, JobProcessorError)):
        kind = BackendError
    error: JobProcessorError = kind.__new__(kind)
    error.args = tuple(refused.args)
    for name, value in refused.state.items():
        setattr(error, name, tuple(cast("list[Any]", value)) if isinstance(value, list) else value)
    return error


def _plain(value: Any) -> Any:
    try:
        _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return repr(value)
    return value
