"""Commands whose view raises because rows are not loaded yet, and ends whose dependents are settled later."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from msgspec.structs import replace

from asyncjobs.core import commands, gate_commands, gates, revival
from asyncjobs.core.plan import Plan, View
from asyncjobs.core.requests import Answer, AttemptEnd, AttemptRef, Forget, Keep, NewJob
from asyncjobs.core.state import EdgeRow, GateState, JobState, Role
from asyncjobs.exceptions import JobProcessorError
from asyncjobs.models import (
    BodyEvent,
    Dependency,
    EdgeState,
    JobError,
    JobStatus,
    Limit,
    Outcome,
    OutcomeKind,
    WaitsFor,
)
from tests.unit.plans import NOW, Rows, encoded, new

WAITING = WaitsFor.DEPENDENCIES
MET, BROKEN = EdgeState.MET, EdgeState.BROKEN

RUNNING = JobState(1, "running", JobStatus.IN_PROGRESS, None, attempt=1, worker=7, role=Role.ASKER, limit="key")
JOBS = [
    replace(RUNNING, interruptions=2),  # the next one is the last
    JobState(2, "ready", limit="key"),
    JobState(3, "child", waits_for=WAITING, open=1),
    JobState(4, "grandchild", waits_for=WAITING, open=1),
    JobState(5, "optional", waits_for=WAITING, open=2),
    JobState(6, "k of n", waits_for=WAITING, open=2, require=1),
    JobState(7, "later", waits_for=WaitsFor.TIME, run_at=NOW - 1),
    JobState(8, "failed", JobStatus.FAILED, None, attempt=1, finished_at=1),
    JobState(9, "skipped", JobStatus.SKIPPED, None, because="failed", finished_at=1),
    JobState(10, "skipped, too", JobStatus.SKIPPED, None, because="failed", finished_at=1),
    JobState(11, "running/q", waits_for=WaitsFor.ANSWER, role=Role.GATE, seq=2),
    JobState(12, "after the gate", waits_for=WAITING, open=1),
    JobState(13, "gate", waits_for=WAITING, role=Role.GATE, open=1),
    JobState(14, "parked", waits_for=WaitsFor.ANSWER, attempt=1, role=Role.ASKER, parked=15),
    JobState(15, "parked/q", waits_for=WaitsFor.ANSWER, role=Role.GATE, run_at=NOW - 1, seq=2),
    JobState(16, "done", JobStatus.COMPLETED, None, attempt=1, finished_at=1),
    JobState(17, "uncounted", waits_for=WAITING, open=1),
    JobState(18, "running/old", JobStatus.FAILED, None, role=Role.GATE, finished_at=1),
    JobState(19, "submitted", waits_for=WAITING, open=1),
    JobState(20, "second", JobStatus.IN_PROGRESS, None, attempt=1, worker=7),
    JobState(21, "open", waits_for=WaitsFor.ANSWER, role=Role.GATE, seq=2),
    JobState(22, "uncounted, broken", waits_for=WAITING, open=1),
]
EDGES = [
    EdgeRow(1, 3),
    EdgeRow(3, 4),
    EdgeRow(1, 5, optional=True),
    EdgeRow(4, 5, optional=True),
    EdgeRow(1, 6),
    EdgeRow(20, 6),
    EdgeRow(8, 9, state=BROKEN),
    EdgeRow(9, 10, state=BROKEN),
    EdgeRow(11, 12),
    EdgeRow(1, 13),
    EdgeRow(16, 17, state=MET),
    EdgeRow(2, 19),
    EdgeRow(15, 19, state=MET),
    EdgeRow(8, 22, state=BROKEN),
]
GATES = [
    GateState(11, asker=1, opened_at=1),
    GateState(13),
    GateState(15, asker=14, opened_at=1),
    GateState(18, asker=1, generation=-1, opened_at=1),
    GateState(21, opened_at=1),
]
SUBMITTED = {1: [19, 11], 19: [7], 14: [15]}
BY = (1, 1, 7)
HELD = AttemptRef("running", 1, "w7")
FATAL = Outcome(OutcomeKind.FAILED, error=JobError("ValueError", "no"), retryable=False)
DONE = Outcome(OutcomeKind.SUCCEEDED, value=b"1")
RELEASED = Outcome(OutcomeKind.RELEASED)


class Numbers:
    """An iterator of fresh numbers that is compared by where it is."""

    def __init__(self) -> None:
        self.next = 100

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.next += 1
        return self.next - 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Numbers) and other.next == self.next


def existing(n: int) -> tuple[str, bytes]:
    return "m:f", b""


def question(job_id: str) -> NewJob:
    return replace(new(job_id, timeout=1.0), function=gates.FUNCTION, call=encoded(), gate=True)


def after(*parents: str) -> tuple[Dependency, ...]:
    return tuple(Dependency(parent) for parent in parents)


def batch() -> list[NewJob]:
    """Jobs with stored and new parents, some of which have ended; a gate, a limited one and one that exists."""
    return [
        new("c", dependencies=after("b", "running", "done")),
        new("b", dependencies=after("failed"), limit=Limit("key", 2)),
        replace(question("g"), dependencies=after("done")),
        new("ready", if_exists="return"),
        new("k", dependencies=after("done", "failed", "c"), require=1, delay=5),
    ]


def ends(*outcomes: Outcome, parked_on: str | None = None) -> list[tuple[int, int, AttemptEnd]]:
    event = BodyEvent("log", NOW, {"message": "x"})
    end = AttemptEnd(HELD, outcomes[0], (event,), parked_on=parked_on)
    second = AttemptEnd(AttemptRef("second", 1, "w7"), outcomes[-1])
    return [(1, 7, end), (99, 7, end), (20, 7, second), (20, 7, second)]


def settled_children(plan: Plan, parents: list[int]) -> list[int]:
    plan.load(parents)
    return plan.settle_children([edge for edge in plan.edges_from(parents) if edge.state is EdgeState.OPEN])


def settled_gates(plan: Plan, ended: list[int]) -> list[int]:
    plan.load(ended)
    return plan.settle_gates(ended)


def checked_asker(plan: Plan, n: int) -> None:
    plan.load([n])
    revival.check_asker(plan, plan[n])


Case = tuple[Callable[..., Any], Callable[[], list[Any]]]
"""A command, and its arguments beside the plan, made anew."""

ALL = [*range(1, 23), 99]
EVENTS = (BodyEvent("progress", NOW, {"fraction": 0.5}),)
CASES: dict[str, Case] = {
    "enqueue": (commands.enqueue, lambda: [batch(), Numbers(), existing]),
    "enqueue from inside": (commands.enqueue, lambda: [batch(), Numbers(), existing, BY]),
    "enqueue refused": (commands.enqueue, lambda: [[*batch(), new("done")], Numbers(), existing]),
    "check_parent": (commands.check_parent, lambda: [BY]),
    "insert": (commands.insert, lambda: [new("x"), {"x": 100}, None]),
    "finish": (commands.finish, lambda: [ends(DONE, FATAL)]),
    "finish, broken": (commands.finish, lambda: [ends(FATAL, DONE)]),
    "finish, parked": (commands.finish, lambda: [ends(RELEASED, parked_on="running/q")]),
    "append_events": (commands.append_events, lambda: [[(1, 1, 7, EVENTS), (2, 1, 7, EVENTS)]]),
    "write_steps": (commands.write_steps, lambda: [[(1, 7, Keep(HELD, "x", b"1")), (1, 8, Forget(HELD, ""))]]),
    "start": (commands.start, lambda: [ALL, 8]),
    "promote": (commands.promote, lambda: [ALL]),
    "reap": (commands.reap, lambda: [[1, 20, 2, 99], [0.1, 0.2, 0.3, 0.4]]),
    "cancel": (commands.cancel, lambda: [ALL]),
    "cancel descendants": (commands.cancel, lambda: [[1, 2, 14], {"descendants": True}]),
    "give_up": (commands.give_up, lambda: [ALL, JobError("E", "no")]),
    "recount": (commands.recount, lambda: [ALL]),
    "set_waiting_place": (commands.set_waiting_place, lambda: [[2], WaitsFor.LIMIT]),
    "retry": (revival.retry, lambda: [8, {"fresh": True}]),
    "retry a gate": (revival.retry, lambda: [18]),
    "retry refused": (revival.retry, lambda: [9]),
    "ask": (gate_commands.ask, lambda: [BY, question("running/new"), Numbers()]),
    "ask again": (gate_commands.ask, lambda: [BY, question("running/old"), Numbers()]),
    "ask what is open": (gate_commands.ask, lambda: [BY, question("running/q"), Numbers()]),
    "open_again": (gate_commands.open_again, lambda: [18]),
    "open again refused": (gate_commands.open_again, lambda: [11]),
    "check_asker": (checked_asker, lambda: [18]),
    "answer": (gate_commands.answer, lambda: [11, Answer(job_id="running/q", created_at=0, value=b"\xc3")]),
    "reject": (gate_commands.answer, lambda: [21, Answer(job_id="open", created_at=0, reason="no")]),
    "answer refused": (gate_commands.answer, lambda: [16, Answer(job_id="done", created_at=0, value=b"\xc3")]),
    "end_due_gates": (gate_commands.end_due_gates, lambda: [ALL]),
    "settle_children": (settled_children, lambda: [[16, 8, 9]]),
    "settle_gates": (settled_gates, lambda: [[18, 8]]),
    "wait_again": (lambda plan: revival.retry(plan, 8), list),
}


def test_every_command_is_here() -> None:
    there = {
        name
        for module in (commands, gate_commands, revival)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }
    assert there <= set(CASES) | {function.__name__ for function, _ in CASES.values()}


class NotLoadedError(Exception):
    """What a backend raises for its own use."""


class Interrupted:
    """A view that raises when it is asked, unless ``answers`` lets the call through."""

    def __init__(self, rows: Rows, answers: Callable[[tuple[object, ...]], bool]) -> None:
        self._rows = rows
        self._answers = answers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._rows, name)

        def call(*arguments: Any) -> Any:
            if not self._answers((name, *map(str, arguments))):
                raise NotLoadedError
            return method(*arguments)

        return call


def rows() -> Rows:
    return Rows(JOBS, EDGES, GATES, submitted=SUBMITTED)


def run(view: View, case: str, arguments: list[Any], *, later: bool) -> object:
    """Run a command; return everything that it did, with the arguments as they are then."""
    function, _ = CASES[case]
    plan = Plan(view, NOW, leaves_dependents=later)
    positional = [value for value in arguments if not isinstance(value, dict) or "x" in value]
    named = next((value for value in arguments if isinstance(value, dict) and "x" not in value), {})
    try:
        result: object = function(plan, *positional, **cast("dict[str, Any]", named))
    except JobProcessorError as error:
        result = (type(error), str(error))
    return result, plan.take(), plan.events, plan.owed, plan.take_limits(), arguments


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_command_that_was_interrupted_at_any_read_does_the_same_when_it_is_run_again(case: str, later: bool) -> None:
    make = CASES[case][1]
    asked: list[tuple[object, ...]] = []

    def noted(call: tuple[object, ...]) -> bool:
        asked.append(call)
        return True

    direct = run(cast("View", Interrupted(rows(), noted)), case, make(), later=later)
    assert asked or case == "insert"
    for place in range(len(asked)):
        count = 0

        def until_then(_: tuple[object, ...], place: int = place) -> bool:
            nonlocal count
            count += 1
            return count <= place

        arguments = make()
        with pytest.raises(NotLoadedError):
            run(cast("View", Interrupted(rows(), until_then)), case, arguments, later=later)
        assert arguments == make()
        assert run(rows(), case, arguments, later=later) == direct


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_a_command_over_a_view_that_loads_what_it_lacks_does_what_it_does_over_all_rows(case: str, later: bool) -> None:
    loaded: set[tuple[object, ...]] = set()

    def is_loaded(call: tuple[object, ...]) -> bool:
        known = call in loaded
        loaded.add(call)
        return known

    arguments = CASES[case][1]()
    while True:
        before = len(loaded)
        try:
            done = run(cast("View", Interrupted(rows(), is_loaded)), case, arguments, later=later)
        except NotLoadedError:
            assert len(loaded) == before + 1
        else:
            break
    assert done == run(rows(), case, CASES[case][1](), later=later)


# -- dependents that are settled later


def states(plan: Plan) -> dict[int, JobState]:
    return {n: plan[n] for n in plan.changed}


@pytest.mark.parametrize(
    "case", ["finish", "finish, broken", "reap", "cancel", "give_up", "recount", "answer", "reject"]
)
def test_what_a_plan_leaves_to_its_backend_is_settled_job_by_job_to_the_same_end(case: str) -> None:
    function, make = CASES[case]
    at_once, later = Plan(rows(), NOW), Plan(rows(), NOW, leaves_dependents=True)
    for plan in (at_once, later):
        function(plan, *make())
    assert at_once.owed == []
    assert later.owed == [n for n in later.changed if later[n].status.terminal] != []
    done = 0
    while done < len(later.owed):  # which grows
        n = later.owed[done]
        done += 1
        later.settle_gates([n])
        for edge in later.edges_from([n]):
            if edge.state is EdgeState.OPEN:
                later.settle_children([edge])
    assert states(later) == states(at_once)
    assert {*later.changed_edges} == {*at_once.changed_edges}
    for n in at_once.changed:
        assert [event for m, event in later.events if m == n] == [event for m, event in at_once.events if m == n]


def test_a_plan_that_leaves_dependents_changes_none_of_them() -> None:
    plan = Plan(rows(), NOW, leaves_dependents=True)
    commands.finish(plan, ends(DONE, FATAL))
    assert list(plan.changed) == plan.owed == [1, 20]
    assert plan.changed_edges == {}


def test_an_edge_that_is_only_counted_changes_the_counts_alone() -> None:
    plan = Plan(rows(), NOW, leaves_dependents=True)
    commands.give_up(plan, [4], JobError("E", "no"))
    assert plan.settle_children([EdgeRow(4, 5, optional=True)]) == []
    assert plan[5] == replace(JOBS[4], open=1)
    plan.load([16])
    assert plan.settle_children([EdgeRow(16, 5, optional=True)]) == []
    assert plan[5] == replace(JOBS[4], open=0, met=1, waits_for=WaitsFor.WORKER)


def test_a_child_that_ends_because_of_an_edge_is_owed_itself() -> None:
    plan = Plan(rows(), NOW, leaves_dependents=True)
    commands.finish(plan, [(1, 7, AttemptEnd(HELD, FATAL))])
    assert plan.settle_children([EdgeRow(1, 3), EdgeRow(1, 5, optional=True)]) == [3]
    assert plan.owed == [1, 3]
    assert plan[3].status is JobStatus.SKIPPED
