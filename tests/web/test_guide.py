"""What the guide of the web part says is so. Its programs are run by tests/architecture/test_web_pages.py."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from asyncjobs import JobProcessor, MemoryBackend, NotSerializableError
from asyncjobs.web.settings import WebConfig
from tests.web.bodies import add
from tests.web.support import ACT, serving

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "web.md").read_text()


def test_readme_mounts_the_app_with_the_lifespan_of_its_host() -> None:
    readme = (ROOT / "README.md").read_text()
    [web] = [line for line in readme.split("\n- ") if line.startswith("**The web**")]
    code = re.findall(r"`([^`]*(?:FastAPI|app\.mount)[^`]*)`", web)
    names: dict[str, Any] = {"jp": JobProcessor(MemoryBackend()), "FastAPI": FastAPI}
    for text in code:
        exec(text, names)
    assert any(getattr(route, "path", "") == "/jobs" for route in names["app"].routes)
    assert "lifespan=jp.lifespan" in code[0]


def test_the_reference_names_every_option_with_its_default() -> None:
    text = " ".join(str(WebConfig.__doc__).split())
    listed = {part.partition(":")[0]: part for part in text.split(":param ")[1:]}
    fields = {field.name: field.default for field in dataclasses.fields(WebConfig)}
    assert listed.keys() == fields.keys()
    words = {"max_body": "1 MiB", "max_headers": "16 KiB", "session_lifetime": "12 hours"}
    assert (fields["max_body"], fields["max_headers"], fields["session_lifetime"]) == (1 << 20, 1 << 14, 43_200)
    for name, default in fields.items():
        if isinstance(default, (int, float)) and not (isinstance(default, bool) and name != "submit"):
            assert f"Default {words.get(name, f'{default:g}' if name != 'submit' else default)}." in listed[name]


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
