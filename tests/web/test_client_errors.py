"""What goes wrong at the server is, at the client, the error that it is in process; what passes is waited out."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import anyio
import httpx
import pytest

from asyncjobs import (
    BackendConnectionError,
    BackendError,
    ConfigurationError,
    CyclicDependencyError,
    JobCancelledError,
    JobConflictError,
    JobExecutionError,
    JobNotFoundError,
    JobProcessorError,
    JobQuery,
    JobSkippedError,
    JobStateError,
    NotSerializableError,
    SubmissionError,
    UnknownDependencyError,
    WorkerLostError,
)
from asyncjobs.client import JobsClient, streams, transport
from asyncjobs.client.answers import SentProblem
from asyncjobs.client.errors import build_error
from asyncjobs.web import READER, Principal
from asyncjobs.web.problems import as_web_error
from tests.runtime.support import Held
from tests.web.bodies import add, echo, fail, named
from tests.web.client_support import Losing, Said, remote, scripted
from tests.web.sites import site
from tests.web.support import PATIENCE, TOKEN, serving

pytestmark = pytest.mark.anyio


def same(ours: BaseException, theirs: BaseException) -> None:
    """The same class, message and attributes; a hint may be for another reader."""
    assert (type(ours), ours.args) == (type(theirs), theirs.args)
    assert {**vars(ours), "hint": None} == {**vars(theirs), "hint": None}


async def raised(awaitable: Awaitable[Any]) -> BaseException:
    with pytest.raises(Exception) as caught:
        await awaitable
    return caught.value


# -- known errors


async def test_reading_what_is_not_there_raises_what_it_raises_in_process() -> None:
    async with remote(add, fail, echo) as (here, client):
        await here.jp.submit_job(fail, "reset by peer", job_id="failed", max_retries=0)
        await here.jp.submit_job(echo, here.jp.handle("failed"), job_id="skipped")
        await here.jp.submit_job(echo, job_id="cancelled", delay=60)
        await here.jp.cancel_job("cancelled")
        await here.jp.drain()
        await here.jp.submit_job(echo, job_id="pending", delay=60)
        for job_id, kind in {
            "failed": JobExecutionError,
            "skipped": JobSkippedError,
            "cancelled": JobCancelledError,
            "pending": JobStateError,
        }.items():
            theirs = await raised(here.jp.get_result(job_id))
            ours = await raised(client.get_result(job_id))
            assert isinstance(ours, kind)
            same(ours, theirs)
            if job_id != "pending":
                same(await raised(client.handle(job_id).result(PATIENCE)), theirs)
        failed = await raised(client.get_result("failed"))
        assert isinstance(failed, JobExecutionError)
        assert (failed.error_type, failed.message, failed.attempt) == ("ConnectionError", "reset by peer", 1)
        assert "in fail" in failed.__notes__[0]


async def test_an_unknown_job_is_not_found_by_any_method() -> None:
    async with remote(works=False) as (_, client):
        handle = client.handle("nobody")
        asked: list[Callable[[], Awaitable[Any]]] = [
            handle.result,
            handle.status,
            handle.cancel,
            handle.retry,
            handle.why,
            lambda: anext(handle.events()),
            lambda: anext(handle.logs()),
            lambda: client.get_job(handle),
            lambda: client.get_attempts(handle),
            lambda: client.get_result(handle),
            lambda: client.poll_status(handle),
        ]
        for ask in asked:
            error = await raised(ask())
            assert isinstance(error, JobNotFoundError)
            assert error.job_id == "nobody"
        unknown = await raised(client.get_progress("nothing"))
        assert isinstance(unknown, JobProcessorError)
        assert unknown.code == "group-not-found"


async def test_what_cannot_be_submitted_is_refused_as_in_process() -> None:
    async with remote(add, echo, works=False) as (here, client):
        await here.jp.submit_job(add, 1, job_id="taken")
        same(
            await raised(client.submit_job(named(add), 2, job_id="taken")),
            await raised(here.jp.submit_job(add, 2, job_id="taken", if_exists="return")),
        )
        same(
            await raised(client.submit_job(named(add), 2, job_id="new", depends_on=["no", "where"])),
            await raised(here.jp.submit_job(add, 2, job_id="new", depends_on=["no", "where"])),
        )
        assert isinstance(await raised(client.submit_job(named(add), 2, depends_on="no")), UnknownDependencyError)
        assert isinstance(await raised(client.submit_job(named(add), 2, job_id="taken")), JobConflictError)
        loop = await raised(client.submit_job(named(add), 2, job_id="loop", depends_on="loop"))
        assert isinstance(loop, CyclicDependencyError)
        assert loop.path == ("loop", "loop")
        arguments = await raised(client.submit_job(named(add), 1, 2, 3))
        assert isinstance(arguments, (SubmissionError, TypeError))
        assert "add()" in str(arguments)
        unknown = await raised(client.submit_job("tests.web.bodies:ad"))
        assert isinstance(unknown, SubmissionError)
        assert (unknown.code, "'tests.web.bodies:add'" in str(unknown)) == ("unknown-function", True)
        assert [job.id for job in await here.jp.find_jobs()] == ["taken"]


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"priority": "high"}, "priority"),
        ({"priority": object()}, "priority"),
        ({"timeout": math.nan}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"delay": -1.0}, "delay"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at"),
        ({"require": 2}, "require"),
        ({"depends_on": 5}, "depends_on"),
        ({"depends_on": [5]}, "depends_on"),
        ({"group": "a\nb"}, "group"),
        ({"queue": ""}, "queue"),
        ({"job_id": ""}, "job_id"),
    ],
)
async def test_an_option_that_cannot_work_is_named(options: dict[str, Any], field: str) -> None:
    async with remote(echo, works=False) as (here, client):
        with pytest.raises(ConfigurationError, match=field):
            await client.submit_job(named(echo), **options)
        assert not await here.jp.find_jobs()


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (object(), r"\$\.args\[0\] is a object"),
        ({"a": [1, math.inf]}, r"\$\.args\[0\]\.a\[1\] is inf"),
        ({1: 2}, r"\$\.args\[0\] is keyed by 1"),
        ({"$job": "it"}, "nothing but"),
        ("\ud800", r"\$\.args\[0\]"),
        ({"it"}, None),
    ],
)
async def test_an_argument_that_json_does_not_have_is_named(value: Any, where: str | None) -> None:
    async with remote(echo, works=False) as (_, client):
        if where is None:  # a handle in a set cannot be found there
            value, where = {client.handle("it")}, r"\$\.args\[0\]"
        with pytest.raises(NotSerializableError, match=where):
            await client.submit_job(named(echo), value)


async def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotSerializableError, match="nested more than 100 deep"):
        await JobsClient("http://localhost").submit_job("a:b", endless)


async def test_a_function_is_named_and_not_handed_over() -> None:
    with pytest.raises(ConfigurationError, match=r"'tests\.web\.bodies:add', if the server registered it"):
        await JobsClient("http://localhost").submit_job(add)


def _of_a_script() -> None: ...


@pytest.mark.parametrize("module", ["__main__", "__mp_main__"])
async def test_a_function_of_a_script_that_is_handed_over_is_answered_with_what_to_do(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_of_a_script, "__module__", module)
    with pytest.raises(ConfigurationError, match=r"put it into a module .*functions=\[…\].* --app or --allow"):
        await JobsClient("http://localhost").submit_job(_of_a_script)


async def test_so_is_a_function_that_has_no_name_for_others() -> None:
    with pytest.raises(ConfigurationError, match="move it to the top level of a module"):
        await JobsClient("http://localhost").submit_job(lambda: None)


@pytest.mark.parametrize(
    "error",
    [
        CyclicDependencyError(["a", "b", "a"]),
        UnknownDependencyError("a", ["b"]),
        JobConflictError("a", differs="another function"),
        NotSerializableError("$.args", "an open file", hint="close it"),
        JobNotFoundError("ab", near="abc"),
        JobStateError("a", "completed", "only a failed one", hint="look"),
        JobExecutionError("a", attempt=3, error_type="OSError", message="no", traceback_text="Traceback …"),
        WorkerLostError("a", attempt=3, error_type="WorkerLostError", message="no"),
        JobCancelledError("a"),
        JobSkippedError("a", "b"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_behind_the_wire(error: JobProcessorError) -> None:
    there = as_web_error(error)
    sent = SentProblem(there.code, there.detail, there.hint, there.details)
    same(build_error(sent, there.status), error)
    bare = build_error(SentProblem(there.code, there.detail, there.hint), there.status)  # of a server without details
    assert isinstance(bare, JobProcessorError)
    assert (bare.args, bare.code) == (error.args, error.code)


# -- who may


async def test_without_a_token_it_says_so() -> None:
    async with site(echo, auth=TOKEN, submit=True) as here:
        for token in (None, "another-token-0123456789"):
            async with JobsClient(here.url, token) as client:
                error = await raised(client.stats())
                assert isinstance(error, JobProcessorError)
                assert (error.code, "token=" in (error.hint or "")) == ("unauthorized", True)
                assert getattr(await raised(anext(client.stream_all())), "code", None) == "unauthorized"
        async with JobsClient(here.url, TOKEN) as client:
            assert await (await client.submit_job(named(echo), 1)) == 1


async def test_who_may_read_may_not_act() -> None:
    tokens = {TOKEN: Principal("boss"), "a-reader-0123456789": Principal("reader", READER)}
    async with site(echo, auth=tokens, submit=True) as here, JobsClient(here.url, "a-reader-0123456789") as client:
        await here.jp.submit_job(echo, 5, job_id="it")
        assert await client.handle("it") == 5
        for refused in (
            client.submit_job(named(echo)),
            client.cancel_job("it"),
            client.retry_job("it"),
            client.cancel_jobs(group="g"),
        ):
            error = await raised(refused)
            assert isinstance(error, JobProcessorError)
            assert (error.code, "'reader' may not act" in str(error)) == ("forbidden", True)


async def test_submitting_may_be_switched_off() -> None:
    async with remote(echo, submit=False) as (_, client):
        error = await raised(client.submit_job(named(echo)))
        assert getattr(error, "code", None) == "submit-disabled"


async def test_the_wrong_number_of_jobs_changes_none() -> None:
    async with remote(echo) as (here, client):
        await here.jp.submit_job(echo, job_id="it", group="g", delay=60)
        error = await raised(client.cancel_jobs(JobQuery(group="g"), expect=2))
        assert getattr(error, "code", None) == "count-differs"
        assert (await client.get_job("it")).status == "pending"


async def test_a_malformed_cursor_is_refused() -> None:
    async with remote(works=False) as (_, client):
        assert isinstance(await raised(anext(client.stream_all(after="nowhere"))), ConfigurationError)
        for bad in ("a\nb", 7):
            with pytest.raises(ConfigurationError, match="after"):
                client.stream_all(after=bad)
        for types in ([], [""], [7], "a,b"):
            with pytest.raises(ConfigurationError, match="types"):
                client.stream_all(types=types)


# -- what passes


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The failures after which it waited; it does not wait here."""
    seen: list[int] = []

    def no_pause(failures: int) -> float:
        seen.append(failures)
        return 0.0

    monkeypatch.setattr(transport, "pause_before", no_pause)
    monkeypatch.setattr(streams, "pause_before", lambda failures: 0.0)
    monkeypatch.setattr(streams, "_RETRY", 0.0)
    return seen


