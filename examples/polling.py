"""Ask for the status of jobs instead of listening: in this process, then over HTTP, as another program would.

Command: `python examples/polling.py` (with the extras `web` and `client`)
"""

from __future__ import annotations

import time

import anyio
import httpx

from asyncjobs import JobProcessor, current_job
from asyncjobs.client import JobsClient


def render(frames: int) -> str:
    job = current_job()
    for frame in range(frames):
        time.sleep(0.02)  # the work
        job.progress(frame + 1, frames, f"frame {frame + 1}")
    return f"{frames} frames"


async def main() -> None:
    async with JobProcessor("memory") as jp:
        job = await jp.submit_job(render, 60)
        while (report := await jp.poll_status(job.id)).status not in ("completed", "failed"):
            rest = "?" if report.remaining is None else f"{report.remaining:.1f} s"
            print(f"{report.percent or 0:3.0f} %  {report.message or '':10} {rest} left")
            await anyio.sleep(0.3)
        print(report.result)

        jobs = await jp.map_jobs(render, [10, 20, 30])
        http = httpx.AsyncClient(transport=httpx.ASGITransport(jp.asgi_app()))  # another program needs only the address
        async with http, JobsClient("http://localhost", http_client=http) as client:
            left = {job.id for job in jobs}
            while left:
                reports = await client.poll_batch(sorted(left))  # one request for all of them
                for job_id, report in reports.items():
                    if report is not None and report.status == "completed":
                        print(f"over HTTP: {await client.get_result(job_id)}, after {report.elapsed:.1f} s")
                        left.discard(job_id)
                await anyio.sleep(0.1)


if __name__ == "__main__":
    anyio.run(main)
