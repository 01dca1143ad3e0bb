"""`python -m examples.movie`: make the film with a live display; run it again to go on where it stopped."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import click

from asyncjobs import JobProcessorError
from examples.comic.board import Board
from examples.comic.display import choose
from examples.comic.maker import MovieError
from examples.comic.names import NAMED, is_name

from .contact import choose_moments, make_sheet
from .ffmpeg import NoFfmpegError, find_ffmpeg
from .graph import STAGES, Movie
from .maker import MovieMaker
from .mistakes import ScreenplayError
from .screenplay import Screenplay, read_screenplay
from .sound import find_speaker

DATABASE = "jobs.db"
SCREENPLAY = Path(__file__).with_name("screenplay.json")


async def make_film(
    screenplay: Screenplay,
    movie_id: str,
    out: Path,
    *,
    restart: bool,
    strict: bool,
    crash_at: float | None,
    json_lines: bool,
) -> int:
    """Submit the film, follow it to its end, and say where it is; return the exit code."""
    began, opened = time.monotonic(), datetime.now(UTC)
    async with MovieMaker(db_path=out / DATABASE, strict=strict) as maker:
        movie = await maker.submit(screenplay.data, movie_id, out, restart=restart)
        board = Board(await stages_of(maker, movie_id), STAGES)
        with choose(board, f"{screenplay.title} · {movie_id}", json_lines=json_lines) as display:
            async for event in maker.processor.stream_group(movie_id):
                line = board.apply(event)
                if event.at < opened:
                    board.done_before = board.done
                    continue
                display.show(event, line)
                if crash_at is not None and board.done >= crash_at * board.total:
                    os.kill(os.getpid(), signal.SIGKILL)
        for job in board.bad:
            print(f"{job}: {board.ended[job]}", file=sys.stderr)
        film = await newest_film(movie)
        if film is None:
            return 1
        await report(screenplay, film, board, began, to=sys.stderr if json_lines else sys.stdout)
    return 1 if film["missing"] else 0


async def stages_of(maker: MovieMaker, movie_id: str) -> dict[str, str]:
    """Return the stage of each job of a movie."""
    return {job.id: job.metadata["stage"] for job in await maker.jobs(movie_id)}


async def newest_film(movie: Movie) -> dict[str, Any] | None:
    """Return the result of the last job that cut the film, or None if it did not."""
    handle = movie.film
    return await handle if await handle.status() == "completed" else None


async def report(screenplay: Screenplay, film: dict[str, Any], board: Board, began: float, *, to: Any) -> None:
    """Say where the film is, which scenes are missing, and how long it took; make the contact sheet."""
    path = Path(film["path"])
    moments = choose_moments(film["scenes"], film["starts"], film["seconds"])
    sheet = path.with_name("contact_sheet.png")
    await anyio.to_thread.run_sync(make_sheet, path, screenplay.title, moments, sheet)
    print(f"  film   {_short(path)} ({film['seconds']:.1f} s, version {film['version']})", file=to)
    print(f"  sheet  {_short(sheet)}", file=to)
    if film["missing"]:
        print(f"  missing scenes: {', '.join(film['missing'])}; run it again to try them once more", file=to)
    told = [f"{len(board.retries)} retried", f"{len(board.interrupted)} interrupted"]
    if board.done_before:
        told.insert(0, f"{board.done_before} done before this run")
    print(f"{board.done} jobs ({', '.join(told)}); this run took {time.monotonic() - began:.1f} s", file=to)


def _short(path: Path) -> str:
    try:
        return os.path.relpath(path)
    except ValueError:
        return str(path)


def _announce(screenplay: Screenplay) -> None:
    """Say what the film is made with, and what will be otherwise than its screenplay asks."""
    found, speaker = find_ffmpeg(), find_speaker()
    for line in (found.passed_over, *screenplay.warnings):
        if line:
            print(line, file=sys.stderr)
    print(f"ffmpeg: {found.path}", file=sys.stderr)
    print(
        f"voices: {(speaker.program or speaker.library) if speaker else 'none here, captions instead'}", file=sys.stderr
    )


@contextmanager
def _logging_to(file: Path) -> Iterator[None]:
    """Send what the engine logs to a file: the display shows what fails, and nothing is printed over it."""
    handler, logger = logging.FileHandler(file, delay=True), logging.getLogger("asyncjobs")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("movie-output"),
    show_default=True,
    help="Folder for the pictures, the film and the database.",
)
@click.option(
    "--movie-id",
    default="marlow-end",
    show_default=True,
    help="Name of this run; the same name goes on where it stopped.",
)
@click.option(
    "--screenplay",
    "screenplay_file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=SCREENPLAY,
    help="The screenplay to film.",
)
@click.option("--restart", is_flag=True, help="Remove what there is of this movie, and begin anew.")
@click.option("--strict", is_flag=True, help="All scenes or no film.")
@click.option(
    "--crash-at",
    type=click.FloatRange(0, 1),
    default=None,
    help="Kill this process (SIGKILL) when this part of the jobs is done.",
)
@click.option("--json", "json_lines", is_flag=True, help="Print one JSON object per change instead of the display.")
def main(
    out: Path,
    movie_id: str,
    screenplay_file: Path,
    restart: bool,
    strict: bool,
    crash_at: float | None,
    json_lines: bool,
) -> None:
    """Make a film with sound from a screenplay, as a graph of durable jobs."""
    out = out.resolve()
    try:
        if not is_name(movie_id):
            raise MovieError(f"a movie id is {NAMED}: {movie_id!r} is none")
        screenplay = read_screenplay(screenplay_file)
        _announce(screenplay)
        (out / movie_id).mkdir(parents=True, exist_ok=True)
        with _logging_to(out / movie_id / "engine.log"):
            code = anyio.run(
                lambda: make_film(
                    screenplay, movie_id, out, restart=restart, strict=strict, crash_at=crash_at, json_lines=json_lines
                )
            )
    except (ScreenplayError, MovieError, NoFfmpegError, JobProcessorError) as error:
        raise click.ClickException(str(error)) from None
    sys.exit(code)


if __name__ == "__main__":
    main()
