"""Who cannot send a header comes with a cookie, or with a ticket in the URL."""

from __future__ import annotations

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from http.cookies import SimpleCookie
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from asyncjobs import JobProcessor, MemoryBackend
from asyncjobs.web import READER, Principal, access
from tests.web.bodies import add
from tests.web.sites import Site, problem, site
from tests.web.support import ACT, TOKEN, serving, streaming, until

pytestmark = pytest.mark.anyio

OTHER_TOKEN = "another-token-of-the-tests-0123"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


class Clock:
    """The wall clock of cookies and tickets."""

    now = 1_700_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(access, "time", SimpleNamespace(time=clock.time))
    return clock


async def cookie_of(here: Site, headers: dict[str, str] = BEARER) -> str:
    answer = await here.http.post("/v1/session", headers=headers)
    assert answer.status_code == 204, answer.text
    morsel = SimpleCookie(answer.headers["set-cookie"])[access.COOKIE]
    here.http.cookies.clear()
    return morsel.value


async def ticket_of(here: Site, headers: dict[str, str] = BEARER) -> str:
    answer = await here.http.post("/v1/tickets", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["expires_in"] == 60
    return answer.json()["ticket"]


async def looks(here: Site, cookie: str) -> httpx.Response:
    return await here.get("/v1/jobs", headers={"Cookie": f"{access.COOKIE}={cookie}"})


# -- cookies


async def test_a_token_is_traded_for_a_cookie_that_only_the_browser_sees() -> None:
    async with site(auth=TOKEN, session_lifetime=100) as here:
        answer = await here.http.post("/v1/session", headers=BEARER)
        morsel = SimpleCookie(answer.headers["set-cookie"])[access.COOKIE]
        assert morsel["httponly"]
        assert (morsel["samesite"], morsel["path"], morsel["max-age"]) == ("Strict", "/", "100")
        assert not morsel["secure"]
        assert answer.headers["cache-control"] == "no-store"
        assert (await here.get("/v1/jobs")).status_code == 200  # the client keeps it, as a browser does


async def test_over_https_the_cookie_is_for_https_only_and_mounted_for_the_mount_only() -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        asgi = httpx.ASGITransport(jp.asgi_app(auth=TOKEN), root_path="/jobs")
        async with httpx.AsyncClient(transport=asgi, base_url="https://jobs.example.org/jobs/") as http:
            for answer in (
                await http.post("v1/session", headers=BEARER),
                await http.delete("v1/session", headers=ACT),
            ):
                assert answer.status_code == 204
                assert SimpleCookie(answer.headers["set-cookie"])[access.COOKIE]["path"] == "/jobs"
            opened = await http.post("v1/session", headers=BEARER)
            assert SimpleCookie(opened.headers["set-cookie"])[access.COOKIE]["secure"]


async def test_with_a_cookie_a_page_needs_the_header_to_change_something() -> None:
    async with site(auth=TOKEN) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        cookie = {"Cookie": f"{access.COOKIE}={await cookie_of(here)}"}
        problem(await here.http.post("/v1/jobs/it/cancel", headers=cookie), 403, "header-missing")
        problem(await here.http.post("/v1/tickets", headers=cookie), 403, "header-missing")
        cross = cookie | ACT | {"Origin": "https://evil.example"}
        problem(await here.http.post("/v1/jobs/it/cancel", headers=cross), 403, "cross-site")
        assert (await here.http.post("/v1/jobs/it/cancel", headers=cookie | ACT)).status_code == 202


async def test_signing_out_forgets_the_cookie() -> None:
    async with site(auth=TOKEN) as here:
        await here.http.post("/v1/session", headers=BEARER)
        assert (await here.get("/v1/jobs")).status_code == 200
        problem(await here.http.delete("/v1/session"), 403, "header-missing")
        answer = await here.http.delete("/v1/session", headers=ACT)
        assert answer.status_code == 204
        assert not here.http.cookies
        problem(await here.get("/v1/jobs"), 401, "unauthorized")


async def test_a_cookie_ends_with_its_time_and_not_before(clock: Clock) -> None:
    async with site(auth=TOKEN, session_lifetime=100) as here:
        cookie = await cookie_of(here)
        clock.now += 99
        assert (await looks(here, cookie)).status_code == 200
        clock.now += 2
        problem(await looks(here, cookie), 401, "unauthorized")


async def test_a_cookie_cannot_be_made_or_changed() -> None:
    async with site(auth={TOKEN: Principal("guest", READER)}) as here:
        cookie = await cookie_of(here)
        body, _, signature = cookie.partition(".")
        more = _encoded(_decoded(body) | {"can": ["act", "read"], "name": "boss"})
        later = _encoded(_decoded(body) | {"until": 9e9})
        ticket = await ticket_of(here)
        forged = (
            f"{more}.{signature}",
            f"{later}.{signature}",
            f"{body}.{signature[:-1]}0" if signature[-1] != "0" else f"{body}.{signature[:-1]}1",
            f"{body}.",
            body,
            "",
            ".",
            "é.é",
            f"{body}.{signature}é",
            ticket,  # signed by us, and for something else
            f"{body}={signature}",
        )
        for value in forged:
            headers = [(b"cookie", f"{access.COOKIE}={value}".encode())]
            problem(await here.http.get("/v1/jobs", headers=headers), 401, "unauthorized")
        assert (await looks(here, cookie)).status_code == 200


async def test_what_a_cookie_or_a_ticket_says_gives_neither_the_token_nor_the_key_away() -> None:
    """Tickets stand in access logs. Whoever reads one there must not be able to sign another."""
    async with site(auth=TOKEN) as here:
        for value in (await cookie_of(here), await ticket_of(here)):
            body, _, signature = value.partition(".")
            said = _decoded(body)
            digest = hashlib.sha256(TOKEN.encode()).hexdigest()
            assert TOKEN not in str(said)
            assert digest not in str(said)
            for key in (*map(str, said.values()), digest):
                for material in (key.encode(), hashlib.sha256(key.encode()).digest(), bytes.fromhex(digest)):
                    assert _signed(material, body) != signature


async def test_a_cookie_has_the_rights_that_its_token_has_now() -> None:
    """Whatever it said when it was made: a token that was taken back, or may less, counts at once."""
    secret = "the-secret-of-all-processes"
    before = {TOKEN: Principal("anna"), OTHER_TOKEN: Principal("bob")}
    async with site(auth=before, secret=secret) as here:
        cookie, ticket = await cookie_of(here), await ticket_of(here)
    async with site(auth={TOKEN: Principal("anna", READER), OTHER_TOKEN: Principal("bob")}, secret=secret) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        assert (await looks(here, cookie)).status_code == 200
        headers = {"Cookie": f"{access.COOKIE}={cookie}"} | ACT
        problem(await here.http.post("/v1/jobs/it/cancel", headers=headers), 403, "forbidden")
    async with site(auth={OTHER_TOKEN: Principal("bob")}, secret=secret) as here:
        problem(await looks(here, cookie), 401, "unauthorized")
        problem(await here.get(f"/v1/events?ticket={ticket}"), 401, "unauthorized")


@pytest.mark.parametrize(
    ("one", "other", "accepted"),
    [
        ({"auth": TOKEN}, {"auth": TOKEN}, True),
        ({"auth": TOKEN}, {"auth": OTHER_TOKEN}, False),
        ({"auth": TOKEN, "secret": "s" * 16}, {"auth": TOKEN, "secret": "s" * 16}, True),
        ({"auth": TOKEN, "secret": "s" * 16}, {"auth": TOKEN, "secret": "t" * 16}, False),
    ],
    ids=["same tokens", "other tokens", "same secret", "other secret"],
)
async def test_processes_with_the_same_settings_accept_each_others_cookies(
    one: Any, other: Any, accepted: bool
) -> None:
    async with site(**one) as here:
        cookie = await cookie_of(here)
    async with site(**other) as here:
        assert (await looks(here, cookie)).status_code == (200 if accepted else 401)


@pytest.mark.parametrize("auth", [None, lambda scope: Principal("anna")], ids=["open", "callable"])
async def test_sessions_are_for_tokens(auth: Any) -> None:
    async with site(auth=auth) as here:
        body = problem(await here.post("/v1/session"), 409, "no-sessions")
        assert "auth=" in body["hint"]


# -- tickets


async def test_a_ticket_opens_one_stream() -> None:
    async with site(auth=TOKEN) as here:
        await here.jp.submit_job(add, 1, job_id="it")
        ticket = await ticket_of(here)
        async with streaming(here.http, f"/v1/jobs/it/events?ticket={ticket}") as blocks:
            assert (await until(blocks, "end"))[0].event == "submitted"
        problem(await here.get(f"/v1/jobs/it/events?ticket={ticket}"), 401, "unauthorized")


async def test_a_ticket_is_for_streams_only() -> None:
    async with site(auth=TOKEN) as here:
        await here.jp.submit_job(add, 1, job_id="it", delay=1000)
        ticket = await ticket_of(here)
        for path in ("/v1/jobs", "/v1/jobs/it", "/v1/snapshot", "/v1/jobs/it/logs"):
            problem(await here.get(f"{path}?ticket={ticket}"), 401, "unauthorized")
        for path in ("/v1/jobs/it/cancel", "/v1/tickets", "/v1/session"):
            problem(await here.post(f"{path}?ticket={ticket}"), 401, "unauthorized")
        assert (await here.get(f"/v1/events?once=1&ticket={ticket}")).status_code == 200  # it was not used up by these


async def test_a_ticket_is_good_for_a_minute(clock: Clock) -> None:
    async with site(auth=TOKEN) as here:
        in_time, too_late = await ticket_of(here), await ticket_of(here)
        clock.now += 59
        assert (await here.get(f"/v1/events?once=1&ticket={in_time}")).status_code == 200
        clock.now += 2
        problem(await here.get(f"/v1/events?once=1&ticket={too_late}"), 401, "unauthorized")


async def test_used_tickets_are_remembered_no_longer_than_they_would_be_good(clock: Clock) -> None:
    guard = access.Guard(JobProcessor(MemoryBackend()).asgi_app(auth=TOKEN).config)
    boss = access.Caller(Principal("boss"), "header")
    for _ in range(200):
        clock.now += 1
        guard._by_ticket(guard.ticket(boss))
    assert len(guard._used) <= 60


@pytest.mark.parametrize("ticket", ["", "x", "x.y", "é.é", "%FF.%FF", "%00", "null", "." * 1000])
async def test_anything_else_is_no_ticket(ticket: str) -> None:
    async with site(auth=TOKEN) as here:
        problem(await here.get(f"/v1/events?ticket={ticket}"), 401, "unauthorized")
        problem(await here.get(f"/v1/events?ticket={ticket}", headers=BEARER), 401, "unauthorized")


async def test_a_cookie_is_no_ticket() -> None:
    async with site(auth=TOKEN) as here:
        cookie = await cookie_of(here)
        problem(await here.get(f"/v1/events?ticket={cookie}"), 401, "unauthorized")


async def test_only_who_may_read_gets_a_ticket() -> None:
    tokens = {TOKEN: Principal("robot", frozenset({"act"})), OTHER_TOKEN: Principal("guest", READER)}
    async with site(auth=tokens) as here:
        problem(await here.http.post("/v1/tickets", headers=BEARER), 403, "forbidden")
        ticket = await ticket_of(here, {"Authorization": f"Bearer {OTHER_TOKEN}"})
        assert (await here.get(f"/v1/events?once=1&ticket={ticket}")).status_code == 200


async def test_tickets_also_serve_a_host_with_its_own_sign_in() -> None:
    def auth(scope: Any) -> Principal | None:
        return Principal("anna") if (b"x-user", b"anna") in scope["headers"] else None

    async with JobProcessor(MemoryBackend()) as jp:
        async with serving(jp.asgi_app(auth=auth)) as url, httpx.AsyncClient(base_url=url) as http:
            answer = await http.post("/v1/tickets", headers={"X-User": "anna"} | ACT)
            ticket = answer.json()["ticket"]
            assert (await http.get(f"/v1/events?once=1&ticket={ticket}")).status_code == 200
            problem(await http.get("/v1/events?once=1"), 401, "unauthorized")


# -- parts


def _decoded(body: str) -> dict[str, Any]:
    return json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def _encoded(said: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def _signed(key: bytes, body: str) -> str:
    import hmac

    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()
