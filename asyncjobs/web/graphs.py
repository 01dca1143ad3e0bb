"""Handle requests for groups, and for the graphs of groups and jobs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from msgspec.structs import replace
from starlette.responses import Response

from asyncjobs.graphs import Graph, read_group_graph, read_job_graph
from asyncjobs.models import GroupProgress, JobStatus
from asyncjobs.spellings import nearest
from asyncjobs.web import requests, views
from asyncjobs.web.call import Call
from asyncjobs.web.problems import WebError
from asyncjobs.web.render import render_group

if TYPE_CHECKING:
    from asyncjobs.processor import JobProcessor

_MOST_COLLAPSED = 50_000
"""Jobs of a graph that is shown function by function."""
_COMPARED = 50
_LONGEST_COMPARED = 64


async def list_groups(call: Call) -> Response:
    """Return a page of groups."""
    asked = call.query(requests.ListGroups)
    groups = await call.jp.backend.list_groups(asked.after, asked.limit)
    following = groups[-1].group if len(groups) == asked.limit else None
    headers = {} if following is None else call.next_page(after=following)
    return call.json(views.GroupsView([render_group(call, group) for group in groups], following), headers=headers)


async def get_group(call: Call) -> Response:
    """Return the progress of a group."""
    cursor = await call.jp.backend.last_cursor()  # read before the counts: no event is missed
    group = render_group(call, await known_group(call.jp, call.param("group")))
    return call.json(replace(group, cursor=cursor))


async def known_group(jp: JobProcessor, name: str) -> GroupProgress:
    """Return the progress of a group that has jobs.

    :raises WebError: 404, no job is in the group; the hint names the nearest group.
    """
    group = await jp.get_progress(name)
    if not group.total:
        near = nearest(name, await _groups_near(jp, name))
        raise WebError(
            404, "group-not-found", f"group {name!r} not found", hint=f"did you mean {near!r}?" if near else None
        )
    return group


async def _groups_near(jp: JobProcessor, name: str) -> list[str]:
    """Return some names of groups: the first ones, and those with a similar prefix."""
    if len(name) > _LONGEST_COMPARED:
        return []
    starts = (None, name[: len(name) // 2] or None)
    return [group.group for after in starts for group in await jp.backend.list_groups(after, _COMPARED)]


async def group_graph(call: Call) -> Response:
    """Return the jobs of a group and the edges between them."""
    asked = call.query(requests.GroupGraph)
    name = call.param("group")
    await known_group(call.jp, name)
    if asked.collapse:
        return call.json(_collapsed(await read_group_graph(call.jp, name, _MOST_COLLAPSED)))
    return call.json(_graph(await read_group_graph(call.jp, name)))


async def job_graph(call: Call) -> Response:
    """Return the graph around a job, ``depth`` steps in each direction."""
    asked = call.query(requests.Depth)
    job = await call.jp.get_job(call.param("id"))
    return call.json(_graph(await read_job_graph(call.jp, job.id, asked.depth)))


def _graph(graph: Graph) -> views.GraphView:
    return views.GraphView(
        [
            views.NodeView(job.id, job.func.rpartition(":")[2], job.status, 1, {job.status: 1})
            for job in graph.jobs.values()
        ],
        [views.EdgeView(edge.parent_id, edge.child_id, edge.optional, edge.state.name.lower()) for edge in graph.edges],
        graph.cut,
    )


def _collapsed(graph: Graph) -> views.GraphView:
    functions = {job_id: job.func for job_id, job in graph.jobs.items()}
    counts: dict[str, Counter[JobStatus]] = {}
    for job in graph.jobs.values():
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
    pairs = {(functions[edge.parent_id], functions[edge.child_id]): edge.optional for edge in graph.edges}
    return views.GraphView(
        nodes, [views.EdgeView(parent, child, optional, None) for (parent, child), optional in pairs.items()], graph.cut
    )
