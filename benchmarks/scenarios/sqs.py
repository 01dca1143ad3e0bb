"""The store in SQS and DynamoDB on an emulator: jobs a second and calls a job, beside Celery and taskiq; and costs.

Neither of those keeps what this package keeps: their jobs are messages, and what becomes of them is a result. There is
no graph, no row that says what a job does now, no log. So they make fewer calls. And the emulator, which is one process
of Python, is the limit: its share of a processor is given beside each rate, and on AWS the ratios would be others.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from threading import Timer
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from asyncjobs import JobProcessor, JobStatus, SQSConfig
from benchmarks.machine import ROOT, processor_seconds
from benchmarks.result import Figure, Place, Result, higher, lower

if TYPE_CHECKING:
    from tests.aws_emulators import Emulator

_DAEMONS, _DAEMONS_QUICK = (1, 2, 4), (1, 4)
_TURNS = 3
_PATIENCE = 300
"""Seconds in which a program must be ready, or all jobs must have run."""
_REGION = "us-east-1"


# -- who is compared


class _Side(Struct, frozen=True):
    """Whose jobs are run: the command of its program, and how many jobs have ended, as it has stored it.

    ``makes`` makes what its program expects to be there; the queue is. ``signalled``: its workers end with SIGTERM.
    """

    name: str
    command: tuple[str, ...]
    makes: Callable[[_Services, str], object]
    ended: Callable[[_Services, str], int]
    signalled: bool = False


class _Services:
    """Clients of the emulator."""

    def __init__(self, emulator: Emulator) -> None:
        import botocore.session

        self.endpoint = emulator.address
        session: Any = botocore.session.get_session()
        self.sqs, self.dynamodb, self.s3 = (
            session.create_client(of, endpoint_url=emulator.address, region_name=_REGION)
            for of in ("sqs", "dynamodb", "s3")
        )

    def open_messages(self, name: str) -> int:
        """Ask for the messages of a queue that are not deleted: one call."""
        queue = f"{self.endpoint}/000000000000/{name}"
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
        return sum(int(found[of]) for of in names)


def _ended_of_ours(services: _Services, name: str) -> int:
    async def count() -> int:
        config = SQSConfig(endpoint_url=services.endpoint, region=_REGION, table=name, queue_url=name)
        async with JobProcessor(config, enable_daemon=False) as jp:
            return (await jp.backend.count_jobs())[JobStatus.COMPLETED]

    return asyncio.run(count())


def _table_of_celery(services: _Services, name: str) -> None:
    services.dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )


def _ended_of_celery(services: _Services, name: str) -> int:
    pages = services.dynamodb.get_paginator("scan").paginate(TableName=name, Select="COUNT")
    return sum(page["Count"] for page in pages)


def _ended_of_taskiq(services: _Services, name: str) -> int:
    pages = services.s3.get_paginator("list_objects_v2").paginate(Bucket=name)
    return sum(page["KeyCount"] for page in pages)


def _program(name: str) -> str:
    return str(ROOT / "benchmarks" / name)


_OURS = _Side("ours", (sys.executable, "-m", "benchmarks.sqs_ours"), lambda services, name: None, _ended_of_ours)
_PEERS = (
    _Side(
        "celery",
        (".venv-celery/bin/python", _program("sqs_celery.py")),
        _table_of_celery,
        _ended_of_celery,
        signalled=True,
    ),
    _Side(
        "taskiq",
        (".venv-taskiq/bin/python", _program("sqs_taskiq.py")),
        lambda services, name: services.s3.create_bucket(Bucket=name),
        _ended_of_taskiq,
    ),
)


# -- a run


class _Ran(Struct):
    """What came of a run: seconds, calls by service, and the emulator's share of a processor.

    ``running`` is from the first job to the last: how long a daemon takes to start is not in it.
    """

    submitting: float
    running: float
    calls: Counter[str]
    busy: float
    again: int
    """Executions beyond one a job."""


class _Calls:
    """Counts the calls that the emulator has answered, by its log."""

    def __init__(self, emulator: Emulator) -> None:
        self._log = emulator.log
        self._read = 0
        self.take()

    def take(self) -> Counter[str]:
        """Return the calls since the last time, by service."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            lines = log.read()
        self._read += len(lines)
        return Counter(part.split(maxsplit=1)[0].decode() for part in lines.split(b" -> service=")[1:])


