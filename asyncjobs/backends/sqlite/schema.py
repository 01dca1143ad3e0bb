"""Define the tables, and migrate older files.

Numbers of jobs and positions of events follow the highest ones in their tables, inside the transaction that uses them,
so they are dense and in commit order (``numbers.py``). Status and wait codes are those of ``rows.py``.
"""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Callable

from asyncjobs.exceptions import ConfigurationError, SchemaVersionError

APPLICATION_ID = 0x61_4A_6F_62  # "aJob": distinguishes our files from other SQLite databases
VERSION = 5

_V1 = """
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('job', 0), ('event', 0), ('worker', 0), ('pruned', 0);

-- A lane is what a worker may or may not claim as a whole: a function, in a queue, for an owner (NULL: any worker).
CREATE TABLE lanes(
  n INTEGER PRIMARY KEY,
  queue TEXT NOT NULL,
  function TEXT NOT NULL,
  owner TEXT
);
CREATE UNIQUE INDEX lanes_name ON lanes(queue, function, ifnull(owner, ''));

-- The hot row: what changes, and what a claim reads.
CREATE TABLE jobs(
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  lane INTEGER NOT NULL,
  status INTEGER NOT NULL,
  waits_for INTEGER,
  priority INTEGER NOT NULL,
  run_at INTEGER,
  attempt INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0,
  interruptions INTEGER NOT NULL DEFAULT 0,
  max_interruptions INTEGER NOT NULL,
  retry BLOB,
  require INTEGER,
  open INTEGER NOT NULL DEFAULT 0,
  met INTEGER NOT NULL DEFAULT 0,
  limit_key TEXT,
  cancel_requested INTEGER NOT NULL DEFAULT 0,
  worker INTEGER,
  started_at INTEGER,
  finished_at INTEGER,
  because TEXT,
  seq INTEGER NOT NULL DEFAULT 0,
  grp TEXT,
  parent INTEGER,
  timeout REAL,
  local INTEGER NOT NULL,
  created_at INTEGER NOT NULL
);
-- waits_for: 0 a worker, 1 a limit, 2 its time, 3 dependencies, 4 an answer (since version 4); NULL: not pending.
CREATE INDEX jobs_ready ON jobs(lane, priority DESC, n) WHERE waits_for = 0;
CREATE INDEX jobs_delayed ON jobs(run_at) WHERE waits_for = 2;
CREATE INDEX jobs_admitted ON jobs(limit_key, priority DESC, n) WHERE limit_key IS NOT NULL AND waits_for = 0;
CREATE INDEX jobs_limited ON jobs(limit_key, priority DESC, n) WHERE limit_key IS NOT NULL AND waits_for = 1;
CREATE INDEX jobs_status ON jobs(status, n);
CREATE INDEX jobs_group ON jobs(grp, status, n) WHERE grp IS NOT NULL;
CREATE INDEX jobs_local ON jobs(lane, n) WHERE local = 1 AND status = 0;
-- Ended jobs, by the time of their end; finished_at is set exactly while a job is terminal.
CREATE INDEX jobs_finished ON jobs(finished_at, n) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_parent ON jobs(parent) WHERE parent IS NOT NULL;

-- Read once an attempt, or on demand: kept out of the hot row.
-- The call comes last: reading a column behind a large blob costs a walk through all pages of the blob.
-- isolation: NULL in the worker's process, else 'process'.
CREATE TABLE calls(
  n INTEGER PRIMARY KEY,
  injects INTEGER NOT NULL,
  isolation TEXT,
  metadata TEXT,
  call BLOB NOT NULL
);
CREATE TABLE results(n INTEGER PRIMARY KEY, value BLOB NOT NULL);

CREATE TABLE edges(
  parent INTEGER NOT NULL,
  child INTEGER NOT NULL,
  optional INTEGER NOT NULL,
  state INTEGER NOT NULL,
  PRIMARY KEY (parent, child)
) WITHOUT ROWID;
CREATE INDEX edges_child ON edges(child, parent);

-- Attempts that did not succeed; the hot row itself records a success.
CREATE TABLE attempts(
  job INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  worker INTEGER,
  started_at INTEGER,
  finished_at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  error_type TEXT,
  message TEXT,
  traceback TEXT,
  PRIMARY KEY (job, attempt)
);

CREATE TABLE events(
  position INTEGER PRIMARY KEY,
  job INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  type TEXT NOT NULL,
  at INTEGER NOT NULL,
  attempt INTEGER NOT NULL,
  status INTEGER,
  grp TEXT,
  data BLOB
);
CREATE UNIQUE INDEX events_job ON events(job, seq);
CREATE INDEX events_progress ON events(job, seq) WHERE type = 'progress';
CREATE INDEX events_group ON events(grp, position) WHERE grp IS NOT NULL;

-- Removed jobs whose rows in the tables above are still to be deleted. No query finds these rows.
CREATE TABLE removed(n INTEGER PRIMARY KEY);

CREATE TABLE limits(
  key TEXT PRIMARY KEY,
  capacity INTEGER NOT NULL,
  in_progress INTEGER NOT NULL
) WITHOUT ROWID;

-- One row per registration; numbers are never used again. expires: µs of the host's monotonic clock.
CREATE TABLE workers(
  n INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  slots INTEGER NOT NULL,
  queues TEXT,
  host TEXT NOT NULL,
  boot TEXT NOT NULL,
  pid_namespace TEXT NOT NULL,
  pid INTEGER NOT NULL,
  process_start TEXT NOT NULL,
  registered_at INTEGER NOT NULL,
  lease INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  gone INTEGER NOT NULL DEFAULT 0,
  refused TEXT
);
CREATE INDEX workers_present ON workers(n) WHERE gone = 0;
"""

