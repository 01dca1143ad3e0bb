"""What is printed over HTTP, and of the client."""

from __future__ import annotations

import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from fastapi import FastAPI

import asyncjobs.web
from asyncjobs import JobProcessor, JobQuery, MemoryBackend, job
from asyncjobs.client import JobsClient
from asyncjobs.web import Principal
from tests.architecture.hints.following import Hints, Words, refusal, refused
from tests.web.bodies import add, fail, named
from tests.web.support import ACT, serving

ALIAS = "jobs.example.org"


async def add_with(limit: Any = 1, **more: Any) -> Any:
    return [limit, more]


marked = job(limit=("one", 1))(add)


class Drawn:
    """The module ``secrets`` as far as a message names it, with what it drew."""

    def __init__(self) -> None:
        self.tokens: list[str] = []

    def token_urlsafe(self) -> str:
        self.tokens.append(secrets.token_urlsafe())
        return self.tokens[-1]


async def ask(app: Any, path: str, **options: Any) -> Any:
    """The hint of a problem, or None."""
    method = options.pop("method", "GET")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        answer = await http.request(method, path, **options)
    return answer.json().get("hint") if answer.status_code >= 400 else None


async def who_may_ask(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        names: dict[str, Any] = {"asgi_app": jp.asgi_app, "secrets": secrets, "asyncjobs": asyncjobs}
        foreign: dict[str, Any] = {"headers": {"Host": ALIAS}}
        forwarded: dict[str, Any] = {"headers": {"X-Forwarded-For": "192.0.2.1"}}
        crossed: dict[str, Any] = {
            "method": "POST", "headers": {**ACT, "Origin": "https://example.org"}, "json": {"ids": []}
        }  # fmt: skip
        app = jp.asgi_app()
        name = await ask(app, "/v1/jobs", **foreign)
        near = await ask(app, "/v1/jobs", **forwarded)
        cross = await ask(app, "/v1/jobs:batch", **crossed)
        session = await ask(app, "/v1/session", method="POST", headers=ACT)
        named_too = hints.code(name, "asgi_app(allowed_hosts=[…])", repr(ALIAS), **names)
        assert await ask(named_too, "/v1/jobs", **foreign) is None
        open_to_all = hints.code(near, "asgi_app(auth=asyncjobs.web.allow_anyone)", **names)
        assert await ask(open_to_all, "/v1/jobs", **forwarded) is None
        drawn = Drawn()
        for hint in (near, session):
            signed = hints.code(hint, "asgi_app(auth=secrets.token_urlsafe())", asgi_app=jp.asgi_app, secrets=drawn)
            headers = ACT | {"Authorization": f"Bearer {drawn.tokens[-1]}"}
            assert await ask(signed, "/v1/session", method="POST", headers=headers) is None
        async with serving(signed) as url:
            async with JobsClient(url) as client:
                unknown = await refusal(client.stats())
            known = {"JobsClient": JobsClient, "base_url": url}
            async with hints.code(unknown.hint, 'JobsClient(base_url, token="…")', drawn.tokens[-1], **known) as client:
                await client.stats()
        friendly = hints.code(cross, "asgi_app(allow_origins=[…])", "'https://example.org'", **names)
        assert await ask(friendly, "/v1/jobs:batch", **crossed) is None


def tokens(hints: Hints) -> None:
    for settings in ({"auth": "short"}, {"auth": {"short": Principal("x")}}, {"secret": "short"}):
        error = refused(lambda settings=settings: JobProcessor(MemoryBackend()).asgi_app(**settings))
        hints.follow(error.hint)
        words = shlex.split(error.hint.removesuffix(" makes one"))
        assert words[0] == "python"
        token = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=True).stdout.strip()
        JobProcessor(MemoryBackend()).asgi_app(auth=token, secret=token)
    wrong = refused(lambda: JobProcessor(MemoryBackend()).asgi_app(auth={secrets.token_urlsafe(): "me"}))
    made = hints.code(wrong.allowed, "Principal(…)", "'me'", Principal=Principal)
    JobProcessor(MemoryBackend()).asgi_app(auth={secrets.token_urlsafe(): made})


async def submitting(hints: Hints) -> None:
    body = {"method": "POST", "headers": ACT, "json": {"function": named(add), "args": [1]}}
    async with JobProcessor(MemoryBackend()) as jp:
        closed = await ask(jp.asgi_app(), "/v1/jobs", **body)
        open_app = hints.code(closed, "asgi_app(submit=True)", asgi_app=jp.asgi_app)
        unknown = await ask(open_app, "/v1/jobs", **body)
        much: dict[str, Any] = body | {"json": {"function": "x" * (1 << 21)}}
        large = await ask(open_app, "/v1/jobs", **much)
        wide = hints.code(large, "asgi_app(max_body=…)", str(1 << 22), asgi_app=jp.asgi_app)
        assert "max_body" not in str(await ask(wide, "/v1/jobs", **much))
    script = await ask(open_app, "/v1/jobs", **body | {"json": {"function": "__main__:add"}})
    hints.code(script, "JobProcessor(functions=[…])", "add", JobProcessor=JobProcessor, add=add)
    made = hints.code(unknown, "JobProcessor(functions=[…])", "add", JobProcessor=JobProcessor, add=add)
    hints.patch.chdir(hints.folder)
    async with made as jp:
        assert await ask(jp.asgi_app(submit=True), "/v1/jobs", **body) is None


