"""The page on access: what it says of its programs is so. They are typed and served by test_typed_pages.py."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from httpx import ASGITransport, AsyncClient

from asyncjobs import JobProcessor, MemoryBackend
from tests.architecture.pages import blocks_of

TOKEN = "a-token-of-the-tests-0123456789"
ACT = {"X-Asyncjobs": "1"}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a program of the page of access, in a folder; return its names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("OPS_TOKEN", "JOBS_SECRET"):
        monkeypatch.setenv(name, TOKEN)
    texts = {block.name: block.text for block in blocks_of("guides/access")}

    def names(file: str) -> dict[str, Any]:
        (tmp_path / file).write_text(texts[file], "utf-8")
        name = file.removesuffix(".py")
        monkeypatch.setitem(sys.modules, name, None)  # put back by the test
        monkeypatch.delitem(sys.modules, name)
        return vars(importlib.import_module(name))

    return names


def asking(app: Any) -> AsyncClient:
    """A caller of another machine."""
    return AsyncClient(transport=ASGITransport(app, client=("203.0.113.9", 1)), base_url="http://jobs.example.org")


@pytest.mark.anyio
async def test_a_login_of_ones_own_gives_each_user_rights(program: Any) -> None:
    names = program("login.py")
    async with names["jp"], asking(names["app"]) as client:
        codes: list[int] = []
        for cookie, headers in (("ana", ACT), ("ana", {}), ("bo", ACT), ("eve", ACT)):
            client.cookies.set("login", f"cookie-of-{cookie}")
            codes.append((await client.post("/jobs/v1/jobs/any/cancel", headers=headers)).status_code)
        assert codes == [404, 403, 403, 401]


@pytest.mark.anyio
async def test_a_dependency_does_not_guard_a_mount() -> None:
    def refuse() -> None:
        raise HTTPException(401)

    jp = JobProcessor(MemoryBackend())
    app = FastAPI(dependencies=[Depends(refuse)])
    app.mount("/jobs", jp.asgi_app(allowed_hosts=("jobs.example.org",)))
    here = AsyncClient(transport=ASGITransport(app, client=("127.0.0.1", 1)), base_url="http://localhost")
    async with jp, here:
        assert (await here.get("/jobs/v1/jobs")).status_code == 200
    async with jp, asking(app) as client:  # its name is allowed, and its place is not
        assert (await client.get("/jobs/v1/jobs")).json()["code"] == "local-only"


@pytest.mark.anyio
async def test_a_user_sees_what_is_theirs(program: Any) -> None:
    names = program("mine.py")
    async with names["jp"], asking(names["app"]) as client:
        assert (await client.get("/comics/any")).status_code == 401
        client.cookies.set("login", "cookie-of-ana")
        job = (await client.post("/comics/fog")).json()["id"]
        assert (await client.get(f"/comics/{job}")).json()["job_id"] == job
        assert "event: submitted" in (await client.get(f"/comics/{job}/events")).text
        client.cookies.set("login", "cookie-of-bo")
        paths = [f"/comics/{job}", f"/comics/{job}/events", "/comics/unknown"]
        assert [(await client.get(path)).status_code for path in paths] == [404] * 3


@pytest.mark.anyio
async def test_values_are_hidden_as_the_page_says(program: Any) -> None:
    names = program("shown.py")
    assert names["hide"]("arguments", ["Ana"]) == "not shown"
    assert names["hide"]("result", {"password": "x", "n": 1}) == {"password": "•••", "n": 1}
    local = AsyncClient(transport=ASGITransport(names["app"]), base_url="http://localhost")
    async with names["jp"] as jp, local as client:
        job = await jp.submit_job(abs, -1, metadata={"api_key": "x", "n": 1}, delay=3600)
        assert "-1" not in (await client.get(f"/v1/jobs/{job.id}/arguments")).text
        assert (await client.get(f"/v1/jobs/{job.id}")).json()["metadata"] == {"api_key": "•••", "n": 1}


@pytest.mark.anyio
async def test_everyone_may_look_and_sees_no_values(program: Any) -> None:
    names = program("public.py")
    async with names["jp"] as jp, asking(names["app"]) as client:
        job = await jp.submit_job(abs, -12345, metadata={"title": "secret"}, delay=3600)
        shown = await client.get(f"/v1/jobs/{job.id}")
        assert (shown.status_code, shown.json()["function"]) == (200, "builtins:abs")
        assert "secret" not in shown.text
        assert "12345" not in (await client.get(f"/v1/jobs/{job.id}/arguments")).text
        assert (await client.post(f"/v1/jobs/{job.id}/cancel", headers=ACT)).status_code == 403


@pytest.mark.anyio
async def test_pages_of_listed_sites_may_use_it(program: Any) -> None:
    names = program("shared.py")
    async with names["jp"], asking(names["app"]) as client:
        asked = {"Origin": "https://board.example.org", "Access-Control-Request-Method": "POST"}
        assert (
            "X-Asyncjobs" in (await client.options("/v1/jobs", headers=asked)).headers["access-control-allow-headers"]
        )
        signed = {"Authorization": f"Bearer {TOKEN}"}
        for origin, code in (("https://board.example.org", 404), ("https://evil.example", 403)):
            answer = await client.post("/v1/jobs/any/cancel", headers={**signed, "Origin": origin})
            assert answer.status_code == code
