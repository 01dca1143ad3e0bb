"""Groups, and the graphs of groups and jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec.structs import replace
from starlette.responses import Response

from asyncjobs.exceptions import nearest
from asyncjobs.models import Edge, GroupProgress, Job, JobQuery, JobStatus
from asyncjobs.paging import take_jobs
from asyncjobs.web import views
from asyncjobs.web.call import Call
from asyncjobs.web.problems import WebError
from asyncjobs.web.render import render_group

if TYPE_CHECKING:
    from asyncjobs.processor import JobProcessor

_MOST_NODES = 2000
_PAGE = 500
_COMPARED = 50
_LONGEST_COMPARED = 64


async def list_groups(call: Call) -> Response:
    """A page of groups."""
    asked = call.query(views.ListGroups)
    groups = await call.jp.backend.list_groups(asked.after, asked.limit)
    following = groups[-1].group if len(groups) == asked.limit else None
    headers = {} if following is None else call.next_page(after=following)
    return call.json(views.GroupsView([render_group(call, group) for group in groups], following), headers=headers)


async def get_group(call: Call) -> Response:
    """How far a group is."""
    cursor = await call.jp.backend.last_cursor()  # before the counts: what happens meanwhile comes again in the stream
    group = render_group(call, await known_group(call.jp, call.param("group")))
    return call.json(replace(group, cursor=cursor))


async def known_group(jp: JobProcessor, name: str) -> GroupProgress:
    """A group that has jobs, else 404."""
    group = await jp.get_progress(name)
    if not group.total:
        near = nearest(name, await _groups_near(jp, name))
        raise WebError(
            404, "group-not-found", f"group {name!r} not found", hint=f"did you mean {near!r}?" if near else None
        )
    return group


async def _groups_near(jp: JobProcessor, name: str) -> list[str]:
    """Some names of groups: the first ones, and those that begin like this one."""
    if len(name) > _LONGEST_COMPARED:
        return []
    starts = (None, name[: len(name) // 2] or None)
    return [group.group for after in starts for group in await jp.backend.list_groups(after, _COMPARED)]


async def group_graph(call: Call) -> Response:
    """The jobs of a group and the edges among them."""
    asked = call.query(views.GroupGraph)
    name = call.param("group")
    await known_group(call.jp, name)
    most = 50_000 if asked.collapse else _MOST_NODES
    jobs, cut = await take_jobs(call.jp.find_jobs, JobQuery(group=name, limit=_PAGE), most)
    edges = await _edges(call, [job.id for job in jobs])
    return call.json(_collapsed(jobs, edges, cut) if asked.collapse else _graph(jobs, edges, cut))


async def _edges(call: Call, ids: list[str]) -> list[Edge]:
    edges: list[Edge] = []
    for start in range(0, len(ids), _PAGE):
        edges += await call.jp.backend.get_dependencies(ids[start : start + _PAGE])
    return edges


async def job_graph(call: Call) -> Response:
    """What a job waits for and what waits for it, ``depth`` steps both ways."""
    asked = call.query(views.Depth)
    job = await call.jp.get_job(call.param("id"))
    backend = call.jp.backend
    seen: dict[str, None] = {job.id: None}
    edges: dict[tuple[str, str], Edge] = {}
    cut = False
    for step in (backend.get_dependencies, backend.get_dependent_jobs):
        level: list[str] = [job.id]
        for _ in range(asked.depth):
            found = await step(level)
            level = []
            for edge in found:
                edges[edge.parent_id, edge.child_id] = edge
                for end in (edge.parent_id, edge.child_id):
                    if end not in seen and len(seen) < _MOST_NODES:
                        seen[end] = None
                        level.append(end)
                    elif end not in seen:
                        cut = True
            if not level:
                break
    jobs = list(await backend.get_jobs(list(seen)))
    return call.json(_graph(jobs, edges.values(), cut))


def _graph(jobs: list[Job], edges: Iterable[Edge], cut: bool) -> views.GraphView:
    ids = {job.id for job in jobs}
    return views.GraphView(
        [views.NodeView(job.id, job.func.rpartition(":")[2], job.status, 1, {job.status: 1}) for job in jobs],
        [
            views.EdgeView(edge.parent_id, edge.child_id, edge.optional, edge.state.name.lower())
            for edge in edges
            if edge.parent_id in ids and edge.child_id in ids
        ],
        cut,
    )


def _collapsed(jobs: list[Job], edges: Iterable[Edge], cut: bool) -> views.GraphView:
    functions = {job.id: job.func for job in jobs}
    counts: dict[str, Counter[JobStatus]] = {}
    for job in jobs:
        counts.setdefault(job.func, Counter())[job.status] += 1
    nodes = [
        views.NodeView(
            function,
            function.rpartition(":")[2],
            next(iter(of_status)) if len(of_status) == 1 else None,
            of_status.total(),
            dict(of_status),
        )
        for function, of_status in counts.items()
    ]
    pairs = {
        (functions[edge.parent_id], functions[edge.child_id]): edge.optional
        for edge in edges
        if edge.parent_id in functions and edge.child_id in functions
    }
    return views.GraphView(
        nodes, [views.EdgeView(parent, child, optional, None) for (parent, child), optional in pairs.items()], cut
    )
