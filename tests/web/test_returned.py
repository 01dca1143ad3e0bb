"""Models and handles that a FastAPI route returns are sent as the HTTP interface sends them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

import httpx
import msgspec
import pydantic
import pytest
from fastapi import Body, FastAPI

from asyncjobs import (
    Attempt,
    GroupProgress,
    Job,
    JobEvent,
    JobHandle,
    JobPage,
    JobProcessor,
    JobQuery,
    JobStatus,
    MemoryBackend,
    Reason,
    RetryPolicy,
    StatusReport,
    WorkerInfo,
)
from asyncjobs.client import JobsClient
from tests.web.bodies import add, fail
from tests.web.support import serving

pytestmark = pytest.mark.anyio
MODELS = [Job, JobEvent, StatusReport, Reason, GroupProgress, Attempt, WorkerInfo]
OF_REQUESTS = {"links", "cursor", "steps"}  # what a request reads beside the object


class Answer(pydantic.BaseModel):
    """A program's own model with ours in it."""

    job: Job
    events: list[JobEvent]
    progress: GroupProgress | None = None
    reports: dict[str, StatusReport | None] = {}
    handle: JobHandle[int]


async def secret() -> Any:
    return {"password": "hunter2", 1: "number", "1": "text", "n": 10**5000}


class Here:
    def __init__(self, jp: JobProcessor, client: httpx.AsyncClient) -> None:
        self.jp = jp
        self.client = client

    async def get(self, path: str) -> Any:
        answer = await self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()


def program(jp: JobProcessor) -> FastAPI:
    app = FastAPI()
    app.mount("/api", jp.asgi_app())

    async def job(job_id: str) -> Any:
        return await jp.get_job(job_id)

    async def jobs() -> Any:
        return await jp.find_jobs()

    async def handle(job_id: str) -> Any:
        return jp.handle(job_id)

    async def report(job_id: str) -> Any:
        return await jp.poll_status(job_id)

    async def reports(job_id: str) -> Any:
        return await jp.poll_batch([job_id, "nobody"])

    async def why(job_id: str) -> Any:
        return await jp.why(job_id)

    async def group(group: str) -> Any:
        return await jp.get_progress(group)

    async def events(job_id: str) -> Any:
        return [event async for event in jp.stream_job(job_id)]

    async def attempts(job_id: str) -> Any:
        return await jp.get_attempts(job_id)

    async def workers() -> Any:
        return await jp.workers()

    async def page() -> Any:
        return await jp.find_jobs(JobQuery(limit=2))

    async def nested(job_id: str) -> Any:
        return {"job": await jp.get_job(job_id), "of": [(await jp.why(job_id),)], "handle": jp.handle(job_id)}

    async def own(job_id: str) -> Any:
        return Answer(
            job=await jp.get_job(job_id),
            events=[event async for event in jp.stream_job(job_id)],
            reports=await jp.poll_batch([job_id, "nobody"]),
            progress=await jp.get_progress("g"),
            handle=jp.handle(job_id),
        )

    routes: list[tuple[str, Any, Any]] = [
        ("/job/{job_id}", job, Job),
        ("/jobs", jobs, list[Job]),
        ("/handle/{job_id}", handle, JobHandle[int]),
        ("/report/{job_id}", report, StatusReport),
        ("/reports/{job_id}", reports, dict[str, StatusReport | None]),
        ("/why/{job_id}", why, Reason),
        ("/group/{group}", group, GroupProgress),
        ("/events/{job_id}", events, list[JobEvent]),
        ("/attempts/{job_id}", attempts, list[Attempt]),
        ("/workers", workers, list[WorkerInfo]),
        ("/page", page, JobPage),
        ("/nested/{job_id}", nested, None),
        ("/own/{job_id}", own, Answer),
    ]
    for path, function, kind in routes:
        app.get(f"/plain{path}", response_model=None)(function)
        if kind is not None:
            app.get(f"/typed{path}", response_model=kind)(function)
            app.get(f"/maybe{path}", response_model=kind | None)(function)

    @app.post("/given")
    async def given(job: Annotated[Job, Body(embed=True)], event: Annotated[JobEvent | None, Body()] = None) -> Job:
        return job

    @app.get("/by-handle/{job}")
    async def by_handle(job: JobHandle) -> str:
        assert isinstance(job, JobHandle)
        return job

    return app


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    async with JobProcessor(MemoryBackend(), functions=[add, fail, secret]) as jp:
        first = await jp.submit_job(add, 1, job_id="done", group="g", metadata={"token": "hunter2", "n": [None, 1]})
        await first
        bad = await jp.submit_job(fail, "no", job_id="bad", group="g", retry=RetryPolicy(max_retries=0))
        await jp.wait_for_job(bad)
        await jp.submit_job(add, bad, job_id="skipped", group="g")
        await jp.submit_job(add, 1, job_id="later", delay=3600, depends_on=[first])
        await (await jp.submit_job(secret, job_id="secret"))
        async with serving(program(jp)) as url, httpx.AsyncClient(base_url=url) as client:
            yield Here(jp, client)


