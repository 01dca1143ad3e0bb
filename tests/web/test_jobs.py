"""Jobs over HTTP: looked at one by one, in pages, and waited for."""

from __future__ import annotations

import signal
import time
from typing import Any

import anyio
import httpx
import pytest
import uvicorn
from msgspec import convert

from asyncjobs import JobProcessor, MemoryBackend, SQLiteBackend, SQLiteConfig
from asyncjobs.backends.base import ClaimRequest, NewWorker
from asyncjobs.client.answers import SentJob
from asyncjobs.core.requests import Keep
from tests.runtime.support import Held
from tests.web.bodies import add, echo, fail, named, talk
from tests.web.sites import PARSERS, Site, problem, site
from tests.web.support import PATIENCE, Server, serving

pytestmark = pytest.mark.anyio


async def done(here: Site, function: Any, *args: Any, job_id: str = "it", **options: Any) -> None:
    """Submit and wait for its end."""
    await here.jp.submit_job(function, *args, job_id=job_id, **options)
    await here.jp.wait_for_job(job_id, PATIENCE)


# -- one job


@pytest.mark.parametrize("http", PARSERS)
async def test_a_job_shows_what_it_is_and_where_its_parts_are(http: str) -> None:
    async with site(http=http) as here:
        await done(here, add, 1, 2, group="sums", metadata={"scene": 3}, priority=7)
        answer = await here.get("/v1/jobs/it")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        job = answer.json()
        shown = {name: job[name] for name in ("id", "function", "name", "status", "group", "metadata", "priority")}
        assert shown == {
            "id": "it",
            "function": named(add),
            "name": "add",
            "status": "completed",
            "group": "sums",
            "metadata": {"scene": 3},
            "priority": 7,
        }
        assert (job["attempt"], job["failures"], job["percent"], job["error"]) == (1, 0, 100.0, None)
        assert job["created_at"].endswith("Z")
        for name, link in job["links"].items():
            if name in ("cancel", "retry", "events"):
                continue
            assert (await here.get(link)).status_code == 200, name


@pytest.mark.parametrize("count", [0, 3, 100, 101, 250])
async def test_a_job_shows_how_many_steps_it_has_kept_and_their_first_keys(count: int) -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        worker = await here.jp.backend.register_worker(NewWorker(name="hand", slots=1))
        claim = ClaimRequest(worker=worker, limit=1, functions=frozenset({named(add)}))
        (claimed,) = (await here.jp.backend.dequeue_jobs(claim)).jobs
        keys = [f"page-{i:03}" for i in range(count)]
        await here.jp.backend.write_steps([Keep(claimed.attempt, key, b"secret") for key in keys])
        answer = await here.get("/v1/jobs/it")
        assert answer.json()["steps"] == {"count": count, "keys": keys[:100]}
        assert "secret" not in answer.text
        assert convert(answer.json(), SentJob).id == "it", "clients that know no steps read it"
        (listed,) = (await here.get("/v1/jobs")).json()["items"]
        assert "steps" not in listed, "a page costs no read for each job"


async def test_a_job_that_failed_is_found_like_any_other_and_says_how() -> None:
    async with site() as here:
        await done(here, fail, "reset by peer", max_retries=0)
        answer = await here.get("/v1/jobs/it")
        assert answer.status_code == 200
        error = answer.json()["error"]
        assert (error["error_type"], error["message"]) == ("ConnectionError", "reset by peer")
        assert "raise ConnectionError" in error["traceback"]


