"""Use the jobs of another process over HTTP, as ``jp.asgi_app(…)`` serves them. Needs the extra ``client``.

::

    async with JobsClient("https://example.org/jobs", token="…") as client:
        plot = await client.submit_job("comic:write_plot", "noir")
        page = await client.submit_job("comic:draw_page", plot)      # a handle as argument: its result is injected
        picture = await page                                         # survives a restart of the server

Results have the types of a handle in process, but records are plain dicts. Errors are those of the package.
"""

from __future__ import annotations

from asyncjobs.client.answers import ChangedJobs, Snapshot, Stats
from asyncjobs.client.handle import ClientHandle
from asyncjobs.client.jobs import JobsClient
from asyncjobs.client.streams import EventStream, Reset

__all__ = ["ChangedJobs", "ClientHandle", "EventStream", "JobsClient", "Reset", "Snapshot", "Stats"]
