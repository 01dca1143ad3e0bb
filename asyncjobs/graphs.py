"""Read the graph of a group, or the part of a graph around a job, for the web app and the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from asyncjobs.models import Edge, Job
from asyncjobs.paging import take_jobs
from asyncjobs.requests import JobQuery

if TYPE_CHECKING:
    from asyncjobs.processor import JobProcessor

MOST_NODES = 2000
"""The most jobs of a graph that is shown job by job."""
_PAGE = 500


class Graph:
    """Jobs and the edges between them. ``cut``: the graph has more jobs than the limit."""

    def __init__(self, jobs: Iterable[Job], edges: Iterable[Edge], *, cut: bool) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.edges = [edge for edge in edges if edge.parent_id in self.jobs and edge.child_id in self.jobs]
        self.cut = cut


async def read_group_graph(jp: JobProcessor, group: str, most: int = MOST_NODES) -> Graph:
    """Read the jobs of a group, at most ``most``, and the edges between them."""
    jobs, cut = await take_jobs(jp.find_jobs, JobQuery(group=group, limit=_PAGE), most)
    edges: list[Edge] = []
    for start in range(0, len(jobs), _PAGE):
        edges += await jp.backend.get_dependencies([job.id for job in jobs[start : start + _PAGE]])
    return Graph(jobs, edges, cut=cut)


async def read_job_graph(jp: JobProcessor, job_id: str, depth: int, most: int = MOST_NODES) -> Graph:
    """Read the ancestors and descendants of a job, ``depth`` steps in each direction, at most ``most`` jobs."""
    seen: dict[str, None] = {job_id: None}
    edges: dict[tuple[str, str], Edge] = {}
    cut = False
    for step in (jp.backend.get_dependencies, jp.backend.get_dependent_jobs):
        level = [job_id]
        for _ in range(depth):
            found = await step(level)
            edges |= {(edge.parent_id, edge.child_id): edge for edge in found}
            ends = dict.fromkeys(end for edge in found for end in (edge.parent_id, edge.child_id) if end not in seen)
            level = list(ends)[: most - len(seen)]
            cut = cut or len(level) < len(ends)
            seen |= dict.fromkeys(level)
            if not level:
                break
    return Graph(await jp.backend.get_jobs(list(seen)), edges.values(), cut=cut)
