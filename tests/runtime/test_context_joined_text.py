"""``emit(…, append=…)``: pieces of a text become few events, and a reader that joins them has what was emitted."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from msgspec import msgpack

from asyncjobs import JobEvent, JobProcessor, current_job
from asyncjobs.backends.base import AttemptRef
from asyncjobs.runtime import event_data
from asyncjobs.runtime.context import JobContext
from asyncjobs.runtime.event_data import MAX_EVENT_BYTES
from asyncjobs.runtime.wakeups import LoopHandle
from asyncjobs.testing import FaultyBackend, ManualClock
from tests.runtime import isolated
from tests.runtime.support import PATIENCE, Stores, everything

pytestmark = pytest.mark.anyio

PIECES = 100_000
PER_SECOND = 200


def new_job(clock: ManualClock | None = None) -> JobContext:
    clock = clock or ManualClock()
    return JobContext(AttemptRef("a", 1, "w1"), group=None, clock=clock, loop=LoopHandle(), submit=None)


def taken(job: JobContext) -> list[tuple[str, dict[str, Any]]]:
    return [(event.type, event.data) for event in job.body_events.take()]


def say(job: JobContext, text: str, **others: Any) -> None:
    job.emit("output", {**others, "text": text}, append="text")


def joined(events: list[JobEvent], field: str = "text") -> str:
    return "".join(event.data[field] for event in events if event.type == "output")


# -- what joins


async def test_pieces_of_a_text_become_one_event() -> None:
    job = new_job()
    for piece in ("Once", " upon", " a", " time"):
        say(job, piece)
    assert taken(job) == [("output", {"text": "Once upon a time"})]


async def test_the_event_has_the_time_of_its_first_piece() -> None:
    clock = ManualClock()
    job, began = new_job(clock), clock.now()
    say(job, "a")
    clock.advance(1)
    say(job, "b")
    assert [event.at for event in job.body_events.take()] == [began]


async def test_a_piece_overtakes_pieces_of_other_streams() -> None:
    job = new_job()
    for who, piece in (("ann", "1"), ("bob", "a"), ("ann", "2"), ("bob", "b")):
        say(job, piece, who=who)
    assert taken(job) == [("output", {"who": "ann", "text": "12"}), ("output", {"who": "bob", "text": "ab"})]


@pytest.mark.parametrize("between", ["emit", "log", "progress", "left out", "print"])
async def test_a_piece_overtakes_no_other_event(between: str) -> None:
    job = new_job()
    say(job, "a")
    match between:
        case "emit":
            job.emit("output", {"text": "b"})
        case "log":
            job.log("b")
        case "progress":
            job.progress(1)
        case "print":
            job.append_log("info", "stdout", {"message": "b"})
        case _:
            job.emit("completed")
    say(job, "c")
    first, second, third = taken(job)
    assert (first, third) == (("output", {"text": "a"}), ("output", {"text": "c"}))
    assert "text" not in second[1] or second[1] == {"text": "b"}


async def test_an_event_without_append_is_no_piece_and_nothing_joins_it() -> None:
    job = new_job()
    job.emit("output", {"text": "a"})
    say(job, "b")
    assert taken(job) == [("output", {"text": "a"}), ("output", {"text": "b"})]


ANOTHER_STREAM: dict[str, tuple[str, dict[str, Any], str]] = {
    "another type": ("preview", {"n": 1, "text": "b"}, "text"),
    "another value": ("output", {"n": 2, "text": "b"}, "text"),
    "True is not 1": ("output", {"n": True, "text": "b"}, "text"),
    "1.0 is not 1": ("output", {"n": 1.0, "text": "b"}, "text"),
    "one field more": ("output", {"n": 1, "text": "b", "m": None}, "text"),
    "one field less": ("output", {"text": "b"}, "text"),
    "another field grows": ("output", {"n": 1, "word": "b"}, "word"),
}


@pytest.mark.parametrize("what", ANOTHER_STREAM)
async def test_pieces_join_only_if_type_and_other_fields_are_equal(what: str) -> None:
    type_, data, append = ANOTHER_STREAM[what]
    job = new_job()
    say(job, "a", n=1)
    job.emit(type_, data, append=append)
    assert taken(job) == [("output", {"n": 1, "text": "a"}), (type_, data)]


async def test_two_fields_of_the_same_name_and_text_are_two_streams() -> None:
    job = new_job()
    for append in ("a", "b"):
        job.emit("output", {"a": "x", "b": "x"}, append=append)
    assert taken(job) == [("output", {"a": "x", "b": "x"})] * 2


async def test_the_order_of_fields_is_no_difference_and_fields_may_be_nested() -> None:
    job = new_job()
    job.emit("output", {"who": {"id": 1, "tags": ["x"]}, "n": 1, "text": "a"}, append="text")
    job.emit("output", {"text": "b", "n": 1, "who": {"tags": ["x"], "id": 1}}, append="text")
    assert taken(job) == [("output", {"who": {"id": 1, "tags": ["x"]}, "n": 1, "text": "ab"})]


async def test_what_the_body_does_to_its_data_later_is_not_in_it() -> None:
    job = new_job()
    data: dict[str, Any] = {"who": ["ann"], "text": "a"}
    job.emit("output", data, append="text")
    data["who"].append("bob")
    say(job, "b", who=["ann"])
    assert taken(job) == [("output", {"who": ["ann"], "text": "ab"})]


# -- bounds


async def test_a_text_goes_on_in_a_further_event_where_one_is_full() -> None:
    job = new_job()
    for _ in range(40_000):
        say(job, "größe", n=1)
    events = job.body_events.take()
    sizes = [len(msgpack.encode(event.data)) for event in events]
    assert max(sizes) <= MAX_EVENT_BYTES
    assert min(sizes[:-1]) > MAX_EVENT_BYTES - 16
    assert "".join(event.data["text"] for event in events) == "größe" * 40_000


@pytest.mark.parametrize("length", [1, 30, 31, 32, 255, 256, 32_000])
async def test_no_event_grows_beyond_the_limit_whatever_its_pieces_are(length: int) -> None:
    job = new_job()
    for _ in range(140_000 // length):
        say(job, "y" * length)
    sizes = [len(msgpack.encode(event.data)) for event in job.body_events.take()]
    assert max(sizes) <= MAX_EVENT_BYTES
    assert len(sizes) <= 5


async def test_a_piece_costs_what_it_holds_itself_however_long_the_text_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in bytes that are encoded: adding to an event does not encode it again."""
    encoded: list[int] = []

    def counted(encode: Any) -> Any:
        def call(value: Any) -> bytes:
            data: bytes = encode(value)
            encoded.append(len(data))
            return data

        return call

    monkeypatch.setattr("asyncjobs.core.plain._encode", counted(msgpack.encode))
    monkeypatch.setattr(event_data, "_encode_sorted", counted(msgpack.encode))
    job = new_job()
    for _ in range(10_000):
        say(job, "12345")
    assert len(taken(job)) == 1
    assert max(encoded) < 64
    assert len(encoded) <= 20_000