async def a_failed_job(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        app = jp.asgi_app()
        bad = await jp.submit_job(fail, "no", max_retries=0, job_id="bad/one")
        await jp.wait_for_job(bad)
        hint = hints.follow(await ask(app, "/v1/jobs/bad%2Fone/result"))
        request, _, header = hint.partition(" runs it again, with the header ")
        method, path = request.split(" ")
        assert await ask(app, path, method=method, headers=dict([header.split(": ")])) is None
        assert (await jp.wait_for_job(bad)).attempt == 2


async def a_rejected_gate(hints: Hints) -> None:
    async with JobProcessor(MemoryBackend()) as jp:
        app = jp.asgi_app()
        await jp.submit_gate("Print it?", job_id="print/it")
        await jp.reject_job("print/it", "not yet")
        hint = hints.follow(await ask(app, "/v1/jobs/print%2Fit/result"))
        request, _, header = hint.partition(" opens it again, with the header ")
        method, path = request.split(" ")
        assert await ask(app, path, method=method, headers=dict([header.split(": ")])) is None
        assert await jp.answer_job("print/it") == "completed"


async def an_app_that_nobody_runs(hints: Hints) -> None:
    jp = JobProcessor(MemoryBackend())
    app = FastAPI()
    app.mount("/jobs", jp.asgi_app())
    hint = await ask(app, "/jobs/v1/jobs")
    app = hints.code(hint, "FastAPI(lifespan=jp.lifespan)", FastAPI=FastAPI, jp=jp)
    app.mount("/jobs", jp.asgi_app())
    async with app.router.lifespan_context(app):
        assert await ask(app, "/jobs/v1/jobs") is None


async def the_client(hints: Hints) -> None:
    functions = [add, add_with]
    async with JobProcessor(MemoryBackend(), functions=functions) as jp, serving(jp.asgi_app(submit=True)) as url:
        async with JobsClient(url) as client:
            later = await client.submit_job(named(add), 1, delay=3600)
            early = await refusal(client.get_result(later))
            soon = await client.submit_job(named(add), 1)
            assert await hints.code(early.hint, "await handle", handle=soon) == 1
            query = await refusal(client.find_jobs(JobQuery(ids=[soon])))
            reports = await hints.awaited(query.hint, "poll_batch(ids)", poll_batch=client.poll_batch, ids=[soon])
            assert reports[soon].percent == 100
            mark = await refusal(client.submit_job(named(add), {"$job": soon.id}))
            given = hints.code(mark.hint, "client.handle(job_id)", client=client, job_id=soon.id)
            assert await (await client.submit_job(named(add), given, b=1)) == 2
            naive = await refusal(client.submit_job(named(add), 1, run_at=datetime(2026, 1, 1)))
            for code in ("datetime.now(UTC)", "value.astimezone()"):
                moment = hints.code(naive.hint, code, datetime=datetime, UTC=UTC, value=datetime(2026, 1, 1))
                await client.submit_job(named(add), 1, run_at=moment)
            option = await refusal(client.submit_job(named(add_with), limit=3))
            hints.follow(option.hint)
            kwargs = option.hint.partition("pass args=(…), ")[2].replace("…", "3")
            made = await eval(f"client.submit_job(name, {kwargs})", {"client": client, "name": named(add_with)})
            assert await made == [3, {}]
            assert "@job(limit=…)" in option.hint  # as `marked` above is: a function of the server
        closed = await refusal(client.stats())
        assert "async with JobsClient(…)" in hints.follow(closed.hint)
        async with JobsClient(url) as client:
            await client.stats()
        async with JobsClient(f"{url}/elsewhere") as client:
            pass
        async with serving(FastAPI()) as other, JobsClient(other) as client:
            foreign = await refusal(client.stats())
        assert "asgi_app()" in hints.follow(foreign.hint)
        app = FastAPI()
        app.mount("/jobs", jp.asgi_app())
        async with serving(app) as host, JobsClient(f"{host}/jobs") as client:
            await client.stats()


LISTED: dict[tuple[str, str], Callable[[Hints], Any] | Words] = {
    ("web/access.py", 'Bearer realm="asyncjobs"'): Words("a header"),
    ("web/access.py", "asgi_app(auth=secrets.token_urlsafe())"): who_may_ask,
    (
        "web/access.py",
        "asgi_app(auth=secrets.token_urlsafe()), or asgi_app(auth=asyncjobs.web.allow_anyone) if the host application "
        "controls access",
    ): who_may_ask,
    (
        "web/access.py",
        "behind a proxy: pass on the Host of the browser (nginx: proxy_set_header Host $http_host); "
        "for a page of another site: add its origin to asgi_app(allow_origins=[…])",
    ): who_may_ask,
    ("web/access.py", "add it to asgi_app(allowed_hosts=[…]), or set auth="): who_may_ask,
    ("web/actions.py", "JobProcessor(functions=[…]) registers functions"): submitting,
    ("web/actions.py", "asgi_app(submit=True) enables it"): submitting,
    ("web/call.py", '<?{}>; rel="next"'): Words("a header"),
    ("web/call.py", "asgi_app(max_body=…) allows more"): submitting,
    ("web/jobs.py", "POST {}/retry runs it again, with the header X-Asyncjobs: 1"): a_failed_job,
    ("web/jobs.py", "POST {}/retry opens it again, with the header X-Asyncjobs: 1"): a_rejected_gate,
    ("web/openapi_parts.py", 'The next page, as `rel="next"`, unless this is the last.'): Words("describes a header"),
    (
        "web/problems.py",
        "run it with the host: FastAPI(lifespan=jp.lifespan); a mounted app's own lifespan is not run by its host",
    ): an_app_that_nobody_runs,
    ("web/settings.py", "a dict of tokens to Principal(…)"): tokens,
    ("web/settings.py", "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"): tokens,
}
