"""Jobs that are found by their metadata over HTTP: by parameters, by JSON, by the client; and what callers may ask."""

from __future__ import annotations

from typing import Any

import pytest

from asyncjobs import ConfigurationError, Job, JobProcessor, JobQuery, MemoryBackend
from asyncjobs.backends.base import JobBackend
from asyncjobs.backends.sqlite import job_pages
from asyncjobs.backends.sqlite.backend import SQLiteBackend
from asyncjobs.config import SQLiteConfig
from tests.web.bodies import add
from tests.web.client_support import remote
from tests.web.sites import Site, problem, site

pytestmark = pytest.mark.anyio

METADATA: dict[str, dict[str, Any]] = {
    "crew": {"kind": "crew", "n": 3, "done": True},
    "flow": {"kind": "flow", "n": "3", "done": "true"},
    "half": {"kind": "crew", "n": 3.5, "done": None},
    "a.b=&": {"a.b=&": "x=y&z", "KEY": "k", "": "nothing"},
    "none": {},
}


async def fill(jp: JobProcessor) -> None:
    for job_id, metadata in METADATA.items():
        await jp.submit_job(add, 1, job_id=job_id, metadata=metadata, delay=3600)


async def listed(here: Site, *params: tuple[str, str]) -> list[str]:
    answer = await here.get("/v1/jobs", params=[("order", "oldest"), *params])
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["items"]]


@pytest.fixture(params=["memory", "sqlite"])
def backend(request: pytest.FixtureRequest, tmp_path: Any) -> JobBackend:
    return MemoryBackend() if request.param == "memory" else SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"))


@pytest.mark.parametrize(
    ("params", "ids"),
    [
        ([("metadata.kind", "crew")], ["crew", "half"]),
        ([("metadata.kind", "crew"), ("metadata.n", "3")], ["crew"]),
        ([("metadata.n", "3")], ["crew", "flow"]),
        ([("metadata.n", "3.0")], ["crew"]),
        ([("metadata.n", "3.5")], ["half"]),
        ([("metadata.n", "'3'")], []),
        ([("metadata.done", "true")], ["crew", "flow"]),
        ([("metadata.done", "1")], []),
        ([("metadata.done", "null")], ["half"]),
        ([("metadata.kind", "")], []),
        ([("metadata.a.b=&", "x=y&z")], ["a.b=&"]),
        ([("metadata.KEY", "k")], ["a.b=&"]),
        ([("metadata.kind", "crew"), ("metadata", '{"done": null}')], ["half"]),
        ([("metadata", '{"n": 3}')], ["crew"]),
        ([("metadata", '{"n": "3"}')], ["flow"]),
        ([("metadata", '{"n": ["3", 3]}')], ["crew", "flow"]),
        ([("metadata", '{"kind": ["crew", "flow"], "done": [true, null]}')], ["crew", "half"]),
        ([("metadata", '{"n": []}')], []),
        ([("metadata", '{"": "nothing"}')], ["a.b=&"]),
        ([("metadata", "{}")], list(METADATA)),
    ],
    ids=str,
)
async def test_jobs_are_found_by_their_metadata(
    backend: JobBackend, params: list[tuple[str, str]], ids: list[str]
) -> None:
    async with site(add, works=False, backend=backend) as here:
        await fill(here.jp)
        assert await listed(here, *params) == ids
        assert await listed(here, *params, ("status", "pending")) == ids
        assert await listed(here, *params, ("status", "failed")) == []


