"""Bad input is a 4xx with a code and a hint, never a 5xx, and changes nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from asyncjobs import JobExecutionError, JobProcessor, MemoryBackend, SQLiteBackend, SQLiteConfig, current_job
from tests.web.bodies import add
from tests.web.sites import PARSERS, case, exchange, problem, request, site
from tests.web.support import serving

pytestmark = pytest.mark.anyio

PATHS_OF_A_JOB = ["", "/result", "/arguments", "/logs", "/attempts", "/why", "/graph", "/events", "/events?once=1"]


# -- ids and paths


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_an_unknown_id_is_404_with_the_nearest_one(store: str, tmp_path: Any) -> None:
    backend = MemoryBackend() if store == "memory" else SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"))
    async with site(works=False, backend=backend) as here:
        await here.jp.submit_job(add, 1, job_id="panel_Anna_01")
        for path in PATHS_OF_A_JOB:
            body = problem(await here.get(f"/v1/jobs/panel_Ana_01{path}"), 404, "job-not-found")
            assert body["hint"].startswith("did you mean 'panel_Anna_01'?"), path
            assert body["instance"].startswith("/v1/jobs/panel_Ana_01")
        for action in ("cancel", "retry"):
            body = problem(await here.post(f"/v1/jobs/panel_Ana_01/{action}"), 404, "job-not-found")
            assert body["hint"].startswith("did you mean 'panel_Anna_01'?")
        body = problem(await here.get("/v1/jobs/nothing-like-it"), 404, "job-not-found")
        assert "did you mean" not in body["hint"]


ODD_IDS = [
    "a/b",
    "a b",
    "ä",
    "日本",
    "👩‍💻",
    "a\u00a0b",
    "%2F",
    "...",
    ".a",
    "a?b#c&d=e;f",
    "a'\"<b>",
    "{id}",
    "a:cancel",
    "a//b/",
]


@pytest.mark.parametrize("http", PARSERS)
async def test_every_id_that_can_be_submitted_can_be_asked_for(http: str) -> None:
    async with site(works=False, http=http) as here:
        for job_id in (*ODD_IDS, "x" * 512):
            await here.jp.submit_job(add, 1, job_id=job_id, group="odd")
        listed = (await here.get("/v1/jobs?group=odd")).json()["items"]
        assert {job["id"] for job in listed} == {*ODD_IDS, "x" * 512}
        for job in listed:
            target = job["links"]["self"]
            for path in PATHS_OF_A_JOB:
                if path == "/events":
                    continue
                answer = await exchange(here.url, request("GET", target + path))
                assert answer.status_code in (200, 202), (job["id"], path, answer.text)
            assert json.loads((await exchange(here.url, request("GET", target))).content)["id"] == job["id"]


IMPOSSIBLE_IDS = [
    "%00",
    "a%0Ab",
    "%1B",
    "%7F",
    "%C2%85",
    "%E2%80%A8",
    "%E2%80%A9",
    "x" * 513,
    quote("ä") * 513,
    "%0D%0Ax",
]


@pytest.mark.parametrize("http", PARSERS)
async def test_an_id_that_no_job_can_have_is_not_found(http: str) -> None:
    async with site(works=False, http=http) as here:
        for raw in IMPOSSIBLE_IDS:
            with case(raw):
                for path in ("", "/result", "/events"):
                    problem(
                        json_only(await exchange(here.url, request("GET", f"/v1/jobs/{raw}{path}"))), 404, "not-found"
                    )
                answer = await exchange(here.url, request("POST", f"/v1/jobs/{raw}/cancel", "X-Asyncjobs: 1"))
                problem(answer, 404, "not-found")
                problem(await exchange(here.url, request("GET", f"/v1/groups/{raw}")), 404, "not-found")


BAD_ESCAPES = ["%FF", "%C3", "%ED%A0%80", "%", "%G1", "%2", "%F4%90%80%80", "%u0041"]


@pytest.mark.parametrize("http", PARSERS)
async def test_bad_percent_encoding_is_not_found_either(http: str) -> None:
    async with site(works=False, http=http) as here:
        for raw in BAD_ESCAPES:
            with case(raw):
                for path in (f"/v1/jobs/{raw}", f"/v1/groups/{raw}", f"/v1/{raw}", f"/{raw}"):
                    answer = await exchange(here.url, request("GET", path))
                    assert answer.status_code == 404
                    assert answer.headers["content-type"] == "application/problem+json"


NO_PATHS = [
    "/v1/none",
    "/v2/jobs",
    "//v1/jobs",
    "/v1//jobs",
    "/v1/jobs/a/b/c",
    "/v1/jobs/../jobs",
    "/v1/%6Aobs",
    "/V1/jobs",
    "/v1/jobs:none",
    "/v1/openapi",
    "http://evil.example/v1/none",
    "*",
    "/v1/jobs;x=1",
    "/\\v1",
]


@pytest.mark.parametrize("http", PARSERS)
async def test_a_path_that_is_none_is_404_and_says_where_to_look(http: str) -> None:
    async with site(http=http) as here:
        for target in NO_PATHS:
            with case(target):
                answer = await exchange(here.url, request("GET", target))
                if answer.is_ours:
                    assert "/v1/" in problem(answer, 404, "not-found")["hint"]
                else:
                    assert answer.status_code == 400


@pytest.mark.parametrize("http", PARSERS)
async def test_a_target_of_raw_bytes_is_refused(http: str) -> None:
    async with site(http=http) as here:
        for target in (
            b"/v1/jobs/\xc3\xa4",
            b"/v1/jobs/\xff",
            b"/v1/jobs?group=\xff",
            b"/v1/jobs/\x00",
            b"/v1/jobs/a b",
        ):
            answer = await exchange(here.url, request("GET", target))
            assert 400 <= answer.status_code < 500 or (answer.status_code == 200 and b"?" in target)


OTHER_METHODS = ["PUT", "PATCH", "DELETE", "POST", "PROPFIND", "TRACE", "BREW"]


@pytest.mark.parametrize("http", PARSERS)
async def test_another_method_is_405_with_those_that_are(http: str) -> None:
    async with site(http=http) as here:
        for method in OTHER_METHODS:
            with case(method):
                answer = await exchange(here.url, request(method, "/v1/jobs/it", "X-Asyncjobs: 1"))
                if answer.is_ours:
                    problem(answer, 405, "method-not-allowed")
                    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
                else:
                    assert answer.status_code == 400  # the parser knows no such method


async def test_a_slash_at_the_end_does_not_matter() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        for path in ("/v1/", "/v1/jobs/", "/v1/jobs/it/", "/v1/jobs/it/why/"):
            assert (await here.get(path)).status_code == 200, path


# -- parameters


BAD_QUERIES = [
    ("/v1/jobs?lmit=3", "?lmit", "'limit'"),
    ("/v1/jobs?zzz=3", "?zzz", "known: "),
    ("/v1/jobs/it?waits=1", "?waits", "'wait'"),
    ("/v1/jobs?limit=0", "?limit", None),
    ("/v1/jobs?limit=1001", "?limit", None),
    ("/v1/jobs?limit=", "?limit", None),
    ("/v1/jobs?limit=many", "?limit", None),
    ("/v1/jobs?limit=99999999999999999999999", "?limit", None),
    ("/v1/jobs?limit=1&limit=2", "?limit", None),
    ("/v1/jobs?order=sideways", "?order", None),
    ("/v1/jobs?status=done", "?status/0", None),
    ("/v1/jobs?status=failed,done", "?status/1", None),
    (f"/v1/jobs?group={'x' * 513}", "?group", None),
    (f"/v1/jobs?cursor={'9' * 201}", "?cursor", None),
    ("/v1/jobs/it?wait=-1", "?wait", None),
    ("/v1/jobs/it?wait=61", "?wait", None),
    ("/v1/jobs/it?wait=nan", "?wait", None),
    ("/v1/jobs/it?wait=inf", "?wait", None),
    ("/v1/jobs/it/graph?depth=21", "?depth", None),
    ("/v1/groups/g/graph?collapse=name", "?collapse", None),
    ("/v1/events?plain=perhaps", "?plain", None),
    ("/v1/jobs/it/logs?limit=x", "?limit", None),
    ("/v1/stats?fast=1", "?fast", "known: none"),
    ("/v1/jobs/it/result?x", "?x", None),
]


async def test_a_parameter_that_is_none_or_has_no_such_value() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it", group="g")
        for query, pointer, said in BAD_QUERIES:
            with case(query, pointer, said):
                body = problem(await here.get(query), 400, "invalid-request")
                assert [error["pointer"] for error in body["errors"]] == [pointer]
                assert pointer.partition("/")[0] in body["detail"]
                if said is not None:
                    assert said in body["hint"]


NO_CURSORS = ["x", "-1", "1.5", "%00", "%FF", "9" * 40, "１", "0x1", "null", "1%202"]


@pytest.mark.parametrize(
    "path", ["/v1/jobs?cursor=", "/v1/jobs/it/logs?after=", "/v1/events?once=1&after=", "/v1/events?after="]
)
async def test_a_cursor_that_is_none_is_said_so(path: str, tmp_path: Any) -> None:
    async with site(works=False, backend=SQLiteBackend(SQLiteConfig(db_path=tmp_path / "jobs.db"))) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        for cursor in NO_CURSORS:
            with case(cursor):
                problem(await here.get(path + cursor), 400, "configuration")


async def test_a_cursor_that_is_none_in_the_header_of_a_browser() -> None:
    async with site(works=False) as here:
        problem(await here.get("/v1/events", headers={"Last-Event-ID": "x"}), 400, "configuration")


ANY_TEXT = ["%00", "%FF", "%0A", "'", "%25", "*", "a,b", "%F0%9F%92%A9", "\\", "$.x"]


async def test_any_text_is_a_filter_that_matches_what_is_the_same() -> None:
    async with site(works=False) as here:
        await here.jp.submit_job(add, 1, job_id="it", group="g")
        for value in ANY_TEXT:
            with case(value):
                for name in ("group", "queue", "function", "parent"):
                    answer = await here.get(f"/v1/jobs?{name}={value}")
                    assert (answer.status_code, answer.json()["items"]) == (200, []), answer.text
                answer = await here.get(f"/v1/groups?after={value}")
                assert answer.status_code in (200, 400)
                if answer.status_code == 400:
                    problem(answer, 400, "configuration")


@pytest.mark.parametrize("accept", ["image/png", "application/json", ""])
async def test_a_form_that_events_do_not_have_is_406(accept: str) -> None:
    async with site() as here:
        problem(await here.get("/v1/events", headers={"Accept": accept}), 406, "not-acceptable")


# -- headers


@pytest.mark.parametrize("http", PARSERS)
async def test_floods_of_headers_are_refused(http: str) -> None:
    async with site(http=http) as here:
        many = [f"X-{i}: {'y' * 40}" for i in range(400)]
        problem(await exchange(here.url, request("GET", "/v1/", *many)), 431, "headers-too-large")
        problem(await exchange(here.url, request("GET", "/v1/", f"X-Big: {'y' * 17_000}")), 431, "headers-too-large")
        problem(await exchange(here.url, request("GET", f"/v1/jobs?group={'y' * 17_000}")), 414, "uri-too-long")
        huge = await exchange(here.url, request("GET", "/v1/", f"X-Big: {'y' * 1_000_000}"))
        assert huge.status_code in (400, 431)
        assert (await here.get("/v1/")).status_code == 200


ODD_HEADERS = [
    "If-None-Match: \xff",
    "If-None-Match: ,,,",
    "If-Match: \x0b",
    "Accept: \xff",
    "Authorization: \xff",
    "Cookie: \xff=\xff; asyncjobs_session=\xff",
    "Cookie: asyncjobs_session",
    "Origin: http://[",
    "Origin: \xff",
    "X-Request-Id: \xff",
    "Last-Event-ID: \xff",
    "Content-Type: \xff",
    "Idempotency-Key: \xff",
    "X-Forwarded-For: [",
]


@pytest.mark.parametrize("http", PARSERS)
@pytest.mark.parametrize("auth", [None, "a-token-that-is-long-enough"])
async def test_odd_headers_are_no_fault_of_the_server(auth: str | None, http: str) -> None:
    async with site(add, works=False, http=http, auth=auth, submit=True) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        for header in ODD_HEADERS:
            with case(header):
                for method, target in (
                    ("GET", "/v1/jobs/it"),
                    ("GET", "/v1/jobs?limit=1"),
                    ("GET", "/v1/events?once=1"),
                    ("POST", "/v1/jobs"),
                    ("POST", "/v1/jobs/it/cancel"),
                    ("OPTIONS", "/v1/jobs"),
                ):
                    answer = await exchange(here.url, request(method, target, header, "X-Asyncjobs: 1"))
                    assert answer.status_code < 500, (method, target, answer.text)


async def test_an_odd_host_does_not_break_links() -> None:
    """With ``auth`` the Host may be anything: nothing is made from it."""
    token = "a-token-that-is-long-enough"
    async with site(works=False, auth=token) as here:
        await here.jp.map_jobs(add, range(3))
        for host in ("[", "evil.example", "a b", "x/y?z#"):
            answer = await exchange(
                here.url, request("GET", "/v1/jobs?limit=1", f"Authorization: Bearer {token}", host=host)
            )
            if answer.is_ours:
                assert answer.status_code == 200
                assert answer.headers["link"].startswith("<?limit=1&cursor=")
                assert "evil" not in answer.text


# -- faults of the server say nothing about it


async def test_a_bug_is_500_with_the_rest_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(redact=lambda what, value: 1 // 0) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        body = problem(await here.get("/v1/jobs/it"), 500, "internal")
        assert "ZeroDivisionError" not in str(body)
        assert "ZeroDivisionError" in caplog.text


async def test_every_answer_forbids_what_it_does_not_need() -> None:
    async with site() as here:
        for path in ("/v1/jobs", "/none", "/v1/openapi.json"):
            headers = (await here.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
            assert headers["cache-control"] in ("no-store", "no-cache")


async def test_a_processor_that_does_not_run_is_a_503_that_says_how_to_mend_it() -> None:
    jp = JobProcessor(MemoryBackend())
    async with serving(jp.asgi_app()) as url, httpx.AsyncClient(base_url=url) as http:
        for path in (
            "/v1/jobs",
            "/v1/jobs/it",
            "/v1/jobs/it/result",
            "/v1/groups/g",
            "/v1/stats",
            "/v1/snapshot",
            "/v1/workers",
            "/v1/events?once=1",
        ):
            answer = await http.get(path)
            body = problem(answer, 503, "closed")
            assert "FastAPI(lifespan=jp.lifespan)" in body["hint"], path
            assert answer.headers["retry-after"] == "1"


def json_only(answer: Any) -> Any:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer


async def test_of_a_job_that_waited_in_vain_the_hint_retries_the_other_first() -> None:
    async with site() as here:
        job_id = await here.jp.submit_job(_waits_in_vain, job_id="root", max_retries=0)
        with pytest.raises(JobExecutionError):
            await job_id.result(timeout=20)
        body = problem(await here.get("/v1/jobs/root/result"), 409, "job-failed")
        assert body["detail"].endswith("RuntimeError: 503")
        first, _, second = body["hint"].partition("; then ")
        assert "/v1/jobs/root%2Fchild/retry" in first
        assert "/v1/jobs/root/retry" in second
        assert body["details"]["retry_first"] == ["root/child"]


async def _fails() -> None:
    raise RuntimeError("503")


async def _waits_in_vain() -> None:
    await (await current_job().submit_job(_fails, key="child", max_retries=0))
