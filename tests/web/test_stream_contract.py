"""The contract of an event stream, on real servers: how it begins, goes on and ends, and how one comes back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from asyncjobs import MemoryBackend
from asyncjobs.processor import get_engine
from asyncjobs.testing import FaultyBackend
from tests.web.stream_support import SERVERS, Site, deaf, eventually, log_text, nothing, say, site, take, take_events
from tests.web.support import PATIENCE, Frame, names

pytestmark = pytest.mark.anyio


@pytest.fixture(params=SERVERS)
def http(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def here(http: str) -> AsyncIterator[Site]:
    async with site(MemoryBackend(), http) as it:
        yield it


def ids(seen: list[Frame]) -> list[int]:
    return [int(frame.id) for frame in seen if frame.data and frame.id]


def said(frame: Frame) -> tuple[str, Any]:
    """A control frame, without its spread retry time."""
    data = frame.json()
    assert (frame.retry is None) == (data.pop("retry", None) is None)
    return frame.event, data


# -- beginning


async def test_the_answer_begins_at_once_and_nobody_may_keep_it(here: Site) -> None:
    async with here.client.stream("GET", "/v1/events") as response:
        assert response.status_code == 200
        headers = response.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert headers["cache-control"] == "no-store, no-transform"
        assert headers["x-accel-buffering"] == "no"
        assert headers["x-content-type-options"] == "nosniff"
        assert "connection" not in headers
        with anyio.fail_after(PATIENCE):  # the log is empty: nothing else makes it send
            first = await anext(response.aiter_text())
        assert first.startswith("retry: ")


async def test_browsers_come_back_at_different_times(here: Site) -> None:
    times: list[int] = []
    for _ in range(8):
        async with here.stream() as blocks:
            [first] = await take(blocks, 1)
            assert first.retry is not None
            times.append(first.retry)
    assert all(1000 <= time <= 3000 for time in times)
    assert len(set(times)) > 1


async def test_a_finished_job_is_told_whole_then_ended_then_204(here: Site) -> None:
    job = await here.jp.submit_job(nothing)
    await job
    url = f"/v1/jobs/{job}/events"
    seen = await here.whole(url)
    assert names(seen) == ["submitted", "started", "completed", "end"]
    assert ids(seen) == [1, 2, 3, 3]
    assert [frame.json()["type"] for frame in seen if frame.data and frame.event != "end"] == names(seen)[:3]
    answer = await here.client.get(url, headers={"Last-Event-ID": "3"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert names(await here.whole(url, Last_Event_ID="1")) == ["started", "completed", "end"]


async def test_the_browsers_cursor_is_newer_than_the_urls(here: Site) -> None:
    job = await here.jp.submit_job(nothing)
    await job
    assert ids(await here.whole(f"/v1/jobs/{job}/events?after=0", Last_Event_ID="2")) == [3, 3]
    assert ids(await here.whole(f"/v1/jobs/{job}/events?after=1", Last_Event_ID="")) == [2, 3, 3]


async def test_a_group_ends_with_its_last_job(here: Site) -> None:
    async with here.jp.batch() as batch:
        first = batch.submit_job(nothing, group="g", job_id="a")
        batch.submit_job(nothing, group="g", job_id="b", depends_on=[first])
    seen = await here.whole("/v1/groups/g/events?types=completed")
    assert [frame.json().get("job_id") for frame in seen if frame.data] == ["a", "b", None]


async def test_head_has_no_body(here: Site) -> None:
    with anyio.fail_after(PATIENCE):
        answer = await here.client.head("/v1/events")
    assert (answer.status_code, answer.content) == (200, b"")
    await eventually(lambda: len(here.app.streams) == 0)


@pytest.mark.parametrize("url", ["/v1/jobs/nobody/events", "/v1/groups/nobody/events"])
async def test_who_is_not_there_is_404_before_anything_else(here: Site, url: str) -> None:
    answer = await here.client.get(url)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


# -- forms


async def test_plain_has_one_name_for_all(here: Site) -> None:
    job = await here.jp.submit_job(nothing)
    await job
    seen = await here.whole(f"/v1/jobs/{job}/events?plain=1")
    assert set(names(seen)) == {"message"}
    assert [frame.json()["type"] for frame in seen if frame.data] == ["submitted", "started", "completed", "end"]


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/jsonl"])
async def test_lines_for_programs(here: Site, kind: str) -> None:
    job = await here.jp.submit_job(nothing)
    await job
    answer = await here.client.get(f"/v1/jobs/{job}/events", headers={"accept": kind})
    assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
    lines = [json.loads(line) for line in answer.text.splitlines() if line]
    assert [line["type"] for line in lines] == ["submitted", "started", "completed", "end"]
    assert [line.get("cursor") for line in lines] == ["1", "2", "3", None]
    assert lines[-1] == {"type": "end", "data": {"cursor": "3"}}


async def test_what_nobody_can_read_is_406(here: Site) -> None:
    answer = await here.client.get("/v1/events", headers={"accept": "text/html"})
    assert (answer.status_code, answer.json()["code"]) == (406, "not-acceptable")


# -- going on


async def test_pings_and_the_cursor_of_a_filter(http: str) -> None:
    async with site(MemoryBackend(), http, ping=0.05) as here:
        job = await here.jp.submit_job(nothing)
        await job
        async with here.stream("/v1/events?types=progress,retrying") as blocks:
            hello, moved, ping = await take(blocks, 3)
            assert hello.retry
            assert (moved.id, moved.data, moved.comments) == ("3", "", [])
            assert (ping.id, ping.data, ping.comments) == (None, "", ["ping"])
            await (await here.jp.submit_job(nothing))
            with anyio.fail_after(PATIENCE):
                while (frame := await anext(blocks)).id != "6":
                    assert not frame.data
        # who comes back with it has the rest of the log still before them, and nothing behind
        assert await here.last_cursor() == "6"


async def test_no_text_of_a_job_can_break_the_stream(here: Site) -> None:
    texts = ["a\nb\r\nc\rd", "\x00\x1f", "a\u2028b\u2029c", "</script>", "\n\nid: 999\nevent: end\ndata: {}\n\n"]
    jobs = [await here.jp.submit_job(log_text, text, local=True, group="g") for text in [*texts, "x" * 10_000]]
    seen = await here.whole("/v1/groups/g/events")
    assert ids(seen[:-1]) == [*range(1, 5 * len(jobs) + 1)]
    outputs = [frame.json()["data"] for frame in seen if frame.event == "output"]
    assert sorted(map(str, outputs)) == sorted(str({text[:40]: [text]}) for text in [*texts, "x" * 10_000])
    assert names(seen)[-1] == "end"


async def test_who_goes_is_let_go_at_once(here: Site) -> None:
    async with here.stream() as blocks:
        await take(blocks, 1)
        assert len(here.app.streams) == 1
    await eventually(lambda: len(here.app.streams) == 0)
    assert not get_engine(here.jp)._parts.tail.listened_to


# -- ending, and coming back


async def test_too_many_streams_are_told_when_to_come_back(http: str) -> None:
    async with site(MemoryBackend(), http, max_streams=1) as here:
        async with here.stream() as blocks:
            await take(blocks, 1)
            [reset] = await here.whole("/v1/events")
            assert said(reset) == ("reset", {"reason": "busy"})
            assert 15_000 <= (reset.retry or 0) <= 22_500
            lines = (await here.client.get("/v1/events", headers={"accept": "application/x-ndjson"})).text
            assert json.loads(lines)["data"]["reason"] == "busy"
        await eventually(lambda: len(here.app.streams) == 0)
        async with here.stream() as blocks:
            await take(blocks, 1)


async def test_an_old_stream_ends_and_the_next_one_goes_on(http: str) -> None:
    async with site(MemoryBackend(), http, max_stream_age=0.3) as here:
        await (await here.jp.submit_job(nothing))
        first = await here.whole("/v1/events")
        assert names(first) == ["submitted", "started", "completed"]  # no "end": there may be more
        await (await here.jp.submit_job(nothing))
        assert ids(await here.whole("/v1/events", Last_Event_ID=str(ids(first)[-1]))) == [4, 5, 6]


async def test_bye_and_come_back(here: Site) -> None:
    await (await here.jp.submit_job(nothing))
    async with here.stream() as blocks:
        seen = await take_events(blocks, 3)
        here.jp.close_streams()
        with anyio.fail_after(PATIENCE):
            [bye] = [frame async for frame in blocks]
        assert said(bye) == ("bye", {"reason": "shutdown"})
        assert 1000 <= (bye.retry or 0) <= 1500
    job = await here.jp.submit_job(nothing)
    await job
    async with here.stream(Last_Event_ID=seen[-1].id or "") as blocks:
        assert ids(await take_events(blocks, 3)) == [4, 5, 6]


# -- faults of the store


@pytest.mark.parametrize("method", ["last_cursor", "read_events", "get_jobs"])
async def test_a_store_that_is_away_at_first_is_never_an_error(http: str, method: str) -> None:
    store = FaultyBackend(MemoryBackend())
    async with site(store, http) as here:
        job = await here.jp.submit_job(nothing, delay=3600)
        get_engine(here.jp)._parts.tail.changed()  # so that the end of the log is asked for
        store.fail(method)
        [reset] = await here.whole(f"/v1/jobs/{job}/events")
        assert said(reset) == ("reset", {"reason": "store"})
        assert 5_000 <= (reset.retry or 0) <= 7_500


async def test_a_store_that_goes_away_later_ends_the_stream(http: str) -> None:
    store = FaultyBackend(MemoryBackend())
    async with site(store, http) as here:
        job = await here.jp.submit_job(nothing, delay=3600)
        url = f"/v1/jobs/{job}/events"
        async with here.stream(url) as blocks:
            seen = await take_events(blocks, 1)
            store.fail("get_jobs")  # whether it is over is asked when it ends
            await here.jp.cancel_job(job)
            with anyio.fail_after(PATIENCE):
                rest = [frame async for frame in blocks]
            assert (names(rest), said(rest[-1])) == (["cancelled", "reset"], ("reset", {"reason": "store"}))
        assert ids(seen + rest) == [1, 2]
        answer = await here.client.get(url, headers={"Last-Event-ID": "2"})
        assert answer.status_code == 204


async def test_a_cursor_of_another_store_is_reset_to_the_end(here: Site) -> None:
    job = await here.jp.submit_job(nothing)
    await job
    async with here.stream(Last_Event_ID="4711") as blocks:
        [reset] = await take_events(blocks, 1)
        assert said(reset) == ("reset", {"reason": "cursor", "cursor": "3", "snapshot": "/v1/snapshot"})
        assert reset.id == "3"
        await here.jp.submit_job(nothing)
        assert ids(await take_events(blocks, 3)) == [4, 5, 6]
    seen = await here.whole(f"/v1/jobs/{job}/events?after=4711")
    assert names(seen) == ["reset", "end"]
    assert (await here.client.get(f"/v1/jobs/{job}/events?after=6")).status_code == 204
    assert (await here.client.get("/v1/events?once=1&after=4711")).status_code == 400


@pytest.mark.parametrize("cursor", ["x", "-1", "1.0", "9" * 20])
async def test_a_cursor_that_is_none_is_400(here: Site, cursor: str) -> None:
    for answer in (
        await here.client.get("/v1/events", params={"after": cursor}),
        await here.client.get("/v1/events", headers={"Last-Event-ID": cursor}),
    ):
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"


async def test_what_retention_removed_is_told_and_the_rest_follows(http: str) -> None:
    store = MemoryBackend()
    async with site(store, http) as here:
        await (await here.jp.submit_job(nothing))
        await (await here.jp.submit_job(nothing))
        store._tables.pruned = 3
        async with here.stream(Last_Event_ID="3") as blocks:
            assert names(await take_events(blocks, 3)) == ["submitted", "started", "completed"]
        async with here.stream(Last_Event_ID="1") as blocks:
            reset, *rest = await take_events(blocks, 6)
        assert (reset.event, reset.json()["reason"]) == ("reset", "retention")
        assert reset.id == reset.json()["cursor"] == "1"  # nothing was really removed: all of it follows
        assert ids(rest) == [2, 3, 4, 5, 6]


# -- a client that reads nothing


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_who_reads_nothing_is_given_up_and_holds_nothing(http: str) -> None:
    async with site(MemoryBackend(), http, send_timeout=0.3) as here:
        client = deaf(here.port)
        await eventually(lambda: len(here.app.streams) == 1)
        await (await here.jp.submit_job(say, 200, 50_000, local=True))
        await eventually(lambda: len(here.app.streams) == 0)
        assert here.server is not None
        assert not here.server.server_state.connections  # what was not read is not kept
        client.close()
