"""Write the paths of jobs and groups, as the server has them."""

from __future__ import annotations

from urllib.parse import quote

from asyncjobs.client.submission import checked_name


def job_path(job_id: str) -> str:
    """Return the path of a job."""
    return f"/v1/jobs/{_segment(checked_name('job_id', job_id))}"


def group_path(group: str) -> str:
    """Return the path of a group."""
    return f"/v1/groups/{_segment(checked_name('group', group))}"


def _segment(name: str) -> str:
    # "." and ".." have a meaning in paths, also for proxies.
    return quote(name, safe="") if name.strip(".") else name.replace(".", "%2E")