def busy(status: int = 503, **headers: str) -> Said:
    return Said(status, {"content-type": "text/plain", **headers}, (b"busy",))


STATS = Said(
    200,
    {"content-type": "application/json"},
    (b'{"counts":{},"total":0,"workers":0,"slots":0,"running":0,"streams":0,"cursor":"0"}',),
)


async def test_a_server_that_is_busy_is_asked_again(pauses: list[int]) -> None:
    async with scripted(busy(), busy(429), busy(502), busy(504), STATS) as (server, client):
        assert (await client.stats()).total == 0
        assert (len(server.requests), pauses) == (5, [1, 2, 3, 4])


async def test_it_waits_as_long_as_the_server_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    later = "Fri, 31 Dec 9999 23:59:59 GMT"
    said = (busy(**{"retry-after": "7"}), busy(**{"retry-after": later}), busy(**{"retry-after": "soon"}), STATS)
    async with scripted(*said) as (_, client):
        monkeypatch.setattr(anyio, "sleep", sleep)
        await client.stats()
        monkeypatch.undo()
    assert slept[:2] == [7.0, 60.0]
    assert 1.0 <= slept[2] <= 2.0


async def test_after_a_long_outage_the_server_is_asked_again_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it was in vain: by a request of many attempts, and by a handle that is awaited."""
    slept: list[float] = []
    away = 0

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal away
        if len(slept) < away:
            raise httpx.ConnectError("refused", request=request)
        if request.url.path.endswith("stats"):
            return httpx.Response(200, content=STATS.chunks[0])
        if not away:  # at the first look, before the outage
            away = 300
            return httpx.Response(202, json={"id": "it", "status": "pending"})
        return httpx.Response(200, json={"id": "it", "status": "completed", "result": 7})

    monkeypatch.setattr(anyio, "sleep", sleep)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        async with JobsClient("http://away", http_client=http) as client:
            assert await client.handle("it") == 7
        assert (len(slept) >= 300, max(slept) <= 4.0) == (True, True)
        away = len(slept) + 300
        async with JobsClient("http://away", http_client=http, tries=1000) as client:
            assert (await client.stats()).total == 0
        assert (len(slept) >= 600, max(slept) <= 4.0, min(slept[-200:]) >= 1.0) == (True, True, True)


@pytest.mark.parametrize("timeout", [2.0, 60.0])
async def test_a_host_that_is_away_is_not_connected_to_for_longer_than_seconds(timeout: float) -> None:
    allowed: list[dict[str, float | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        allowed.append(request.extensions["timeout"])
        return httpx.Response(204) if "events" in request.url.path else httpx.Response(200, content=STATS.chunks[0])

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http,
        JobsClient("http://away", http_client=http, timeout=timeout) as client,
    ):
        await client.stats()
        assert [event async for event in client.stream_all()] == []
    assert [found["connect"] for found in allowed] == [min(timeout, 5.0)] * 2
    assert [found["read"] for found in allowed] == [timeout, 45.0]


async def test_in_the_end_it_says_what_could_not_be_reached(pauses: list[int]) -> None:
    async with scripted(busy(), tries=3) as (server, client):
        error = await raised(client.get_job("it"))
        assert isinstance(error, BackendConnectionError)
        assert (error.tries, len(server.requests), pauses) == (3, 3, [1, 2])
        assert f"{server.requests[0].url.path}" in str(error)
        assert "it answered 503" in str(error)
    gone = JobsClient(client._transport.url)
    for ask in (gone.stats(), anext(gone.stream_all()), gone.handle("it").result()):
        error = await raised(ask)
        assert isinstance(error, BackendConnectionError)
        assert (error.tries, gone._transport.url in str(error), error.request) == (5, True, None)
    error = await raised(gone.submit_job("a:b", 1))
    assert isinstance(error, BackendConnectionError)
    assert (error.request["function"], len(error.request["id"])) == ("a:b", 30)


async def test_a_host_that_does_not_run_the_processor_is_a_server_that_is_away(pauses: list[int]) -> None:
    async with remote() as (here, _):
        app = here.jp.asgi_app()
    async with serving(app) as url, JobsClient(url, tries=2) as client:
        error = await raised(client.stats())
        assert isinstance(error, BackendConnectionError)
        assert "not running" in str(error)


async def test_what_acts_on_many_is_not_done_again_when_nobody_knows_whether_it_was(pauses: list[int]) -> None:
    async with remote(echo) as (here, _), httpx.AsyncClient(transport=Losing(1)) as http:
        await here.jp.submit_job(echo, job_id="it", group="g", delay=60)
        async with JobsClient(here.url, http_client=http) as client:
            assert isinstance(await raised(client.cancel_jobs(group="g")), BackendConnectionError)
            assert (http._transport.sent, pauses) == (1, [])
            assert await client.get_status("it") == "cancelled"
    async with scripted(busy(), Said(202, STATS.headers, (b'{"matched":0,"changed":{}}',))) as (_, client):
        assert (await client.cancel_jobs(group="g")).matched == 0  # the server did nothing before: it said so


async def test_a_cancel_whose_answer_was_lost_is_asked_again(pauses: list[int]) -> None:
    held = Held()
    async with remote() as (here, _), httpx.AsyncClient(transport=Losing(2)) as http:
        await here.jp.submit_job(held.body, job_id="it", local=True, delay=60)
        async with JobsClient(here.url, http_client=http) as client:
            assert await client.cancel_job("it") == "cancelled"
        assert len(pauses) == 2


# -- somebody else answers


@pytest.mark.parametrize(
    ("said", "kind", "match"),
    [
        (Said(404, {"content-type": "application/json"}, (b'{"detail":"Not Found"}',)), BackendError, "asgi_app"),
        (
            Said(200, {"content-type": "text/html"}, (b"<html>sign in</html>",)),
            BackendError,
            "cannot be decoded|text/html",
        ),
        (Said(200, {"content-type": "application/json"}, (b'"\xff"',)), BackendError, "cannot be decoded|json"),
        (Said(301, {"location": "https://elsewhere/"}), ConfigurationError, "https://elsewhere/"),
        (Said(500, {"content-type": "text/plain"}, (b"oops",)), BackendError, "answered 500"),
    ],
)
async def test_an_answer_that_is_not_ours_is_told_apart(said: Said, kind: type[Exception], match: str) -> None:
    async with scripted(said) as (_, client):
        for ask in (client.stats(), anext(client.stream_all())):
            with pytest.raises(kind, match=match) as caught:
                await ask
            assert not isinstance(caught.value, BackendConnectionError)