@pytest.mark.parametrize(
    ("params", "pointer", "detail"),
    [
        ([("metadata.", "x")], "?metadata.", "has no key"),
        ([("metadata.n", "3"), ("metadata.n", "4")], "?metadata.n", "only once"),
        ([("metadata.n", "3"), ("metadata.n", "3")], "?metadata.n", "only once"),
        ([("metadata.n", "3"), ("metadata", '{"n": 3}')], "?metadata.n", "given in ?metadata, too"),
        ([("metadata.n", "x" * 513)], "?metadata.n", "its value has 513 characters, and at most 512"),
        ([("metadata." + "k" * 513, "x")], "?metadata.kkkkkkkkkkkkkkkkkkkk…", "its key has 513 characters"),
        ([(f"metadata.k{i}", "x") for i in range(21)], "?metadata", "21 keys, and at most 20"),
        ([("metadata", str({f"k{i}": 1 for i in range(21)}).replace("'", '"'))], "?metadata", "at most 20"),
        ([("metadata", '{"n": 3, "n": 4}')], "?metadata", "duplicate name"),
        ([("metadata", '{"n": {"m": 3}}')], "?metadata", "not a JSON object of texts, numbers"),
        ([("metadata", '{"n": "' + "x" * 512 + '"}')], "?metadata", "length <= 512"),
        ([("metdata.kind", "crew")], "?metdata.kind", "unknown parameter"),
        ([("group.kind", "crew")], "?group.kind", "unknown parameter"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_what_cannot_be_compared_is_refused_with_its_place(
    params: list[tuple[str, str]], pointer: str, detail: str
) -> None:
    async with site(works=False) as here:
        refused = problem(await here.get("/v1/jobs", params=params), 400, "invalid-request")
        [error] = refused["errors"]
        assert error["pointer"] == pointer
        assert detail in error["detail"]
        assert detail in refused["detail"]
        assert len(refused["detail"]) < 1000


async def test_a_name_that_is_nearly_right_is_hinted_at() -> None:
    async with site(works=False) as here:
        refused = problem(await here.get("/v1/jobs?metadat.KEY=crew"), 400, "invalid-request")
        assert refused["hint"] == "did you mean 'metadata.KEY'?"


async def test_a_short_page_links_to_the_next_one_which_asks_for_the_same(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "LOOKED_AT", 2)
    backend = SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"))
    async with site(add, works=False, backend=backend) as here:
        await fill(here.jp)
        found: list[str] = []
        sizes: list[int] = []
        url = "/v1/jobs?metadata.kind=crew&metadata.done=null&order=oldest"
        while url:
            answer = await here.get(url)
            page = answer.json()
            found += [job["id"] for job in page["items"]]
            sizes.append(len(page["items"]))
            url = "/v1/jobs" + answer.links["next"]["url"] if page["next"] is not None else ""
            assert ("next" in answer.links) is bool(url)
        assert found == ["half"]
        assert sizes[:2] == [0, 1]


# -- the client


async def test_the_client_finds_what_the_library_does(backend: JobBackend) -> None:
    async with remote(add, works=False, backend=backend) as (here, client):
        await fill(here.jp)
        wanted: list[tuple[dict[str, Any], list[str]]] = [
            ({"kind": "crew"}, ["crew", "half"]),
            ({"kind": "crew", "n": 3}, ["crew"]),
            ({"n": "3"}, ["flow"]),
            ({"n": ["3", 3]}, ["crew", "flow"]),
            ({"done": None}, ["half"]),
            ({"a.b=&": "x=y&z"}, ["a.b=&"]),
            ({"": "nothing"}, ["a.b=&"]),
            ({"kind": []}, []),
            ({}, list(METADATA)),
        ]
        for metadata, ids in wanted:
            query = JobQuery(metadata=metadata, order="oldest", limit=1)
            expected: list[Job] = [job async for job in here.jp.iter_jobs(query)]
            assert [job async for job in client.iter_jobs(query)] == expected
            assert [job.id for job in expected] == ids
        with pytest.raises(ConfigurationError, match=r"\?metadata"):
            await client.find_jobs(JobQuery(metadata={"n": "x" * 600}))


# -- what is hidden


async def test_callers_cannot_guess_what_is_hidden_from_them() -> None:
    async with site(add, works=False) as here:
        await here.jp.submit_job(add, 1, job_id="a", metadata={"api_token": "hunter2", "kind": "crew"}, delay=3600)
        assert await listed(here, ("metadata.kind", "crew")) == ["a"]
        for params in (
            [("metadata.api_token", "hunter2")],
            [("metadata.api_token", "wrong"), ("metadata.kind", "crew")],
            [("metadata", '{"api_token": "hunter2"}')],
            [("metadata", '{"api_token": ["x", "hunter2"]}')],
        ):
            refused = problem(await here.get("/v1/jobs", params=params), 400, "invalid-request")
            assert refused["errors"][0]["pointer"] == "?metadata.api_token"
            assert "hidden from callers" in refused["detail"]
            assert "hunter2" not in str(refused)


async def test_where_nothing_is_hidden_everything_can_be_asked_for() -> None:
    async with site(add, works=False, redact=None) as here:
        await here.jp.submit_job(add, 1, job_id="a", metadata={"api_token": "hunter2"}, delay=3600)
        assert await listed(here, ("metadata.api_token", "hunter2")) == ["a"]


async def test_a_function_of_the_host_decides_which_values_are_hidden() -> None:
    def redact(what: str, value: Any) -> Any:
        return {key: "…" if inner == 7 else inner for key, inner in value.items()} if what == "metadata" else value

    async with site(add, works=False, redact=redact) as here:
        await here.jp.submit_job(add, 1, job_id="a", metadata={"n": 7}, delay=3600)
        await here.jp.submit_job(add, 1, job_id="b", metadata={"n": 8}, delay=3600)
        assert await listed(here, ("metadata.n", "8")) == ["b"]
        problem(await here.get("/v1/jobs?metadata.n=7"), 400, "invalid-request")