async def test_the_parts_of_a_job() -> None:
    async with site() as here:
        await done(here, talk, "inking", "done", job_id="a")
        await done(here, echo, 1, tone="noir", depends_on=["a"], job_id="b")
        arguments = (await here.get("/v1/jobs/b/arguments")).json()
        call = {"function": named(echo), "args": [1], "kwargs": {"tone": "noir"}}
        assert arguments == {"id": "b", **call, "unreadable": None}
        (attempt,) = (await here.get("/v1/jobs/b/attempts")).json()["items"]
        assert (attempt["attempt"], attempt["outcome"], attempt["error"]) == (1, "succeeded", None)
        logs = (await here.get("/v1/jobs/a/logs")).json()
        assert [line["data"]["message"] for line in logs["items"]] == ["inking", "done"]
        assert logs["end"] is True
        first = (await here.get("/v1/jobs/a/logs", params={"limit": 1})).json()
        assert [line["data"]["message"] for line in first["items"]] == ["inking"]
        rest = (await here.get("/v1/jobs/a/logs", params={"after": first["cursor"]})).json()
        assert [line["data"]["message"] for line in rest["items"]] == ["done"]
        graph = (await here.get("/v1/jobs/b/graph", params={"depth": 1})).json()
        assert {node["id"]: node["status"] for node in graph["nodes"]} == {"b": "completed", "a": "completed"}
        assert [(edge["parent"], edge["child"], edge["state"]) for edge in graph["edges"]] == [("a", "b", "met")]
        reason = (await here.get("/v1/jobs/b/why")).json()
        assert (reason["id"], reason["status"]) == ("b", "completed")
        assert reason["code"]
        assert reason["sentence"]


async def test_why_names_what_a_job_waits_for() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="parent")
        await here.jp.submit_job(add, 1, job_id="child", depends_on="parent")
        reason = (await here.get("/v1/jobs/child/why")).json()
        assert reason["status"] == "pending"
        assert "parent" in reason["sentence"]


async def test_the_graph_goes_as_far_as_it_is_asked_to() -> None:
    async with site(works=False) as here:
        for i in range(5):
            await here.jp.submit_job(add, i, job_id=f"j{i}", depends_on=[f"j{i - 1}"] if i else [])
        near = (await here.get("/v1/jobs/j2/graph", params={"depth": 1})).json()
        assert {node["id"] for node in near["nodes"]} == {"j1", "j2", "j3"}
        whole = (await here.get("/v1/jobs/j2/graph", params={"depth": 20})).json()
        assert len(whole["nodes"]) == 5
        assert len(whole["edges"]) == 4
        assert whole["cut"] is False


# -- its result


async def test_a_result_is_there_or_not_yet_or_never() -> None:
    held = Held({"pages": 3})
    async with site() as here:
        await here.jp.submit_job(held.body, job_id="it", local=True)
        await held.started.wait()
        early = await here.get("/v1/jobs/it/result")
        assert early.status_code == 202
        assert early.headers["retry-after"] == "1"
        assert early.json() == {"id": "it", "status": "in_progress"}
        held.go.open()
        await here.jp.wait_for_job("it", PATIENCE)
        assert (await here.get("/v1/jobs/it/result")).json() == {
            "id": "it",
            "status": "completed",
            "result": {"pages": 3},
        }
        await done(here, fail, "no", job_id="bad", max_retries=0)
        await here.jp.submit_job(add, 1, job_id="behind", depends_on="bad")
        await here.jp.submit_job(add, 1, job_id="later", delay=1000)
        await here.jp.cancel_job("later")
        for job_id, code, cause in (
            ("bad", "job-failed", "bad"),
            ("behind", "job-skipped", "bad"),  # to retry it would be refused
            ("later", "job-cancelled", "later"),
        ):
            body = problem(await here.get(f"/v1/jobs/{job_id}/result"), 409, code)
            assert f"/v1/jobs/{cause}/retry" in body["hint"]
        problem(await here.get("/v1/jobs/none/result"), 404, "job-not-found")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        ((1, {2}, b"\x00\xff"), [1, [2], "AP8="]),
        ({("a", 1): "x", "password": "hunter2"}, {"('a', 1)": "x", "password": "•••"}),
        ({1: {"token": "t"}}, {"1": {"token": "•••"}}),
        (10**30, 10**30),
        (float("nan"), None),
        ("</script>\u2028\x00\n", "</script>\u2028\x00\n"),
    ],
    ids=["nothing", "containers", "keys that are no strings", "numbers as keys", "large", "nan", "odd text"],
)
async def test_any_result_has_a_form_in_json(value: Any, shown: Any) -> None:
    async with site() as here:
        await done(here, echo, value)
        answer = await here.get("/v1/jobs/it/result")
        assert answer.json() == {"id": "it", "status": "completed", "result": shown}


