"""`python -m examples.comic.sqs_demo`: draw the comic on two daemons that share a store on AWS, and kill one of them.

AWS is an emulator here. Against AWS itself only the settings differ: no endpoint, and credentials of your own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import click

from asyncjobs import Job, JobProcessor, JobQuery, JobStatus, SQSConfig

from . import ledger
from .__main__ import SCRIPT
from .board import Board
from .emulator import emulator, end
from .pipeline import submit
from .script import load_script

MOVIE = "sqs-demo"
LEASE = 6
"""Seconds without a heartbeat after which the jobs of a daemon are given to others: short, since this is a demo."""
SLOTS = 4
_LATEST = 0.9
"""Which part of the jobs is done when a daemon is killed in any case, also one that has nothing in hand."""
EMULATOR = Path(".venv-aws/bin/ministack")
FAKE = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials that an emulator takes."""


@dataclass
class Demo:
    """The daemons, by name, and what was stored when one of them was killed."""

    folder: Path
    config: SQSConfig
    kill_at: float
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict[str, subprocess.Popen[bytes]])
    killed: str | None = None
    before: dict[str, int] = field(default_factory=dict[str, int])
    """The attempts of the jobs that were completed by then."""

    @contextmanager
    def daemon(self, name: str) -> Generator[None]:
        """Run a daemon, as any machine would that has the same settings."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ASYNCJOBS_")}
        environment |= {
            "ASYNCJOBS_BACKEND": "sqs",
            "ASYNCJOBS_SQS_TABLE": self.config.table,
            "ASYNCJOBS_SQS_QUEUE_URL": self.config.queue_url,
            "ASYNCJOBS_SQS_ENDPOINT_URL": str(self.config.endpoint_url),
            "ASYNCJOBS_SQS_WAIT_TIME": str(self.config.wait_time),
            "ASYNCJOBS_DAEMON_LEASE": str(LEASE),
            "ASYNCJOBS_DAEMON_NUM_WORKERS": str(SLOTS),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        command = [sys.executable, "-m", "asyncjobs", "daemon", "start", "--name", name, "--allow", "examples.comic"]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self.daemons[name] = process
        try:
            yield
        finally:
            end(process)

    async def follow(self, jp: JobProcessor, board: Board) -> None:
        """Follow the comic to its end, and kill a daemon on the way."""
        async for event in jp.stream_group(MOVIE):
            board.apply(event)
            if event.type == "completed" and (board.done % 10 == 0 or board.done == board.total):
                print(f"   {board.done:3d} of {board.total} jobs done", flush=True)
            if self.killed is None and board.done >= self.kill_at * board.total:
                await self._kill(jp, board)

    async def _kill(self, jp: JobProcessor, board: Board) -> None:
        """Kill the daemon that has most to do. It is frozen first, to see what it has in hand; if nothing, it lives."""
        names = {process.pid: name for name, process in self.daemons.items()}
        busiest = max((worker for worker in await jp.workers() if worker.pid in names), key=lambda one: one.running)
        process = self.daemons[names[busiest.pid]]
        process.send_signal(signal.SIGSTOP)
        jobs = await find(jp)
        in_hand = [job.id for job in jobs if job.status is JobStatus.IN_PROGRESS and job.worker_id == busiest.id]
        if not in_hand and board.done < _LATEST * board.total:
            process.send_signal(signal.SIGCONT)
            return
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.killed = names[busiest.pid]
        self.before = {job.id: job.attempt for job in jobs if job.status is JobStatus.COMPLETED}
        print(f"3. SIGKILL to daemon {self.killed!r} (pid {process.pid}), when {len(self.before)} jobs were completed.")
        print(f"   It had in hand: {', '.join(in_hand) or 'nothing'}.")
        print(f"   The other daemon gets that when the lease of {LEASE} s has expired.", flush=True)

    def report(self, jobs: list[Job], seconds: float) -> bool:
        """Print what happened; return whether it is what was promised."""
        completed = [job for job in jobs if job.status is JobStatus.COMPLETED]
        again = sorted(job.id for job in jobs if job.id in self.before and job.attempt != self.before[job.id])
        cut_off = sum(job.interruptions for job in jobs)
        names = {process.pid: name for name, process in self.daemons.items()}
        ran = Counter(names.get(pid, "?") for pid in ledger.processes(self.folder))
        print(f"4. {len(completed)} of {len(jobs)} jobs are completed; {seconds:.1f} s in total.")
        print("   Bodies started: " + ", ".join(f"{ran[name]} by {name!r}" for name in self.daemons) + ".")
        print(f"   {len(self.before) - len(again)} of the {len(self.before)} jobs that were completed before the kill")
        print("   were not run again (their attempt numbers have not changed).")
        print(f"   {cut_off} attempts were cut off by the kill and run once more by the other daemon.")
        if again:
            print("   RUN AGAIN although completed: " + ", ".join(again), file=sys.stderr)
        return len(completed) == len(jobs) and bool(self.before) and not again


async def find(jp: JobProcessor) -> list[Job]:
    """Return all jobs of the comic."""
    return [job async for job in jp.iter_jobs(JobQuery(group=MOVIE, limit=100))]


async def run(demo: Demo, script_file: Path) -> bool:
    """Submit the comic from a process that runs no jobs itself, and follow it."""
    began = time.monotonic()
    async with JobProcessor(demo.config, enable_daemon=False) as jp:
        with ExitStack() as daemons:
            for name in ("first", "second"):
                daemons.enter_context(demo.daemon(name))
            print("2. Two daemons are started; this process submits the comic and follows it.", flush=True)
            script = load_script(script_file)
            pipeline = await submit(jp, script, MOVIE, demo.folder)
            await demo.follow(jp, Board(pipeline.stages))
            good = demo.report(await find(jp), time.monotonic() - began)
            book: dict[str, Any] = await pipeline.book
            print(f"   PDF   {os.path.relpath(str(book['pdf']))}")
            return good


@click.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("comic-output"), show_default=True
)
@click.option(
    "--kill-at",
    type=click.FloatRange(0.05, 0.95),
    default=0.5,
    show_default=True,
    help="Which part of the jobs is done at the kill.",
)
@click.option("--script", "script_file", type=click.Path(dir_okay=False, path_type=Path), default=SCRIPT)
@click.option(
    "--emulator",
    "program",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=EMULATOR,
    show_default=True,
    help="The program ministack.",
)
def main(out: Path, kill_at: float, script_file: Path, program: Path) -> None:
    """Draw the comic on two daemons on a store in SQS and DynamoDB; kill one half-way; show what the other one did."""
    folder = (out / MOVIE).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(FAKE)
    with emulator(program.absolute(), folder / "emulator.log") as address:
        table = f"comic-{uuid4().hex[:8]}"
        print(f"1. An emulator of AWS listens on {address}; table and queue {table!r} are made in it.", flush=True)
        config = SQSConfig(table=table, queue_url=table, endpoint_url=address, wait_time=1, create=True)
        good = anyio.run(run, Demo(folder, config, kill_at), script_file)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
