"""The frames between a worker and a child process: what goes in comes out, however the pipe cuts it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from asyncjobs import (
    BackendConnectionError,
    ConfigurationError,
    CyclicDependencyError,
    DuplicateJobError,
    JobConflictError,
    JobNotFoundError,
    JobProcessorError,
    JobStateError,
    JobTimeoutError,
    RetryPolicy,
    UnknownDependencyError,
)
from asyncjobs.backends.base import AttemptRef, ClaimedJob, NewJob
from asyncjobs.core.retry import decode_policy
from asyncjobs.models import Dependency, JobResult, JobStatus, Limit, Outcome, OutcomeKind
from asyncjobs.runtime.isolation.protocol import (
    Answer,
    Ask,
    Began,
    BrokenFrameError,
    Call,
    Emitted,
    Ended,
    Forget,
    ForgetSteps,
    KeepStep,
    ReadStep,
    ReadSteps,
    Setup,
    Splitter,
    Stop,
    Submit,
    Wait,
    decode_job,
    encode_call,
    encode_job,
    frame,
    read_down,
    read_up,
    rebuilt,
    refusal,
)

POLICY = RetryPolicy(max_retries=2, on=[ConnectionError, "httpx.ReadTimeout"], never_on=[ValueError])
DOWN = [Setup(["/a"], ["app.py"], None, "asyncio", 1 << 20, 5.0, 30, 20, ("json",)), Stop(), Answer(1, b"x"), Answer(2)]
UP = [
    Began(True),
    Emitted("log", {"level": "info", "message": "ä"}),
    Emitted("output", {"text": "a"}, "text"),
    Submit(1, b"job"),
    Wait(2, ["a", "b"], 1.5),
    Ask(3, "cancel_job", "a", descendants=True),
    KeepStep(4, "k", b"\x00"),
    ForgetSteps(5, ""),
    ReadSteps(6, None, values=True),
    ReadStep(7, "k"),
    Forget(2),
    Ended(Outcome(OutcomeKind.SUCCEEDED, b"value"), stop_noticed=True),
]


def bodies(data: bytes, cut: int, limit: int | None = None) -> list[bytes]:
    splitter = Splitter(limit)
    return [bytes(body) for i in range(0, len(data), cut) for body in splitter.feed(data[i : i + cut])]


@pytest.mark.parametrize("cut", [1, 7, 8, 9, 50, 10_000])
def test_frames_come_out_as_they_went_in(cut: int) -> None:
    assert [read_up(body) for body in bodies(b"".join(map(frame, UP)), cut)] == UP
    assert [read_down(body) for body in bodies(b"".join(map(frame, DOWN)), cut)] == DOWN


def test_a_frame_may_be_as_long_as_the_limit_and_no_longer() -> None:
    data = frame(Submit(1, bytes(1000)))
    assert len(bodies(data, 64, limit=len(data) - 8)) == 1
    with pytest.raises(BrokenFrameError, match="more than"):
        bodies(data, 64, limit=len(data) - 9)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x91\xa4Null", frame(Stop())[8:], b"\x91" * 100_000])
def test_what_is_no_message_of_a_child_is_refused(data: bytes) -> None:
    with pytest.raises(BrokenFrameError):
        read_up(data)


def test_a_claimed_job_travels_with_its_policy_and_results() -> None:
    job = ClaimedJob(AttemptRef("a", 3, "w1", 7), "m:f", b"call", True, POLICY, 1.5, "g", 12, isolation="process")
    results = {"b": JobResult("b", JobStatus.COMPLETED, "m:g", b"value")}
    (body,) = bodies(encode_call(job, results), 100)
    call = read_down(body)
    assert isinstance(call, Call)
    assert call.results == results
    assert replace(call.job, retry=None) == replace(job, retry=None)
    assert decode_policy(call.job.retry).retries(ConnectionResetError())
    assert not decode_policy(call.job.retry).retries(ValueError())


def test_a_submitted_job_travels_whole() -> None:
    job = NewJob(
        id="a/1",
        function="m:f",
        call=b"call",
        queue="q",
        metadata=b"{}",
        limit=Limit("images", 3),
        retry=POLICY,
        dependencies=(Dependency("b"), Dependency("c", True)),
        isolation="process",
        if_exists="return",
    )
    back = decode_job(encode_job(job))
    assert replace(back, retry=POLICY) == job
    assert back.retry.on == ("builtins.ConnectionError", "httpx.ReadTimeout")


ERRORS = [
    ConfigurationError("limit", object(), allowed="a pair", hint="like this"),
    CyclicDependencyError(["a", "b", "a"]),
    UnknownDependencyError("a", ["b"]),
    DuplicateJobError("a"),
    JobConflictError("a"),
    JobNotFoundError("a", near="b"),
    JobStateError("a", "failed", "it is over"),
    JobTimeoutError("job 'a'", 2.0, job_id="a"),
    BackendConnectionError("locked", request=[object()], tries=5),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_on_the_other_side(error: JobProcessorError) -> None:
    (body,) = bodies(frame(Answer(1, refusal=refusal(error))), 100)
    answer = read_down(body)
    assert isinstance(answer, Answer)
    assert answer.refusal is not None
    back = rebuilt(answer.refusal)
    assert (type(back), str(back), back.hint) == (type(error), str(error), error.hint)
    plain: dict[str, Any] = {k: v for k, v in vars(error).items() if k not in ("value", "request")}
    assert {name: getattr(back, name) for name in plain} == plain


def test_an_error_that_is_not_ours_is_told_as_the_stores() -> None:
    back = rebuilt(refusal(ZeroDivisionError("division by zero")))
    assert (back.code, str(back)) == ("backend", "ZeroDivisionError: division by zero")


def test_only_errors_of_ours_are_rebuilt() -> None:
    told = refusal(DuplicateJobError("a"))
    for name in ("nearest", "get_close_matches", "Exception", "none"):
        assert rebuilt(type(told)(name, ["x"], {})).code == "backend"


def test_what_is_missing_of_a_frame_is_known_once_its_header_is_there() -> None:
    splitter, data = Splitter(), frame(Emitted("output", {"text": "x" * 1000}))
    found = []
    for byte in data:
        found.append(splitter.missing)
        assert len(list(splitter.feed(bytes([byte])))) == (len(found) == len(data))
    assert found == [0] * 8 + list(range(len(data) - 8, 0, -1))
    assert splitter.missing == 0