def without(sent: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sent.items() if name not in OF_REQUESTS}


WAYS = ["/plain", "/typed", "/maybe"]


@pytest.mark.parametrize("way", WAYS)
async def test_jobs(here: Here, way: str) -> None:
    for job_id in ("done", "bad", "skipped", "later"):
        theirs = await here.get(f"/api/v1/jobs/{job_id}")
        assert await here.get(f"{way}/job/{job_id}") == without(theirs)
    listed = await here.get("/api/v1/jobs?order=oldest")
    assert await here.get(f"{way}/jobs") == [without(item) for item in listed["items"]]


@pytest.mark.parametrize("way", WAYS)
async def test_events(here: Here, way: str) -> None:
    for job_id in ("done", "bad", "skipped"):
        theirs = (await here.get(f"/api/v1/jobs/{job_id}/events?once=1"))["items"]
        assert await here.get(f"{way}/events/{job_id}") == theirs


@pytest.mark.parametrize("way", WAYS)
async def test_groups_and_reasons(here: Here, way: str) -> None:
    assert await here.get(f"{way}/group/g") == without(await here.get("/api/v1/groups/g"))
    for job_id in ("done", "bad", "skipped"):
        theirs = await here.get(f"/api/v1/jobs/{job_id}/why")
        ours = await here.get(f"{way}/why/{job_id}")
        assert ours == {name: theirs[name] for name in ("code", "sentence", "details")}


@pytest.mark.parametrize("way", WAYS)
async def test_attempts_and_workers(here: Here, way: str) -> None:
    for job_id in ("done", "bad", "skipped"):
        theirs = (await here.get(f"/api/v1/jobs/{job_id}/attempts"))["items"]
        assert await here.get(f"{way}/attempts/{job_id}") == theirs
    assert await here.get(f"{way}/workers") == (await here.get("/api/v1/workers"))["items"] != []


