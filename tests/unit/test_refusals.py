"""What is refused before anything is stored, word for word: the field, the value, and the mend."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from asyncjobs import (
    BackendClosedError,
    BackendType,
    ConfigurationError,
    CyclicDependencyError,
    DaemonConfig,
    DuplicateJobError,
    JobConflictError,
    JobProcessor,
    JobProcessorError,
    JobRequest,
    NotSerializableError,
    RetryPolicy,
    SQLiteConfig,
    SubmissionError,
    SyncJobs,
    UnknownDependencyError,
    job,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def render(panel: str, number: int = 1) -> str:
    return f"{panel} {number}"


async def other(panel: str, number: int = 1) -> str:
    return panel


async def takes_timeout(timeout: float) -> None:
    """A callee with a parameter named like an option."""


class Client:
    """Something that cannot be stored."""


def processor(tmp_path: Path, **options: Any) -> JobProcessor:
    return JobProcessor(SQLiteConfig(db_path=tmp_path / "jobs.db"), enable_daemon=False, **options)


Case = tuple[str, Callable[[JobProcessor], Any], type[JobProcessorError], str]

CASES: list[Case] = [
    (
        "self-dependency",
        lambda jp: jp.submit_job(render, "a", job_id="x", depends_on=["x"]),
        CyclicDependencyError,
        "job 'x' would wait for itself\n  hint: drop one of these dependencies; nothing was stored",
    ),
    (
        "cycle",
        lambda jp: jp.submit_jobs(
            [
                JobRequest(func=render, args=("a",), job_id="panel", depends_on="cover"),
                JobRequest(func=render, args=("a",), job_id="page", depends_on=["panel"]),
                JobRequest(func=render, args=("a",), job_id="cover", depends_on=["page"]),
            ]
        ),
        CyclicDependencyError,
        "these 3 jobs would wait for each other: panel → page → cover → panel\n"
        "  hint: drop one of these dependencies; nothing was stored",
    ),
    (
        "unknown dependency",
        lambda jp: jp.submit_job(render, "a", job_id="x", depends_on=["nobody"]),
        UnknownDependencyError,
        "job 'x' depends on 'nobody', which is not known\n"
        "  hint: submit a dependency before its dependents, or both in one batch; ids are case-sensitive",
    ),
    (
        "duplicate id",
        lambda jp: jp.submit_job(render, "a", job_id="taken"),
        DuplicateJobError,
        "a job with the id 'taken' exists already\n"
        '  hint: choose another job_id, or pass if_exists="return" to get the existing job',
    ),
    (
        "duplicate id in a batch",
        lambda jp: jp.submit_jobs([JobRequest(func=render, args=("a",), job_id="x")] * 2),
        DuplicateJobError,
        "requests[1] (tests.unit.test_refusals:render, job_id 'x'): a job with the id 'x' exists already\n"
        '  hint: choose another job_id, or pass if_exists="return" to get the existing job',
    ),
    (
        "id of another function",
        lambda jp: jp.submit_job(other, "a", job_id="taken", if_exists="return"),
        JobConflictError,
        "the id 'taken' belongs to a job with another function\n  hint: use another job_id for different work",
    ),
    (
        "id of other arguments",
        lambda jp: jp.submit_job(render, "b", job_id="taken", if_exists="return"),
        JobConflictError,
        "the id 'taken' belongs to a job with other arguments\n  hint: use another job_id for different work",
    ),
    (
        "empty id",
        lambda jp: jp.submit_job(render, "a", job_id=""),
        ConfigurationError,
        "job_id cannot be ''; allowed: 1 to 512 characters without control characters",
    ),
    (
        "over-long id",
        lambda jp: jp.submit_job(render, "a", job_id="x" * 513),
        ConfigurationError,
        "job_id cannot be 'xxxxxxxxxxxxxxxxxxxx… (513 characters)'; "
        "allowed: 1 to 512 characters without control characters",
    ),
    (
        "id with a control character",
        lambda jp: jp.submit_job(render, "a", job_id="a\nb"),
        ConfigurationError,
        "job_id cannot be 'a\\nb'; allowed: 1 to 512 characters without control characters",
    ),
    (
        "missing argument",
        lambda jp: jp.submit_job(render),
        SubmissionError,
        "render() is missing the argument 'panel'\n"
        "  hint: its signature is render(panel: 'str', number: 'int' = 1) -> 'str'",
    ),
    (
        "negative delay",
        lambda jp: jp.submit_job(render, "a", delay=-1),
        ConfigurationError,
        "delay cannot be -1; allowed: seconds from 0, at most ten years",
    ),
    (
        "delay that is not a number",
        lambda jp: jp.submit_job(render, "a", delay=math.nan),
        ConfigurationError,
        "delay cannot be nan; allowed: seconds from 0",
    ),
    (
        "timeout of nothing",
        lambda jp: jp.submit_job(render, "a", timeout=0),
        ConfigurationError,
        "timeout cannot be 0; allowed: seconds above 0, at most ten years",
    ),
    (
        "delay and run_at",
        lambda jp: jp.submit_job(render, "a", delay=1, run_at=datetime.now().astimezone() + timedelta(1)),
        ConfigurationError,
        "delay and run_at exclude each other",
    ),
    (
        "naive run_at",
        lambda jp: jp.submit_job(render, "a", run_at=datetime(2030, 1, 1)),
        ConfigurationError,
        "run_at cannot be datetime.datetime(2030, 1, 1, 0, 0); allowed: an aware datetime\n"
        "  hint: datetime.now(UTC) + …, or value.astimezone()",
    ),
    (
        "require without dependencies",
        lambda jp: jp.submit_job(render, "a", require=1),
        ConfigurationError,
        "require cannot be 1; allowed: None: this job has no dependencies",
    ),
    (
        "limit that is none",
        lambda jp: jp.submit_job(render, "a", limit="images"),
        ConfigurationError,
        "limit cannot be 'images'; allowed: (key, capacity), for example ('images', 3)",
    ),
    (
        "arguments that are one",
        lambda jp: jp.submit_job(render, args="a"),
        ConfigurationError,
        "args cannot be 'a'; allowed: a tuple of all positional arguments, given only here\n  hint: args=(value,)",
    ),
    (
        "metadata that is not JSON",
        lambda jp: jp.submit_job(render, "a", metadata={1: 2}),
        NotSerializableError,
        "$.metadata is keyed by 1, which is not a string\n  hint: use str(key)",
    ),
    (
        "local job without a worker",
        lambda jp: jp.submit_job(lambda: 1, local=True),
        ConfigurationError,
        "a local job runs in this process only, and no worker runs here\n"
        "  hint: open the JobProcessor with enable_daemon=True",
    ),
]


@pytest.mark.parametrize(("submit", "kind", "text"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_a_submission_is_refused_in_these_words(
    tmp_path: Path, submit: Callable[[JobProcessor], Any], kind: type[JobProcessorError], text: str
) -> None:
    async with processor(tmp_path) as jp:
        await jp.submit_job(render, "a", job_id="taken")
        with pytest.raises(kind) as refused:
            await submit(jp)
        assert type(refused.value) is kind
        assert str(refused.value) == text
        assert [stored.id for stored in await jp.find_jobs()] == ["taken"]


# Texts that name places: what they must hold, where the whole would say line numbers or lists.
PARTS: list[tuple[str, Callable[[JobProcessor], Any], type[JobProcessorError], list[str]]] = [
    (
        "unstorable argument",
        lambda jp: jp.submit_job(render, {"deep": [Client()]}),
        NotSerializableError,
        ["$.args[0].deep[0]", "Client"],
    ),
    (
        "handle where none can be injected",
        lambda jp: jp.submit_job(render, {jp.handle("taken")}),
        NotSerializableError,
        ["$.args[0]{item}", "job handle in a set", "in a list, a tuple or a dict value"],
    ),
    ("unknown argument", lambda jp: jp.submit_job(render, "a", numbr=1), SubmissionError, ["numbr", "'number'"]),
    ("lambda", lambda jp: jp.submit_job(lambda: 1), NotSerializableError, ["lambda", "local=True"]),
    ("reserved name", lambda jp: jp.submit_job(takes_timeout, 1.0), SubmissionError, ["'timeout'", "kwargs="]),
]


@pytest.mark.parametrize(("submit", "kind", "parts"), [case[1:] for case in PARTS], ids=[case[0] for case in PARTS])
async def test_a_submission_is_refused_naming_the_place_and_the_mend(
    tmp_path: Path, submit: Callable[[JobProcessor], Any], kind: type[JobProcessorError], parts: list[str]
) -> None:
    async with processor(tmp_path) as jp:
        await jp.submit_job(render, "a", job_id="taken")
        with pytest.raises(kind) as refused:
            await submit(jp)
        assert all(part in str(refused.value) for part in parts), str(refused.value)
        assert [stored.id for stored in await jp.find_jobs()] == ["taken"]


async def test_arguments_under_reserved_names_have_a_way(tmp_path: Path) -> None:
    async with processor(tmp_path) as jp:
        handle = await jp.submit_job(takes_timeout, kwargs={"timeout": 1.0})
        assert (await jp.get_job(handle)).func.endswith(":takes_timeout")


async def test_over_large_arguments_are_refused(tmp_path: Path) -> None:
    config = SQLiteConfig(db_path=tmp_path / "jobs.db", max_value_size=1024)
    async with JobProcessor(config, enable_daemon=False) as jp:
        with pytest.raises(NotSerializableError) as refused:
            await jp.submit_job(render, "x" * 2000)
        assert str(refused.value) == (
            "$.args is 2,006 bytes, more than the 1,024 that max_value_size allows\n"
            "  hint: write it to a file and pass the path"
        )


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: SQLiteConfig(busy_timout=3),
            "SQLiteConfig.busy_timout is not a setting\n  hint: did you mean 'busy_timeout'?",
        ),
        (
            lambda: SQLiteConfig("jobs.db"),
            "SQLiteConfig takes its settings by name\n  hint: SQLiteConfig(db_path='jobs.db')",
        ),
        (
            lambda: SQLiteConfig(synchronous="OFF"),
            "SQLiteConfig.synchronous cannot be 'OFF'; allowed: 'NORMAL' or 'FULL'",
        ),
        (
            lambda: SQLiteConfig(db_path=":memory:"),
            "SQLiteConfig.db_path cannot be ':memory:'; allowed: the path of a file\n"
            "  hint: use BackendType.MEMORY in tests",
        ),
        (
            lambda: DaemonConfig(num_workers=0),
            "DaemonConfig.num_workers cannot be 0; allowed: a whole number from 1 to 10000",
        ),
        (
            lambda: DaemonConfig(lease=math.nan),
            "DaemonConfig.lease cannot be nan; allowed: a number above 0 to 86400",
        ),
        (
            lambda: DaemonConfig(queues="default"),
            "DaemonConfig.queues cannot be 'default'; allowed: a tuple of names, or None",
        ),
        (
            lambda: JobProcessor("sqlte"),
            "backend cannot be 'sqlte'; allowed: 'sqlite', 'sqs', 'memory', a path, SQLiteConfig(…), SQSConfig(…), "
            "MemoryConfig(…) or a JobBackend\n  hint: did you mean 'sqlite'?",
        ),
        (
            lambda: JobProcessor(BackendType.MEMORY, SQLiteConfig()),
            None,
        ),
    ],
    ids=[
        "unknown setting",
        "by position",
        "synchronous",
        "memory",
        "num_workers",
        "lease",
        "queues",
        "backend",
        "config",
    ],
)
def test_a_setting_is_refused_in_these_words(make: Callable[[], Any], text: str | None) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make()
    if text is not None:
        assert str(refused.value) == text


async def test_a_processor_is_used_inside_its_block_only(tmp_path: Path) -> None:
    jp = processor(tmp_path)
    text = "this JobProcessor is not running\n  hint: use it inside 'async with JobProcessor() as jp:'"
    with pytest.raises(BackendClosedError) as before:
        await jp.submit_job(render, "a")
    assert str(before.value) == text
    async with jp:
        handle = await jp.submit_job(render, "a")
    for use in (lambda: jp.submit_job(render, "a"), lambda: jp.get_job(handle), lambda: handle.result()):
        with pytest.raises(BackendClosedError) as after:
            await use()
        assert str(after.value) == text


def test_a_decorated_function_stays_itself() -> None:
    @job(max_retries=1)
    def draw() -> int:
        return 5

    assert draw() == 5


def never() -> None: ...


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: SyncJobs(slots=3), "SyncJobs.slots is not a parameter\n  hint: daemon=DaemonConfig(num_workers=…)"),
        (lambda: JobProcessor(lease=3), "JobProcessor.lease is not a parameter\n  hint: daemon=DaemonConfig(lease=…)"),
        (lambda: JobProcessor(DaemonConfig()), "hint: JobProcessor(daemon=DaemonConfig(…))"),
        (lambda: job(retries=3), "@job.retries is not an option\n  hint: did you mean 'max_retries'?"),
        (lambda: job(timout=3), "hint: did you mean 'timeout'?"),
        (lambda: RetryPolicy(max_attempts=3), "did you mean 'max_retries'?"),
        (lambda: RetryPolicy(attempts=3), "did you mean 'max_retries'?"),
        (lambda: JobRequest(never, dependencies=["a"]), "did you mean 'depends_on'?"),
        (lambda: JobRequest(never, countdown=3), "did you mean 'delay'?"),
    ],
)
def test_a_name_of_other_libraries_or_earlier_versions_is_answered_with_ours(
    make: Callable[[], object], hint: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"max_attempts": 3}, "did you mean the option 'max_retries'?"),
        ({"retries": 3}, "did you mean the option 'max_retries'?"),
        ({"dependencies": ["a"]}, "did you mean the option 'depends_on'?"),
        ({"kwargs": {}, "dependencies": ["a"]}, "dependencies is not an option"),
        ({"kwargs": {}, "after": ["a"]}, "did you mean 'depends_on'?"),
        ({"kwargs": {}, "b": 1}, "put it into kwargs={'b': …}"),
    ],
)
async def test_an_option_of_other_libraries_is_answered_with_ours(options: dict[str, Any], hint: str) -> None:
    async with JobProcessor(BackendType.MEMORY, enable_daemon=False) as jp:
        with pytest.raises((SubmissionError, ConfigurationError)) as caught:
            await jp.submit_job(never, **options)
        assert hint in str(caught.value)
        assert await jp.find_jobs() == []
