"""The log of the command line: three forms, the same fields, a private file."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asyncjobs.config import LoggingConfig
from asyncjobs.observability.last_lines import read_last_lines
from asyncjobs.observability.logs import set_up

log = logging.getLogger("asyncjobs.worker")


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("asyncjobs")
    before = (root.handlers[:], root.level, own.level)
    root.handlers[:] = []
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers[:], root.level = before[0], before[1]
    own.setLevel(before[2])


def written(form: str, **settings: Any) -> io.StringIO:
    stream = io.StringIO()
    set_up(LoggingConfig(format=form, **settings), stream)
    return stream


def test_text_is_for_people() -> None:
    stream = written("text")
    log.warning("job %r will be retried", "page_1", extra={"job_id": "page_1", "attempt": 2, "worker_id": "w1"})
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} WARN  job 'page_1' will be retried  attempt=2 worker_id=w1\n", stream.getvalue()
    )


def test_on_a_terminal_what_the_message_names_is_not_repeated_but_numbers_are() -> None:
    stream = written("text")
    log.info("job %r completed in 0.1 s", "page_1", extra={"job_id": "page_1", "attempt": 1})
    assert stream.getvalue().endswith(" INFO  job 'page_1' completed in 0.1 s  attempt=1\n")


@pytest.mark.parametrize("form", ["auto", "text", "logfmt", "json"])
def test_a_file_has_the_date_the_zone_and_every_field(tmp_path: Path, form: str) -> None:
    path = tmp_path / "daemon.log"
    set_up(LoggingConfig(file=path, format=form), console=False)
    extra = {"job_id": "page_1", "attempt": 1, "group": "a b", "worker_id": "w1"}
    log.info("job %r of 'a b' completed in 0.1 s on w1", "page_1", extra=extra)
    line = path.read_text().rstrip("\n")
    if form == "json":
        seen = json.loads(line)
        assert {name: seen[name] for name in extra} == extra
        moment = seen["ts"]
    else:
        fields = 'job_id=page_1 attempt=1 group="a b" worker_id=w1'
        assert line.endswith(fields)
        moment = line.split(" INFO ")[0] if form != "logfmt" else line.split(" ")[0].removeprefix("ts=")
    assert datetime.fromisoformat(moment).tzinfo is not None
    assert abs((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()) < 60


def test_a_file_that_is_not_utf8_text_loses_no_record(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    set_up(LoggingConfig(file=path), console=False)
    log.info("half of a pair: %s", "\ud83d")
    log.info("after")
    assert [line.split("  ")[-1] for line in path.read_text().splitlines()] == ["half of a pair: \\ud83d", "after"]


def test_the_last_lines_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "daemon.log"
    set_up(LoggingConfig(file=path), console=False, keep=tmp_path / "last")
    for i in range(30):
        log.info("line %d", i, extra={"job_id": f"j{i}"})
    assert read_last_lines(tmp_path / "last") == path.read_text().splitlines()[-20:]


def test_the_last_lines_are_kept_without_a_file(tmp_path: Path) -> None:
    stream = io.StringIO()
    set_up(LoggingConfig(), stream, keep=tmp_path / "last")
    log.info("ready", extra={"worker_id": "w1"})
    [line] = read_last_lines(tmp_path / "last")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:.]{12}[+-]\d\d:\d\d INFO  ready  worker_id=w1", line)


def test_a_message_of_several_lines_does_not_look_like_several_records() -> None:
    stream = written("text")
    log.info("said: %s", "one\n12:00:00.000 ERROR forged")
    assert stream.getvalue().splitlines()[1] == "    12:00:00.000 ERROR forged"


def test_json_is_an_object_a_line() -> None:
    stream = written("json")
    log.info("ready", extra={"worker_id": "w1"})
    try:
        raise ValueError("no")
    except ValueError:
        log.exception("it failed")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert {**first, "ts": ""} == {
        "ts": "", "level": "info", "logger": "asyncjobs.worker", "message": "ready", "worker_id": "w1",
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{12}Z", first["ts"])
    assert second["error"].endswith("ValueError: no")


def test_logfmt_quotes_what_needs_it() -> None:
    stream = written("logfmt")
    log.info('a "b" c', extra={"job_id": "x", "group": "a b"})
    line = stream.getvalue()
    assert r'level=info logger=asyncjobs.worker message="a \"b\" c" job_id=x group="a b"' in line


def test_auto_is_logfmt_where_nobody_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = written("auto")
    log.info("x")
    assert stream.getvalue().startswith("ts=")


def test_levels() -> None:
    stream = written("text", level="warning")
    log.info("quiet")
    log.warning("loud")
    logging.getLogger("somebody").info("else")
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["loud"]


def test_a_file_is_private_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "daemon.log"
    [handler] = set_up(LoggingConfig(file=path, max_bytes=4096, backups=2), console=False)
    assert handler.stream is not sys.stderr
    for i in range(200):
        log.info("line %d %s", i, "x" * 60)
    assert sorted(p.name for p in path.parent.iterdir()) == ["daemon.log", "daemon.log.1", "daemon.log.2"]
    assert {p.stat().st_mode & 0o777 for p in path.parent.iterdir()} == {0o600}
    assert "line 199" in path.read_text()


def test_the_job_whose_body_logs_is_named() -> None:
    import anyio

    from asyncjobs import JobProcessor

    async def body() -> None:
        logging.getLogger("asyncjobs.test").info("from inside")

    async def main() -> tuple[str, str]:
        async with JobProcessor("memory") as jp:
            job = await jp.submit_job(body, local=True, group="g")
            await job
            return job.id, (await jp.workers())[0].id

    stream = written("json")
    job_id, worker = anyio.run(main)
    [record] = [r for r in map(json.loads, stream.getvalue().splitlines()) if r["message"] == "from inside"]
    assert [record[name] for name in ("job_id", "attempt", "group", "worker_id")] == [job_id, 1, "g", worker]


@pytest.mark.parametrize("level", ["debug", "info"])
def test_at_debug_the_statements_of_the_driver_do_not_appear(level: Any, tmp_path: Path) -> None:
    stream = io.StringIO()
    set_up(LoggingConfig(level=level, format="logfmt"), stream)
    logging.getLogger("aiosqlite").debug("executing functools.partial(…SELECT…)")
    logging.getLogger("aiosqlite").warning("something is wrong")
    logging.getLogger("botocore.credentials").info("executing: found credentials in environment variables")
    logging.getLogger("asyncjobs.sqlite").debug("committed 1 operations")
    text = stream.getvalue()
    assert "executing" not in text
    assert "something is wrong" in text
    assert ("committed" in text) == (level == "debug")
