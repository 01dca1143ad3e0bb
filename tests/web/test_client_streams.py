"""Event streams of the client: cut anywhere, they go on where they were."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import anyio
import httpx
import pytest

from asyncjobs import BackendConnectionError, BackendError, JobEvent
from asyncjobs.client import EventStream, JobsClient, Reset
from asyncjobs.client import streams as client_streams
from asyncjobs.client.sse import Block, BlockParser
from tests.runtime.support import Held
from tests.web.bodies import echo, named, talk
from tests.web.client_support import SOON, Counting, Said, event, remote, says, scripted, streams_closed
from tests.web.support import PATIENCE

pytestmark = pytest.mark.anyio


async def everything(stream: EventStream) -> list[JobEvent]:
    with anyio.fail_after(PATIENCE):
        return [event async for event in stream]


# -- a served processor


async def test_they_are_the_events_that_a_stream_in_process_gives() -> None:
    async with remote(talk, echo) as (here, client):
        for n in range(3):
            await client.submit_job(named(talk), "a", "b\n\nevent: end\u2028", job_id=f"job-{n}", group="g")
        await here.jp.drain()
        redacted = ("log", "output")  # the server hides what sounds secret
        theirs = [event async for event in here.jp.stream_group("g")]
        ours = await everything(client.stream_group("g"))
        assert [event.cursor for event in ours] == [event.cursor for event in theirs]
        assert [e for e in ours if e.type not in redacted] == [e for e in theirs if e.type not in redacted]
        assert await everything(client.stream_job("job-1")) == [e for e in ours if e.job_id == "job-1"]
        logs = await everything(client.stream_group("g", types="log"))
        assert [event.data["message"] for event in logs] == ["a", "b\n\nevent: end\u2028"] * 3
        async with client.stream_all(types=["submitted", "completed"]) as events:
            first = [await anext(events) for _ in range(4)]
        assert {event.type for event in first} == {"submitted", "completed"}


async def test_after_a_cursor_comes_what_was_not_seen() -> None:
    async with remote(echo) as (here, client):
        await here.jp.submit_job(echo, job_id="it")
        whole = await everything(client.stream_job("it"))
        for n, seen in enumerate(whole):
            assert await everything(client.stream_job("it", after=seen.cursor)) == whole[n + 1 :]


async def test_live_events_come_as_they_are_stored() -> None:
    held = Held()
    async with remote() as (here, client):
        await here.jp.submit_job(held.body, job_id="it", local=True)
        async with client.handle("it").events() as events:
            with anyio.fail_after(PATIENCE):
                assert [(await anext(events)).type for _ in range(2)] == ["submitted", "started"]
                held.go.open()
                assert [event.type async for event in events] == ["completed"]


async def test_left_early_or_cancelled_it_closes_its_connection() -> None:
    held = Held()
    async with remote() as (here, client):
        await here.jp.submit_job(held.body, job_id="it", local=True)
        async with client.stream_job("it") as events:
            await anext(events)
            assert (await client.stats()).streams == 1
        await streams_closed(client)
        async for _ in client.stream_job("it"):
            break  # dropped
        await streams_closed(client)
        reading = asyncio.create_task(everything(client.stream_job("it")))
        with anyio.fail_after(PATIENCE):
            while not (await client.stats()).streams:
                pass
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await streams_closed(client)
        held.go.open()


async def test_streams_that_the_server_ends_now_and_then_are_one_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_streams, "_LONGEST", 0.01)
    async with remote(talk, max_stream_age=0.05, ping=0.01) as (here, client):
        held = Held()

        async def chatter() -> None:
            from asyncjobs import current_job

            for n in range(200):
                current_job().emit("tick", {"n": n})
                await asyncio.sleep(0.002)
            await held.body()

        await here.jp.submit_job(chatter, job_id="it", local=True)
        held.go.open()
        seen = await everything(client.stream_job("it", types=["tick"]))
        assert [event.data["n"] for event in seen] == list(range(200))
        assert all(int(a.cursor) < int(b.cursor) for a, b in pairwise(seen))


# -- servers that do as they are told


async def test_it_resumes_after_what_it_saw_last() -> None:
    ends = Said(chunks=(SOON, event(3), says("end", 3)))
    async with scripted(Said(chunks=(SOON, event(1), event(2)[:40])), Said(chunks=(SOON, event(2))), ends) as (
        server,
        client,
    ):
        stream = client.stream_job("a", types=["output"])
        assert [e.cursor for e in await everything(stream)] == ["1", "2", "3"]
        assert server.headers("last-event-id") == [None, "1", "2"]
        assert stream.cursor == "3"
        assert {request.url.query for request in server.requests} == {b"plain=1&types=output"}


async def test_a_cursor_moves_without_events() -> None:
    async with scripted(Said(chunks=(SOON, b"id: 7\n\n")), Said(chunks=(says("end", 9),))) as (server, client):
        stream = client.stream_all(after="5")
        assert await everything(stream) == []
        assert (server.headers("last-event-id"), stream.cursor) == (["5", "7"], "9")


async def test_an_event_called_like_what_the_stream_says_itself_is_an_event() -> None:
    types = ["end", "reset", "bye", "message"]
    chunks = [event(n, type) for n, type in enumerate(types)]
    async with scripted(Said(chunks=(*chunks, says("end", 9)))) as (_, client):
        assert [e.type for e in await everything(client.stream_job("a"))] == types


async def test_no_content_is_the_end() -> None:
    async with scripted(Said(204, {})) as (_, client):
        assert await everything(client.stream_job("a", after="3")) == []


async def test_silence_is_taken_for_death() -> None:
    silent = Said(chunks=(SOON, event(1)), hangs=True)
    async with scripted(silent, Said(chunks=(event(2), says("end", 2))), max_silence=0.2) as (server, client):
        assert [e.cursor for e in await everything(client.stream_job("a"))] == ["1", "2"]
        with anyio.fail_after(PATIENCE):
            await server.gone.wait()
        assert server.headers("last-event-id") == [None, "1"]


async def test_a_ping_is_no_silence() -> None:
    held = Held()
    async with remote(ping=0.05) as (here, _), httpx.AsyncClient(transport=Counting()) as http:
        await here.jp.submit_job(held.body, job_id="it", local=True)
        async with JobsClient(here.url, http_client=http, max_silence=0.4) as client:
            async with client.stream_job("it") as events:
                assert [(await anext(events)).type for _ in range(2)] == ["submitted", "started"]
                with anyio.move_on_after(1.0) as waiting:  # twice as long as silence may be
                    await anext(events)
                assert waiting.cancelled_caught
        assert http._transport.sent == {"events": 1}
        held.go.open()


async def test_lost_events_are_told_and_it_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Reset] = []
    awaited: list[Reset] = []

    async def later(reset: Reset) -> None:
        awaited.append(reset)

    reset = says("reset", 40, reason="retention", cursor="40", snapshot="/v1/snapshot")
    said = Said(chunks=(event(1), reset, event(41), says("end", 41)))
    for on_reset in (told.append, later, None):
        async with scripted(said) as (_, client):
            stream = client.stream_job("a", on_reset=on_reset)
            assert [e.cursor for e in await everything(stream)] == ["1", "41"]
    assert told == awaited == [Reset("retention", "40", "/v1/snapshot")]
    assert "events after 1 were removed (retention)" in caplog.text


async def test_a_cut_after_a_reset_loses_nothing_that_is_left() -> None:
    reset = says("reset", 40, reason="cursor", cursor="40")
    said = Said(chunks=(SOON, reset)), Said(chunks=(event(41), says("end", 41)))
    async with scripted(*said) as (server, client):
        assert [e.cursor for e in await everything(client.stream_all(after="99"))] == ["41"]
        assert server.headers("last-event-id") == ["99", "40"]


async def test_a_server_that_cannot_serve_now_loses_nothing() -> None:
    told: list[Reset] = []
    busy = Said(chunks=(b'retry: 0\ndata: {"type":"reset","data":{"reason":"busy","retry":0}}\n\n',))
    away = Said(503, {}, (b"",))
    async with scripted(Said(chunks=(SOON, event(1))), busy, away, Said(chunks=(says("end", 1),))) as (server, client):
        assert len(await everything(client.stream_all(on_reset=told.append))) == 1
        assert (server.headers("last-event-id"), told) == ([None, "1", "1", "1"], [])


async def test_it_waits_as_the_server_asks_and_longer_while_it_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    away = [Said(503, {}, (b"",))] * 7
    asked = Said(chunks=(b"retry: 2000\n\n", event(1)))
    async with scripted(asked, *away, Said(chunks=(says("end", 1),))) as (_, client):
        monkeypatch.setattr(anyio, "sleep", sleep)
        await everything(client.stream_all())
        monkeypatch.undo()
    assert 2.0 <= slept[0] <= 2.5
    assert max(slept) > slept[0]
    assert max(slept) <= 4.0


async def test_what_is_said_by_a_newer_server_is_passed_over() -> None:
    said = Said(chunks=(b"event: stats\n\n", says("weather", None, sun="yes"), event(1), says("end", 1)))
    async with scripted(said) as (_, client):
        assert len(await everything(client.stream_all())) == 1
    for broken in (b"data: {\n\n", b'data: {"type":"x","job_id":"a","data":{}}\n\n'):
        async with scripted(Said(chunks=(broken,))) as (_, client):
            with pytest.raises(BackendError, match="cannot be decoded"):
                await everything(client.stream_all())


async def test_a_loss_is_logged_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_streams, "pause_before", lambda failures: 0.0)
    away = [Said(503, {}, (b"",))] * 3
    async with scripted(Said(chunks=(SOON, event(1))), *away, Said(chunks=(says("end", 1),))) as (_, client):
        with caplog.at_level(logging.WARNING, "asyncjobs.client"):
            await everything(client.stream_all())
    assert [record.message.partition(":")[0] for record in caplog.records] == ["event stream lost, reconnecting"]


# -- server-sent events as the standard has them


def blocks(*chunks: bytes) -> list[Block]:
    parser = BlockParser()
    return [block for chunk in chunks for block in parser.feed(chunk)]


WIRE = (
    b"\xef\xbb\xbf: hello\r\nretry: 2500\r\n\r\nid: 1\revent: a\rdata: x\rdata:  y\r\r"
    b"id: 2\ndata\n\n\n\nretry: soon\nid: a\0b\nunknown: 5\n\ndata: \xe2\x80\xa8\xc3\xa4\n\nid: cut"
)
MEANT = [
    Block(retry=2.5),
    Block(id="1", event="a", data="x\n y"),
    Block(id="2", data=""),
    Block(),
    Block(data="\u2028ä"),
]


def test_blocks_are_read_as_the_standard_says() -> None:
    assert blocks(WIRE) == MEANT


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_blocks_are_the_same_however_they_are_cut(size: int) -> None:
    assert blocks(*(WIRE[i : i + size] for i in range(0, len(WIRE), size))) == MEANT


def test_a_long_line_in_many_chunks_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = 0
    search: Any = client_streams.BlockParser.feed.__globals__["_LINE_END"].search

    class Counting:
        def search(self, data: bytearray, begin: int) -> Any:
            nonlocal searched
            searched += len(data) - begin
            return search(data, begin)

    monkeypatch.setitem(client_streams.BlockParser.feed.__globals__, "_LINE_END", Counting())
    assert len(blocks(b"data: ", *[b"x" * 1000] * 1000, b"\n\n")) == 1
    assert searched < 3_000_000


@pytest.mark.parametrize("base", ["http://host/jobs", "http://host/a/jobs/", "http://host"])
async def test_the_error_of_a_lost_stream_has_its_address_once(base: str) -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"data"
            raise httpx.ReadError("reset")

    address = f"{base.rstrip('/')}/v1/events"
    response = httpx.Response(200, stream=Broken(), request=httpx.Request("GET", f"{address}?plain=1"))
    async with JobsClient(base) as client:
        with pytest.raises(BackendConnectionError) as lost:
            _ = [chunk async for chunk in client._transport.chunks(response)]
    assert str(lost.value.args[0]).startswith(f"{address} cannot be reached")
