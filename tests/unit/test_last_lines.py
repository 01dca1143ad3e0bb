"""The last lines of a log stay in a small private file, also after SIGKILL."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asyncjobs.observability.last_lines import KEPT, LastLines, read_last_lines


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "", 0, message, None, None)


def filled(path: Path, *messages: str) -> LastLines:
    handler = LastLines(path)
    for message in messages:
        handler.handle(record(message))
    return handler


def test_the_newest_are_kept_in_order(tmp_path: Path) -> None:
    filled(tmp_path / "lines", *map(str, range(3 * KEPT + 7))).close()
    assert read_last_lines(tmp_path / "lines") == [str(i) for i in range(2 * KEPT + 7, 3 * KEPT + 7)]
    assert read_last_lines(tmp_path / "lines", 2) == [str(3 * KEPT + 5), str(3 * KEPT + 6)]


def test_a_record_of_several_lines_is_several(tmp_path: Path) -> None:
    filled(tmp_path / "lines", "first", "Traceback\n  File …\nValueError: ü").close()
    assert read_last_lines(tmp_path / "lines") == ["first", "Traceback", "  File …", "ValueError: ü"]


def test_the_end_of_a_record_longer_than_all_of_it_is_kept(tmp_path: Path) -> None:
    filled(tmp_path / "lines", "\n".join(map(str, range(100)))).close()
    assert read_last_lines(tmp_path / "lines") == [str(i) for i in range(100 - KEPT, 100)]


@pytest.mark.parametrize("message", ["x" * 100_000, "ü" * 100_000, "\ud800", "a\x00b", "", "0000000000000001 forged"])
def test_any_text_is_one_line_that_can_be_read(tmp_path: Path, message: str) -> None:
    filled(tmp_path / "lines", "before", message, "after").close()
    lines = read_last_lines(tmp_path / "lines")
    assert (lines[0], lines[-1]) == ("before", "after")
    assert len(lines) == (3 if message else 2)
    assert os.stat(tmp_path / "lines").st_size <= KEPT * 2048


def test_it_is_private_and_of_one_run(tmp_path: Path) -> None:
    filled(tmp_path / "folder" / "lines", "old").close()
    filled(tmp_path / "folder" / "lines", "new").close()
    assert read_last_lines(tmp_path / "folder" / "lines") == ["new"]
    assert (tmp_path / "folder" / "lines").stat().st_mode & 0o777 == 0o600


def test_what_a_link_leads_to_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("of somebody else")
    (tmp_path / "lines").symlink_to(tmp_path / "other")
    filled(tmp_path / "lines", "mine").close()
    assert (tmp_path / "other").read_text() == "of somebody else"
    assert read_last_lines(tmp_path / "lines") == ["mine"]


def test_a_record_that_cannot_be_formatted_is_left_out(tmp_path: Path) -> None:
    handler = filled(tmp_path / "lines", "before")
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "%d", ("no number",), None))
    handler.handle(record("after"))
    handler.close()
    assert read_last_lines(tmp_path / "lines") == ["before", "after"]


def test_without_a_file_or_with_a_foreign_one_there_are_none(tmp_path: Path) -> None:
    assert read_last_lines(tmp_path / "nothing") == []
    (tmp_path / "foreign").write_bytes(os.urandom(5000))
    assert read_last_lines(tmp_path / "foreign") == []


def test_they_survive_a_kill(tmp_path: Path) -> None:
    program = """
import logging, os, signal, sys
from pathlib import Path
from asyncjobs.observability.last_lines import LastLines
handler = LastLines(Path(sys.argv[1]))
for i in range(30):
    handler.handle(logging.LogRecord("x", logging.INFO, "", 0, f"line {i}", None, None))
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "lines")], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert read_last_lines(tmp_path / "lines", 1) == ["line 29"]
