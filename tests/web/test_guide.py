"""The guide of the web part: its programs run, and what it says of them is so."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request

from asyncjobs import JobProcessor, MemoryBackend, NotSerializableError
from asyncjobs.web.settings import WebConfig
from tests.web.bodies import add, echo
from tests.web.sites import problem
from tests.web.support import ACT, serving

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "web.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)


def program(part: str) -> str:
    [found] = [text for text in PROGRAMS if part in text]
    return found


def test_every_program_is_python() -> None:
    for text in PROGRAMS:
        compile(text, "guide", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def test_the_app_and_the_route_of_ones_own_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"make_comic": echo, "Request": Request}
    exec(program("FastAPI(lifespan=jp.lifespan)"), names)
    exec(program("jp.sse_response(request, job_id=job_id)"), names)
    async with serving(names["app"], lifespan="on") as url, httpx.AsyncClient(base_url=url) as client:
        made = (await client.post("/comics?title=noir")).json()
        assert (await client.get(made["events"])).status_code == 200
        assert "event: submitted" in (await client.get(f"/comics/{made['id']}/events")).text
        problem(await client.get("/comics/nobody/events"), 404, "job-not-found")


def test_every_way_to_say_who_may_ask_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    command = re.search(r'python -c "(import secrets; print\(.*?\))"', GUIDE)
    assert command is not None
    printed: list[str] = []
    exec(command[1], {"print": printed.append})
    monkeypatch.setenv("JOBS_TOKEN", printed[0])
    names = {"jp": JobProcessor(MemoryBackend()), "my_auth": lambda scope: None}
    exec(program("JOBS_TOKEN"), names)


def test_readme_mounts_the_app_with_the_lifespan_of_its_host() -> None:
    readme = (ROOT / "README.md").read_text()
    [web] = [line for line in readme.split("\n- ") if line.startswith("**The web**")]
    code = re.findall(r"`([^`]*(?:FastAPI|app\.mount)[^`]*)`", web)
    names: dict[str, Any] = {"jp": JobProcessor(MemoryBackend()), "FastAPI": FastAPI}
    for text in code:
        exec(text, names)
    assert any(getattr(route, "path", "") == "/jobs" for route in names["app"].routes)
    assert "lifespan=jp.lifespan" in code[0]


def test_every_option_is_listed_with_its_default() -> None:
    listed = {
        name: default
        for names, default in re.findall(
            r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \| ", GUIDE.partition("## Options of")[2], re.MULTILINE
        )
        for name, default in zip(re.findall(r"`(\w+)`", names), default.split(", "), strict=True)
    }
    fields = {field.name: field.default for field in dataclasses.fields(WebConfig)}
    assert listed.keys() == fields.keys()
    numbers = {
        name: default
        for name, default in fields.items()
        if isinstance(default, float) or name in ("max_streams", "max_depth")
    }
    assert {name: float(listed[name].replace(",", "")) for name in numbers} == numbers
    assert {listed[name]: fields[name] for name in ("max_body", "max_headers")} == {"1 MiB": 1 << 20, "16 KiB": 1 << 14}


async def test_batch_reads() -> None:
    assert "| `POST v1/jobs:batch` | reads" in GUIDE
    async with JobProcessor(MemoryBackend()) as jp, serving(jp.asgi_app()) as url:
        job = await jp.submit_job(add, 1, delay=3600)
        async with httpx.AsyncClient(base_url=url, headers=ACT) as client:
            answer = await client.post("/v1/jobs:batch", json={"ids": [job, "nobody"]})
        assert [item["found"] for item in answer.json()["items"]] == [True, False]
        assert (await jp.get_job(job)).version == answer.json()["items"][0]["job"]["version"]


async def test_each_process_of_a_server_counts_tickets_for_itself() -> None:
    """As the guide says: with a secret or tokens in common, a ticket opens one stream in each."""
    token = secrets.token_urlsafe()
    async with JobProcessor(MemoryBackend()) as jp:
        async with serving(jp.asgi_app(auth=token)) as one, serving(jp.asgi_app(auth=token)) as other:
            async with httpx.AsyncClient() as client:
                signed = {"Authorization": f"Bearer {token}"}
                ticket = (await client.post(f"{one}/v1/tickets", headers=signed)).json()["ticket"]
                for url in (one, other):
                    first = await client.get(f"{url}/v1/events?once=1&ticket={ticket}")
                    second = await client.get(f"{url}/v1/events?once=1&ticket={ticket}")
                    assert (first.status_code, second.status_code) == (200, 401)


def test_what_the_readme_says_of_handles_is_so() -> None:
    from asyncjobs.core.codec import encode_call
    from asyncjobs.runtime.handle import JobHandle

    assert "in sets, keys and records they are refused" in (ROOT / "README.md").read_text()
    handle: JobHandle[Any] = JobHandle("job")
    for good in (handle, [handle], (handle,), {"key": handle}, [{"a": (handle,)}]):
        assert encode_call((good,), {}, handle_type=JobHandle).handles
    for bad in ({handle}, {handle: 1}, frozenset([handle])):
        with pytest.raises(NotSerializableError, match="handle"):
            encode_call((bad,), {}, handle_type=JobHandle)


FOUND = re.findall(r"^\| `metadata(\.\w+)?=(.+?)` \| (.+?) \| (.+?) \|$", GUIDE, re.MULTILINE)


@pytest.mark.parametrize(("key", "asked", "found", "others"), FOUND, ids=lambda value: value[:20])
async def test_metadata_find_what_the_table_says(key: str, asked: str, found: str, others: str) -> None:
    name = key.removeprefix(".") or "n"
    stored = dict.fromkeys(spans(found), True) | dict.fromkeys(spans(others), False)
    async with JobProcessor(MemoryBackend(), enable_daemon=False) as jp:
        for text in stored:
            metadata = {} if text == name else {name: json.loads(text)}
            await jp.submit_job(abs, 1, job_id=text, metadata=metadata, delay=3600)
        async with serving(jp.asgi_app()) as url, httpx.AsyncClient(base_url=url) as client:
            answer = await client.get("/v1/jobs", params={f"metadata{key}": asked})
            ids = [job["id"] for job in answer.json()["items"]]
    assert sorted(ids) == sorted(text for text, matches in stored.items() if matches)


def test_the_table_of_metadata_is_read() -> None:
    assert len(FOUND) == 6


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)