_V2 = """
-- If run_at is the end of a duration: that end in µs since the boot (host.boot_number), so that setting the wall clock
-- does not move it. After a reboot, or where the system provides no boot id, run_at decides.
ALTER TABLE jobs ADD COLUMN due INTEGER;
ALTER TABLE jobs ADD COLUMN boot INTEGER;
DROP INDEX jobs_delayed;
CREATE INDEX jobs_delayed ON jobs(run_at) WHERE waits_for = 2 AND boot IS NULL;
CREATE INDEX jobs_lasting ON jobs(boot, due) WHERE waits_for = 2 AND boot IS NOT NULL;
"""

_V3 = """
-- How often a job was retried by hand, and from which of these generations its steps count. 0 for nearly all jobs.
ALTER TABLE jobs ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN steps_from INTEGER NOT NULL DEFAULT 0;

-- Values that jobs keep over their attempts. The value comes last: keys and sizes are listed without reading it.
CREATE TABLE steps(
  n INTEGER PRIMARY KEY,
  job INTEGER NOT NULL,
  key TEXT NOT NULL,
  generation INTEGER NOT NULL,
  value BLOB NOT NULL
);
CREATE UNIQUE INDEX steps_key ON steps(job, key);

-- Jobs that were retried with fresh=True, whose steps that no longer count are still to be deleted.
CREATE TABLE outdated(n INTEGER PRIMARY KEY);
"""

_V4 = """
-- NULL for nearly all jobs. role: 1 a gate, 2 its body has asked. parked: the gate on which it is parked.
ALTER TABLE jobs ADD COLUMN role INTEGER;
ALTER TABLE jobs ADD COLUMN parked INTEGER;
-- Open gates and parked jobs: by number, within a group, and by the job from inside which they were submitted.
CREATE INDEX jobs_answer ON jobs(waits_for) WHERE waits_for = 4;
CREATE INDEX jobs_answer_group ON jobs(grp) WHERE waits_for = 4 AND grp IS NOT NULL;
CREATE INDEX jobs_answer_parent ON jobs(parent) WHERE waits_for = 4 AND parent IS NOT NULL;
-- The run_at of a gate is its deadline.
CREATE INDEX jobs_deadline ON jobs(run_at) WHERE waits_for = 4 AND run_at IS NOT NULL;

-- The state of a gate beside its row in jobs. Its question is its call. timeout: µs. asker: the job whose body asked.
CREATE TABLE gates(
  n INTEGER PRIMARY KEY,
  timeout INTEGER,
  asker INTEGER,
  generation INTEGER NOT NULL,
  opened_at INTEGER,
  answered_at INTEGER,
  answered_by TEXT,
  reason TEXT
);
"""

