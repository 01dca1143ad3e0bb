"""Groups, their graphs, and everything that is not about one job: numbers, workers, the snapshot, health."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest

from asyncjobs import JobProcessor, JobQuery, JobStatus, MemoryBackend
from asyncjobs.backends.base import ClaimRequest, NewWorker
from asyncjobs.client import JobsClient
from asyncjobs.exceptions import BackendConnectionError
from asyncjobs.testing.faults import FaultyBackend
from tests.runtime.support import Held
from tests.web.bodies import add, fail, named
from tests.web.sites import PARSERS, Site, problem, site
from tests.web.support import PATIENCE, serving

pytestmark = pytest.mark.anyio


async def a_movie(here: Site, group: str = "noir-7") -> None:
    """A plot, three panels that need it, a page that needs them; nothing runs."""
    await here.jp.submit_job(fail, "plot", job_id=f"{group}/plot", group=group)
    for i in range(3):
        await here.jp.submit_job(add, i, job_id=f"{group}/panel{i}", group=group, depends_on=f"{group}/plot")
    panels = [here.jp.optional(f"{group}/panel0"), f"{group}/panel1"]
    await here.jp.submit_job(add, 9, job_id=f"{group}/page", group=group, depends_on=panels)


# -- groups


async def test_a_group_says_how_far_it_is() -> None:
    async with site(works=False) as here:
        await a_movie(here)
        await here.jp.cancel_job("noir-7/panel2")
        answer = await here.get("/v1/groups/noir-7")
        assert answer.status_code == 200
        group = answer.json()
        links = group.pop("links")
        assert group.pop("cursor") == await here.jp.backend.last_cursor()  # a stream goes on from there
        assert group == {
            "group": "noir-7",
            "total": 5,
            "completed": 0,
            "unfinished": 4,
            "percent": 0.0,
            "counts": {"pending": 4, "cancelled": 1},
        }
        assert links["self"] == "/v1/groups/noir-7"
        assert (await here.get(links["graph"])).status_code == 200


async def test_groups_come_in_pages_by_name() -> None:
    async with site(works=False) as here:
        for name in ("b", "a", "ä/?&", "c"):
            await here.jp.submit_job(add, 1, group=name)
        seen: list[dict[str, Any]] = []
        url = httpx.URL(here.url + "/v1/groups?limit=2")
        while True:
            answer = await here.get(str(url))
            page = answer.json()
            assert len(page["items"]) <= 2
            seen += page["items"]
            assert ("link" in answer.headers) == (page["next"] is not None)
            if page["next"] is None:
                break
            link = answer.headers["link"]
            url = url.join(link[1 : link.index(">")])
        assert [group["group"] for group in seen] == ["a", "b", "c", "ä/?&"]
        for group in seen:
            alone = (await here.get(group["links"]["self"])).json()
            assert alone | {"cursor": None} == group


async def test_a_group_without_jobs_is_not_found_and_the_nearest_one_named() -> None:
    async with site(works=False) as here:
        await a_movie(here)
        for path in ("/v1/groups/noir7", "/v1/groups/noir7/graph", "/v1/groups/noir7/events?once=1"):
            assert problem(await here.get(path), 404, "group-not-found")["hint"] == "did you mean 'noir-7'?"
        assert "hint" not in problem(await here.get("/v1/groups/something-else-altogether"), 404, "group-not-found")


async def test_the_graph_of_a_group() -> None:
    async with site(works=False) as here:
        await a_movie(here)
        await here.jp.submit_job(add, 1, job_id="outside", depends_on="noir-7/page")
        graph = (await here.get("/v1/groups/noir-7/graph")).json()
        assert {node["id"]: node["label"] for node in graph["nodes"]} == {
            "noir-7/plot": "fail",
            "noir-7/panel0": "add",
            "noir-7/panel1": "add",
            "noir-7/panel2": "add",
            "noir-7/page": "add",
        }
        assert {(edge["parent"][7:], edge["child"][7:], edge["optional"]) for edge in graph["edges"]} == {
            ("plot", "panel0", False),
            ("plot", "panel1", False),
            ("plot", "panel2", False),
            ("panel0", "page", True),
            ("panel1", "page", False),
        }
        assert graph["cut"] is False


async def test_the_graph_of_a_group_with_one_node_for_each_function() -> None:
    async with site(works=False) as here:
        await a_movie(here)
        await here.jp.cancel_job("noir-7/panel2")
        graph = (await here.get("/v1/groups/noir-7/graph?collapse=function")).json()
        nodes = {node["label"]: (node["jobs"], node["status"], node["counts"]) for node in graph["nodes"]}
        assert nodes == {"fail": (1, "pending", {"pending": 1}), "add": (4, None, {"pending": 3, "cancelled": 1})}
        assert {(edge["parent"], edge["child"]) for edge in graph["edges"]} == {
            (named(fail), named(add)),
            (named(add), named(add)),
        }


async def test_a_graph_that_is_too_large_says_that_it_is_cut() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="root", group="g")
        await here.jp.map_jobs(add, range(2100), group="g", depends_on="root")
        for path in ("/v1/groups/g/graph", "/v1/jobs/root/graph"):
            graph = (await here.get(path)).json()
            assert graph["cut"] is True
            assert len(graph["nodes"]) == 2000
            ids = {node["id"] for node in graph["nodes"]}
            assert all({edge["parent"], edge["child"]} <= ids for edge in graph["edges"])
        collapsed = (await here.get("/v1/groups/g/graph?collapse=function")).json()
        assert collapsed["cut"] is False
        assert [node["jobs"] for node in collapsed["nodes"]] == [2101]


# -- numbers


async def test_numbers_of_jobs_and_workers() -> None:
    held = Held()
    async with site() as here:
        await here.jp.submit_job(held.body, local=True)
        await held.started.wait()
        await here.jp.submit_job(add, 1, delay=1000)
        stats = (await here.get("/v1/stats")).json()
        assert stats["counts"] == {"pending": 1, "in_progress": 1}
        assert (stats["total"], stats["workers"], stats["streams"]) == (2, 1, 0)
        (worker,) = (await here.get("/v1/workers")).json()["items"]
        assert worker["alive"] is True
        assert stats["slots"] == worker["slots"]
        assert stats["running"] == worker["running"] == 1
        held.go.open()


async def test_an_etag_of_the_numbers_changes_with_jobs_and_with_workers() -> None:
    backend = MemoryBackend()
    async with site(works=False, backend=backend) as here:
        for path in ("/v1/stats", "/v1/snapshot"):
            first = await here.get(path)
            etag = first.headers["etag"]
            assert (await here.get(path, headers={"If-None-Match": etag})).status_code == 304
            await here.jp.submit_job(add, 1)
            second = await here.get(path, headers={"If-None-Match": etag})
            assert second.status_code == 200
            worker = await backend.register_worker(NewWorker(name="w", slots=3))
            third = await here.get(path, headers={"If-None-Match": second.headers["etag"]})
            assert third.status_code == 200
            assert worker in third.text or path == "/v1/stats"


@pytest.mark.parametrize("path", ["/v1/stats", "/v1/snapshot"])
async def test_an_etag_of_the_numbers_changes_when_jobs_are_removed(path: str) -> None:
    async with site(works=False) as here:
        for _ in range(3):
            await here.jp.cancel_job(await here.jp.submit_job(add, 1))
        for job in [job.id for job in await here.jp.find_jobs(JobQuery())]:
            etag = (await here.get(path)).headers["etag"]
            assert (await here.get(path, headers={"If-None-Match": etag})).status_code == 304
            await here.jp.remove_jobs(job)
            assert (await here.get(path, headers={"If-None-Match": etag})).status_code == 200


# -- the snapshot


@pytest.mark.parametrize("http", PARSERS)
async def test_a_snapshot_and_the_stream_after_it_tell_everything(http: str) -> None:
    """Whenever the snapshot is taken: what it does not show yet comes in the stream."""
    async with site(add, http=http) as here:
        ids = [f"j{i}" for i in range(60)]
        statuses: dict[str, str] = {}

        async def watch() -> None:
            snapshot = (await here.get("/v1/snapshot")).json()
            assert snapshot["cursor"] == snapshot["stats"]["cursor"]
            for job in snapshot["jobs"]:
                statuses[job["id"]] = job["status"]
            url = f"/v1/events?after={snapshot['cursor']}"
            headers = {"Accept": "application/x-ndjson"}
            async with here.http.stream("GET", url, headers=headers) as answer:
                async for line in answer.aiter_lines():
                    if line.strip():
                        event = json.loads(line)
                        if event.get("status"):
                            statuses[event["job_id"]] = event["status"]
                    if len(statuses) == len(ids) and set(statuses.values()) == {"completed"}:
                        return

        async with anyio.create_task_group() as tasks:
            for i, job_id in enumerate(ids):
                await here.jp.submit_job(add, i, job_id=job_id, group="g")
                if i == len(ids) // 2:
                    tasks.start_soon(watch)
            with anyio.fail_after(PATIENCE):
                await here.jp.drain()
        assert statuses == dict.fromkeys(ids, "completed")


async def test_what_a_snapshot_shows() -> None:
    async with site(works=False) as here:
        await a_movie(here)
        snapshot = (await here.get("/v1/snapshot")).json()
        assert [job["id"][7:] for job in snapshot["jobs"]] == ["page", "panel2", "panel1", "panel0", "plot"]
        assert [group["group"] for group in snapshot["groups"]] == ["noir-7"]
        assert snapshot["stats"]["total"] == 5
        assert snapshot["workers"] == []


# -- the entry, health


async def test_the_entry_leads_everywhere() -> None:
    async with site() as here:
        for path in ("/", "/v1", "/v1/"):
            entry = (await here.get(path)).json()
            assert entry["name"] == "asyncjobs"
        for name, link in entry["links"].items():
            if name != "events":
                assert (await here.get(link)).status_code == 200, name


async def test_health_is_open_to_everybody() -> None:
    async with site(auth="a-token-that-is-long-enough") as here:
        for path in ("/healthz", "/readyz"):
            answer = await here.get(path)
            assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        problem(await here.get("/v1/stats"), 401, "unauthorized")


async def test_it_is_ready_without_a_worker_and_lists_those_that_are_known() -> None:
    async with site(works=False) as here:
        ready = await here.get("/readyz")
        assert (ready.status_code, ready.json()["details"]) == (200, {"workers": []})
        worker = await here.jp.backend.register_worker(NewWorker(name="w", slots=1))
        ready = await here.get("/readyz")
        assert (ready.status_code, ready.json()["details"]) == (
            200,
            {"workers": [{"id": worker, "name": "w", "alive": True}]},
        )


async def test_a_job_whose_worker_is_dead_says_so() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        function = (await here.jp.get_job("it")).func
        worker = await here.jp.backend.register_worker(NewWorker(name="w", slots=1, lease=0.01))
        await here.jp.backend.dequeue_jobs(ClaimRequest(worker=worker, limit=1, functions=frozenset({function})))
        with anyio.fail_after(PATIENCE):
            while (await here.jp.workers())[0].alive:  # by the real clock
                await anyio.sleep(0.002)
        shown = (await here.get("/v1/jobs/it")).json()
        assert (shown["status"], shown["worker_gone"], shown["remaining"]) == ("in_progress", True, None)
        assert (await here.get("/v1/jobs/it/why")).json()["code"] == "worker_gone"
        async with JobsClient(here.url) as client:
            assert (await client.poll_status("it")).message == "worker gone"


async def test_it_is_alive_but_not_ready_while_the_processor_does_not_run() -> None:
    jp = JobProcessor(MemoryBackend())
    async with serving(jp.asgi_app()) as url, httpx.AsyncClient(base_url=url) as client:
        assert (await client.get("/healthz")).status_code == 200
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert ready.headers["retry-after"] == "1"


async def test_a_store_that_does_not_answer_is_a_503_that_says_when_to_come_back() -> None:
    backend = FaultyBackend(MemoryBackend())
    async with site(works=False, backend=backend) as here:
        await here.jp.submit_job(add, 1, job_id="it", group="g")
        paths: dict[str, Any] = {
            "health": "/readyz",
            "get_jobs": "/v1/jobs/it",
            "find_jobs": "/v1/jobs",
            "count_jobs": "/v1/groups/g",
            "last_cursor": "/v1/snapshot",
            "workers": "/v1/workers",
        }
        for method, path in paths.items():
            backend.fail(method, error=BackendConnectionError("it is away"))
            answer = await here.get(path)
            assert answer.status_code == 503, method
            assert answer.headers["retry-after"] == "1"
            if path != "/readyz":
                assert problem(answer, 503, "backend-unavailable")["detail"] == "it is away"
            assert (await here.get(path)).status_code == 200
        assert await here.jp.get_status("it") is JobStatus.PENDING
