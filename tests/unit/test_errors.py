"""The tree of errors: what each is, carries and says."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any

import pytest

import asyncjobs
from asyncjobs import exceptions
from asyncjobs.exceptions import (
    AnswerTimeoutError,
    BackendClosedError,
    BackendConnectionError,
    BackendError,
    ConfigurationError,
    ConversionError,
    CorruptValueError,
    CyclicDependencyError,
    DuplicateJobError,
    JobCancelledError,
    JobConflictError,
    JobExecutionError,
    JobNotCompletedError,
    JobNotFoundError,
    JobProcessorError,
    JobSkippedError,
    JobStateError,
    JobTimeoutError,
    MissingExtraError,
    NotSerializableError,
    RejectedError,
    SchemaVersionError,
    SubmissionError,
    UnknownDependencyError,
    WorkerLostError,
)
from asyncjobs.spellings import nearest

EVERY: list[tuple[JobProcessorError, str]] = [
    (JobProcessorError("it broke"), "it broke"),
    (JobProcessorError("it broke", hint="mend it"), "it broke\n  hint: mend it"),
    (ConfigurationError("slots", 0, allowed="1 or more"), "slots cannot be 0; allowed: 1 or more"),
    (ConfigurationError("slots", 0, problem="no"), "no"),
    (
        ConversionError("$.page", "is an int", "Page(number)", "argument 'page' of draw()"),
        "argument 'page' of draw(): $.page is an int; expected Page(number)",
    ),
    (CorruptValueError("stored value cannot be read"), "stored value cannot be read"),
    (SubmissionError("refused"), "refused"),
    (
        CyclicDependencyError(["a", "a"]),
        "job 'a' would wait for itself\n  hint: drop one of these dependencies; nothing was stored",
    ),
    (
        CyclicDependencyError(["a", "b", "a"], hint="split it"),
        "these 2 jobs would wait for each other: a → b → a\n  hint: split it",
    ),
    (
        UnknownDependencyError("a", ["b", "c"]),
        "job 'a' depends on 'b', 'c', which are not known\n"
        "  hint: submit a dependency before its dependents, or both in one batch; ids are case-sensitive",
    ),
    (
        CyclicDependencyError([*(str(n) for n in range(5000)), "0"], hint="split it"),
        "these 5000 jobs would wait for each other: 0 → 1 → 2 → 3 → 4 → 5 → 6 → 7 → 8 → 9 → … → 4991 → 4992 → 4993 → "
        "4994 → 4995 → 4996 → 4997 → 4998 → 4999 → 0\n  hint: split it",
    ),
    (
        UnknownDependencyError("a", [str(n) for n in range(6000)]),
        "job 'a' depends on '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' and 5,990 more, which are not known\n"
        "  hint: submit a dependency before its dependents, or both in one batch; ids are case-sensitive",
    ),
    (
        DuplicateJobError("a"),
        "a job with the id 'a' exists already\n"
        '  hint: choose another job_id, or pass if_exists="return" to get the existing job',
    ),
    (
        JobConflictError("a"),
        "the id 'a' belongs to a job with another function or other arguments\n"
        "  hint: use another job_id for different work",
    ),
    (NotSerializableError("$.args[0]", "an object"), "$.args[0] is an object"),
    (JobNotFoundError("Plot"), "there is no job 'Plot'\n  hint: ids are case-sensitive"),
    (
        JobNotFoundError("Plot", near="plot"),
        "there is no job 'Plot'\n  hint: did you mean 'plot'? Ids are case-sensitive.",
    ),
    (JobStateError("a", "pending", "it has no result yet"), "job 'a' is pending; it has no result yet"),
    (JobNotCompletedError("a", "no result"), "no result"),
    (
        JobExecutionError("a", attempt=1, error_type="ValueError", message="no"),
        "job 'a' failed after 1 attempt: ValueError: no\n  hint: await handle.retry() runs it again",
    ),
    (
        WorkerLostError("a", attempt=3, error_type="WorkerLostError", message="lost"),
        "job 'a' failed after 3 attempts: WorkerLostError: lost\n  hint: await handle.retry() runs it again",
    ),
    (
        RejectedError("a", reason="too dark", by=None),
        "gate 'a' was rejected: too dark\n  hint: await handle.retry() opens it again",
    ),
    (
        RejectedError("a", reason="too dark", by="bo"),
        "gate 'a' was rejected by 'bo': too dark\n  hint: await handle.retry() opens it again",
    ),
    (
        AnswerTimeoutError("a", message="nobody answered"),
        "gate 'a' failed: nobody answered\n  hint: await handle.retry() opens it again",
    ),
    (
        JobExecutionError("a", attempt=0, error_type="UnreadableJobError", message="no"),
        "job 'a' failed: UnreadableJobError: no\n  hint: await handle.retry() runs it again",
    ),
    (JobCancelledError("a"), "job 'a' was cancelled\n  hint: await handle.retry() runs it again"),
    (
        JobSkippedError("a", "b"),
        "job 'a' was skipped because 'b' did not complete\n  hint: fix and retry 'b'; this job then waits for it again",
    ),
    (
        JobTimeoutError("job 'a'", 0.5, job_id="a"),
        "job 'a' took longer than 0.5 s\n"
        "  hint: the job continues; wait again, or cancel it with await handle.cancel()",
    ),
    (BackendError("disk full"), "disk full"),
    (BackendConnectionError("away"), "away\n  hint: try again when the store is reachable"),
    (
        BackendConnectionError("away", request=[1], tries=5),
        'away\n  hint: nothing was lost; submit .request again with if_exists="return"',
    ),
    (
        BackendClosedError(),
        "this JobProcessor is not running\n  hint: use it inside 'async with JobProcessor() as jp:'",
    ),
    (
        SchemaVersionError("jobs.db", 9, 1),
        "jobs.db has schema version 9; this version of asyncjobs reads up to 1\n"
        "  hint: upgrade asyncjobs to the version that wrote it, or use another file",
    ),
    (
        MissingExtraError("video", what="cut_film"),
        "cut_film needs the extra 'video'\n  hint: pip install '.[video]' in a clone of asyncjobs",
    ),
]


@pytest.mark.parametrize(("error", "text"), EVERY, ids=lambda value: type(value).__name__)
def test_every_error_says_what_is_wrong_and_how_to_mend_it(error: JobProcessorError, text: str) -> None:
    assert str(error) == text
    assert isinstance(error, JobProcessorError)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", error.code)


CLASSES = [
    value for value in vars(exceptions).values() if isinstance(value, type) and issubclass(value, JobProcessorError)
]


def test_no_class_is_forgotten() -> None:
    assert {type(error) for error, _ in EVERY} == set(CLASSES)
    for kind in CLASSES:
        assert kind.__name__ in asyncjobs.__all__
        assert inspect.getdoc(kind)


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)


def test_the_tree_is_drawn_as_it_is() -> None:
    """The picture at the top of the module names every class under its parent."""
    drawing = (exceptions.__doc__ or "").splitlines()
    parents: list[tuple[int, str]] = []
    drawn: dict[str, str | None] = {}
    for line in drawing:
        found = re.match(r"^    ([│ ├└─]*)(\w+Error)\b", line)
        if found is None:
            continue
        depth = len(found[1])
        while parents and parents[-1][0] >= depth:
            parents.pop()
        drawn[found[2]] = parents[-1][1] if parents else None
        parents.append((depth, found[2]))
    real = {
        kind.__name__: next((base.__name__ for base in kind.__bases__ if base in CLASSES), None) for kind in CLASSES
    }
    assert drawn == real


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigurationError, ValueError),
        (ConversionError, TypeError),
        (CorruptValueError, ValueError),
        (JobNotFoundError, LookupError),
        (JobTimeoutError, TimeoutError),
        (MissingExtraError, ImportError),
    ],
)
def test_errors_are_what_the_builtin_ones_mean(kind: type[Exception], builtin: type[Exception]) -> None:
    assert issubclass(kind, builtin)


def test_what_errors_carry() -> None:
    lost: Any = BackendConnectionError("away", request=["r"], tries=5)
    assert (lost.request, lost.tries) == (["r"], 5)
    failed = JobExecutionError("a", attempt=2, error_type="ValueError", message="no", traceback_text="Traceback …\n")
    assert (failed.job_id, failed.attempt, failed.error_type, failed.message) == ("a", 2, "ValueError", "no")
    assert failed.__notes__ == ["the job's own traceback:\nTraceback …"]
    assert UnknownDependencyError("a", ["b"]).missing == ("b",)
    assert CyclicDependencyError(["a", "b", "a"]).path == ("a", "b", "a")
    assert JobStateError("a", "pending", "no").wanted == "no"
    assert (JobStateError("a", "pending", "no").answered_by, JobStateError("a", "pending", "no").answered_at) == (
        None,
        None,
    )
    rejected = RejectedError("g", reason="too dark", by="bo")
    assert (rejected.job_id, rejected.reason, rejected.by) == ("g", "too dark", "bo")
    assert (rejected.attempt, rejected.error_type, rejected.message) == (0, "RejectedError", "too dark")
    late = AnswerTimeoutError("g", message="nobody answered")
    assert (late.job_id, late.attempt, late.error_type) == ("g", 0, "AnswerTimeoutError")
    assert (SchemaVersionError("f", 9, 1).found, SchemaVersionError("f", 9, 1).supported) == (9, 1)
    assert JobTimeoutError("x", 1.0).job_id is None


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [("sqllite", ["sqlite", "memory"], "sqlite"), ("zzz", ["sqlite"], None), ("", ["a"], None), ("a", [], None)],
)
def test_the_nearest_name(name: str, known: list[str], found: str | None) -> None:
    assert nearest(name, known) == found


def test_errors_travel_between_processes() -> None:
    """As their message at least: pytest-xdist, multiprocessing and loggers pickle what was raised."""
    for error, text in EVERY:
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == text
        assert vars(copy) == vars(error)


# -- a hint that names ``.request`` stands where there is one


def names_it(error: JobProcessorError) -> bool:
    return ".request" in str(error.hint)


def test_the_hint_follows_the_request() -> None:
    error = BackendConnectionError("away")
    assert not names_it(error)
    error.request = ["r"]  # as the layer does that knows what was to be stored
    assert names_it(error)
    error.request = None
    assert not names_it(error)
    own = BackendConnectionError("away", request=["r"], hint="look at the server")
    own.request = None
    assert own.hint == "look at the server"


def test_it_is_not_named_at_a_prompt_over_http_or_in_a_child_process() -> None:
    from asyncjobs.cli.failures import render_failure
    from asyncjobs.runtime.isolation.protocol import rebuilt, refusal
    from asyncjobs.web.problems import as_web_error

    def lost() -> BackendConnectionError:
        return BackendConnectionError("away", request=["r"], tries=5)

    at_a_prompt = render_failure(lost()).hint
    assert at_a_prompt == "try again when the store is reachable; asyncjobs explain backend-unavailable"
    answered = as_web_error(lost())
    assert (answered.hint, answered.code) == ("try again when the store is reachable", "backend-unavailable")
    told = rebuilt(refusal(lost()))
    assert isinstance(told, BackendConnectionError)
    assert (told.request, told.tries, names_it(told)) == (None, 5, False)
    assert names_it(pickle.loads(pickle.dumps(lost())))