async def test_a_page_has_its_cursor_where_it_is_annotated(here: Here) -> None:
    theirs = await here.get("/api/v1/jobs?order=oldest&limit=2")
    items = [without(item) for item in theirs["items"]]
    for way in ("/typed", "/maybe"):
        page = await here.get(f"{way}/page")
        assert page == {"items": items, "next": theirs["next"]}
        assert page["next"] is not None
        again = pydantic.TypeAdapter(JobPage).validate_python(page)
        assert (type(again), again.next, [job.id for job in again]) == (JobPage, page["next"], [i["id"] for i in items])
    assert await here.get("/plain/page") == items  # without an annotation it is a list
    document = (await here.client.get("/openapi.json")).json()
    answer = document["paths"]["/typed/page"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    described = resolved(answer, document)
    assert set(described["properties"]) == {"items", "next"}


async def test_an_attempt_is_read_with_the_job_that_it_is_of(here: Here) -> None:
    sent = (await here.get("/plain/attempts/bad"))[0]
    read = pydantic.TypeAdapter(Attempt).validate_python
    assert read(sent | {"job_id": "bad"}) == (await here.jp.get_attempts("bad"))[0]
    with pytest.raises(pydantic.ValidationError, match="job_id"):
        read(sent)


@pytest.mark.parametrize("way", WAYS)
async def test_reports(here: Here, way: str) -> None:
    for job_id in ("done", "bad", "later", "secret"):
        ours = await here.get(f"{way}/report/{job_id}")
        theirs = await here.get(f"/api/v1/jobs/{job_id}")
        for name in ("status", "percent", "elapsed", "remaining", "attempt", "because"):
            assert ours[name] == theirs[name]
        assert ours["job_id"] == job_id
        assert ours["error"] == theirs["error"]
        assert await here.get(f"{way}/reports/{job_id}") == {job_id: ours, "nobody": None}
    result = (await here.get("/api/v1/jobs/secret/result"))["result"]
    assert (await here.get(f"{way}/report/secret"))["result"] == result
    assert result["password"] == "•••"


@pytest.mark.parametrize("way", WAYS)
async def test_handles_are_ids(here: Here, way: str) -> None:
    assert await here.get(f"{way}/handle/done") == "done"


async def test_a_handle_as_a_parameter(here: Here) -> None:
    assert await here.get("/by-handle/done") == "done"


async def test_within_other_things(here: Here) -> None:
    nested = await here.get("/plain/nested/done")
    assert nested == {
        "job": without(await here.get("/api/v1/jobs/done")),
        "of": [[await here.get("/plain/why/done")]],
        "handle": "done",
    }
    for way in WAYS:
        own = await here.get(f"{way}/own/done")
        assert own["job"] == nested["job"]
        assert own["events"] == await here.get("/plain/events/done")
        assert own["progress"] == await here.get("/plain/group/g")
        assert own["reports"] == {"done": await here.get("/plain/report/done"), "nobody": None}
        assert own["handle"] == "done"


async def test_what_is_sent_is_described_and_read_again(here: Here) -> None:
    document = (await here.client.get("/openapi.json")).json()
    text = msgspec.json.encode(document).decode()
    assert '"$ref":"Error' not in text
    schema = document["paths"]["/typed/job/{job_id}"]["get"]["responses"]["200"]["content"]["application/json"][
        "schema"
    ]
    described = resolved(schema, document)
    for job_id in ("done", "bad", "later"):
        sent = await here.get(f"/typed/job/{job_id}")
        assert set(described["properties"]) == set(sent) == set(described["required"])
        again = await here.client.post("/given", json={"job": sent, "event": None})
        assert again.json() == sent
    refused = await here.client.post("/given", json={"job": {"id": "x"}})
    assert refused.status_code == 422
    assert "not the JSON of a Job" in refused.text


@pytest.mark.parametrize("job_id", ["done", "bad", "skipped", "later"])
async def test_a_job_that_is_read_again_equals_the_one_that_was_sent(here: Here, job_id: str) -> None:
    job = await here.jp.get_job(job_id)
    assert job.worker_id is not None or job_id != "done"
    hidden = {name: "•••" for name in job.metadata if name == "token"}
    expected = msgspec.structs.replace(job, metadata={**job.metadata, **hidden})
    adapter = pydantic.TypeAdapter(Job)
    assert adapter.validate_json(adapter.dump_json(job)) == expected
    assert adapter.validate_python(await here.get(f"/typed/job/{job_id}")) == expected
    assert (await here.get(f"/api/v1/jobs/{job_id}"))["worker_id"] == job.worker_id


async def test_a_report_is_the_body_of_a_request_with_body() -> None:
    app = FastAPI()

    async def percent(report: Annotated[StatusReport, Body()]) -> float | None:
        return report.percent

    app.add_api_route("/percent", percent, methods=["POST"])
    async with JobProcessor(MemoryBackend()) as jp:
        job = await jp.submit_job(add, 1, 2)
        await job
        sent = pydantic.TypeAdapter(StatusReport).dump_python(await jp.poll_status(job), mode="json")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://testserver") as client:
        answer = await client.post("/percent", json=sent)
    assert (answer.status_code, answer.json()) == (200, 100.0)


def resolved(schema: Any, document: Any) -> Any:
    if "$ref" in schema:
        return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_has_a_schema_of_what_is_sent(kind: type[Any]) -> None:
    schema = pydantic.TypeAdapter(kind).json_schema(mode="serialization")
    assert schema["title"] == kind.__name__
    assert "$ref" not in msgspec.json.encode(schema).decode()
    assert schema["type"] == "object"
    assert OF_REQUESTS.isdisjoint(schema["properties"]) or kind is JobEvent


async def test_models_are_models_in_python(here: Here) -> None:
    job = await here.jp.get_job("bad")
    assert pydantic.TypeAdapter(Job).validate_python(job) is job
    assert pydantic.TypeAdapter(list[Job]).dump_python([job]) == [job]
    report = await here.jp.poll_status("bad")
    text = pydantic.TypeAdapter(StatusReport).dump_json(report)
    assert pydantic.TypeAdapter(StatusReport).validate_json(text) == report
    assert pydantic.TypeAdapter(Reason).validate_json('{"code": "x", "sentence": "y"}') == Reason("x", "y")
    for bad in (1, "x", [], None, {"code": 1}):
        with pytest.raises(pydantic.ValidationError):
            pydantic.TypeAdapter(Reason).validate_python(bad)


async def test_the_client_makes_the_same_models(here: Here) -> None:
    async with JobsClient(f"{str(here.client.base_url).rstrip('/')}/api") as client:
        for job_id in ("done", "bad"):
            theirs = await client.get_job(job_id)
            sent = await here.get(f"/typed/job/{job_id}")
            assert pydantic.TypeAdapter(Job).validate_python(sent) == theirs


def test_a_job_that_runs_has_its_time_so_far() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    job = Job(
        "x", "m:f", JobStatus.IN_PROGRESS, "default", 0, None, {}, 1, 0, 0, 3, None, True, False, at, started_at=at
    )
    assert dict(job)["elapsed"] > 0
    assert dict(job)["waits_for"] is None


def test_without_pydantic_nothing_is_missed() -> None:
    program = """
import sys
sys.modules["pydantic"] = sys.modules["pydantic_core"] = sys.modules["starlette"] = None
from asyncjobs import Job, Reason
assert dict(Reason("a", "b")) == {"code": "a", "sentence": "b", "details": {}}
"""
    subprocess.run([sys.executable, "-c", program], check=True)
