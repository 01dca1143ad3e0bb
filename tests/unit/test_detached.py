"""What jobs print in a daemon without a terminal becomes records of its log."""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from asyncjobs.cli import detached
from asyncjobs.cli.detached import LogStream


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[str, str | None]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.getMessage(), getattr(record, "job_id", None)))


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def out(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> LogStream:
    monkeypatch.setattr(detached, "find_current_job", lambda: current[0])
    current[0] = None
    return LogStream("stdout", [kept])


current: list[Any] = [None]


def by(job: str | None) -> None:
    current[0] = None if job is None else SimpleNamespace(id=job, attempt=1, group=None)


def test_a_line_is_a_record(out: LogStream, kept: Kept) -> None:
    print("one", "two", file=out)
    print("a\nb", file=out)
    print(file=out)
    assert kept.records == [("one two", None), ("a", None), ("b", None)]


def test_lines_that_two_jobs_begin_at_once_stay_apart(out: LogStream, kept: Kept) -> None:
    for job, text in (("a", "from "), ("b", "of "), ("a", "a\n"), ("b", "b\n")):
        by(job)
        out.write(text)
    assert kept.records == [("from a", "a"), ("of b", "b")]


def test_a_line_without_an_end_is_logged_as_its_jobs(out: LogStream, kept: Kept) -> None:
    by("a")
    out.write("no end")
    by(None)
    out.finish()
    assert kept.records == [("no end", "a")]
    out.finish()
    assert len(kept.records) == 1


def test_a_line_that_nobody_ends_goes_out_before_the_next_one(
    out: LogStream, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detached, "_UNTIL", 0.0)
    by("a")
    out.write("no end")
    by("b")
    out.write("next\n")
    assert kept.records == [("no end", "a"), ("next", "b")]


def test_threads_do_not_mix_their_lines(out: LogStream, kept: Kept) -> None:
    out.write("mine ")
    other = threading.Thread(target=lambda: out.write("other\n"))
    other.start()
    other.join()
    out.write("too\n")
    assert kept.records == [("other", None), ("mine too", None)]


def test_a_line_that_never_ends_does_not_fill_the_memory(out: LogStream, kept: Kept) -> None:
    for _ in range(100):
        out.write("." * 10_000)
    assert len(kept.records) >= 10


def test_a_handler_that_fails_and_prints_that_does_not_recurse(
    out: LogStream, kept: Kept, capfd: pytest.CaptureFixture[str]
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            out.write("--- Logging error ---\n")

    stream = LogStream("stdout", [Failing(), kept])
    stream._here = out._here
    stream.write("line\n")
    assert kept.records == [("line", None)]
    assert "--- Logging error ---" in capfd.readouterr().out


def test_progress_bars_are_one_line(out: LogStream, kept: Kept) -> None:
    for percent in (0, 50, 100):
        out.write(f"\r{percent} %")
        out.flush()
    out.write("\n")
    assert kept.records == [("\r0 %\r50 %\r100 %", None)]


def test_it_is_what_programs_expect_of_a_standard_stream(out: LogStream, kept: Kept) -> None:
    out.buffer.write("größe\n".encode())
    out.buffer.write(b"\xff\n")
    out.reconfigure(line_buffering=True)
    out.writelines(["a\n", "b\n"])
    assert [message for message, _ in kept.records] == ["größe", "\\xff", "a", "b"]
    assert (out.encoding, out.isatty(), out.writable(), out.fileno()) == ("utf-8", False, True, 1)
    out.write("half of a pair: \ud83d\n")
    assert kept.records[-1][0] == "half of a pair: \ud83d"
