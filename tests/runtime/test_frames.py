"""Frames: events and what a stream says of itself, as bytes, for browsers and for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from asyncjobs import JobEvent, MemoryBackend
from asyncjobs.runtime.events.frames import CHUNK, Form, FrameReader, Frames
from asyncjobs.runtime.events.log_tail import LogTail
from asyncjobs.runtime.events.reader import EventBatch
from tests.runtime.test_log_tail import new, publishing
from tests.runtime.test_reader import CHOSEN, EVERYTHING, prune, reader_of

pytestmark = pytest.mark.anyio


def event(kind: str, data: dict[str, Any] | None = None, job_id: str = "j") -> JobEvent:
    return JobEvent("7", job_id, 1, kind, datetime(2030, 1, 1, tzinfo=UTC), 1, None, None, data or {})


def encoded(it: JobEvent, form: Form) -> bytes:
    return b"".join(Frames().encode(EventBatch([it], "7"), EVERYTHING, form))


NASTY = {
    "line ends": "a\nb\r\nc\rd",
    "separators": "a\u2028b\u2029c\x0bd\x85e",
    "nul": "a\x00b\x1f\x7f",
    "markup": "</script><!--<script>&",
    "a frame": "\n\nid: 999\nevent: end\ndata: {}\n\n",
    "large": "x" * 10_000_000,
    "emoji": "🙂" * 3,
}


@pytest.mark.parametrize("form", ["named", "plain", "lines"])
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
async def test_no_text_can_break_a_frame(form: Any, text: str) -> None:
    frame = encoded(event("log", {"message": text}, job_id=text[:50]), form)
    if form == "lines":
        assert frame.count(b"\n") == 1
        data = frame
    else:
        fields = frame.removesuffix(b"\n\n").split(b"\n")
        assert [field.partition(b":")[0] for field in fields] == [b"id", *([b"event"] * (form == "named")), b"data"]
        data = fields[-1].removeprefix(b"data: ")
    assert not any(end in data.removesuffix(b"\n") for end in (b"\n", b"\r", b"\x00"))
    assert msgspec.json.decode(data)["data"] == {"message": text}


@pytest.mark.parametrize("kind", ["end", "reset", "bye", "error", "open", "a\nid: 999", "a\u2028b"])
async def test_a_bodys_own_event_is_not_taken_for_the_streams(kind: str) -> None:
    frame = encoded(event(kind), "named").decode()
    assert frame.startswith("id: 7\ndata: {")
    assert msgspec.json.decode(frame.removeprefix("id: 7\ndata: "))["type"] == kind


@pytest.mark.parametrize(
    "data", [{"a": float("nan")}, {"a": b"\xff"}, {"a": "\ud800"}, {1: {2: 3}}, {"a": 2**63}], ids=str
)
async def test_what_json_has_not_is_told_all_the_same(data: dict[Any, Any]) -> None:
    frame = encoded(event("log", data), "lines")
    assert msgspec.json.decode(frame)["job_id"] == "j"


# -- what a stream says of itself


def blocks(data: bytes) -> list[dict[str, str]]:
    """Frames as their fields."""
    found = [dict(line.split(": ", 1) for line in block.split("\n")) for block in data.decode().split("\n\n") if block]
    return [{name: value for name, value in block.items() if name != "retry"} for block in found]


async def test_a_reset_has_the_cursor_before_what_is_left() -> None:
    """Who is cut off right after the reset comes back for the events that follow it, and is not told again."""
    async with publishing(LogTail, 0) as (log, publisher):
        await log.enqueue_jobs([new(f"j{i}") for i in range(9)])
        log.read_events = lambda *args, **options: _without(log, 6, *args, **options)
        prune(log, 6)
        reader = reader_of(log, publisher, after="2")
        frames = FrameReader(Frames(), reader, "named", snapshot="/v1/snapshot")
        reset, *events = blocks(await frames.next(0))
        assert reset["event"] == "reset"
        assert reset["id"] == "6"
        data = msgspec.json.decode(reset["data"])
        assert data == {"reason": "retention", "cursor": "6", "snapshot": "/v1/snapshot"}
        assert [event["id"] for event in events] == ["7", "8", "9"]
        reader.close()
        again = reader_of(log, publisher, after=reset["id"])
        assert blocks(await FrameReader(Frames(), again, "named").next(0)) == events
        again.close()


async def _without(log: MemoryBackend, upto: int, *args: Any, **options: Any) -> Any:
    page = await MemoryBackend.read_events(log, *args, **options)
    return msgspec.structs.replace(page, events=[event for event in page.events if int(event.cursor) > upto])


async def test_an_event_is_encoded_once_for_all() -> None:
    made = 0

    def count(it: JobEvent) -> JobEvent:
        nonlocal made
        made += 1
        return it

    async with publishing(LogTail, 0) as (log, publisher):
        frames = Frames(count)
        readers = [reader_of(log, publisher) for _ in range(20)]
        for reader in readers:
            await reader.next(0)
        await log.enqueue_jobs([new("a"), new("b")])
        chunks = {await FrameReader(frames, reader, "named").next(0) for reader in readers}
        assert (len(chunks), made) == (1, 2)
        for reader in readers:
            reader.close()


async def test_a_chunk_is_never_much_larger_than_a_server_takes() -> None:
    """However much is stored: what a client does not read is not held for it."""
    async with publishing(LogTail, 0) as (log, publisher):
        await log.enqueue_jobs([new(f"{'x' * 400}{i}") for i in range(600)])
        reader = reader_of(log, publisher)
        frames = FrameReader(Frames(), reader, "named")
        whole = b""
        while chunk := await frames.next(0):
            assert len(chunk) < 1.5 * CHUNK
            whole += chunk
        assert len(whole) > 4 * CHUNK
        assert [block["id"] for block in blocks(whole)] == [str(n) for n in range(1, 601)]
        reader.close()


async def test_json_lines_say_what_a_program_must_know() -> None:
    async with publishing(LogTail, 0) as (log, publisher):
        await log.enqueue_jobs([new("a")])
        reader = reader_of(log, publisher, CHOSEN, after="99", may_reset=True)
        frames = FrameReader(Frames(), reader, "lines", snapshot="/s")
        [reset] = [msgspec.json.decode(line) for line in (await frames.next(0)).splitlines()]
        assert reset == {"type": "reset", "data": {"reason": "cursor", "cursor": "1", "snapshot": "/s"}}
        await log.enqueue_jobs([new("b")])
        assert msgspec.json.decode(await frames.next(0)) == {"type": "checkpoint", "data": {"cursor": "2"}}
        reader.close()
