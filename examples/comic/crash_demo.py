"""`python -m examples.comic.crash_demo`: kill the comic half-way, start it again, and prove what was kept."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import anyio
import click

from asyncjobs import JobProcessor, JobQuery, JobStatus, SQLiteConfig

from . import ledger
from .__main__ import DATABASE, SCRIPT

MOVIE = "crash-demo"


@dataclass(frozen=True)
class Stored:
    """What the database says between two runs."""

    statuses: Counter[str]
    attempts: dict[str, int]
    completed: set[str]
    interrupted: int


def start(out: Path, script: Path) -> subprocess.Popen[str]:
    """Start the comic as a child process that prints one JSON line per change."""
    command = [
        sys.executable,
        "-m",
        "examples.comic",
        "--out",
        str(out),
        "--movie-id",
        MOVIE,
        "--script",
        str(script),
        "--json",
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def run_until(child: subprocess.Popen[str], part: float) -> tuple[int, int]:
    """Read the child's lines until this part of the jobs is done; return how many are, and of how many."""
    assert child.stdout is not None
    done, total, told = 0, 0, -1
    for line in child.stdout:
        event = json.loads(line)
        done, total = event["done"], event["total"]
        if done % 10 == 0 and done > told:
            told = done
            print(f"   {done:3d} of {total} jobs done", flush=True)
        if done >= part * total:
            break
    return done, total


async def look(path: Path) -> Stored:
    """Read the database without running anything."""
    async with JobProcessor(SQLiteConfig(db_path=path), enable_daemon=False) as jp:
        jobs = list(await jp.find_jobs(JobQuery(group=MOVIE, limit=1000)))
        return Stored(
            statuses=Counter(str(job.status) for job in jobs),
            attempts={job.id: job.attempt for job in jobs},
            completed={job.id for job in jobs if job.status is JobStatus.COMPLETED},
            interrupted=sum(job.interruptions for job in jobs),
        )


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
def main(out: Path, kill_at: float, script_file: Path) -> None:
    """Kill the comic half-way, start it again, and show that nothing that was done is done again."""
    folder = (out / MOVIE).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    began = time.monotonic()

    print(f"1. Drawing, until {kill_at:.0%} of the jobs are done …", flush=True)
    child = start(out, script_file)
    done, total = run_until(child, kill_at)
    child.send_signal(signal.SIGKILL)
    child.wait()
    if child.stdout is not None:
        child.stdout.close()
    print(f"   {done} of {total} done: SIGKILL to process {child.pid} (it ended with {child.returncode}).")

    before = anyio.run(look, folder / DATABASE)
    started_before = ledger.starts(folder)
    print(
        "2. What the file holds: " + ", ".join(f"{n} {status}" for status, n in sorted(before.statuses.items())) + "."
    )

    print("3. Starting it again on the same file …", flush=True)
    second = start(out, script_file)
    run_until(second, 2.0)
    code = second.wait()

    after = anyio.run(look, folder / DATABASE)
    started_after = ledger.starts(folder)
    again = sorted(
        j
        for j in before.completed
        if after.attempts.get(j) != before.attempts[j] or started_after[j] != started_before[j]
    )
    kept = len(before.completed) - len(again)
    bodies = sum(started_after.values())
    print(f"4. {len(after.completed)} of {total} jobs are completed; exit code {code}.")
    print(f"   {kept} of the {len(before.completed)} jobs that were completed before the kill were not run again")
    print("   (their attempt numbers have not changed, and the ledger has no second line for them).")
    print(f"   {after.interrupted} attempts were cut off by the kill and run once more.")
    print(f"   {bodies} bodies started in all, for {total} jobs; {time.monotonic() - began:.1f} s in total.")
    if again:
        print("   RUN AGAIN although completed: " + ", ".join(again), file=sys.stderr)
    sys.exit(1 if again or code != 0 or len(after.completed) != total or not before.completed else 0)


if __name__ == "__main__":
    main()
