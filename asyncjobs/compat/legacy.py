"""Import and export by hand: what the commands ``asyncjobs legacy import`` and ``export`` do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from asyncjobs.backends.base import JobBackend
from asyncjobs.compat import records
from asyncjobs.compat.exporting import STATES, Exported, ExportReport, write_old
from asyncjobs.compat.file import RecordFile
from asyncjobs.compat.importing import ImportReport, find_sources, find_unusable, import_tables, preview
from asyncjobs.compat.old_file import Kind, look, read_old
from asyncjobs.compat.old_rows import Unusable
from asyncjobs.compat.places import beside
from asyncjobs.compat.rows import job_row
from asyncjobs.compat.run_jobs import find_tracked, of_all, show_jobs
from asyncjobs.compat.tables import read_version
from asyncjobs.config import SQLiteConfig
from asyncjobs.exceptions import ConfigurationError, JobProcessorError

_FIELD = "legacy"


def import_old(
    old: str | os.PathLike[str], new: str | os.PathLike[str] | None = None, *, dry_run: bool = False
) -> ImportReport:
    """Import a file of the old tracker, which is not written to; rows that are there and as new, or newer, stay.

    :param new: a file of asyncjobs; it is made if it is missing. Default: ``<stem>.asyncjobs.db`` beside the old one.
    :param dry_run: only say what would come over.
    :raises ConfigurationError: one of the files is not what it should be. BackendError: one cannot be read or written.
    """
    source = _checked_old(old)
    target = SQLiteConfig(db_path=beside(source) if new is None else new)
    if os.path.realpath(target.file) == os.path.realpath(source):
        raise ConfigurationError(
            _FIELD,
            str(source),
            problem=f"{source} is the old file itself",
            hint="name another file with --db, or none: then it is the one beside it",
        )
    file = RecordFile(target)
    if dry_run:
        return preview(source, file)
    tables = read_old(source)  # before anything is made
    file.prepare()
    report = import_tables(tables, source, file)
    assert report is not None, "only an import that may be left out returns None"
    return report


def export_old(file: RecordFile, target: str | os.PathLike[str], of_processor: Sequence[Exported] = ()) -> ExportReport:
    """Write the records of a file, and the jobs that the processor runs, to a new file of the old tracker.

    :param of_processor: jobs that stand in place of records with their movie and id.
    :raises ConfigurationError: the new file exists, or cannot be made. BackendError: one cannot be read or written.
    """
    found: list[records.Record] = []
    sources: list[str] = []
    states: list[tuple[Any, ...]] = []
    with file.reading() as connection:
        if read_version(connection, str(file.path)):  # a store that no tracker has used yet stays as it is
            found = records.find_all(connection)
            states = connection.execute(STATES).fetchall()
            sources = find_sources(connection)
    run = {(job.movie_id, job.row[0]) for job in of_processor}
    kept = [Exported(record.movie_id, job_row(record.job)) for record in found]
    jobs = [*(job for job in kept if (job.movie_id, job.row[0]) not in run), *of_processor]
    report = write_old(target, jobs, states)
    there = {(job.movie_id, job.row[0]) for job in jobs} | {(state[0], None) for state in states}
    left_out = [row for row in _never_imported(sources) if (row.movie_id, row.id) not in there]
    return replace(report, unusable=[*report.unusable, *left_out])


def _never_imported(sources: Iterable[str]) -> Iterator[Unusable]:
    """Yield the rows of imported files that were left out, as far as these files are still there."""
    for source in sources:
        with suppress(JobProcessorError):  # it was changed or moved away, and the export is complete without it
            if look(Path(source)) is Kind.OLD:
                for row in find_unusable(Path(source)):
                    yield Unusable(row.movie_id, row.id, f"it was not imported from {source}: {row.reason}")


async def find_run_jobs(backend: JobBackend) -> list[Exported]:
    """Return the jobs that the processor runs, as they are to be exported."""
    shown = await show_jobs(backend, await find_tracked(backend, of_all()))
    return [Exported(movie_id, job_row(job)) for (movie_id, _), job in shown.items()]


def _checked_old(old: str | os.PathLike[str]) -> Path:
    path = SQLiteConfig(db_path=old).file
    kind = look(path)
    if kind is Kind.OLD:
        return path
    problem, hint = {
        Kind.MISSING: (f"there is no file {path}", "give the path of the old tracker's file"),
        Kind.EMPTY: (f"{path} is empty", "give the path of the old tracker's file"),
        Kind.OURS: (f"{path} is a file of asyncjobs already", "JobTracker uses it as it is"),
    }.get(kind, (f"{path} is no file of the old job tracker", "give the path of the old tracker's file"))
    raise ConfigurationError(_FIELD, str(path), problem=problem, hint=hint)
