"""What a message is, by its body: ours and good, ours and of no use, or another program's."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import json

from asyncjobs.backends.sqs import hints
from asyncjobs.backends.sqs.hints import Kind

TABLE = "0123456789abcdef"
GOOD: dict[str, Any] = {"v": 1, "t": TABLE, "j": "job", "l": "lane"}


def body(**changed: Any) -> str:
    content = {name: value for name, value in (GOOD | changed).items() if value is not None}
    return json.encode(content).decode()


def test_what_was_written_is_read() -> None:
    job = 'ids have "every" character, é☃\x00 too'
    assert hints.read(hints.encode(TABLE, job, "lane"), TABLE) == (Kind.JOB, hints.Hint(1, TABLE, job, "lane"))
    odd = "\ufffe\uffff\x7f\x85\U0010ffff\\ufffe"
    assert hints.read(hints.encode(TABLE, odd, "lane"), TABLE) == (Kind.JOB, hints.Hint(1, TABLE, odd, "lane"))
    assert hints.read(hints.encode(TABLE, hints.NO_JOB, ""), TABLE) == (Kind.END_OF_POLL, None)


def test_a_message_has_only_characters_that_sqs_takes() -> None:
    """What an XML document may have: https://www.w3.org/TR/REC-xml/#charsets."""
    every = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x10400), 0x10FFFE, 0x10FFFF)))
    allowed = {*"\t\n\r", *map(chr, range(0x20, 0xD800)), *map(chr, range(0xE000, 0xFFFE))}
    strange = set(hints.encode(TABLE, every, "lane")) - allowed
    assert min(strange) >= "\U00010000"


def test_ten_messages_about_the_longest_ids_fit_into_one_call() -> None:
    """A call takes 1 MiB, and is paid by 64 KiB."""
    longest = max(len(hints.encode(TABLE, c * 512, "x" * 16).encode()) for c in ("\x00", "\uffff", "🎬", '"'))
    assert 10 * longest < 64 << 10


@pytest.mark.parametrize(
    "strange",
    [
        *("", "hello", "{", "null", "[]", "1", '"text"', "{}", "[" * 100_000),
        *(body(t="another table"), body(t=None), body(t=1), body(t=[TABLE]), None, b"{}", 7),
    ],
)
def test_what_does_not_name_this_table_is_foreign(strange: object) -> None:
    assert hints.read(strange, TABLE) == (Kind.FOREIGN, None)


@pytest.mark.parametrize(
    "malformed",
    [body(j=None), body(j=7), body(l=None), body(v=None), body(v="1"), body(v=0), body(v=-1), body(v=True, j=[])],
)
def test_what_names_this_table_and_is_no_hint_of_this_version_is_malformed(malformed: str) -> None:
    assert hints.read(malformed, TABLE) == (Kind.MALFORMED, None)


def test_a_newer_version_may_say_anything() -> None:
    assert hints.read(body(v=2, j=None, l=None, x=[1]), TABLE) == (Kind.NEWER, None)


def test_a_hint_may_say_more() -> None:
    assert hints.read(body(more=1), TABLE)[0] is Kind.JOB


def test_what_could_not_be_used_is_hidden_for_longer_each_time() -> None:
    assert [hints.hidden_for(received) for received in (0, 1, 2, 3, 6, 7, 8, 1000)] == [1, 1, 2, 4, 32, 60, 60, 60]


@pytest.mark.parametrize(
    ("attributes", "received"),
    [({"ApproximateReceiveCount": "3"}, 3), ({}, 1), ({"ApproximateReceiveCount": "many"}, 1)],
)
def test_receptions_are_counted_by_the_queue(attributes: dict[str, str], received: int) -> None:
    assert hints.receptions({"Attributes": attributes}) == received
    assert hints.receptions({}) == 1
