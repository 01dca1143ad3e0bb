"""Refuse to migrate a file while a worker of an older version uses it.

Every worker in a file that is to be migrated is of an older version. Its statements would fail from then on: nothing
would be lost or doubled, but its jobs could not end until its lease runs out.
"""

from __future__ import annotations

import sqlite3

from asyncjobs.backends.sqlite.suspects import is_certainly_gone
from asyncjobs.clock import Clock, SystemClock
from asyncjobs.exceptions import BackendError
from asyncjobs.host import ProcessIdentity, this_process

_PRESENT = "SELECT name, expires, lease, host, boot, pid_namespace, pid, process_start FROM workers WHERE gone = 0"


def refuse_if_alive(connection: sqlite3.Connection, where: str, version: int, clock: Clock | None = None) -> None:
    """Make sure that no worker is alive. Call this with the write lock held, before anything is changed.

    :raises BackendError: ``old-worker``, one is; its process is named.
    """
    now, me = (SystemClock() if clock is None else clock).monotonic(), this_process()
    for name, expires, lease, *identity in connection.execute(_PRESENT).fetchall():
        process = ProcessIdentity(*identity)
        if _is_running(expires, lease, now) and not is_certainly_gone(process, me):
            raise _refused(where, version, name, _place(process, me))


def _is_running(expires: object, lease: object, now: int) -> bool:
    # A lease that ends later than any could is of another boot, or cannot be read, and keeps nobody from migrating.
    return isinstance(expires, int) and isinstance(lease, int) and now <= expires <= now + lease


def _place(process: ProcessIdentity, me: ProcessIdentity) -> str:
    if (process.host, process.pid_namespace) == (me.host, me.pid_namespace):
        return f"pid {process.pid}"
    return f"pid {process.pid} of another container or host, {process.host}"


def _refused(where: str, version: int, name: object, place: str) -> BackendError:
    error = BackendError(
        f"{where} has schema version {version} and is in use by the worker {name} of an older asyncjobs ({place}); "
        "nothing was changed",
        hint="stop that program, then open the file again; of one in another container, the lease must run out first",
    )
    error.code = "old-worker"
    return error
