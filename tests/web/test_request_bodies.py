"""Bodies of requests: what is no JSON, says nothing that can be, or is too much, changes nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from asyncjobs import MemoryBackend, SQLiteBackend, SQLiteConfig
from asyncjobs.web import call
from tests.web.bodies import add, echo, named
from tests.web.sites import PARSERS, case, exchange, problem, request, site
from tests.web.support import ACT

pytestmark = pytest.mark.anyio

JSON = ACT | {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (rb'{"function": "f", "args": [1, "\ud800"]}', "#/args/1"),
        (rb'{"function": "f", "kwargs": {"a/b": {"c": "x\udfff"}}}', "#/kwargs/a~1b/c"),
        (rb'{"function": "f", "metadata": {"\ud83d": 1}}', r"#/metadata/\ud83d"),
        (b'{"function": "\xed\xa0\x80"}', "#/function"),
    ],
)
async def test_a_lone_surrogate_is_named_with_its_field(body: bytes, pointer: str) -> None:
    async with site(add, submit=True) as here:
        answer = await here.http.post("/v1/jobs", content=body, headers=JSON)
        assert answer.status_code == 400
        [error] = answer.json()["errors"]
        assert (error["pointer"], "lone surrogate" in error["detail"]) == (pointer, True)


@pytest.mark.parametrize(
    ("path", "body", "pointer", "hint"),
    [
        ("/v1/jobs", {"func": "f"}, "#", "did you mean 'function'?"),
        ("/v1/jobs", {"function": "f", "dependencies": ["a"]}, "#", "did you mean 'depends_on'?"),
        ("/v1/jobs", {"function": "f", "prioritty": 1}, "#", "did you mean 'priority'?"),
        ("/v1/jobs", {"function": "f", "zoo": 1}, "#", "known: function, gate, args, kwargs, id, "),
        ("/v1/jobs:cancel", {"filter": {"func": "f"}}, "#/filter", "did you mean 'function'?"),
        ("/v1/jobs:cancel", {"filter": {"zoo": "f"}}, "#/filter", "known: ids, status, group, queue, function"),
        ("/v1/jobs:cancel", {"filter": {"group": "g"}, "expected": 1}, "#", "did you mean 'expect'?"),
        ("/v1/jobs/a/cancel", {"descendant": True}, "#", "did you mean 'descendants'?"),
    ],
)
async def test_an_unknown_field_is_answered_with_the_one_that_is_meant(
    path: str, body: dict[str, Any], pointer: str, hint: str
) -> None:
    async with site(add, submit=True) as here:
        answer = await here.http.post(path, json=body, headers=ACT)
        told = problem(answer, 400, "invalid-request")
        assert told["errors"][0]["pointer"] == pointer
        assert told["hint"].startswith(hint)
        assert await here.jp.find_jobs() == []


@pytest.mark.parametrize(
    ("query", "hint"), [("func=f", "did you mean 'function'?"), ("zoo=1", "known: status, group, queue, function, ")]
)
async def test_an_unknown_parameter_is_answered_with_the_one_that_is_meant(query: str, hint: str) -> None:
    async with site(add) as here:
        told = problem(await here.get(f"/v1/jobs?{query}"), 400, "invalid-request")
        assert told["hint"].startswith(hint)


STATUSES = "allowed: pending, in_progress, completed, failed, cancelled, skipped"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/jobs?status=done", STATUSES),
        ("/v1/jobs?status=failed,done", STATUSES),
        ("/v1/groups/g/graph?collapse=functions", "allowed: function"),
    ],
)
async def test_a_value_that_is_none_of_a_few_is_answered_with_these(path: str, hint: str) -> None:
    async with site(add) as here:
        await here.jp.submit_job(add, 1, group="g")
        told = problem(await here.get(path), 400, "invalid-request")
        assert told["hint"] == hint


async def test_so_it_is_in_a_filter_of_a_body() -> None:
    async with site(add) as here:
        answer = await here.http.post("/v1/jobs:cancel", json={"filter": {"status": ["done"]}}, headers=ACT)
        told = problem(answer, 400, "invalid-request")
        assert told["errors"][0]["pointer"] == "#/filter/status/0"
        assert told["hint"] == STATUSES


def deep(levels: int) -> bytes:
    return b'{"function":"f","args":' + b"[" * levels + b"]" * levels + b"}"


BAD_BODIES = [
    b"",
    b"{",
    b"nul",
    b"{} {}",
    b'{"function": NaN}',
    b'{"function": "f", "args": [Infinity]}',
    b'{"function": "f", "args": [1e999]}',
    b'{"function": "f", "args": [' + b"9" * 5000 + b"]}",
    b'{"function": "\xff"}',
    b'{"function": "\xed\xa0\x80"}',
    b'{"function": "\\ud800"}',
    b'{"function": "\x00"}',
    b'{"function": "a\nb"}',
    b"\xef\xbb\xbf{}",
    '{"function": "f"}'.encode("utf-16"),
    b"{'function': 'f'}",
    b'{"function": "f",}',
    b'{"function": "f", "function": "g"}',
    b'{"function": "f", "kwargs": {"a": {"b": 1, "b": 1}}}',
    b"[]",
    b"null",
    b'"f"',
    b"7",
    b"{}",
    b'{"function": 1}',
    b'{"function": ""}',
    b'{"function": "f", "args": {}}',
    b'{"function": "f", "kwargs": []}',
    b'{"function": "f", "id": 7}',
    b'{"function": "f", "id": ""}',
    b'{"function": "f", "depends_on": "a"}',
    b'{"function": "f", "priority": 1e300}',
    b'{"function": "f", "priority": 99999999999999999999}',
    b'{"function": "f", "priority": true}',
    b'{"function": "f", "timeout": 0}',
    b'{"function": "f", "timeout": -1}',
    b'{"function": "f", "timeout": "1"}',
    b'{"function": "f", "run_at": "tomorrow"}',
    b'{"function": "f", "nothing": 1}',
    deep(40),
    deep(5000),
    deep(200_000),
    b'{"a":' * 30_000,
]


@pytest.mark.parametrize("http", PARSERS)
async def test_a_body_that_says_nothing_that_can_be_is_400(http: str) -> None:
    async with site(add, submit=True, http=http) as here:
        for body in BAD_BODIES:
            with case(body[:60]):
                answer = await here.http.post("/v1/jobs", content=body, headers=JSON)
                found = problem(answer, 400, "invalid-request")
                assert found["errors"][0]["pointer"].startswith("#")
                assert len(answer.content) < 2000
                assert await here.jp.find_jobs() == []


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"id": "a\nb"}, 400),
        ({"id": "a\u0000"}, 400),
        ({"id": "a\u2028"}, 400),
        ({"id": "x" * 513}, 400),
        ({"group": "a\tb"}, 400),
        ({"queue": "\u007f"}, 400),
        ({"depends_on": ["a\nb"]}, 400),
        ({"args": [{"$job": "a\nb"}]}, 400),
        ({"args": [{"$job": ""}]}, 400),
        ({"require": 1}, 400),
        ({"require": 10**30}, 400),
        ({"delay": 1, "run_at": "2040-01-01T00:00:00Z"}, 400),
        ({"run_at": "2040-01-01T00:00:00"}, 400),
        ({"metadata": {"a": 10**30}}, 202),
        ({"args": [10**400]}, 202),
        ({"run_at": "0001-01-01T00:00:00+14:00"}, 400),
        ({"run_at": "0001-01-01T00:00:00Z"}, 202),
        ({"run_at": "9999-12-31T23:59:59Z"}, 202),
        ({"run_at": "9999-12-31T23:59:59-12:00"}, 400),
        ({"max_retries": 1_000_001}, 400),
        ({"priority": -(2**53)}, 202),
        ({"metadata": {"\u2028</script>": "\u0000\n\U0001f4a9"}}, 202),
        ({"depends_on": ["it"], "id": "it"}, 422),
    ],
    ids=str,
)
@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_options_at_and_behind_their_limits(
    asked: dict[str, Any], status: int, store: str, tmp_path: Any
) -> None:
    backend = MemoryBackend() if store == "memory" else SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"))
    async with site(echo, submit=True, works=False, backend=backend) as here:
        answer = await here.post("/v1/jobs", {"function": named(echo)} | asked)
        if status == 202:
            assert answer.status_code == 202, answer.text
            job = answer.json()
            for path in ("", "/arguments", "/why"):
                assert (await here.get(job["links"]["self"] + path)).status_code == 200
            assert [other["id"] for other in (await here.get("/v1/jobs")).json()["items"]] == [job["id"]]
        else:
            problem(answer, status, answer.json()["code"])
            assert await here.jp.find_jobs() == []


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "json"]
)
async def test_a_form_of_a_page_is_no_json(kind: str) -> None:
    """A page of another site can send these without asking first."""
    async with site(add, submit=True) as here:
        content = json.dumps({"function": named(add), "args": [1]}).encode()
        headers = ACT | ({"Content-Type": kind} if kind else {})
        body = problem(
            await here.http.post("/v1/jobs", content=content, headers=headers), 415, "unsupported-media-type"
        )
        assert body["hint"] == "send application/json"
        headers["Content-Type"] = "Application/JSON; charset=utf-8"
        assert (await here.http.post("/v1/jobs", content=content, headers=headers)).status_code == 202


@pytest.mark.parametrize("http", PARSERS)
@pytest.mark.parametrize("sent", ["with its length", "in chunks", "said only"])
async def test_a_body_over_the_limit_is_413(sent: str, http: str) -> None:
    async with site(add, submit=True, http=http, max_body=2000) as here:
        body = b'{"function": "' + b"x" * 5000 + b'"}'
        head = ("X-Asyncjobs: 1", "Content-Type: application/json")
        if sent == "with its length":
            answer = await exchange(here.url, request("POST", "/v1/jobs", *head, body=body))
        elif sent == "in chunks":
            chunks = b"".join(b"%x\r\n%b\r\n" % (500, body[i : i + 500].ljust(500)) for i in range(0, len(body), 500))
            start = request("POST", "/v1/jobs", *head, "Transfer-Encoding: chunked")
            answer = await exchange(here.url, start + chunks + b"0\r\n\r\n")
        else:
            answer = await exchange(here.url, request("POST", "/v1/jobs", *head, "Content-Length: 99999999999"))
        body_of = problem(answer, 413, "too-large")
        assert "2,000" in body_of["detail"]
        assert "max_body" in body_of["hint"]
        exact = json.dumps({"function": named(add), "args": [1]}).encode().ljust(2000)
        assert (await here.http.post("/v1/jobs", content=exact, headers=JSON)).status_code == 202


async def test_a_body_that_does_not_come_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "_SLOWEST_BODY", 0.2)
    async with site(add, submit=True) as here:
        head = ("X-Asyncjobs: 1", "Content-Type: application/json", "Content-Length: 100")
        problem(await exchange(here.url, request("POST", "/v1/jobs", *head) + b'{"func'), 408, "too-slow")


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/jobs:batch", "/v1/jobs:cancel", "/v1/jobs:retry", "/v1/jobs/it/cancel"]
)
async def test_an_announced_body_that_never_comes_is_answered_within_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    assert call._SILENCE < 30
    monkeypatch.setattr(call, "_SILENCE", 0.2)
    async with site(add, submit=True) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=3600)
        for framing in ("Content-Length: 100", "Transfer-Encoding: chunked"):
            head = ("X-Asyncjobs: 1", "Content-Type: application/json", framing)
            problem(await exchange(here.url, request("POST", path, *head)), 408, "too-slow")


async def test_a_body_that_comes_slowly_but_comes_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "_SILENCE", 0.5)
    body = json.dumps({"function": named(add), "args": [1]}).encode()

    async def slowly() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 8):
            await anyio.sleep(0.1)
            yield body[start : start + 8]

    async with site(add, submit=True) as here:
        assert len(body) / 8 * 0.1 > 0.6  # all in all longer than the silence that is allowed
        answer = await here.http.post("/v1/jobs", content=slowly(), headers=JSON)
        assert answer.status_code == 202


async def test_a_client_that_goes_away_amid_its_body_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with site(add, submit=True) as here:
        address = httpx.URL(here.url)
        head = request("POST", "/v1/jobs", "X-Asyncjobs: 1", "Content-Type: application/json", "Content-Length: 100")
        async with await anyio.connect_tcp(address.host, address.port or 80) as stream:
            await stream.send(head + b'{"func')
            await here.get("/v1/")  # so that the server has begun with the other one
        assert (await here.get("/v1/")).status_code == 200
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