async def test_pieces_count_for_what_a_body_may_have_reported_before_the_store_takes_it() -> None:
    job = new_job()
    for _ in range(400):
        say(job, "y" * 30_000)
    first, *rest = job.body_events.take()
    assert first.data["dropped"] > 0
    assert sum(len(event.data["text"]) for event in rest) <= 8 << 20
    say(job, "next")
    assert taken(job) == [("output", {"text": "next"})]


# -- odd input

VERBATIM = {
    "NUL": ["a\0", "\0", "b"],
    "ends of lines": ["a\r", "\nb\r\n", "\n\r", "\u2028"],
    "nothing": ["", "", ""],
    "nothing between": ["a", "", "b"],
    "more than a byte": ["\N{PILE OF POO}", "ß", "語"],
    "a combining accent of its own": ["e", "\N{COMBINING ACUTE ACCENT}"],
}


@pytest.mark.parametrize("what", VERBATIM)
async def test_texts_arrive_as_they_were_emitted(jp: JobProcessor, what: str) -> None:
    async def body() -> None:
        for piece in VERBATIM[what]:
            say(current_job(), piece)

    job = await jp.submit_job(body, local=True)
    await job.result(timeout=PATIENCE)
    assert joined(await everything(jp.stream_job(job))) == "".join(VERBATIM[what])


async def test_lone_surrogates_are_spelled_out_piece_by_piece() -> None:
    job = new_job()
    say(job, "a\ud83d")
    say(job, "\ude00b")
    assert taken(job) == [("output", {"text": "a\\ud83d\\ude00b"})]