# -- pages of jobs


@pytest.mark.parametrize("http", PARSERS)
async def test_pages_follow_each_other_by_next_and_by_the_link(http: str) -> None:
    async with site(works=False, http=http) as here:
        for i in range(7):
            await here.jp.submit_job(add, i, job_id=f"j{i}", group="g&h=1")
        params: dict[str, Any] = {"limit": 3, "group": "g&h=1"}
        seen, following = [], "/v1/jobs"
        answer = await here.get(following, params=params)
        while True:
            page = answer.json()
            seen.append([job["id"] for job in page["items"]])
            assert ("link" in answer.headers) == (page["next"] is not None)
            if page["next"] is None:
                break
            await here.jp.submit_job(add, 0, group="g&h=1")  # newer ones do not move the pages
            link = answer.headers["link"]
            assert link.endswith('>; rel="next"')
            by_link = await here.get(httpx.URL(here.url + "/v1/jobs").join(link[1 : link.index(">")]))
            by_cursor = await here.get("/v1/jobs", params=params | {"cursor": page["next"]})
            assert [job["id"] for job in by_link.json()["items"]] == [job["id"] for job in by_cursor.json()["items"]]
            answer = by_link
        assert seen == [["j6", "j5", "j4"], ["j3", "j2", "j1"], ["j0"]]


async def test_filters_of_the_list() -> None:
    async with site() as here:
        await done(here, add, 1, job_id="a", group="x", queue="default")
        await done(here, fail, "no", job_id="b", group="x", max_retries=0)
        await here.jp.submit_job(add, 1, job_id="c", delay=1000, queue="slow")

        async def ids(**params: Any) -> list[str]:
            return [job["id"] for job in (await here.get("/v1/jobs", params=params)).json()["items"]]

        assert await ids() == ["c", "b", "a"]
        assert await ids(order="oldest") == ["a", "b", "c"]
        assert await ids(status="failed") == ["b"]
        assert await ids(status="failed,pending") == ["c", "b"]
        assert await ids(status=["failed", "completed"]) == ["b", "a"]
        assert await ids(group="x", function=named(add)) == ["a"]
        assert await ids(queue="slow") == ["c"]
        assert await ids(group="null") == []


async def test_several_jobs_at_once_in_the_order_asked_for() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="a")
        await here.jp.submit_job(add, 1, job_id="b")
        answer = await here.post("/v1/jobs:batch", {"ids": ["b", "none", "a", "b"]})
        assert answer.status_code == 200
        items = answer.json()["items"]
        assert [(item["id"], item["found"]) for item in items] == [("b", True), ("none", False), ("a", True)]
        assert items[0]["job"]["id"] == "b"
        assert items[1]["job"] is None
        problem(await here.post("/v1/jobs:batch", {"ids": []}), 400, "invalid-request")
        problem(await here.post("/v1/jobs:batch", {"ids": [f"j{i}" for i in range(1001)]}), 400, "invalid-request")


# -- ETag, and waiting for a change


