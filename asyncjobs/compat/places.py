"""Find the file of asyncjobs for the path that a program gives: itself, or the one beside a file of the old tracker."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from asyncjobs.compat.file import RecordFile
from asyncjobs.compat.importing import find_import, import_tables
from asyncjobs.compat.old_file import Kind, look, read_old, take_mark
from asyncjobs.config import SQLiteConfig
from asyncjobs.plurals import counted
from asyncjobs.safe_logging import SafeLogger

logger = SafeLogger("asyncjobs.compat")


def beside(path: Path) -> Path:
    """Return the file of asyncjobs beside an old one: ``cinema_jobs.asyncjobs.db`` beside ``cinema_jobs.db``."""
    return path.with_name(f"{path.stem}.asyncjobs.db")


def import_command(old: Path, new: Path) -> str:
    """Return the command that imports an old file by hand."""
    return shlex.join(["asyncjobs", "legacy", "import", str(old), "--db", str(new)])


def open_records(db_path: str | os.PathLike[str]) -> RecordFile:
    """Return the file with the records for a path, ready to be used.

    A file of the old tracker is imported once into the one beside it. Where there is nothing, but a file of asyncjobs
    beside it, that one is used: the old one was moved away.

    :raises ConfigurationError: the file cannot be used. BackendError: it is damaged, full, locked, or newer.
    """
    path = SQLiteConfig(db_path=db_path).file
    kind = look(path)
    if kind is Kind.OLD:
        return _beside_old(path)
    other = beside(path)
    if kind is Kind.MISSING and look(other) is Kind.OURS:
        path = other
    return _ready(path)


def _ready(path: Path) -> RecordFile:
    file = RecordFile(SQLiteConfig(db_path=path))
    file.prepare()
    return file


def _beside_old(old: Path) -> RecordFile:
    new = beside(old)
    if look(new) is Kind.OURS:
        file = _ready(new)
        with file.reading() as connection:
            imported = find_import(connection, old)
        if imported is not None:
            if take_mark(old) != imported:
                command = import_command(old, new)
                logger.warning("%s has changed since it was imported into %s: '%s' imports it again", old, new, command)
            return file
    tables = read_old(old)  # before the new file is made: if it cannot be read, there is none
    file = _ready(new)
    report = import_tables(tables, old, file, only_first=True)
    if report is not None:
        came = (
            f"{counted(report.jobs, 'job')} and {counted(report.states, 'state')} of {counted(report.movies, 'movie')}"
        )
        logger.info("imported %s from %s, which stays as it is, into %s, which is used from now on", came, old, new)
        if report.unusable:
            rows, command = counted(len(report.unusable), "row"), f"{import_command(old, new)} --dry-run"
            logger.warning("%s of %s could not be imported: '%s' names each", rows, old, command)
    return file
