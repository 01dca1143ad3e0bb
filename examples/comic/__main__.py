"""`python -m examples.comic`: draw the comic with a live display; run it again to go on where it stopped."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import click

from asyncjobs import DaemonConfig, JobProcessor, JobProcessorError, SQLiteConfig

from . import jobs
from .board import Board
from .display import choose
from .pipeline import Pipeline, submit
from .script import Script, ScriptError, load_script

DATABASE = "jobs.db"
SLOTS = 8
SCRIPT = Path(__file__).with_name("script.toml")


async def make_comic(script: Script, movie_id: str, out: Path, *, crash_at: float | None, json_lines: bool) -> int:
    """Submit the comic, follow it to its end, and say where the pages are; return the exit code."""
    began, opened = time.monotonic(), datetime.now(UTC)
    async with JobProcessor(SQLiteConfig(db_path=out / DATABASE), daemon=DaemonConfig(num_workers=SLOTS)) as jp:
        pipeline = await submit(jp, script, movie_id, out)
        board = Board(pipeline.stages)
        with choose(board, f"{script.title} · {movie_id}", json_lines=json_lines) as display:
            async for event in jp.stream_group(movie_id):
                line = board.apply(event)
                if event.at < opened:
                    board.done_before = board.done
                    continue
                display.show(event, line)
                if crash_at is not None and board.done >= crash_at * board.total:
                    os.kill(os.getpid(), signal.SIGKILL)
        if board.bad:
            for job in board.bad:
                print(f"{job}: {board.ended[job]}", file=sys.stderr)
            return 1
        await report(pipeline, board, time.monotonic() - began, to=sys.stderr if json_lines else sys.stdout)
    return 0


async def report(pipeline: Pipeline, board: Board, seconds: float, *, to: Any) -> None:
    """Say where everything is and how long it took."""
    book: dict[str, Any] = await pipeline.book
    for page in book["pages"]:
        print(f"  page  {_short(page)}", file=to)
    print(f"  PDF   {_short(book['pdf'])}", file=to)
    print(f"  CBZ   {_short(book['cbz'])}", file=to)
    told = [f"{len(board.retries)} retried", f"{len(board.interrupted)} interrupted"]
    if board.done_before:
        told.insert(0, f"{board.done_before} done before this run")
    print(f"{board.done} jobs ({', '.join(told)}), {len(book['pages'])} pages; this run took {seconds:.1f} s", file=to)


def _short(path: Any) -> str:
    try:
        return os.path.relpath(str(path))
    except ValueError:
        return str(path)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("comic-output"),
    show_default=True,
    help="Folder for the pictures, the book and the database.",
)
@click.option(
    "--movie-id",
    default="speckled-band",
    show_default=True,
    help="Name of this run; the same name goes on where it stopped.",
)
@click.option(
    "--script",
    "script_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=SCRIPT,
    help="The script to draw.",
)
@click.option(
    "--fail-some/--no-fail-some", default=True, show_default=True, help="Let three panels fail once on purpose."
)
@click.option(
    "--crash-at",
    type=click.FloatRange(0, 1),
    default=None,
    help="Kill this process (SIGKILL) when this part of the jobs is done.",
)
@click.option("--json", "json_lines", is_flag=True, help="Print one JSON object per change instead of the display.")
def main(
    out: Path, movie_id: str, script_file: Path, fail_some: bool, crash_at: float | None, json_lines: bool
) -> None:
    """Draw a detective comic from a script, as a graph of durable jobs."""
    os.environ[jobs.FAIL_SOME] = "1" if fail_some else "0"
    folder = (out / movie_id).resolve()
    try:
        script = load_script(script_file)
        folder.mkdir(parents=True, exist_ok=True)
        # The display tells of retries itself; what the engine logs besides goes to a file, not over the table.
        logging.getLogger("asyncjobs").addHandler(logging.FileHandler(folder / "engine.log", delay=True))
        code = anyio.run(lambda: make_comic(script, movie_id, folder, crash_at=crash_at, json_lines=json_lines))
    except ScriptError as error:
        raise click.ClickException(str(error)) from None
    except JobProcessorError as error:
        raise click.ClickException(
            f"{error}\n(a changed script needs another --movie-id, or remove {_short(folder)})"
        ) from None
    sys.exit(code)


if __name__ == "__main__":
    main()