async def test_an_etag_is_of_one_state_of_the_job() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        first = await here.get("/v1/jobs/it")
        etag = first.headers["etag"]
        for sent in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            same = await here.get("/v1/jobs/it", headers={"If-None-Match": sent})
            assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
        await here.jp.cancel_job("it")
        changed = await here.get("/v1/jobs/it", headers={"If-None-Match": etag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != etag


async def test_an_etag_is_of_one_job_also_if_its_id_is_used_again() -> None:
    async with site(works=False) as here:
        tags: set[str] = set()
        for value in range(2):
            await here.jp.submit_job(add, value, job_id="it")
            await here.jp.cancel_job("it")
            answer = await here.get("/v1/jobs/it", headers={"If-None-Match": ", ".join(tags)})
            assert answer.status_code == 200
            assert answer.json()["version"] == 2
            tags.add(answer.headers["etag"])
            retry = await here.post("/v1/jobs/it/retry", headers={"If-Match": min(tags)})
            assert (retry.status_code == 202) == (min(tags) == answer.headers["etag"])
            await here.jp.cancel_job("it")
            await here.jp.remove_jobs("it")
        assert len(tags) == 2


@pytest.mark.parametrize("http", PARSERS)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_wait_ends_at_once_when_the_job_changes(http: str, store: str, tmp_path: Any) -> None:
    held = Held()
    backend = MemoryBackend() if store == "memory" else SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"))
    async with site(http=http, backend=backend) as here:
        await here.jp.submit_job(held.body, job_id="it", local=True)
        await held.started.wait()
        etag = (await here.get("/v1/jobs/it")).headers["etag"]
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await here.get("/v1/jobs/it?wait=60", headers={"If-None-Match": etag}))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await streams(here, 1)
            assert not answers
            began = time.perf_counter()
            held.go.open()
        assert time.perf_counter() - began < 5
        assert answers[0].status_code == 200
        assert answers[0].json()["status"] == "completed"
        assert answers[0].headers["etag"] != etag


async def test_a_wait_without_a_change_ends_with_304() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        await here.jp.submit_job(add, 1, job_id="other")
        etag = (await here.get("/v1/jobs/it")).headers["etag"]
        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.jp.cancel_job, "other")  # which is none of its business
            answer = await here.get("/v1/jobs/it?wait=0.3", headers={"If-None-Match": etag})
        assert answer.status_code == 304
        assert time.perf_counter() - began >= 0.3


async def test_only_who_knows_the_state_waits_for_another() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        await here.jp.submit_job(add, 1, job_id="over")
        await here.jp.cancel_job("over")
        over = (await here.get("/v1/jobs/over")).headers["etag"]
        with anyio.fail_after(10):
            assert (await here.get("/v1/jobs/it?wait=60")).status_code == 200
            stale = await here.get("/v1/jobs/it?wait=60", headers={"If-None-Match": '"v0"'})
            assert stale.status_code == 200
            ended = await here.get("/v1/jobs/over?wait=60", headers={"If-None-Match": over})
            assert ended.status_code == 304  # a job that has ended changes no more


async def test_who_goes_away_while_waiting_is_let_go() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        etag = (await here.get("/v1/jobs/it")).headers["etag"]
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                async with httpx.AsyncClient(base_url=here.url) as other:
                    await other.get("/v1/jobs/it?wait=60", headers={"If-None-Match": etag}, timeout=60)

            tasks.start_soon(ask)
            await streams(here, 1)
            tasks.cancel_scope.cancel()
        await streams(here, 0)


async def test_a_wait_that_finds_no_place_is_answered_as_it_is() -> None:
    async with site(works=False, max_streams=1) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        etag = (await here.get("/v1/jobs/it")).headers["etag"]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: here.get("/v1/jobs/it?wait=60", headers={"If-None-Match": etag}))
            await streams(here, 1)
            with anyio.fail_after(10):
                second = await here.get("/v1/jobs/it?wait=60", headers={"If-None-Match": etag})
            assert second.status_code == 304
            await here.jp.cancel_job("it")


async def test_waits_end_when_the_server_stops() -> None:
    async with JobProcessor(MemoryBackend(), enable_daemon=False) as jp:
        await jp.submit_job(add, 1, job_id="it")
        server = Server(uvicorn.Config(jp.asgi_app(), port=0, lifespan="off", log_level="warning"))
        before = signal.signal(signal.SIGTERM, server.handle_exit)  # as uvicorn does in a process of its own
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.serve)
                async with httpx.AsyncClient(base_url=await _address(server)) as client:
                    etag = (await client.get("/v1/jobs/it")).headers["etag"]

                    async def stop() -> None:
                        await _open(jp, 1)
                        signal.raise_signal(signal.SIGTERM)

                    tasks.start_soon(stop)
                    with anyio.fail_after(PATIENCE):
                        answer = await client.get("/v1/jobs/it?wait=60", headers={"If-None-Match": etag}, timeout=60)
                    answered = time.perf_counter()
            assert answer.status_code == 304
            assert time.perf_counter() - answered < 2
        finally:
            signal.signal(signal.SIGTERM, before)