async def test_a_field_that_is_named_with_a_surrogate_is_found() -> None:
    job = new_job()
    job.emit("output", {"\udc80": "a"}, append="\udc80")
    job.emit("output", {"\udc80": "b"}, append="\udc80")
    assert taken(job) == [("output", {"\\udc80": "ab"})]


# -- together with the store


async def test_pieces_that_were_put_back_are_joined_further() -> None:
    job = new_job()
    say(job, "a")
    assert [event.data for event in job.body_events.take()] == [{"text": "a"}]
    job.body_events.put_back()
    say(job, "b")
    assert taken(job) == [("output", {"text": "ab"})]


async def test_what_is_on_its_way_to_the_store_is_not_changed() -> None:
    job = new_job()
    say(job, "a")
    on_its_way = job.body_events.take()
    say(job, "b")
    assert [event.data for event in on_its_way] == [{"text": "a"}]
    job.body_events.put_back()
    say(job, "c")
    assert taken(job) == [("output", {"text": "a"}), ("output", {"text": "bc"})]


async def test_what_was_put_back_is_not_joined_over_an_event_that_came_meanwhile() -> None:
    job = new_job()
    say(job, "a")
    job.body_events.take()
    job.log("b")
    job.body_events.put_back()
    say(job, "c")
    assert [type for type, _ in taken(job)] == ["output", "log", "output"]


class Model:
    """What must be stored, kept naively: a list, searched from its end."""

    def __init__(self) -> None:
        self.kept: list[dict[str, Any]] = []

    def add(self, type_: str, data: dict[str, Any], append: str | None) -> None:
        if append is not None:
            others = {name: value for name, value in data.items() if name != append}
            for one in reversed(self.kept):
                if one["append"] is None:
                    break
                if (one["type"], one["append"], one["others"]) == (type_, append, others):
                    whole = {**one["data"], append: one["data"][append] + data[append]}
                    if len(msgpack.encode(whole)) <= MAX_EVENT_BYTES:
                        one["data"] = whole
                        return
                    break
            self.kept.append({"type": type_, "append": append, "others": others, "data": data})
            return
        if type_ == "progress":
            self.kept = [one for one in self.kept if one["type"] != "progress"]
        self.kept.append({"type": type_, "append": None, "data": data})

    def take(self, most: int) -> list[tuple[str, dict[str, Any]]]:
        taken, self.kept = self.kept[:most], self.kept[most:]
        return [(one["type"], one["data"]) for one in taken]


TEXTS = ["", "word ", "größe", "\0", "\r\n", "語" * 50, "y" * 20_000, "z" * 40_000]


@pytest.mark.parametrize("seed", range(40))
async def test_random_pieces_and_other_events_are_stored_as_a_naive_model_has_them(seed: int) -> None:
    chance, clock, model = random.Random(seed), ManualClock(), Model()
    job = new_job(clock)
    emitted: dict[str, str] = {}
    stored: list[tuple[str, dict[str, Any]]] = []

    def look(most: int) -> None:
        clock.advance(1)  # progress is not held back
        events = [(event.type, event.data) for event in job.body_events.take(most)]
        assert events == model.take(most)
        stored.extend(events)

    def emit_piece() -> None:
        type_, who, field = chance.choice("ab"), chance.choice([1, "ann", ["x"]]), chance.choice(["text", "t"])
        text = chance.choice(TEXTS)
        data = {"who": who, field: text}
        job.emit(type_, dict(chance.sample(list(data.items()), 2)), append=field)
        model.add(type_, data, field)
        emitted[f"{type_}{who}{field}"] = emitted.get(f"{type_}{who}{field}", "") + text

    for n in range(400):
        match chance.choice(["piece"] * 12 + ["event", "log", "progress", "look", "fail"]):
            case "piece":
                emit_piece()
            case "event":
                job.emit("a", {"n": n})
                model.add("a", {"n": n}, None)
            case "log":
                job.log(str(n))
                model.add("log", {"level": "info", "message": str(n)}, None)
            case "progress":
                job.progress(n)
                model.add("progress", {"done": n, "total": None, "message": None}, None)
            case "look":
                look(chance.choice([1, 3, 1000]))
            case _:
                clock.advance(1)
                job.body_events.take(chance.choice([1, 3, 1000]))
                job.body_events.put_back()
    look(1000)
    found: dict[str, str] = {}
    for type_, data in stored:
        for field in {"text", "t"} & data.keys():
            key = f"{type_}{data['who']}{field}"
            found[key] = found.get(key, "") + data[field]
    assert found == emitted


