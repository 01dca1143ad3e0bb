"""JobsClient: jobs of a served processor, as if they were here."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import subprocess
import sys
from collections import Counter, OrderedDict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx
import pydantic
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from asyncjobs import (
    BackendClosedError,
    ConfigurationError,
    JobProcessor,
    JobProcessorError,
    JobQuery,
    JobStateError,
    JobStatus,
    MemoryBackend,
    MissingExtraError,
    NotSerializableError,
    job,
)
from asyncjobs.client import ClientHandle, JobsClient
from tests.architecture.import_time import as_users_have_it
from tests.runtime.support import Held
from tests.web.bodies import Moment, Order, Quality, add, echo, fail, moment_of, named, order_of, talk
from tests.web.client_support import Losing, remote
from tests.web.sites import site
from tests.web.support import PATIENCE, serving

pytestmark = pytest.mark.anyio

PENDING, IN_PROGRESS, COMPLETED, FAILED, CANCELLED, _ = JobStatus


# -- where the server is


@pytest.mark.parametrize("path", ["", "/jobs", "/team a/jobs"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_app_is_found_under_any_path_with_or_without_a_slash(path: str, slash: str) -> None:
    async with JobProcessor(MemoryBackend(), functions=[add]) as jp:
        app = jp.asgi_app(submit=True)
        mounted = Starlette(routes=[Mount(path, app)]) if path else app
        async with serving(mounted) as url, JobsClient(url + path.replace(" ", "%20") + slash) as client:
            assert await (await client.submit_job(named(add), 1, 2)) == 3


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", "http://", "http://a/?q=1", "http://a/#b", 7])
async def test_what_is_no_url_of_a_server_is_refused_at_once(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        JobsClient(url)


@pytest.mark.parametrize("setting", [{"timeout": 0}, {"tries": 0}, {"max_silence": "long"}, {"token": "a\nb"}])
async def test_a_setting_that_cannot_work_is_refused_at_once(setting: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        JobsClient("http://localhost", **setting)


async def test_a_client_of_your_own_is_used_and_left_open() -> None:
    async with site(add, submit=True) as here, httpx.AsyncClient(headers={"x-request-id": "mine"}) as http:
        async with JobsClient(here.url, http_client=http) as client:
            assert await (await client.submit_job(named(add), 2)) == 2
        assert not http.is_closed
    with pytest.raises(ConfigurationError, match=r"httpx\.AsyncClient"):
        JobsClient(here.url, http_client="http")


async def test_closed_it_says_so_and_ends_its_streams() -> None:
    held = Held()
    async with remote(add) as (here, client):
        await here.jp.submit_job(held.body, job_id="it", local=True)
        stream = client.stream_job("it")
        await anext(stream)
        await client.aclose()
        with pytest.raises(BackendClosedError, match="this JobsClient is closed"):
            await client.get_job("it")
        with pytest.raises(BackendClosedError, match="this JobsClient is closed"):
            async for _ in stream:
                pass
        held.go.open()


def test_a_secret_in_the_url_is_not_shown() -> None:
    assert repr(JobsClient("https://me:secret@host/jobs/")) == "JobsClient('https://host/jobs')"


def test_importing_it_brings_in_no_server_and_no_store() -> None:
    foreign = "starlette uvicorn sqlite3 aiosqlite httpx".split()
    code = f"import sys, asyncjobs.client; print([m for m in {foreign!r} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, env=as_users_have_it(), capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "asyncjobs.client.transport", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match="client") as caught:
        JobsClient("http://localhost")
    assert caught.value.extra == "client"


# -- submitting


async def test_a_job_is_submitted_awaited_and_passed_on() -> None:
    async with remote(add, echo) as (_, client):
        three = await client.submit_job(named(add), 1, b=2)
        six = await client.submit_job(named(add), three, three)
        nested = await client.submit_job(named(echo), {"list": [six, {"deep": three}], "tuple": (1, six)})
        assert await nested == {"list": [6, {"deep": 3}], "tuple": (1, 6)}
        assert await six == 6


async def test_options_arrive() -> None:
    async with remote(add, echo, works=False) as (_, client):
        first = await client.submit_job(named(add), 1, job_id="first")
        run_at = datetime.now(UTC) + timedelta(hours=1)
        await client.submit_job(
            named(echo),
            job_id="second",
            depends_on=[first, "first"],
            require=1,
            group="sums",
            metadata={"scene": 3, "of": first},
            queue="slow",
            priority=7,
            max_retries=2,
            timeout=timedelta(seconds=90),
            run_at=run_at,
        )
        job = await client.get_job("second")
        assert (job.group, job.metadata, job.queue) == ("sums", {"scene": 3, "of": "first"}, "slow")
        assert (job.priority, job.max_retries, job.timeout, job.run_at) == (7, 2, 90.0, run_at)
        assert (job.dependencies_met, await client.get_status(first)) == (False, PENDING)
        late = await client.submit_job(named(echo), delay=60)
        assert (await late.why()).code == "time"


async def test_arguments_named_like_options_have_a_way() -> None:
    async with remote(echo) as (_, client):
        handle = await client.submit_job(named(echo), args=("a",), kwargs={"group": "g", "timeout": 5})
        assert await handle == {"value": "a", "group": "g", "timeout": 5}
        for mixed in ({"args": (1,), "kwargs": 5}, {"args": 5}, {"kwargs": {}, "more": 1}):
            with pytest.raises(ConfigurationError, match="args"):
                await client.submit_job(named(echo), **mixed)
        with pytest.raises(ConfigurationError, match="only here"):
            await client.submit_job(named(echo), 1, args=(1,))


async def test_what_json_does_not_have_arrives_as_what_it_is() -> None:
    values = [
        datetime(2026, 1, 2, tzinfo=UTC), timedelta(1), UUID(int=5), Decimal("1.10"), b"\0\xff", {2}, {(1, "a")},
        1 + 2j, PurePosixPath("a"), Quality.FINE, {"of": [UUID(int=6)]},
    ]  # fmt: skip
    async with remote(echo, moment_of) as (here, client):
        for value in values:
            handle = await client.submit_job(named(echo), value)
            await handle
            seen = await here.jp.get_result(handle)
            assert (seen, type(seen)) == (value, type(value))
        assert await (await client.submit_job(named(moment_of), Moment(values[0], "x"))) == "datetime"
        for mark in ({"$msgpack": "wA=="}, {"$tuple": [1]}):
            with pytest.raises(NotSerializableError, match=next(iter(mark))[1:]):
                await client.submit_job(named(echo), mark)
        body = {"function": named(echo), "args": [{"$msgpack": "not base64"}]}
        with pytest.raises(JobProcessorError, match=r"\$msgpack"):
            await client._transport.ask("POST", "/v1/jobs", body=body)


async def test_tuples_arrive_as_tuples_wherever_they_are() -> None:
    async with remote(echo) as (here, client):
        first = await client.submit_job(named(echo), 7)
        given = {"a": (1, (), [(2, b"x")]), "b": ({"of": (first,)},)}
        handle = await client.submit_job(named(echo), given)
        await handle
        assert await here.jp.get_result(handle) == {"a": (1, (), [(2, b"x")]), "b": ({"of": (7,)},)}


async def test_what_a_record_holds_arrives_as_what_it_is() -> None:
    paid = Moment(datetime(2026, 1, 2, tzinfo=UTC), "x")
    orders = Order(Decimal("1.10"), (1, 2), frozenset("a")), Order(Decimal(1), (), frozenset(), paid)
    async with remote(order_of) as (_, client):
        seen = await (await client.submit_job(named(order_of), *orders))
    kinds = ["Order", "Decimal", "tuple", "frozenset"]
    assert seen == [*kinds, "NoneType", *kinds, "Moment"]


class Line(pydantic.BaseModel):
    text: str
    price: Decimal = Decimal(0)


class Letter(pydantic.BaseModel):
    at: datetime
    first: str = pydantic.Field(alias="firstLine", default="")
    lines: list[Line] = []


class Hidden(pydantic.BaseModel):
    _key: int = pydantic.PrivateAttr(default=0)


async def letter_of(letter: Letter, others: list[Line]) -> list[str]:
    return [repr(letter), *map(repr, others)]


async def test_a_model_is_sent_as_its_fields_and_made_by_the_annotation() -> None:
    letter = Letter(
        at=datetime(2026, 1, 2, tzinfo=UTC), firstLine="dear", lines=[Line(text="a", price=Decimal("1.10"))]
    )
    letter.lines.append(Line(text="b"))  # not among the fields that were given
    plain = Letter(at=datetime(2026, 1, 2, tzinfo=UTC))
    plain.lines.append(Line(text="c"))
    async with remote(letter_of) as (_, client):
        for given in (letter, plain):
            seen = await (await client.submit_job(named(letter_of), given, [Line(text="d")]))
            assert seen == [repr(given), repr(Line(text="d"))]


async def test_a_model_that_its_fields_do_not_make_again_is_refused() -> None:
    hidden = Hidden()
    hidden._key = 7
    for model in (hidden, pydantic.RootModel[list[int]]([1])):
        with pytest.raises(NotSerializableError, match=r"\$\.args\[0\]\[0\] is a .*a model (that|with)"):
            await JobsClient("http://localhost").submit_job("a:b", [model])


async def test_what_the_hint_says_to_pass_instead_arrives() -> None:
    async with remote(echo) as (_, client):
        for value, passed, back in (
            (10**5000, hex(10**5000), lambda text: int(text, 16)),
            (math.inf, str(math.inf), float),
            (-math.inf, str(-math.inf), float),
            ({1: 2, (3, 4): None}, list({1: 2, (3, 4): None}.items()), dict),
        ):
            with pytest.raises(NotSerializableError) as caught:
                await client.submit_job(named(echo), value)
            assert any(way in str(caught.value.hint) for way in ("hex(value)", "str(value)", "list(value.items())"))
            made: Any = back
            assert made(await (await client.submit_job(named(echo), passed))) == value
        assert await (await client.submit_job(named(echo), [range(3)])) == [range(3)]


@pytest.mark.parametrize(
    "value", [Counter("a"), OrderedDict(a=1), MappingProxyType({"a": 1}), type("Text", (str,), {})("a")]
)
async def test_what_would_arrive_as_something_else_is_refused(value: Any) -> None:
    async with remote(echo) as (here, client):
        for args, where in (((value,), r"\$\.args\[0\]"), (([{"a": (value,)}],), r"\$\.args\[0\]\[0\]\.a\[0\]")):
            with pytest.raises(NotSerializableError, match=where + r" is a .*(would arrive|cannot be stored)"):
                await client.submit_job(named(echo), *args)
        assert await here.jp.find_jobs() == []


@pytest.mark.parametrize("name", ["limit", "isolation", "retry", "max_interruptions", "if_exists"])
async def test_an_option_that_is_not_available_over_http_is_refused_with_the_place_for_it(name: str) -> None:
    async with remote(echo) as (_, client):
        with pytest.raises(ConfigurationError, match=f"{name}= is not an option over HTTP") as caught:
            await client.submit_job(named(echo), 1, **{name: ("a", 1)})
        assert (f"@job({name}=…)" in str(caught.value)) == (name in inspect.signature(job).parameters)


async def test_no_option_becomes_an_argument() -> None:
    async with remote(echo) as (here, client):
        for name in ("if_exists", "isolation", "local", "limit", "retry", "max_interruptions", "key"):
            with pytest.raises(ConfigurationError, match=f"{name}= is not an option over HTTP") as caught:
                await client.submit_job(named(echo), 1, **{name: "x"})
            assert caught.value.field == name
        assert await here.jp.find_jobs() == []
        handle = await client.submit_job(named(echo), args=(1,), kwargs={"limit": "x"})
        assert await handle == {"value": 1, "limit": "x"}


async def test_values_are_text_as_it_is() -> None:
    async with remote(echo) as (_, client):
        assert await (await client.submit_job(named(echo), "\u2028 </script> \0")) == "\u2028 </script> \0"


@pytest.mark.parametrize("job_id", ["a/b c", "...", "ä%2Fö?#", "jobs:batch", "👩\u200d🚀", "x" * 512])
async def test_any_id_finds_its_job(job_id: str) -> None:
    async with remote(echo) as (_, client):
        handle = await client.submit_job(named(echo), 1, job_id=job_id, group=job_id[:200])
        assert (await handle, handle, (await client.get_job(job_id)).id) == (1, job_id, job_id)
        assert (await client.get_progress(job_id[:200])).completed == 1
        assert [event.type async for event in handle.events()] == ["submitted", "started", "completed"]


async def test_a_lost_answer_does_not_submit_twice() -> None:
    async with remote(add) as (here, _), httpx.AsyncClient(transport=Losing(2)) as http:
        async with JobsClient(here.url, http_client=http) as client:
            handle = await client.submit_job(named(add), 1, 1)
            assert await handle == 2
        assert [job.id for job in await here.jp.find_jobs()] == [handle]


async def test_submitted_again_under_its_id_it_is_the_same_job() -> None:
    async with remote(add) as (_, client):
        assert await client.submit_job(named(add), 1, job_id="it") == await client.submit_job(
            named(add), 1, job_id="it"
        )


# -- handles


async def test_a_handle_is_its_id() -> None:
    client = JobsClient("http://localhost")
    handle = client.handle("it")
    assert handle == "it"
    assert {handle: 1}["it"] == 1
    assert (str(handle), f"{handle}", repr(handle)) == ("it", "it", "ClientHandle('it')")
    assert type(handle.id) is str
    assert type(pickle.loads(pickle.dumps(handle))) is str
    assert copy.copy(handle) is copy.deepcopy([handle])[0] is handle
    for bad in ("", "a\nb", "x" * 513, 7):
        with pytest.raises(ConfigurationError, match="job_id"):
            client.handle(bad)


# -- asking


async def test_a_job_is_the_same_from_both_sides() -> None:
    async with remote(add, fail, echo) as (here, client):
        await client.submit_job(named(fail), "no", job_id="failed", max_retries=0, group="g", metadata={"a": [1]})
        await client.submit_job(named(echo), client.handle("failed"), job_id="skipped")
        await here.jp.drain()
        await client.submit_job(named(add), 1, job_id="late", delay=60, priority=3)
        for job_id in ("failed", "skipped", "late"):
            theirs, ours = await here.jp.get_job(job_id), await client.get_job(job_id)
            assert ours == theirs
        report = await client.poll_status("failed")
        assert report == await here.jp.poll_status("failed")
        assert await client.poll_batch(["failed", "nobody"]) == {"failed": report, "nobody": None}


async def test_results_attempts_logs_and_reasons() -> None:
    async with remote(add, talk, works=True) as (here, client):
        handle = await client.submit_job(named(talk), *[f"line {n}" for n in range(300)])
        assert await handle is None
        assert await client.get_result(handle) is None
        logs = [event async for event in handle.logs()]
        assert [event.data["message"] for event in logs] == [f"line {n}" for n in range(300)]
        assert [event async for event in client.get_logs(handle, after=logs[-2].cursor)] == logs[-1:]
        assert await client.get_attempts(handle) == list(await here.jp.get_attempts(handle.id))
        assert (await handle.why()).code == "completed"
        assert await handle.status() is COMPLETED


async def test_jobs_are_found_over_all_pages() -> None:
    async with remote(echo) as (here, client):
        for n in range(7):
            await client.submit_job(named(echo), n, job_id=f"job-{n}", group="odd" if n % 2 else "even")
        await here.jp.drain()
        everything = [job.id async for job in client.iter_jobs(JobQuery(limit=2))]
        assert everything == [f"job-{n}" for n in range(7)]
        odd = JobQuery(group="odd", status=[COMPLETED, FAILED], function=named(echo), queue="default", order="newest")
        assert [job.id async for job in client.iter_jobs(odd)] == ["job-5", "job-3", "job-1"]
        assert [job async for job in client.iter_jobs(JobQuery(status=FAILED))] == []
        page = await client.find_jobs(JobQuery(limit=5))
        assert (len(page), page.next is not None) == (5, True)
        assert [job.id for job in await client.find_jobs(JobQuery(cursor=page.next))] == everything[5:]
        for query in (JobQuery(worker_id="a"), JobQuery(ids=["a"]), "jobs"):
            with pytest.raises(ConfigurationError, match="find_jobs"):
                await client.find_jobs(query)


async def test_groups_numbers_workers_and_the_snapshot() -> None:
    async with remote(echo) as (here, client):
        for n in range(3):
            await client.submit_job(named(echo), n, group=f"group-{n}")
        await here.jp.drain()
        assert [group.group async for group in client.groups()] == ["group-0", "group-1", "group-2"]
        assert await client.get_progress("group-1") == await here.jp.get_progress("group-1")
        stats = await client.stats()
        assert (stats.total, stats.counts, stats.workers) == (3, {COMPLETED: 3}, 1)
        assert await client.workers() == list(await here.jp.workers())
        snapshot = await client.snapshot()
        assert (snapshot.stats, snapshot.cursor) == (stats, stats.cursor)
        assert [job.group for job in snapshot.jobs] == ["group-2", "group-1", "group-0"]
        assert (len(snapshot.groups), len(snapshot.workers)) == (3, 1)
        await client.submit_job(named(echo), job_id="new")
        async with client.stream_all(after=snapshot.cursor) as events:
            assert (await anext(events)).job_id == "new"


async def test_more_groups_than_a_page_has() -> None:
    async with remote(echo, works=False) as (here, client):
        names = [f"group-{n:03}" for n in range(120)]
        for name in names:
            await here.jp.submit_job(echo, group=name)
        assert [group.group async for group in client.groups()] == names


# -- deciding


async def test_cancelling_says_what_is_true() -> None:
    held = Held()
    async with remote(echo) as (here, client):
        pending = await client.submit_job(named(echo), delay=60)
        assert await pending.cancel() is CANCELLED
        assert await pending.cancel() is CANCELLED
        done = await client.submit_job(named(echo))
        await done
        assert await done.cancel() is COMPLETED
        await here.jp.submit_job(held.body, job_id="running", local=True)
        await held.started.wait()
        assert await client.handle("running").cancel(descendants=True) is IN_PROGRESS
        assert (await here.jp.wait_for_job("running", PATIENCE)).status is CANCELLED


async def test_many_are_cancelled_and_retried_by_a_filter() -> None:
    async with remote(echo, fail) as (here, client):
        late = [await client.submit_job(named(echo), n, group="late", delay=60) for n in range(3)]
        done = await client.cancel_jobs(group="late", expect=3)
        assert (done.matched, done.changed) == (3, dict.fromkeys(late, CANCELLED))
        again = await client.retry_jobs(JobQuery(ids=late[:2], status=CANCELLED))
        assert (again.matched, set(again.changed.values())) == (2, {PENDING})
        await here.jp.drain(timeout=PATIENCE)
        for wrong in ({}, {"query": JobQuery(), "group": "g"}):
            with pytest.raises(ConfigurationError, match="a query or a group"):
                await client.cancel_jobs(**wrong)
        with pytest.raises(ConfigurationError, match="is empty"):
            await client.cancel_jobs(JobQuery())


async def test_jobs_are_retried_anew() -> None:
    async with remote(echo, works=False) as (here, client):
        await here.jp.submit_job(echo, job_id="it", group="g", delay=1000)
        for retry in (
            lambda: client.retry_job("it", fresh=True),
            lambda: client.handle("it").retry(fresh=True),
            lambda: client.retry_jobs(group="g", fresh=True),
        ):
            await here.jp.cancel_job("it")
            await retry()
            assert (await here.jp.backend.read_events(job_id="it", limit=1000)).events[-1].data["fresh"] is True
            await here.jp.cancel_job("it")
            await client.retry_job("it")
            assert "fresh" not in (await here.jp.backend.read_events(job_id="it", limit=1000)).events[-1].data


async def test_a_retry_whose_answer_was_lost_is_done_once() -> None:
    async with remote(fail) as (here, _), httpx.AsyncClient(transport=Losing(2)) as http:
        await here.jp.submit_job(fail, "no", job_id="it", max_retries=0)
        await here.jp.wait_for_job("it", PATIENCE)
        async with JobsClient(here.url, http_client=http) as client:
            assert isinstance(await client.retry_job("it"), JobStatus)
        assert http._transport.sent == 3
        await here.jp.wait_for_job("it", PATIENCE)
        assert len(await here.jp.get_attempts("it")) == 2


async def test_a_retry_loses_no_race_against_another() -> None:
    async with remote(works=False) as (here, _):
        await here.jp.submit_job(echo, job_id="it")
        await here.jp.cancel_job("it")

        class Rival(httpx.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if request.method == "POST" and "if-match" in request.headers:
                    await here.jp.retry_job("it")
                return await super().handle_async_request(request)

        async with httpx.AsyncClient(transport=Rival()) as http, JobsClient(here.url, http_client=http) as late:
            with pytest.raises(JobStateError, match="is pending"):
                await late.retry_job("it")


async def test_handles_are_made_by_the_client_that_they_ask() -> None:
    async with remote(echo) as (_, client):
        handle = await client.submit_job(named(echo), 1)
        assert isinstance(handle, ClientHandle)
        assert await client.handle(handle) == 1
