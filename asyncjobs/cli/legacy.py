"""``asyncjobs legacy``: take over the file of the old job tracker, and write one, to go back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.failures import FAILED, USAGE, Failure
from asyncjobs.cli.main import Named
from asyncjobs.cli.output import printable
from asyncjobs.cli.stores import shown
from asyncjobs.compat.file import RecordFile
from asyncjobs.compat.importing import OldMovie
from asyncjobs.compat.job import JobStatus
from asyncjobs.compat.legacy import export_old, find_run_jobs, import_old
from asyncjobs.compat.old_rows import Unusable
from asyncjobs.config import SQLiteConfig
from asyncjobs.plurals import counted

_STRICT = click.option(
    "--strict", is_flag=True, help="Exit with code 1 if a row had to be left out; all others are written all the same."
)


@click.group(cls=Named)
def legacy() -> None:
    """Import a file of the old job tracker, or export to one."""


@legacy.command("import")
@click.argument("old", type=click.Path(path_type=Path))
@click.option(
    "--dry-run",
    is_flag=True,
    help="Only say what would be imported, and list the movies of OLD with their jobs by status.",
)
@_STRICT
@command
async def import_(context: Context, old: Path, dry_run: bool, strict: bool) -> None:
    """Import OLD, a file of the old job tracker, which is not written to.

    Into the file of --db, or of the configuration; without either, into OLD.asyncjobs.db beside it. May be repeated:
    rows that are there and as new, or newer, stay. JobTracker shows what was imported; it is not in `jobs list`.
    """
    context.set_up_logging()
    _file_of(context, "import")
    new = context.settings.sqlite.db_path if "sqlite.db_path" in context.settings.origins else None
    report = import_old(old, new, dry_run=dry_run)
    if context.out.json:
        values = {name: getattr(report, name) for name in ("source", "target", "jobs", "movies", "states", "unchanged")}
        movies = [{"movie": one.movie_id, "jobs": one.statuses, "state": one.state} for one in report.of_movies]
        unusable = _items(report.unusable)
        context.out.data({"schema": 1, "dry_run": dry_run, **values, "unusable": unusable, "of_movies": movies})
        _end(strict, report.unusable)
        return
    if dry_run:
        context.out.table(_HEADS, [_row(movie) for movie in report.of_movies], (), None)
    _name_unusable(context, report.unusable, "cannot be imported" if dry_run else "was not imported")
    came = f"{counted(report.jobs, 'job')} of {counted(report.movies, 'movie')}, {counted(report.states, 'state')}"
    there = f" ({counted(report.unchanged, 'row is', 'rows are')} there already)" if report.unchanged else ""
    verb = "would import" if dry_run else "imported"
    context.out.good(f"{verb} {came} into {shown(report.target)}{there}{_left_out(report.unusable)}")
    if report.unusable:
        context.out.note("what is left out is in no export either")
    if not dry_run:
        context.out.note("JobTracker shows these records; jobs list has only what the processor runs")
    _end(strict, report.unusable)


_HEADS = ("movie", "state", "jobs", *(status.value for status in JobStatus))


def _row(movie: OldMovie) -> list[str]:
    numbers = (sum(movie.statuses.values()), *(movie.statuses.get(status.value, 0) for status in JobStatus))
    return [printable(movie.movie_id), "yes" if movie.state else "no", *map(str, numbers)]


@legacy.command("export")
@click.argument("old", type=click.Path(path_type=Path))
@_STRICT
@command
async def export(context: Context, old: Path, strict: bool) -> None:
    """Write OLD, a new file that the old job tracker reads, from the store of --db or of the configuration."""
    file = _file_of(context, "export")
    async with context.store() as jp:
        of_processor = await find_run_jobs(jp.backend)
    report = export_old(RecordFile(file), old, of_processor)
    if context.out.json:
        values = {name: getattr(report, name) for name in ("target", "jobs", "movies", "states")}
        context.out.data({"schema": 1, **values, "unusable": _items(report.unusable)})
        _end(strict, report.unusable)
        return
    _name_unusable(context, report.unusable, "was not exported")
    went = f"{counted(report.jobs, 'job')} of {counted(report.movies, 'movie')}, {counted(report.states, 'state')}"
    context.out.good(f"exported {went} to {shown(report.target)}{_left_out(report.unusable)}")
    _end(strict, report.unusable)


def _left_out(rows: Sequence[Unusable]) -> str:
    return f"; {counted(len(rows), 'row was', 'rows were')} left out" if rows else ""


def _end(strict: bool, rows: Sequence[Unusable]) -> None:
    """End the command with exit code 1 if rows were left out, and ``--strict`` was given."""
    if strict and rows:
        raise SystemExit(FAILED)


def _file_of(context: Context, what: str) -> SQLiteConfig:
    """Return the settings of the file that this is about; refuse a store that is none."""
    chosen = context.chosen_store
    if isinstance(chosen.config, SQLiteConfig):
        return chosen.config
    raise Failure(
        f"{what} is for stores in files; this is {chosen.shown}", exit_code=USAGE, hint="name a file with --db"
    )


def _name_unusable(context: Context, rows: Iterable[Unusable], what: str) -> None:
    for row in rows:
        context.out.warn(printable(f"{what}: {row}"))


def _items(rows: Iterable[Unusable]) -> list[dict[str, str | None]]:
    return [{"movie": row.movie_id, "id": row.id, "reason": row.reason} for row in rows]
