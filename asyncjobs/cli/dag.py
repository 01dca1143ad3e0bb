"""``asyncjobs dag``: draw the graph of jobs, as a tree or for other programs."""

from __future__ import annotations

from collections import Counter

import click

from asyncjobs.cli.context import Context, command
from asyncjobs.cli.groups import known
from asyncjobs.cli.main import Named
from asyncjobs.cli.output import Output, printable
from asyncjobs.graphs import Graph, read_group_graph, read_job_graph
from asyncjobs.models import Job, JobStatus
from asyncjobs.plurals import counted

_COLOURS = {
    JobStatus.PENDING: "lightgrey",
    JobStatus.IN_PROGRESS: "lightblue",
    JobStatus.COMPLETED: "palegreen",
    JobStatus.FAILED: "salmon",
    JobStatus.CANCELLED: "khaki",
    JobStatus.SKIPPED: "khaki",
}


class Drawing:
    """A graph with the neighbours of each job."""

    def __init__(self, graph: Graph) -> None:
        self.jobs = graph.jobs
        self.children: dict[str, list[str]] = {job_id: [] for job_id in graph.jobs}
        self.parents: dict[str, list[str]] = {job_id: [] for job_id in graph.jobs}
        for edge in graph.edges:
            self.children[edge.parent_id].append(edge.child_id)
            self.parents[edge.child_id].append(edge.parent_id)


@click.group(cls=Named)
def dag() -> None:
    """Draw the graph of jobs."""


@dag.command()
@click.argument("name", metavar="GROUP|JOB")
@click.option(
    "--format", "form", type=click.Choice(["tree", "dot", "mermaid", "json"]), default="tree", show_default=True
)
@click.option(
    "--depth", type=click.IntRange(1, 50), default=3, show_default=True, help="Around a job: steps in each direction."
)
@click.option("--expand", is_flag=True, help="Show every job by itself; similar jobs are merged by default.")
@command
async def show(context: Context, name: str, form: str, depth: int, expand: bool) -> None:
    """Draw the graph of a group, or the part of it around a job."""
    async with context.store() as jp:
        if (await jp.get_progress(name)).total:
            graph = await read_group_graph(jp, name)
        elif await jp.backend.find_ids(name, 1):
            graph = await read_job_graph(jp, await context.job_id(jp, name), depth)
        else:
            await known(jp, name)
            return
    out = context.out
    if out.json or form == "json":
        out.data(
            {
                "nodes": [{"id": j.id, "function": j.func, "status": j.status} for j in graph.jobs.values()],
                "edges": [{"parent": e.parent_id, "child": e.child_id, "optional": e.optional} for e in graph.edges],
                "cut": graph.cut,
            }
        )
    elif form == "dot":
        out.text(_dot(graph))
    elif form == "mermaid":
        out.text(_mermaid(graph))
    else:
        for line in _tree(out, Drawing(graph), expand=expand):
            out.text(line)
        dependencies = counted(len(graph.edges), "dependency", "dependencies")
        out.note(f"{counted(len(graph.jobs), 'job')}, {dependencies}" + (", cut" if graph.cut else ""))


def _tree(out: Output, graph: Drawing, *, expand: bool) -> list[str]:
    """Return the lines of a tree: each job under the last of its parents, similar jobs on one line."""
    lines: list[str] = []
    done: set[str] = set()

    def bundles(ids: list[str]) -> list[list[str]]:
        if expand:
            return [[job_id] for job_id in ids]
        alike: dict[tuple[str, frozenset[str]], list[str]] = {}
        for job_id in ids:
            alike.setdefault((graph.jobs[job_id].func, frozenset(graph.parents[job_id])), []).append(job_id)
        return list(alike.values())

    # Not recursive: a chain may be longer than the interpreter's stack.
    roots = [job_id for job_id in graph.jobs if not graph.parents[job_id]]
    stack = [(bundle, "", "") for bundle in reversed(bundles(roots))]
    while stack:
        bundle, lead, below = stack.pop()
        fresh = [job_id for job_id in bundle if job_id not in done]
        if not fresh:
            continue
        done.update(fresh)
        lines.append(lead + _label(out, graph, fresh))
        ids = list(dict.fromkeys(child for job_id in fresh for child in graph.children[job_id] if child not in done))
        # Under the last of its parents, so that all of its dependencies are above it.
        ids = [child for child in ids if all(parent in done for parent in graph.parents[child])]
        parts = bundles(ids)
        last, more = (out.glyph("└─ ", "`- "), out.glyph("├─ ", "|- "))
        for i, part in reversed(list(enumerate(parts))):
            final = i == len(parts) - 1
            stack.append(
                (part, below + (last if final else more), below + ("   " if final else out.glyph("│  ", "|  ")))
            )
    return lines


def _label(out: Output, graph: Drawing, ids: list[str]) -> str:
    jobs = [graph.jobs[job_id] for job_id in ids]
    needs = sorted({parent for job_id in ids for parent in graph.parents[job_id]})
    also = f"  needs {len(needs)}" if len(needs) > 1 else ""
    if len(jobs) == 1:
        return f"{out.status(jobs[0].status)} {_name(jobs[0])} {printable(jobs[0].id)}{also}"
    counts = Counter(job.status for job in jobs)
    marks = "  ".join(f"{out.status(status)} {count}" for status, count in sorted(counts.items()))
    return f"{_name(jobs[0])} {out.glyph('×', 'x')}{len(jobs)}  {marks}{also}"


def _name(job: Job) -> str:
    """Return the name of the function of a job, as in lists: its id may be nothing that a reader knows."""
    return printable(job.func.rpartition(":")[2])


def _dot(graph: Graph) -> str:
    lines = ["digraph jobs {", "  rankdir=LR; node [shape=box, style=filled, fontname=sans];"]
    labels = {job.id: _quoted(f"{_name(job)} {job.id}") for job in graph.jobs.values()}
    lines += [f"  {_quoted(j.id)} [label={labels[j.id]}, fillcolor={_COLOURS[j.status]}];" for j in graph.jobs.values()]
    lines += [
        f"  {_quoted(e.parent_id)} -> {_quoted(e.child_id)}{' [style=dashed]' if e.optional else ''};"
        for e in graph.edges
    ]
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _mermaid(graph: Graph) -> str:
    numbers = {job_id: f"n{i}" for i, job_id in enumerate(graph.jobs)}
    lines = ["flowchart LR"]
    labels = {job.id: _entity(f"{_name(job)} {job.id}") for job in graph.jobs.values()}
    lines += [f'  {numbers[j.id]}["{labels[j.id]}"]:::{j.status}' for j in graph.jobs.values()]
    lines += [f"  {numbers[e.parent_id]} {'-.->' if e.optional else '-->'} {numbers[e.child_id]}" for e in graph.edges]
    lines += [f"  classDef {status} fill:{colour}" for status, colour in _COLOURS.items()]
    return "\n".join(lines)


def _entity(text: str) -> str:
    return printable(text).replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
