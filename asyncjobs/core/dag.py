"""Keep dependencies as a ``networkx.DiGraph``: ``JobDAG`` is usable on its own.

Nodes are job ids, edges run from a dependency to its dependents. Adding a job costs only its own edges: a new node can
close a cycle only through dependents that were named before it was added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from asyncjobs.checks import CheckedArguments
from asyncjobs.exceptions import ConfigurationError, CyclicDependencyError, DuplicateJobError, JobNotFoundError

if TYPE_CHECKING:
    from networkx import DiGraph


_LISTS: frozenset[type] = frozenset({list, tuple})
_TEXT: frozenset[type] = frozenset({str})


class JobDAG(CheckedArguments):
    """A directed acyclic graph of jobs.

    ::

        dag = JobDAG()
        dag.add_job("plot")
        dag.add_job("pages", depends_on=["plot"])
        dag.mark_completed("plot")
        print(dag.get_ready_jobs())

    A dependency may be named before it is added; it then holds its dependents back until it is added and completed.
    Not thread-safe.
    """

    def __init__(self) -> None:
        import networkx  # deferred: it takes longer to import than all of this package

        self._graph: DiGraph[str] = networkx.DiGraph()
        self._added: set[str] = set()
        self._completed: set[str] = set()

    @property
    def graph(self) -> DiGraph[str]:
        """Return the graph itself, for reading only."""
        return self._graph

    def __len__(self) -> int:
        return len(self._added)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._added

    def add_job(
        self,
        job_id: str,
        depends_on: Iterable[str] = (),
        *,
        metadata: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        """Add a job that waits for all of ``depends_on``, one id or several.

        :param metadata: kept on its node of ``graph``, as the attributes of these names.
        :raises CyclicDependencyError: the job would wait for itself; the graph is unchanged.
        :raises DuplicateJobError: the job was added before.
        :raises ConfigurationError: an id is not a string, or an argument is unknown.
        """
        if unknown:
            name, value = next(iter(unknown.items()))
            problem, hint = (
                f"JobDAG.add_job has no parameter {name!r}",
                "its parameters are job_id, depends_on, metadata",
            )
            raise ConfigurationError(f"add_job({name})", value, problem=problem, hint=hint)
        if metadata is not None and not isinstance(metadata, Mapping):
            raise ConfigurationError("metadata", metadata, allowed="a dict, or None")
        self.add_jobs({job_id: depends_on})
        self._graph.nodes[job_id].update(metadata or {})

    def add_jobs(self, jobs: Mapping[str, Iterable[str]]) -> None:
        """Add a batch whose members may refer to each other in any order: all or nothing.

        :raises CyclicDependencyError: with the path of one cycle. DuplicateJobError: an id was added before.
        """
        batch = {_id("job_id", job_id): _ids(parents) for job_id, parents in jobs.items()}
        for job_id in batch:
            if job_id in self._added:
                raise DuplicateJobError(job_id)
        cycle = self._cycle(batch)
        if cycle is not None:
            raise CyclicDependencyError(cycle)
        for job_id, parents in batch.items():
            self._graph.add_node(job_id)
            self._graph.add_edges_from((parent, job_id) for parent in parents)
        self._added.update(batch)

    def _cycle(self, batch: Mapping[str, tuple[str, ...]]) -> list[str] | None:
        # Older jobs can lead back to the batch only if one of its members was named before it was added.
        if any(job_id in self._graph for job_id in batch):
            return find_cycle(batch, lambda job_id: self._graph.predecessors(job_id) if job_id in self._graph else ())
        return find_cycle(batch)

    def mark_completed(self, job_id: str) -> list[str]:
        """Mark a job as completed, and return the dependents that it made ready. A second call returns none.

        :raises JobNotFoundError: it was never added.
        """
        self._known(job_id)
        if job_id in self._completed:
            return []
        self._completed.add(job_id)
        return [child for child in self._graph.successors(job_id) if self._ready(child)]

    def discard(self, job_id: str) -> None:
        """Remove a job and its edges; an unknown one is ignored."""
        if job_id not in self._graph:
            return
        parents = list(self._graph.predecessors(job_id))
        self._graph.remove_node(job_id)
        self._added.discard(job_id)
        self._completed.discard(job_id)
        for parent in parents:  # a dependency that was named but never added, and is no longer named
            if parent not in self._added and not self._graph.out_degree(parent):
                self._graph.remove_node(parent)

    def get_ready_jobs(self) -> list[str]:
        """Return the jobs that are not completed but whose dependencies all are, in the order of their nodes."""
        return [job_id for job_id in self._graph if self._ready(job_id)]

    def get_dependent_jobs(self, job_id: str) -> list[str]:
        """Return the jobs that directly depend on this one.

        :raises JobNotFoundError: it was never added.
        """
        self._known(job_id)
        return list(self._graph.successors(job_id))

    def get_dependencies(self, job_id: str) -> list[str]:
        """Return the jobs that this one directly depends on.

        :raises JobNotFoundError: it was never added.
        """
        self._known(job_id)
        return list(self._graph.predecessors(job_id))

    def topological_order(self) -> list[str]:
        """Return every added job, dependencies before dependents; among equals, as they were added."""
        import networkx

        rank = {job_id: i for i, job_id in enumerate(self._graph)}
        order = networkx.lexicographical_topological_sort(self._graph, key=rank.__getitem__)
        return [job_id for job_id in order if job_id in self._added]

    def _ready(self, job_id: str) -> bool:
        if job_id not in self._added or job_id in self._completed:
            return False
        return all(parent in self._completed for parent in self._graph.predecessors(job_id))

    def _known(self, job_id: str) -> None:
        if job_id not in self._added:
            raise JobNotFoundError(job_id)


def find_cycle(
    batch: Mapping[str, Iterable[str]], older: Callable[[str], Iterable[str]] = lambda _: ()
) -> list[str] | None:
    """Find a cycle that a batch would close, as a path along the edges that ends where it begins.

    :param batch: the dependencies of each member.
    :param older: returns the dependencies of a job that is no member. Default: none has any.
    """

    def parents_of(job_id: str) -> Iterable[str]:
        return batch[job_id] if job_id in batch else older(job_id)

    done: set[str] = set()
    for root in batch:
        if root in done:
            continue
        path: dict[str, None] = {root: None}
        stack = [(root, iter(parents_of(root)))]
        while stack:
            node, parents = stack[-1]
            for parent in parents:
                if parent in path:
                    nodes = list(path)
                    return [*nodes[nodes.index(parent) :], parent][::-1]
                if parent not in done:
                    path[parent] = None
                    stack.append((parent, iter(parents_of(parent))))
                    break
            else:
                stack.pop()
                del path[node]
                done.add(node)
    return None


def _id(field: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(field, value, allowed="the id of a job")
    return value


def _ids(depends_on: object) -> tuple[str, ...]:
    """Return each id once. A single id is not mistaken for a series of characters."""
    if type(depends_on) in _LISTS:
        ids = cast("list[object]", depends_on)
        if set(map(type, ids)) <= _TEXT and all(ids):  # always so if the engine calls
            return tuple(dict.fromkeys(cast("list[str]", ids)))
    if isinstance(depends_on, str):
        return (_id("depends_on", depends_on),)
    if not isinstance(depends_on, Iterable):
        raise ConfigurationError("depends_on", depends_on, allowed="ids of jobs")
    return tuple(dict.fromkeys(_id("depends_on", one) for one in cast("Iterable[object]", depends_on)))