_V5 = """
-- Numbers are taken from the tables, and a row here says only what is no longer in them: 'job' and 'event' are the
-- highest numbers that were deleted, 'pruned' the highest position of a removed job. 'worker' and 'removed' count.
-- Under this name, programs of older versions that still have the file open cannot write: each of their transitions
-- counts in the table of the old name.
ALTER TABLE counters RENAME TO marks;

-- A small call and a small result stand in the row of their job (payloads.py). Larger ones stand apart, as do all
-- that older versions wrote: call IS NULL says that the call is in the table calls_apart, with what belongs to it.
-- Under these names, programs of older versions that still have the file open cannot read either: they would find no
-- value where there is a small one.
ALTER TABLE calls RENAME TO calls_apart;
ALTER TABLE results RENAME TO results_apart;
ALTER TABLE jobs ADD COLUMN injects INTEGER;
ALTER TABLE jobs ADD COLUMN isolation TEXT;
ALTER TABLE jobs ADD COLUMN metadata TEXT;
ALTER TABLE jobs ADD COLUMN call BLOB;
ALTER TABLE jobs ADD COLUMN result BLOB;

-- No worker is alive (old_workers.py). One that only slept for longer than its lease would renew it when it wakes up,
-- and hold its jobs, which it cannot end, for ever. Nobody renews the lease of one that is gone.
UPDATE workers SET gone = 1 WHERE gone = 0;
"""

_OLD_TRACKER = frozenset({"id", "movie_id", "type", "status", "metadata", "output_path", "created_at", "updated_at"})
"""Columns of the table ``jobs`` in files of the old job tracker; ours has no ``movie_id``."""

MIGRATIONS: dict[int, str] = {0: _V1, 1: _V2, 2: _V3, 3: _V4, 4: _V5}
"""The script that leads to the next version, by version."""


def migrate(connection: sqlite3.Connection, where: str, save: Callable[[int], None] | None = None) -> None:
    """Migrate the file to ``VERSION``, in one transaction.

    :param save: called with the version of an older file, before anything is changed and with the write lock held; an
        error that it raises ends the migration. A file without tables needs no copy.
    :raises SchemaVersionError: the file is newer.
    :raises ConfigurationError: the file is a database of another program.
    """
    if read_version(connection, where) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = read_version(connection, where)  # another process may have been first
        if 0 < version < VERSION and save is not None:
            save(version)
        for step in range(version, VERSION):
            for statement in _statements(MIGRATIONS[step]):
                connection.execute(statement)
        if version < VERSION:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_version(connection: sqlite3.Connection, where: str) -> int:
    """Return the schema version of the file; 0 for one without tables.

    :raises SchemaVersionError: the file is newer.
    :raises ConfigurationError: the file is a database of another program.
    """
    # Tables first: another process may be creating them right now, and their number is committed with them.
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application == APPLICATION_ID:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise SchemaVersionError(where, version, VERSION)
        return version
    if tables or application:
        hint = "choose another path; nothing was changed"
        if is_old_tracker(connection):
            command = shlex.join(["asyncjobs", "legacy", "import", where])
            hint = f"{command} (or JobTracker of asyncjobs.compat) takes over the jobs of the old tracker; or {hint}"
        raise ConfigurationError(
            "SQLiteConfig.db_path",
            where,
            problem=f"{where} is a database of another program",
            hint=hint,
        )
    return 0


def is_old_tracker(connection: sqlite3.Connection) -> bool:
    """Return whether the file is one of the old job tracker, which ``asyncjobs.compat`` reads."""
    columns = {name for (name,) in connection.execute("SELECT name FROM pragma_table_info('jobs')").fetchall()}
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    return application == 0 and columns >= _OLD_TRACKER


def _statements(script: str) -> list[str]:
    # Not executescript(): it commits first, and a migration is one transaction. Comments may hold semicolons.
    bare = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("--"))
    return [statement for statement in bare.split(";") if statement.strip()]
