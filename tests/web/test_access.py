"""Who may ask, from where: closed by default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from asyncjobs import ConfigurationError, JobProcessor, MemoryBackend
from asyncjobs.web import READER, Principal, allow_anyone
from asyncjobs.web.settings import WebConfig
from tests.web.bodies import add
from tests.web.sites import PARSERS, Answer, case, exchange, problem, request, site
from tests.web.support import ACT, TOKEN, serving

pytestmark = pytest.mark.anyio

READ_TOKEN = "a-token-of-a-reader-0123456789"


# -- without auth: only this machine, under a name of this machine


LOCAL_HOSTS = [
    "localhost",
    "localhost:8000",
    "LocalHost:80",
    "localhost.",
    "jobs.localhost",
    "127.0.0.1",
    "127.0.0.1:8000",
    "[::1]",
    "[::1]:8000",
    "192.168.1.7:8000",
    "jobs.example.org",
    "JOBS.example.org.:443",
]


@pytest.mark.parametrize("http", PARSERS)
async def test_a_local_name_or_an_address_is_answered(http: str) -> None:
    async with site(http=http, allowed_hosts=["Jobs.Example.org"]) as here:
        for host in LOCAL_HOSTS:
            with case(host):
                answer = await exchange(here.url, request("GET", "/v1/", host=host))
                assert answer.status_code == 200, answer.text


OTHER_HOSTS = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil-localhost",
    "me@localhost",
    "localhost/evil.example",
    "localhost#",
    "localhost:80:evil.example",
    "[::1].evil.example",
    "[localhost]",
    "0x7f000001",
    "127.1",
    "",
    "localhost..",
    "sub.jobs.example.org",
]


@pytest.mark.parametrize("http", PARSERS)
async def test_any_other_name_is_somebody_elses_page(http: str) -> None:
    """DNS rebinding: the browser believes that it talks to ``evil.example``, and the peer is this machine."""
    async with site(http=http, allowed_hosts=["jobs.example.org"]) as here:
        for host in OTHER_HOSTS:
            with case(host):
                for path in ("/v1/jobs", "/healthz", "/none", "/"):
                    refused(await exchange(here.url, request("GET", path, host=host)), "host-not-allowed")


@pytest.mark.parametrize("http", PARSERS)
async def test_a_missing_or_second_host_is_refused(http: str) -> None:
    async with site(http=http) as here:
        refused(await exchange(here.url, request("GET", "/v1/", host=None)), "host-not-allowed")
        refused(await exchange(here.url, request("GET", "/v1/", "Host: evil.example")), "host-not-allowed")
        refused(await exchange(here.url, request("GET", "/v1/", "Host: localhost")), "host-not-allowed")
        bare = b"GET /v1/ HTTP/1.0\r\n\r\n"
        refused(await exchange(here.url, bare), "host-not-allowed")


@pytest.mark.parametrize("server", ["trusts what proxies say", "does not"])
@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 203.0.113.9",
        "X-Forwarded-For: 127.0.0.1, 203.0.113.9",
        "X-Forwarded-For: 203.0.113.9, 127.0.0.1",
        "X-Forwarded-For: unknown",
        "X-Real-IP: 203.0.113.9",
        "X-Forwarded-Host: jobs.example.org",
        "Forwarded: for=203.0.113.9",
    ],
)
async def test_a_proxy_on_this_machine_does_not_open_it_to_others(header: str, server: str) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        async with serving(jp.asgi_app(), proxy_headers=server.startswith("trusts")) as url:
            refused(await exchange(url, request("GET", "/v1/", header)), "local-only")
            near = await exchange(url, request("GET", "/v1/", "X-Forwarded-For: 127.0.0.1, ::1"))
            assert near.status_code == 200, near.text


@pytest.mark.parametrize(
    "client", [("203.0.113.9", 1234), ("10.0.0.1", 1), ("::2", 1), ("", 0), ("/run/a.sock", 0), None]
)
async def test_another_machine_is_refused_and_told_how_to_open_it(client: tuple[str, int] | None) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        asgi = httpx.ASGITransport(jp.asgi_app(), client=client)
        async with httpx.AsyncClient(transport=asgi, base_url="http://localhost") as http:
            body = problem(await http.get("/v1/jobs"), 403, "local-only")
            assert "auth=" in body["hint"]
            assert "allow_anyone" in body["hint"]


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
async def test_every_loopback_address_is_this_machine(client: str) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        asgi = httpx.ASGITransport(jp.asgi_app(), client=(client, 1))
        async with httpx.AsyncClient(transport=asgi, base_url="http://localhost") as http:
            assert (await http.get("/v1/jobs")).status_code == 200


async def test_with_auth_the_name_does_not_matter() -> None:
    async with site(auth=TOKEN) as here:
        bearer = f"Authorization: Bearer {TOKEN}"
        answer = await exchange(here.url, request("GET", "/v1/jobs", bearer, host="jobs.example.org"))
        assert answer.status_code == 200


# -- tokens and roles


async def test_a_token_opens_it() -> None:
    async with site(auth=TOKEN) as here:
        body = problem(await here.get("/v1/jobs"), 401, "unauthorized")
        assert "Bearer" in body["hint"]
        for given in ("", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN):
            answer = await here.get("/v1/jobs", headers={"Authorization": given})
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == 'Bearer realm="asyncjobs"'
        for given in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer  {TOKEN}"):
            assert (await here.get("/v1/jobs", headers={"Authorization": given})).status_code == 200
        odd = await exchange(here.url, request("GET", "/v1/jobs", "Authorization: Bearer \xff\xfe\u00e9"))
        problem(odd, 401, "unauthorized")


async def test_nothing_but_health_is_told_to_a_stranger() -> None:
    """Every route, so that a new one cannot be forgotten."""
    from asyncjobs.web.routes import TABLE

    async with site(add, auth=TOKEN, submit=True) as here:
        await here.jp.submit_job(add, 1, job_id="x", group="x", delay=1000)
        for entry in TABLE:
            path = entry.path.format(id="x", group="x")
            answer = await here.http.request(entry.method, path, headers=ACT)
            if path in ("/healthz", "/readyz") or (entry.method, path) == ("DELETE", "/v1/session"):
                assert answer.status_code in (200, 204)
            else:
                problem(answer, 401, "unauthorized")


async def test_who_may_read_may_not_act() -> None:
    """Again every route: what changes something needs the right to."""
    from asyncjobs.web.routes import TABLE

    tokens = {TOKEN: Principal("boss"), READ_TOKEN: Principal("guest", READER)}
    reads = {"/v1/jobs:batch", "/v1/session", "/v1/tickets"}  # they change nothing
    async with site(add, auth=tokens, submit=True) as here:
        await here.jp.submit_job(add, 1, job_id="x", group="x", delay=1000)
        for entry in TABLE:
            if entry.streams:
                continue
            path = entry.path.format(id="x", group="x")
            headers = {"Authorization": f"Bearer {READ_TOKEN}"} | ACT
            answer = await here.http.request(entry.method, path, headers=headers)
            if entry.method == "POST" and path not in reads:
                body = problem(answer, 403, "forbidden")
                assert body["detail"] == f"'guest' may not {entry.right}"
                assert entry.right in ("act", "answer")
            else:
                assert answer.status_code not in (401, 403), path
        cancel = await here.http.post("/v1/jobs/x/cancel", headers={"Authorization": f"Bearer {TOKEN}"})
        assert cancel.status_code == 202


async def test_a_callable_decides_by_the_request() -> None:
    seen: list[Mapping[str, Any]] = []

    def by_header(scope: Mapping[str, Any]) -> Principal | None:
        seen.append(scope)
        user = dict(scope["headers"]).get(b"x-user", b"").decode()
        return Principal(user, READER if user == "guest" else frozenset({"read", "act"})) if user else None

    async def later(scope: Mapping[str, Any]) -> Principal | None:
        return by_header(scope)

    for auth in (by_header, later):
        async with site(auth=auth) as here:
            await here.jp.submit_job(add, 1, job_id="it", delay=1000)
            problem(await here.get("/v1/jobs"), 401, "unauthorized")
            assert (await here.get("/v1/jobs", headers={"X-User": "guest"})).status_code == 200
            problem(await here.post("/v1/jobs/it/cancel", headers={"X-User": "guest"}), 403, "forbidden")
            assert (await here.post("/v1/jobs/it/cancel", headers={"X-User": "anna"})).status_code == 202
            # It may have been a cookie: the header that another site's page cannot send is wanted, too.
            problem(await here.http.post("/v1/jobs/it/retry", headers={"X-User": "anna"}), 403, "header-missing")
    assert seen[0]["type"] == "http"


@pytest.mark.parametrize("returned", [True, "anna", {"name": "anna"}, 1, Principal])
async def test_a_callable_that_returns_anything_else_lets_nobody_in(
    returned: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(auth=lambda scope: returned) as here:
        problem(await here.get("/v1/jobs"), 500, "internal")
    assert "auth= returned" in caplog.text


async def test_a_callable_that_raises_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    def broken(scope: Mapping[str, Any]) -> Principal | None:
        raise KeyError("the directory is down")

    async with site(auth=broken) as here:
        body = problem(await here.get("/v1/jobs"), 500, "internal")
        assert "directory" not in str(body)
    assert "the directory is down" in caplog.text


async def test_anyone_when_the_host_app_guards_it() -> None:
    async with site(auth=allow_anyone) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        assert (await exchange(here.url, request("GET", "/v1/jobs", host="jobs.example.org"))).status_code == 200
        assert (await here.post("/v1/jobs/it/cancel")).status_code == 202


# -- another site's page


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        {"Origin": ""},
        {"Origin": "http://localhost.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": ""},
    ],
    ids=str,
)
async def test_another_sites_page_changes_nothing(headers: dict[str, str]) -> None:
    async with site() as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        problem(await here.post("/v1/jobs/it/cancel", headers=headers), 403, "cross-site")
        assert await here.jp.get_status("it") == "pending"
        assert (await here.get("/v1/jobs/it", headers=headers)).status_code == 200  # which it cannot read


async def test_behind_a_proxy_that_replaces_the_host_the_hint_says_so_first() -> None:
    """The page is the own one: to list its origin would be the wrong fix."""
    async with site() as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        browser = {"Origin": "https://jobs.example.org", "Sec-Fetch-Site": "same-origin"}
        refused = await here.post("/v1/jobs/it/cancel", headers=browser)
        problem(refused, 403, "cross-site")
        proxy, _, other = refused.json()["hint"].partition("; ")
        assert proxy == "behind a proxy: pass on the Host of the browser (nginx: proxy_set_header Host $http_host)"
        assert "allow_origins" in other


async def test_the_own_page_and_a_program_change_something() -> None:
    async with site() as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        own = {"Origin": here.url, "Sec-Fetch-Site": "same-origin"}
        assert (await here.post("/v1/jobs/it/cancel", headers=own)).status_code == 202
        assert (await here.post("/v1/jobs/it/retry", headers={"Sec-Fetch-Site": "none"})).status_code == 202
        problem(await here.http.post("/v1/jobs/it/cancel"), 403, "header-missing")
        problem(await here.http.post("/v1/jobs/it/cancel", headers=own), 403, "header-missing")


async def test_a_bearer_token_needs_no_header_of_ours() -> None:
    """A page of another site cannot know it."""
    async with site(auth=TOKEN) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        answer = await here.http.post("/v1/jobs/it/cancel", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 202


async def test_a_listed_origin_may_read_and_act() -> None:
    origin = "https://app.example.org"
    async with site(allow_origins=[origin]) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        for answer in (
            await here.get("/v1/jobs", headers=headers),
            await here.get("/v1/jobs/none", headers=headers),
            await here.post("/v1/jobs/it/cancel", headers=headers),
        ):
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert "ETag" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"
        asked = headers | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-asyncjobs"}
        preflight = await here.http.options("/v1/jobs/it/retry", headers=asked)
        assert (preflight.status_code, preflight.content) == (204, b"")
        assert preflight.headers["access-control-allow-origin"] == origin
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert "X-Asyncjobs" in preflight.headers["access-control-allow-headers"]


@pytest.mark.parametrize("listed", [(), ("https://app.example.org",)])
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example.org", "https://app.example.org:8443", "null", "*"]
)
async def test_no_other_origin_is_told_anything(listed: tuple[str, ...], origin: str) -> None:
    async with site(allow_origins=listed) as here:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        for answer in (
            await here.get("/v1/jobs", headers=asked),
            await here.http.options("/v1/jobs", headers=asked),
            await here.post("/v1/jobs", headers=asked),
        ):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers.get("vary") == ("Origin" if listed else None)


async def test_a_preflight_is_answered_before_anybody_signs_in() -> None:
    origin = "https://app.example.org"
    async with site(allow_origins=[origin], auth=TOKEN) as here:
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        assert (await here.http.options("/v1/jobs", headers=asked)).status_code == 204
        unknown = await here.get("/v1/jobs", headers={"Origin": origin})
        assert problem(unknown, 401, "unauthorized")
        assert unknown.headers["access-control-allow-origin"] == origin  # so that the page can read why


# -- settings


@pytest.mark.parametrize(
    "settings",
    [
        {"auth": "short"},
        {"auth": "with spaces in it, but long"},
        {"auth": "ünïcödé-but-long-enough"},
        {"auth": {TOKEN: "boss"}},
        {"auth": {"short": Principal("boss", READER)}},
        {"auth": {1: Principal("boss", READER)}},
        {"auth": 7},
        {"auth": b"a-token-in-bytes-is-none"},
        {"secret": ""},
        {"secret": "short"},
        {"secret": b"bytes-are-not-a-string"},
        {"allowed_hosts": "jobs.example.org"},
        {"allowed_hosts": ("",)},
        {"allowed_hosts": ("jobs.example.org:8000",)},
        {"allowed_hosts": ("*",)},
        {"allowed_hosts": ("https://jobs.example.org",)},
        {"allow_origins": "https://app.example.org"},
        {"allow_origins": ("*",)},
        {"allow_origins": ("https://*.example.org",)},
        {"allow_origins": ("https://app.example.org/",)},
        {"allow_origins": ("app.example.org",)},
        {"allow_origins": ("null",)},
        {"max_body": 0},
        {"session_lifetime": 0},
    ],
    ids=str,
)
def test_settings_that_would_not_protect_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WebConfig(**settings)
    assert TOKEN not in str(caught.value)
    assert "short" not in str(caught.value)


def refused(answer: Answer, code: str) -> None:
    """By us, or by the server as no HTTP."""
    if answer.is_ours:
        problem(answer, 403, code)
    else:
        assert answer.status_code == 400