@pytest.mark.parametrize("seed", range(4))
async def test_no_piece_is_lost_or_twice_while_the_store_fails_at_times(stores: Stores, seed: int) -> None:
    chance = random.Random(seed)
    store = FaultyBackend(stores.backend())
    texts: dict[int, str] = {}

    async def body() -> None:
        job = current_job()
        for n in range(3_000):
            stream = chance.randrange(3)
            texts[stream] = f"{texts.get(stream, '')}{n},"
            say(job, f"{n},", stream=stream)
            if chance.random() < 0.02:
                job.log(str(n))
            if chance.random() < 0.01:
                await anyio.sleep(0.02)  # the recorder looks meanwhile, and the store fails at times

    for nth in chance.sample(range(1, 8), 4):
        store.fail("append_events", nth)
    async with stores.processor(backend=store) as jp:
        job = await jp.submit_job(body, local=True, max_retries=0)
        await job.result(timeout=PATIENCE)
        events = await everything(jp.stream_job(job))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    for stream, text in texts.items():
        assert joined([event for event in events if event.data.get("stream") == stream]) == text


# -- a long text, end to end


def emit_in_a_thread() -> float:
    began = time.monotonic()
    for n in range(PIECES):
        say(current_job(), f"{n:05}")
    return time.monotonic() - began


async def emit_on_the_loop() -> float:
    began = time.monotonic()
    for n in range(PIECES):
        say(current_job(), f"{n:05}")
        if n % 1000 == 0:
            await anyio.sleep(0)
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.untraced
@pytest.mark.parametrize(
    ("body", "isolation"),
    [(emit_in_a_thread, "thread"), (emit_on_the_loop, "thread"), (isolated.emit_pieces, "process")],
    ids=["thread", "loop", "process"],
)
async def test_a_hundred_thousand_pieces_are_few_events_and_a_cut_reader_resumes(
    jp: JobProcessor, body: Callable[[], float], isolation: str
) -> None:
    job = await jp.submit_job(body, isolation=isolation)
    cursor, read = None, list[JobEvent]()
    while cursor is None or read[-1].type != "completed":
        async with aclosing(cast(AsyncGenerator[JobEvent], jp.stream_job(job, cursor))) as stream:
            async for event in stream:
                read.append(event)
                cursor = event.cursor
                if len(read) % 5 == 0:
                    break  # the reader is cut off while the body emits
    assert joined(read) == "".join(f"{n:05}" for n in range(PIECES))
    seconds = await job.result(timeout=PATIENCE)
    assert sum(event.type == "output" for event in read) <= PER_SECOND * max(0.5, seconds)


async def test_two_threads_of_a_body_each_have_their_own_text_whole_and_in_order(jp: JobProcessor) -> None:
    def body() -> None:
        job = current_job()

        def emit(who: int) -> None:
            for n in range(2_000):
                say(job, f"{n},", who=who)

        threads = [threading.Thread(target=emit, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    job = await jp.submit_job(body, local=True)
    await job.result(timeout=PATIENCE)
    events = await everything(jp.stream_job(job))
    for who in range(4):
        assert joined([event for event in events if event.data.get("who") == who]) == "".join(
            f"{n}," for n in range(2_000)
        )


async def test_pieces_of_a_child_process_join_and_overtake_as_elsewhere(jp: JobProcessor) -> None:
    job = await jp.submit_job(isolated.emit_in_threads, isolation="process")
    await job.result(timeout=3 * PATIENCE)
    events = await everything(jp.stream_job(job))
    for who in range(4):
        texts = joined([event for event in events if event.data.get("who") == who])
        assert texts == "".join(f"{n}," for n in range(2_000))
    assert sum(event.type == "output" for event in events) < 2_000
    assert [event.data["message"] for event in events if event.type == "log"] == [
        "emit('output', append) was left out: 'txt' is not a field of its data; did you mean 'text'?"
    ]


def test_the_program_of_the_guide_prints_the_story(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "reporting.md").read_text()
    programs = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    [program] = [program for program in programs if "Once upon a time" in program]
    script = tmp_path / "story.py"
    script.write_text(program)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.stdout.strip(), ran.returncode) == (
        "Once upon a time there was a queue that was never long.",
        0,
    ), ran