class _Program:
    """A running one, which was told nothing yet."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.hear("ready")

    def hear(self, text: str) -> None:
        """Wait until it says this."""
        assert self._process.stdout is not None
        if (line := self._process.stdout.readline().strip()) != text:
            raise AssertionError(f"a program said {line!r}, and not {text!r}")

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()


@contextmanager
def _program_of(side: _Side, role: str, place: Sequence[str]) -> Generator[_Program]:
    process = subprocess.Popen(
        [*side.command, role, *place],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watchdog = Timer(2 * _PATIENCE, process.kill)
    watchdog.start()
    try:
        yield _Program(process)
        if side.signalled and role == "work":
            process.terminate()
        process.communicate(timeout=_PATIENCE)
    finally:
        watchdog.cancel()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # also what it has started
        process.communicate()


def _run(side: _Side, daemons: int, jobs: int, emulator: Emulator, services: _Services, folder: Path) -> _Ran:
    """Store jobs, and have so many daemons run them, which are ready before."""
    name = f"{side.name}-{daemons}-{time.time_ns()}"
    file = folder / name
    file.touch()
    place = (services.endpoint, name, str(file), str(jobs))
    if side is not _OURS:
        services.sqs.create_queue(QueueName=name)
    side.makes(services, name)
    with _program_of(side, "submit", place) as submitter:
        calls = _Calls(emulator)
        began = time.monotonic()
        submitter.go()
        submitter.hear("sent")
        submitting = time.monotonic() - began
        counted = calls.take()
    with ExitStack() as stack:
        workers = [stack.enter_context(_program_of(side, "work", place)) for _ in range(daemons)]
        calls.take()
        used = processor_seconds(emulator.pid)
        for worker in workers:
            worker.go()
        moments = _wait_for(file, jobs)
        busy = (processor_seconds(emulator.pid) - used) / (time.monotonic() - moments[0])
        own = _settle(services, name)
        counted += calls.take()
        counted["sqs"] -= own
    if counted.total() < jobs / 10:
        raise AssertionError(
            f"{counted.total()} calls for {jobs} jobs: the emulator's log is not read as it is written"
        )
    if (ended := side.ended(services, name)) != jobs:
        raise AssertionError(f"{side.name}: {ended} of {jobs} jobs have ended")
    again = len(_moments(file)) - jobs
    return _Ran(submitting, moments[-1] - moments[0], counted, busy, again)


def _moments(file: Path) -> list[float]:
    return sorted(int(line) / 1e9 for line in file.read_text().splitlines())


def _wait_for(file: Path, jobs: int) -> list[float]:
    """Wait until so many jobs have run; return when each did."""
    deadline = time.monotonic() + _PATIENCE
    while len(moments := _moments(file)) < jobs:
        if time.monotonic() > deadline:
            raise AssertionError(f"{len(moments)} of {jobs} jobs have run")
        time.sleep(0.05)
    return moments


def _settle(services: _Services, name: str) -> int:
    """Wait until each message is deleted, which is after what came of its job is stored; return the calls of this."""
    deadline = time.monotonic() + _PATIENCE
    for calls in range(1, 10_000):
        if services.open_messages(name) == 0:
            return calls
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    raise AssertionError("messages of jobs that have run are not deleted")


# -- all of them


def throughput(place: Place) -> Result:
    """Jobs that do nothing, stored first and run then: a second, beside others, in turns; and calls a job."""
    from tests.aws_emulators import ministack, start_ministack
    from tests.sqs_server import CREDENTIALS

    program = ministack()
    if program is None:
        return Result((), ("not measured, there is no emulator: make bench-sqs installs it",))
    jobs = place.pick(600, 100)
    sides = [_OURS, *(peer for peer in _PEERS if (ROOT / peer.command[0]).exists())]
    runs: dict[tuple[str, int], list[_Ran]] = {}
    os.environ.update(CREDENTIALS)
    emulator = start_ministack(program, LOG_LEVEL="DEBUG")
    services = _Services(emulator)
    for _ in range(place.pick(_TURNS, 1)):
        for daemons in _DAEMONS_QUICK if place.quick else _DAEMONS:
            for side in sides:
                ran = _run(side, daemons, jobs, emulator, services, place.folder)
                runs.setdefault((side.name, daemons), []).append(ran)
    figures = [figure for side in sides for figure in _figures(side.name, runs, jobs)]
    figures += [figure for side in sides[1:] for figure in _ratios(side.name, runs)]
    return Result(tuple(figures), tuple(_notes(sides, runs, jobs)))


def _figures(side: str, runs: dict[tuple[str, int], list[_Ran]], jobs: int) -> list[Figure]:
    every = [ran for (name, _), found in runs.items() if name == side for ran in found]
    figures = [higher(f"{side}_submit", median(jobs / ran.submitting for ran in every), "jobs/s")]
    for daemons, found in ((daemons, found) for (name, daemons), found in runs.items() if name == side):
        figures.append(higher(f"{side}_{daemons}", median(jobs / ran.running for ran in found), "jobs/s"))
        figures.append(lower(f"{side}_calls_{daemons}", median(ran.calls.total() / jobs for ran in found), "calls/job"))
        figures.append(lower(f"emulator_{side}_{daemons}", median(ran.busy for ran in found), "processors"))
    return figures


def _ratios(side: str, runs: dict[tuple[str, int], list[_Ran]]) -> list[Figure]:
    """Ours over another's, of the same turn."""
    ratios: list[Figure] = []
    for daemons in [daemons for name, daemons in runs if name == side]:
        pairs = list(zip(runs["ours", daemons], runs[side, daemons], strict=True))
        ratios.append(
            higher(f"over_{side}_{daemons}", median(other.running / own.running for own, other in pairs), "×")
        )
        ratios.append(
            higher(
                f"over_{side}_{daemons}_with_submit",
                median((other.submitting + other.running) / (own.submitting + own.running) for own, other in pairs),
                "×",
            )
        )
    return ratios


def _notes(sides: Sequence[_Side], runs: dict[tuple[str, int], list[_Ran]], jobs: int) -> Generator[str]:
    yield f"{jobs} jobs, stored before the daemons begin; each runs 32 at once, of Celery 2 (in processes, as usual)"
    yield "the emulator is the limit: on AWS, which answers many calls at once, the ratios are others"
    yield (
        "neither of the others keeps jobs as this package does: they have messages and results (Celery's in DynamoDB, "
        "taskiq's in S3), and no graph, no state, no log"
    )
    for side in sides:
        found = [ran for (name, _), every in runs.items() if name == side.name for ran in every]
        calls = sum((ran.calls for ran in found), Counter[str]())
        parts = ", ".join(f"{service} {count / jobs / len(found):.2f}" for service, count in sorted(calls.items()))
        again = sum(ran.again for ran in found)
        yield f"{side.name}: calls a job by service: {parts}; {again} of {jobs * len(found)} jobs ran once more"
    for peer in _PEERS:
        if peer not in sides:
            yield f"{peer.name} was not measured: make bench-sqs installs it"