async def test_a_wait_ends_with_the_processor() -> None:
    jp = JobProcessor(MemoryBackend(), enable_daemon=False)
    async with serving(jp.asgi_app()) as url, httpx.AsyncClient(base_url=url) as client:
        answers: list[httpx.Response] = []

        async def ask() -> None:
            answers.append(await client.get("/v1/jobs/it?wait=60", headers={"If-None-Match": etag}, timeout=60))

        async with anyio.create_task_group() as tasks:
            async with jp:
                await jp.submit_job(add, 1, job_id="it")
                etag = (await client.get("/v1/jobs/it")).headers["etag"]
                tasks.start_soon(ask)
                await _open(jp, 1)
        if answers[0].status_code != 304:
            problem(answers[0], 503, "closed")


# -- methods that every path has


@pytest.mark.parametrize("http", PARSERS)
async def test_head_is_get_without_the_body(http: str) -> None:
    async with site(works=False, http=http) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        for path in ("/", "/v1/jobs", "/v1/jobs/it", "/v1/stats", "/healthz", "/v1/jobs/none"):
            head, get = await here.http.head(path), await here.get(path)
            assert head.status_code == get.status_code
            assert head.content == b""
            assert head.headers["content-type"] == get.headers["content-type"]
            assert head.headers.get("etag") == get.headers.get("etag")


async def test_options_lists_the_methods() -> None:
    async with site() as here:
        for path, methods in (
            ("/v1/jobs", "GET, HEAD, OPTIONS, POST"),
            ("/v1/jobs/any", "GET, HEAD, OPTIONS"),
            ("/v1/jobs/any/cancel", "OPTIONS, POST"),
            ("/v1/session", "DELETE, OPTIONS, POST"),
        ):
            answer = await here.http.options(path)
            assert (answer.status_code, answer.headers["allow"], answer.content) == (204, methods, b"")
        problem(await here.http.options("/v1/none"), 404, "not-found")


async def test_requests_can_be_told_apart() -> None:
    async with site() as here:
        own = await here.get("/v1/", headers={"X-Request-Id": "trace-1:2.3"})
        assert own.headers["x-request-id"] == "trace-1:2.3"
        drawn = {
            (await here.get("/v1/", headers={"X-Request-Id": odd})).headers["x-request-id"]
            for odd in ("", "a b", "x" * 129)
        }
        assert len(drawn) == 3
        assert not drawn & {"", "a b", "x" * 129}
        assert "x-request-id" in (await here.get("/none")).headers


# -- parts


async def streams(here: Site, wanted: int) -> None:
    """Until so many wait or stream."""
    await _open(here.jp, wanted)


async def _open(jp: JobProcessor, wanted: int) -> None:
    with anyio.fail_after(PATIENCE):
        while sum(map(len, jp._web._streams)) != wanted:  # nobody tells
            await anyio.sleep(0.01)


async def _address(server: Server) -> str:
    with anyio.fail_after(PATIENCE):
        while not server.started:
            await anyio.sleep(0.005)
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"


async def test_a_job_names_its_dependencies_also_to_a_client() -> None:
    async with site(works=False) as here:
        for job_id, needs in {"a": [], "b": [], "c": ["b", "a"]}.items():
            await here.jp.submit_job(add, 1, job_id=job_id, depends_on=needs)
        listed = {item["id"]: item for item in (await here.get("/v1/jobs")).json()["items"]}
        for job_id, needs in {"a": [], "c": ["a", "b"]}.items():
            shown = (await here.get(f"/v1/jobs/{job_id}")).json()
            assert shown["depends_on"] == listed[job_id]["depends_on"] == needs
            assert convert(shown, SentJob).model().depends_on == tuple(needs)
