"""Seeded defects: what the checker must catch. Installed from outside, only in child programs of these tests."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sqlite3
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from asyncjobs.backends.sqlite import commit as commits
from asyncjobs.backends.sqlite import writer
from asyncjobs.core import edges, lifecycle
from asyncjobs.core.plan import Plan
from asyncjobs.models import JobStatus, WaitsFor

VARIABLE = "ASYNCJOBS_TEST_DEFECT"


def no_fencing() -> None:
    """Whoever claims to have run a job is believed."""
    lifecycle.holds = lambda job, attempt, worker: True


def release_before_commit() -> None:
    """Callers are answered while their transaction is still open."""

    def commit(
        connection: sqlite3.Connection, operations: Any, lanes: Any, cache: Any, moment: Any, hook: Any, **_: Any
    ) -> Any:
        late(connection, hook)
        connection.execute("BEGIN IMMEDIATE")
        hook("begin")
        known = cache.begin(connection, operations)
        transaction = commits._Transaction(connection, operations, lanes, known, moment, None)
        transaction.run()
        lanes.keep()
        answers = commits.Committed(transaction.finished_answers(), transaction.stored)
        try:
            in_some_turns(asyncio.get_running_loop(), 8, lambda: late(connection, hook))
        except RuntimeError:  # in the writer's thread
            late(connection, hook)
        return answers

    def late(connection: sqlite3.Connection, hook: Any) -> None:
        if connection.in_transaction:
            hook("before-commit")
            connection.execute("COMMIT")
            hook("after-commit")

    def in_some_turns(loop: asyncio.AbstractEventLoop, turns: int, function: Callable[[], None]) -> None:
        if turns == 0:
            function()
        else:
            loop.call_soon(in_some_turns, loop, turns - 1, function)

    writer.commit = commit


def double_release() -> None:
    """A dependent that was released (``require=k``) is released again by the next parent that completes."""
    original = edges.count_settled

    def release(child: Any, settled: Any, now: int) -> Any:
        if child.require is not None and child.status in (JobStatus.IN_PROGRESS, JobStatus.COMPLETED):
            child = replace(child, status=JobStatus.PENDING, waits_for=WaitsFor.DEPENDENCIES)
        return original(child, settled, now)

    edges.count_settled = release


def event_outside_the_transaction() -> None:
    """The log is written by a second transaction, after the change."""
    write_events = commits._Transaction._write_events
    commits._Transaction._write_events = lambda self: None

    def commit(
        connection: sqlite3.Connection, operations: Any, lanes: Any, cache: Any, moment: Any, hook: Any, **_: Any
    ) -> Any:
        connection.execute("BEGIN IMMEDIATE")
        hook("begin")
        known = cache.begin(connection, operations)
        transaction = commits._Transaction(connection, operations, lanes, known, moment, None)
        transaction.run()
        hook("before-commit")
        connection.execute("COMMIT")
        lanes.keep()
        hook("after-commit")
        connection.execute("BEGIN IMMEDIATE")
        write_events(transaction)
        connection.execute("COMMIT")
        return commits.Committed(transaction.finished_answers(), transaction.stored)

    writer.commit = commit


def forgotten_second_broken_parent() -> None:
    """The explicit retry looks at the parent that is retried, and not at the others."""
    decide = edges.decide

    def plan_decide(self: Plan, n: int) -> bool:
        edges.decide = lambda child, settled, now: decide(child, (), now)
        try:
            return original(self, n)
        finally:
            edges.decide = decide

    original = Plan.decide
    Plan.decide = plan_decide


DEFECTS = {
    defect.__name__: defect
    for defect in (
        no_fencing,
        release_before_commit,
        double_release,
        event_outside_the_transaction,
        forgotten_second_broken_parent,
    )
}


def install() -> None:
    """Break what the environment names, if anything; and let a program that stands still say where."""
    faulthandler.enable()
    name = os.environ.get(VARIABLE)
    if name:
        DEFECTS[name]()
