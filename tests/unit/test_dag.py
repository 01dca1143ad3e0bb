"""JobDAG: dependencies as a graph, usable on its own."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asyncjobs import ConfigurationError, CyclicDependencyError, DuplicateJobError, JobNotFoundError
from asyncjobs.core.dag import JobDAG


def test_jobs_become_ready_as_their_dependencies_complete() -> None:
    dag = JobDAG()
    dag.add_job("plot")
    dag.add_job("page", ["plot", "ink"], metadata={"kind": "picture"})
    dag.add_job("ink")
    assert dag.get_ready_jobs() == ["plot", "ink"]
    assert dag.mark_completed("plot") == []
    assert dag.mark_completed("ink") == ["page"]
    assert dag.mark_completed("ink") == []
    assert dag.get_ready_jobs() == ["page"]
    assert dag.graph.nodes["page"]["kind"] == "picture"


def test_order_puts_dependencies_first_and_keeps_equals_as_they_came() -> None:
    dag = JobDAG()
    dag.add_jobs({"c": ["b"], "b": ["a"], "a": [], "z": [], "y": []})
    order = dag.topological_order()
    assert order.index("a") < order.index("b") < order.index("c")
    assert order.index("z") < order.index("y")
    assert (len(dag), "a" in dag, "q" in dag) == (5, True, False)


def test_neighbours_can_be_asked_for() -> None:
    dag = JobDAG()
    dag.add_jobs({"a": [], "b": ["a"], "c": ["a", "b"]})
    assert dag.get_dependent_jobs("a") == ["b", "c"]
    assert sorted(dag.get_dependencies("c")) == ["a", "b"]


@pytest.mark.parametrize("method", ["mark_completed", "get_dependent_jobs", "get_dependencies"])
def test_an_unknown_job_is_not_found(method: str) -> None:
    dag = JobDAG()
    dag.add_job("b", ["a"])  # "a" is named, and not added
    with pytest.raises(JobNotFoundError):
        getattr(dag, method)("a")


def test_a_job_is_added_once() -> None:
    dag = JobDAG()
    dag.add_job("a")
    with pytest.raises(DuplicateJobError):
        dag.add_jobs({"b": [], "a": []})
    assert "b" not in dag


@pytest.mark.parametrize(
    ("jobs", "path"),
    [
        ({"a": ["a"]}, ("a", "a")),
        ({"a": ["b"], "b": ["a"]}, ("a", "b", "a")),
        ({"x": [], "a": ["x", "c"], "b": ["a"], "c": ["x", "b"]}, ("a", "b", "c", "a")),
    ],
)
def test_a_cycle_is_refused_with_its_path_and_nothing_is_added(
    jobs: dict[str, list[str]], path: tuple[str, ...]
) -> None:
    dag = JobDAG()
    with pytest.raises(CyclicDependencyError) as refused:
        dag.add_jobs(jobs)
    assert refused.value.path == path
    assert len(dag) == 0
    assert not dag.graph


def test_a_cycle_is_found_through_a_job_that_was_named_before() -> None:
    dag = JobDAG()
    dag.add_job("b", ["a"])
    dag.add_job("c", ["b"])
    with pytest.raises(CyclicDependencyError) as refused:
        dag.add_job("a", ["c"])
    assert set(refused.value.path) == {"a", "b", "c"}
    dag.add_job("a")
    assert dag.topological_order() == ["a", "b", "c"]


def test_what_is_discarded_leaves_nothing_behind() -> None:
    dag = JobDAG()
    dag.add_job("b", ["a"])
    dag.add_job("c", ["a", "b"])
    dag.discard("nobody")
    dag.discard("c")
    assert sorted(dag.graph) == ["a", "b"]
    dag.discard("b")
    assert not dag.graph  # "a" was only named, and by nobody any more


def test_networkx_is_not_imported_before_a_graph_is_made() -> None:
    code = (
        "import sys, asyncjobs.core.dag as d; assert 'networkx' not in sys.modules; "
        "d.JobDAG(); print('networkx' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True"


@settings(deadline=None)  # a busy machine breaks no rule
@given(st.lists(st.lists(st.integers(0, 14), max_size=4), min_size=1, max_size=15), st.randoms())
def test_it_agrees_with_a_naive_graph(parents: list[list[int]], random: object) -> None:
    """Nodes in any order, edges anywhere: accepted exactly when repeated peeling leaves nothing."""
    jobs = {str(i): [str(p) for p in ps if p < len(parents)] for i, ps in enumerate(parents)}
    left = {job: set(above) for job, above in jobs.items()}
    while ready := [job for job, above in left.items() if not above & left.keys()]:
        for job in ready:
            del left[job]
    dag = JobDAG()
    if left:
        with pytest.raises(CyclicDependencyError) as refused:
            dag.add_jobs(jobs)
        path = refused.value.path
        assert path[0] == path[-1]
        assert all(above in jobs[below] for above, below in itertools.pairwise(path))
        return
    dag.add_jobs(jobs)
    done: set[str] = set()
    for job in dag.topological_order():
        assert set(jobs[job]) <= done
        assert job in dag.get_ready_jobs()
        released = dag.mark_completed(job)
        done.add(job)
        assert set(released) == {j for j in jobs if j not in done and job in jobs[j] and set(jobs[j]) <= done}
    assert done == set(jobs)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"dependencies": ["a"]}, "JobDAG.add_job has no parameter 'dependencies'"),
        ({"depends_on": 5}, "depends_on cannot be 5"),
        ({"depends_on": [None]}, "depends_on cannot be None"),
        ({"depends_on": ""}, "depends_on cannot be ''"),
        ({"metadata": ["x"]}, "metadata cannot be ['x']"),
    ],
)
def test_what_cannot_be_added_is_refused_and_nothing_is(arguments: Any, problem: str) -> None:
    dag = JobDAG()
    with pytest.raises(ConfigurationError) as caught:
        dag.add_job("b", **arguments)
    assert str(caught.value.args[0]).startswith(problem)
    assert "depends_on" in str(caught.value) or "metadata" in str(caught.value)
    assert len(dag) == 0
    assert list(dag.graph) == []


def test_one_id_is_one_dependency_and_not_its_characters() -> None:
    dag = JobDAG()
    dag.add_job("plot")
    dag.add_job("page", "plot")
    dag.add_jobs({"cover": "page"})
    assert dag.get_dependencies("page") == ["plot"]
    assert dag.get_dependencies("cover") == ["page"]
    with pytest.raises(ConfigurationError, match="job_id"):
        dag.add_job(None)
